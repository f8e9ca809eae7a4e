"""Telemetry of a host: preview without a trace, off before anything else."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.telemetry import ANN, NOW, OFFER, Bench, change, facts, wanted
from uplink.client.consent.consent import Impossible, Word
from uplink.client.consent.record import Given
from uplink.client.consent.streams import Stream
from uplink.wire.private_file import PrivateFileError
from validator.file_thread import FileThread

_audited: list[tuple[str, str]] = []
_auditing = threading.Event()
_WATCHED = ("socket.", "open", "os.mkdir", "os.rename", "subprocess.")


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if _auditing.is_set() and event.startswith(_WATCHED):
        _audited.append((event, str(arguments[:2])))


sys.addaudithook(_hook)


@contextmanager
def audited() -> Iterator[list[tuple[str, str]]]:
    """What this process asks the system for: sockets, names, files."""
    _audited.clear()
    _auditing.set()
    try:
        yield _audited
    finally:
        _auditing.clear()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "telemetry", facts(), [change(at=NOW + 7)])


def test_the_audit_hook_is_not_blind(tmp_path: Path) -> None:
    with audited() as seen:
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
        (tmp_path / "x").write_text("x")
    assert {"socket.__new__", "socket.bind", "open"} <= {event for event, _ in seen}


@pytest.mark.parametrize("stream", Stream)
async def test_a_preview_while_off_has_placeholders_and_leaves_no_trace(bench: Bench, stream: Stream) -> None:
    await bench.telemetry.preview(stream)  # imports and threads
    with audited() as seen:
        preview = await bench.telemetry.preview(stream)
    assert [event for event, arguments in seen if "consent.json" not in arguments] == []
    assert preview is not None
    assert preview.placeholder
    assert preview.batch is not None
    text = str(preview.readable())
    assert "your-organisation" in text
    assert "00000000-0000-0000-0000-000000000000" in text
    assert preview.drops == {}
    assert bench.link.told == []
    assert not bench.desk.place.parent.exists()


@pytest.mark.parametrize("stream", Stream)
async def test_while_on_the_previewed_digest_is_that_of_the_batch_that_goes_next(bench: Bench, stream: Stream) -> None:
    await bench.telemetry.turn_on(wanted(), ANN, None)
    first, second = await bench.telemetry.preview(stream), await bench.telemetry.preview(stream)
    assert first is not None
    assert second is not None
    assert first.batch is not None
    assert not first.placeholder
    sent = await bench.link.head(stream)
    assert sent is not None
    assert first.batch.digest == sent.digest
    assert second.batch is first.batch


async def test_a_stream_that_is_not_consented_to_has_a_placeholder_preview(bench: Bench) -> None:
    await bench.telemetry.turn_on(wanted(Stream.METRICS), ANN, None)
    preview = await bench.telemetry.preview(Stream.LOGS)
    assert preview is not None
    assert preview.placeholder
    assert bench.link.kept == {}


async def test_a_standby_has_no_preview(tmp_path: Path) -> None:
    assert await Bench(tmp_path / "telemetry").telemetry.preview(Stream.METRICS) is None


async def test_on_and_off_are_told_to_the_link_in_this_order(bench: Bench) -> None:
    await bench.telemetry.turn_on(wanted(), ANN, "secret-token")
    await bench.telemetry.turn_off(ANN)
    assert bench.link.told == ["silence", "ended", "began", "silence", "silence", "ended"]
    assert bench.link.tokens == ["secret-token"]
    assert not any(b"secret-token" in path.read_bytes() for path in bench.desk.place.parent.iterdir())


async def test_a_consent_after_a_consent_ends_the_first(bench: Bench) -> None:
    first = (await bench.telemetry.turn_on(wanted(), ANN, None)).record
    await bench.telemetry.preview(Stream.METRICS)
    second = (await bench.telemetry.turn_on(wanted(), ANN, None)).record
    assert isinstance(first, Given)
    assert isinstance(second, Given)
    assert first.installation_id != second.installation_id
    assert bench.link.kept == {}


async def test_a_consent_that_is_refused_touches_nothing(bench: Bench) -> None:
    bench.environ["DO_NOT_TRACK"] = "1"
    with pytest.raises(Impossible):
        await bench.telemetry.turn_on(wanted(), ANN, None)
    assert bench.link.told == []
    assert not bench.desk.place.parent.exists()


async def test_off_silences_the_link_before_it_waits_for_a_disk_that_hangs(bench: Bench) -> None:
    await bench.telemetry.turn_on(wanted(), ANN, None)
    bench.link.told.clear()
    hung = threading.Event()
    busy: FileThread = bench.telemetry._files
    blocker = busy.submit(lambda: hung.wait(5))
    off = asyncio.create_task(bench.telemetry.turn_off(ANN), name="off")
    await asyncio.sleep(0)
    assert set(bench.link.told) == {"silence"}
    assert (await bench.telemetry.standing()).word is Word.OFF  # the disk is not asked
    hung.set()
    await off
    blocker.result()
    assert (await bench.telemetry.standing()).why == "it was switched off"


async def test_h18_where_off_can_not_be_kept_this_process_is_silent_all_the_same(bench: Bench) -> None:
    await bench.telemetry.turn_on(wanted(), ANN, None)
    bench.desk.place.unlink()
    (bench.desk.place / "in the way").mkdir(parents=True)
    with pytest.raises(PrivateFileError):
        await bench.telemetry.turn_off(ANN)
    (bench.desk.place / "in the way").rmdir()
    bench.desk.place.rmdir()
    standing = await bench.telemetry.standing()
    assert standing.word is Word.OFF
    assert "MUSTER_TELEMETRY=off" in standing.why
    assert bench.link.told[-1] == "ended"


async def test_one_stream_less_goes_on_under_the_same_consent(bench: Bench) -> None:
    await bench.telemetry.turn_on(wanted(), ANN, None)
    await bench.telemetry.turn_off(ANN, frozenset({Stream.LOGS}))
    standing = await bench.telemetry.standing()
    assert [stream for stream in Stream if standing.allows(stream)] == [Stream.METRICS, Stream.INVENTORY]
    await bench.telemetry.turn_off(ANN, frozenset({Stream.METRICS, Stream.INVENTORY}))
    assert (await bench.telemetry.standing()).why == "it was switched off"


async def test_off_works_where_it_is_off(bench: Bench) -> None:
    await bench.telemetry.turn_off(ANN)
    await bench.telemetry.turn_off(ANN, frozenset({Stream.LOGS}))
    assert (await bench.telemetry.standing()).word is Word.OFF


async def test_a_file_that_is_edited_under_the_running_service_is_off_at_once(bench: Bench) -> None:
    await bench.telemetry.turn_on(wanted(), ANN, None)
    raw = bench.desk.place.read_bytes()
    bench.desk.place.write_bytes(raw.replace(b'"epoch":1', b'"epoch":9'))
    assert (await bench.telemetry.standing()).word is Word.OFF
    bench.desk.place.write_bytes(raw)
    assert (await bench.telemetry.standing()).allows(Stream.METRICS)


async def test_new_terms_suspend_under_the_running_service(bench: Bench) -> None:
    await bench.telemetry.turn_on(wanted(), ANN, None)
    bench.offer = type(OFFER)(OFFER.dictionary, OFFER.commitments, "another", OFFER.endpoints)
    assert (await bench.telemetry.standing()).word is Word.SUSPENDED


async def test_an_export_needs_a_consent_and_is_written_down(bench: Bench) -> None:
    with pytest.raises(Impossible, match="needs a consent"):
        await bench.telemetry.export(ANN)
    await bench.telemetry.turn_on(wanted(), ANN, None)
    preview = await bench.telemetry.preview(Stream.METRICS)
    pieces = [piece async for piece in await bench.telemetry.export(ANN)]
    assert preview is not None
    assert preview.batch is not None
    assert pieces == [preview.batch.raw]
    assert [entry.action for entry in (await bench.telemetry.audit()).entries] == ["on", "export"]
