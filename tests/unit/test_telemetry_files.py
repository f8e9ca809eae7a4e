"""The files of consent: whatever can't be read is off, and the log shows who touched it."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given as given_by
from hypothesis import settings
from hypothesis import strategies as st

from tests.support.telemetry import ANN, NOW, Bench, given, wanted
from uplink.client.consent.chain import START, Head, appended, check
from uplink.client.consent.consent import Absent, Who, Word
from uplink.client.consent.record import Given, RecordError, Withdrawn, read_record, write_record
from uplink.client.consent.streams import Stream
from uplink.wire.private_file import PrivateFileError, write_private


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "telemetry")


def switched_on(bench: Bench) -> Given:
    record = bench.desk.give(wanted(), ANN, NOW).record
    assert isinstance(record, Given)
    assert bench.desk.standing().word is Word.ON
    return record


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


# -- h1: missing, corrupt, unreadable


def test_h1_without_a_file_it_is_off_and_looking_makes_nothing(bench: Bench) -> None:
    assert bench.desk.standing().why == "nobody has consented"
    assert bench.desk.audit.verify().entries == ()
    assert not bench.desk.place.parent.exists()


def test_h1_a_file_that_was_removed_is_off(bench: Bench) -> None:
    switched_on(bench)
    bench.desk.place.unlink()
    assert bench.desk.standing().word is Word.OFF


def test_nobody_else_can_read_the_files(bench: Bench) -> None:
    before = os.umask(0)
    try:
        switched_on(bench)
    finally:
        os.umask(before)
    directory = bench.desk.place.parent
    assert mode(directory) == 0o700
    assert {path.name: mode(path) for path in directory.iterdir()} == dict.fromkeys(
        ["audit.head", "audit.jsonl", "audit.lock", "consent.json"], 0o600
    )


@given_by(position=st.integers(0, 10_000), flip=st.integers(1, 255))
@settings(max_examples=60, deadline=None)
def test_h1_a_byte_that_changed_is_off(position: int, flip: int) -> None:
    raw = bytearray(RAW)
    raw[position % len(raw)] ^= flip
    with pytest.raises(RecordError):
        read_record(bytes(raw))


@given_by(length=st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_h1_a_file_that_was_cut_off_is_off(length: int) -> None:
    with pytest.raises(RecordError):
        read_record(RAW[: length % len(RAW)])


RAW = write_record(given())


def test_a_record_is_read_as_it_was_written() -> None:
    record = given(plain=True, text=True)
    assert read_record(write_record(record)) == record
    off = Withdrawn(epoch=9, decided_at=NOW, by="ann", interface="api")
    assert read_record(write_record(off)) == off


@pytest.mark.parametrize("content", [b"", b"\0" * 4096, b"{}", b'{"state":"given"}', b"on\n", b"\xff\xfe", b"[" * 5000])
def test_h1_a_file_of_something_else_is_off_and_says_so(bench: Bench, content: bytes) -> None:
    switched_on(bench)
    bench.desk.place.write_bytes(content)
    standing = bench.desk.standing()
    assert standing.word is Word.OFF
    assert "does not count" in standing.why


@pytest.mark.parametrize(
    ("where", "bits"), [("consent.json", 0o644), ("consent.json", 0o620), (".", 0o755), (".", 0o770)]
)
def test_h28_a_file_that_others_could_have_written_or_read_is_off(bench: Bench, where: str, bits: int) -> None:
    switched_on(bench)
    (bench.desk.place.parent / where).chmod(bits)
    standing = bench.desk.standing()
    assert standing.word is Word.OFF
    assert f"mode {bits:04o}" in standing.why
    assert "chmod" in standing.why


def test_h1_a_link_a_pipe_and_a_directory_are_off(bench: Bench, tmp_path: Path) -> None:
    switched_on(bench)
    elsewhere = tmp_path / "elsewhere"
    bench.desk.place.rename(elsewhere)
    bench.desk.place.symlink_to(elsewhere)
    assert bench.desk.standing().word is Word.OFF
    bench.desk.place.unlink()
    os.mkfifo(bench.desk.place, 0o600)  # opening it must not wait for a writer
    assert bench.desk.standing().word is Word.OFF
    bench.desk.place.unlink()
    bench.desk.place.mkdir(0o600)
    assert bench.desk.standing().word is Word.OFF


# -- decisions


def test_off_stays_written_down_and_the_epoch_only_rises(bench: Bench) -> None:
    first = switched_on(bench)
    off = bench.desk.withdraw(Who("bob", "api"), NOW + 1).record
    standing = bench.desk.standing()
    assert (standing.word, standing.record) == (Word.OFF, off)
    second = switched_on(bench)
    assert first.epoch < off.epoch < second.epoch
    bench.desk.place.unlink()
    assert switched_on(bench).epoch > second.epoch


def test_yielding_to_a_later_decision_elsewhere_keeps_the_epoch_and_is_logged(bench: Bench) -> None:
    given = switched_on(bench)
    assert bench.desk.yield_to(ANN, NOW + 1, given.epoch - 1) is None, "what was overtaken is another one"
    done = bench.desk.yield_to(Who("another instance", "database"), NOW + 1, given.epoch)
    assert done is not None
    assert isinstance(done.record, Withdrawn)
    assert done.record.epoch == given.epoch, "a higher one would end the other's consent at our next start"
    assert bench.desk.verify().problem == ""
    assert bench.desk.yield_to(ANN, NOW + 2, given.epoch) is None, "there is nothing left to end"


def test_off_once_more_changes_nothing(bench: Bench) -> None:
    switched_on(bench)
    off = bench.desk.withdraw(ANN, NOW + 1)
    again = bench.desk.withdraw(Who("bob", "api"), NOW + 2)
    assert (again.record, again.head) == (off.record, None)
    assert len(bench.desk.verify().entries) == 2


def test_off_destroys_the_key_of_the_pseudonyms(bench: Bench) -> None:
    key = switched_on(bench).pseudonym_key
    bench.desk.withdraw(ANN, NOW + 1)
    assert not any(key in path.read_text() for path in bench.desk.place.parent.iterdir())


def test_one_stream_less_is_no_new_consent(bench: Bench) -> None:
    before = switched_on(bench)
    after = bench.desk.narrow(frozenset({Stream.LOGS}), ANN, NOW + 1).record
    assert isinstance(after, Given)
    assert (after.consent_id, after.epoch) == (before.consent_id, before.epoch + 1)
    assert set(after.scope) == {Stream.METRICS, Stream.INVENTORY}


@pytest.mark.parametrize("damaged", ["audit.jsonl", "audit.head"])
def test_where_the_log_is_damaged_nothing_is_switched_on_and_off_works(bench: Bench, damaged: str) -> None:
    switched_on(bench)
    path = bench.desk.place.parent / damaged
    path.write_bytes(path.read_bytes().replace(b"1", b"2", 1))
    done = bench.desk.withdraw(ANN, NOW + 1)
    assert done.head is None
    assert "damaged" in done.trouble
    assert bench.desk.standing().word is Word.OFF
    with pytest.raises(PrivateFileError, match="damaged"):
        bench.desk.give(wanted(), ANN, NOW + 2)
    assert bench.desk.standing().word is Word.OFF


@contextmanager
def a_full_disk() -> Iterator[None]:
    """For this process: nothing can be written to any file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def put_a_directory_there(place: Path) -> None:
    """Where a file can neither be replaced nor removed."""
    place.unlink(missing_ok=True)
    (place / "in the way").mkdir(parents=True)


def test_h18_off_works_on_a_full_disk(bench: Bench) -> None:
    switched_on(bench)
    with a_full_disk():
        done = bench.desk.withdraw(ANN, NOW + 1)
    assert "removed instead" in done.trouble
    assert bench.desk.standing().word is Word.OFF
    assert bench.desk.give(wanted(), ANN, NOW + 2).record.epoch > 1


def test_h18_off_on_a_disk_that_takes_nothing_says_what_keeps_the_next_start_silent(bench: Bench) -> None:
    switched_on(bench)
    put_a_directory_there(bench.desk.place)
    with pytest.raises(PrivateFileError, match="MUSTER_TELEMETRY=off"):
        bench.desk.withdraw(ANN, NOW + 1)


def test_a_consent_that_can_not_be_kept_is_none(bench: Bench) -> None:
    switched_on(bench)
    put_a_directory_there(bench.desk.place)
    with pytest.raises(PrivateFileError):
        bench.desk.give(wanted(), ANN, NOW)
    assert isinstance(bench.desk.found(), Absent)
    assert [entry.action for entry in bench.desk.audit.verify().entries] == ["on", "on"]  # the attempt is written down


def test_nothing_is_switched_on_where_the_log_can_not_be_written(bench: Bench) -> None:
    with a_full_disk(), pytest.raises(PrivateFileError, match="Free space"):
        bench.desk.give(wanted(), ANN, NOW)
    assert bench.desk.standing().word is Word.OFF
    assert switched_on(bench)


# -- the chain


def chain(length: int) -> tuple[list[bytes], Head]:
    lines, head = [], Head()
    for number in range(length):
        line, head = appended(head, NOW + number, "ann", "cli", "on" if number % 2 == 0 else "off", {"epoch": number})
        lines.append(line)
    return lines, head


def test_a_whole_log_is_whole() -> None:
    for length in range(4):
        lines, head = chain(length)
        checked = check(lines, head)
        assert (checked.problem, len(checked.entries), checked.head) == ("", length, head)
    assert check([], None).problem == ""
    assert chain(1)[0][0].count(START.encode()) == 1


@given_by(line=st.integers(0, 4), position=st.integers(0, 500), flip=st.integers(1, 255))
@settings(max_examples=80, deadline=None)
def test_a_byte_of_the_log_that_changed_is_found(line: int, position: int, flip: int) -> None:
    lines, head = chain(5)
    changed = bytearray(lines[line])
    changed[position % len(changed)] ^= flip
    lines[line] = bytes(changed)
    assert check(b"".join(lines).splitlines(keepends=True), head).problem


def test_lines_removed_doubled_moved_and_added_are_found() -> None:
    lines, head = chain(5)
    more, _ = chain(7)
    for tampered in (
        lines[1:],
        lines[:2] + lines[3:],
        [*lines[:2], lines[1], *lines[2:]],
        [lines[1], lines[0], *lines[2:]],
        more,
    ):
        assert check(tampered, head).problem


@pytest.mark.parametrize("left", range(5))
def test_a_log_that_was_cut_off_is_found(left: int) -> None:
    lines, head = chain(5)
    assert "cut off" in check(lines[:left], head).problem


def test_without_its_head_a_log_proves_nothing() -> None:
    assert "head is missing" in check(chain(3)[0], None).problem


def test_another_log_of_the_same_length_is_found() -> None:
    lines, _ = chain(3)
    _, head = chain(2)
    other, _ = appended(head, NOW, "mallory", "cli", "off", {})
    assert "edited" in check([*lines[:2], other], chain(3)[1]).problem


def test_what_a_power_cut_leaves_is_mended_and_no_problem(bench: Bench) -> None:
    switched_on(bench)
    directory = bench.desk.place.parent
    before = (directory / "audit.head").read_bytes()
    bench.desk.withdraw(ANN, NOW + 1)
    write_private(directory / "audit.head", before)  # the line is there, its head is not
    assert bench.desk.audit.verify().problem == ""
    with (directory / "audit.jsonl").open("ab") as log:
        log.write(b'{"number":3,"at"')  # and the next was cut off
    checked = bench.desk.audit.verify()
    assert (checked.problem, checked.torn, len(checked.entries)) == ("", True, 2)
    switched_on(bench)
    checked = bench.desk.audit.verify()
    assert (checked.problem, checked.torn, [e.action for e in checked.entries]) == ("", False, ["on", "off", "on"])


def test_a_log_that_is_gone_altogether_is_found_by_the_decision_that_holds(bench: Bench) -> None:
    switched_on(bench)
    assert bench.desk.verify().problem == ""
    for name in ("audit.jsonl", "audit.head"):
        (bench.desk.place.parent / name).unlink()
    assert bench.desk.audit.verify().problem == ""
    assert "epoch 1, is not in it" in bench.desk.verify().problem


def test_the_log_says_who_when_how_and_what(bench: Bench) -> None:
    record = switched_on(bench)
    (entry,) = bench.desk.audit.verify().entries
    assert (entry.by, entry.interface, entry.at, entry.action) == ("ann", "cli", NOW, "on")
    assert entry.about["consent_id"] == str(record.consent_id)
    assert entry.about["commitments"]["sha256"] == record.commitments.sha256
    assert entry.about["endpoints"]["ingest_url"] == "https://ingest.example.com"
    assert set(entry.about["scope"]) == {"metrics", "logs", "inventory"}
    assert record.pseudonym_key not in (bench.desk.place.parent / "audit.jsonl").read_text()
