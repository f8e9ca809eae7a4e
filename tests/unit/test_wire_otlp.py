"""OTLP bodies, the status table, and the file that crosses an air gap."""

from __future__ import annotations

import gzip
import io
import json
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.receiving import logs, metrics, new_key
from uplink.receiver.authority import Authority
from uplink.wire import export
from uplink.wire.errors import TooLarge, WireError
from uplink.wire.otlp import (
    CONTENT_TYPE,
    Code,
    Signal,
    accepted,
    pack,
    parse,
    read_accepted,
    read_refusal,
    refusal,
    unpack,
)
from uplink.wire.verdicts import Act, verdict

PROTOBUF, HTML = CONTENT_TYPE, "text/html; charset=utf-8"


@pytest.mark.parametrize(
    ("status", "content_type", "act"),
    [
        (200, PROTOBUF, Act.DONE),
        (200, "Application/X-Protobuf; x=y", Act.DONE),
        (200, HTML, Act.FAILED),
        (200, None, Act.FAILED),
        (204, PROTOBUF, Act.FAILED),
        (302, HTML, Act.HOLD),
        (307, PROTOBUF, Act.HOLD),
        (400, PROTOBUF, Act.DROP),
        (400, HTML, Act.HOLD),
        (401, PROTOBUF, Act.REENROL),
        (403, HTML, Act.REENROL),
        (404, HTML, Act.HOLD),
        (407, HTML, Act.HOLD),
        (413, HTML, Act.HALVE),
        (413, PROTOBUF, Act.HALVE),
        (429, HTML, Act.WAIT),
        (500, PROTOBUF, Act.DROP),
        (500, HTML, Act.FAILED),
        (502, HTML, Act.WAIT),
        (503, None, Act.WAIT),
        (504, PROTOBUF, Act.WAIT),
        (100, None, Act.FAILED),
        (999, PROTOBUF, Act.FAILED),
    ],
)
def test_the_status_table(status: int, content_type: str | None, act: Act) -> None:
    assert verdict(status, content_type) is act


@given(st.binary(max_size=5000))
def test_what_is_packed_is_unpacked_and_the_same_bytes_each_time(raw: bytes) -> None:
    assert unpack(pack(raw)) == raw
    assert pack(raw) == pack(raw)
    assert gzip.decompress(pack(raw)) == raw


@given(st.binary(max_size=200))
def test_any_bytes_unpack_or_are_a_wire_error(body: bytes) -> None:
    with pytest.raises(WireError):
        unpack(body)


def test_the_bound_is_exact_and_a_bomb_never_unpacked() -> None:
    assert unpack(pack(b"x" * 100), 100) == b"x" * 100
    with pytest.raises(TooLarge):
        unpack(pack(b"x" * 101), 100)
    with pytest.raises(WireError, match="cut off"):
        unpack(pack(b"x" * 100)[:-1], 100)
    with pytest.raises(WireError, match="follows"):
        unpack(pack(b"x") + b"y", 100)


def test_answers_are_read_back() -> None:
    for signal in Signal:
        assert accepted(signal) == b""
        assert read_accepted(signal, b"") == (0, "")
        assert read_accepted(signal, accepted(signal, rejected=3, message="too old")) == (3, "too old")
        with pytest.raises(WireError):
            read_accepted(signal, b"<html>")
    assert read_refusal(refusal(Code.INVALID_ARGUMENT, "no")) == (3, "no")
    assert read_refusal(b"<html>") == (0, "")


HEAD = export.Head("acme", uuid4(), uuid4(), "3", 1_800_000_000)


def batches() -> list[export.Batch]:
    return [
        export.Batch(uuid4(), Signal.METRICS, metrics({"uid-1": "Healthy"}).SerializeToString()),
        export.Batch(uuid4(), Signal.LOGS, logs("ä", "b").SerializeToString()),
    ]


def written(**changes: object) -> bytes:
    file = io.BytesIO()
    arguments = {"head": HEAD, "batches": batches(), "key": new_key(), **changes}
    export.write_export(file, **arguments)  # type: ignore[arg-type] # what a test says
    return file.getvalue()


def test_an_export_comes_back_as_it_was() -> None:
    sent, key = batches(), new_key()
    file = io.BytesIO(written(batches=sent, key=key))
    read = export.read_export(file)
    assert (read.head, read.chain, read.fingerprint) == (HEAD, (), export.fingerprint(key.public_key()))
    file.seek(0)
    found = list(export.read_batches(file, read))
    assert [(each.id, each.signal) for each in found] == [(each.id, each.signal) for each in sent]
    for ours, theirs in zip(sent, found, strict=True):
        assert parse(ours.signal, theirs.raw) == parse(ours.signal, ours.raw)


def test_its_lines_are_what_a_collector_reads() -> None:
    first, second, last = written().splitlines()
    assert list(json.loads(first)) == ["resourceMetrics"]
    assert list(json.loads(second)) == ["resourceLogs"]
    assert "resourceLogs" not in json.loads(last)
    point = json.loads(first)["resourceMetrics"][0]["scopeMetrics"][0]["metrics"][0]["gauge"]["dataPoints"][0]
    assert point["asInt"] == "1", "64 bits are text in OTLP's JSON"


def test_an_empty_export_is_one_too() -> None:
    assert export.read_export(io.BytesIO(written(batches=[]))).batches == ()


def test_a_file_that_was_changed_anywhere_is_refused() -> None:
    good = written()
    lines = good.splitlines(keepends=True)
    manifest = json.loads(lines[-1])
    manifest[export.KEY]["organisation"] = "umbrella"
    forged = json.dumps(manifest).encode() + b"\n"
    other = json.loads(written().splitlines()[-1])
    swapped = json.dumps({export.KEY: other[export.KEY], "signature": manifest["signature"]}).encode() + b"\n"
    for bad in (
        b"",
        b"\n",
        b"{}\n",
        b"[" * 100_000 + b"\n",
        good[:-1],
        good.replace(b"uid-1", b"uid-2"),
        b"".join(lines[1:]),
        b"".join([lines[1], lines[0], lines[2]]),
        b"".join([lines[0], *lines]),
        b"".join(lines[:-1]),
        b"".join([*lines[:-1], forged]),
        b"".join([*lines[:-1], swapped]),
        good + b"{}\n",
    ):
        with pytest.raises(WireError):
            export.read_export(io.BytesIO(bad))


def test_a_certificate_in_the_manifest_has_to_be_of_the_key_that_signed() -> None:
    key = new_key()
    leaf = Authority.new("Test", 1_800_000_000).sign_client(key.public_key(), "acme", uuid4(), 1_800_000_000, 7)
    assert export.read_export(io.BytesIO(written(key=key, chain=[leaf]))).chain == (leaf,)
    with pytest.raises(WireError, match="not signed with the key"):
        export.read_export(io.BytesIO(written(chain=[leaf])))


def test_a_line_that_changes_between_two_readings_is_noticed() -> None:
    good = written()
    read = export.read_export(io.BytesIO(good))
    with pytest.raises(WireError, match="changed"):
        list(export.read_batches(io.BytesIO(good.replace(b"uid-1", b"uid-2")), read))
