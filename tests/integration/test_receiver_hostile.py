"""Hostile clients at the receiver's door, over real TLS."""

from __future__ import annotations

import asyncio
import gzip
import ssl
import tempfile
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from uuid import uuid4

import aiohttp
import pytest
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from tests.support.receiving import Desk, Identity, logs, metrics, new_key, receiving
from uplink.receiver.authority import Authority
from uplink.receiver.connections import bounded
from uplink.receiver.revoking import revoke
from uplink.wire import est, names
from uplink.wire.bounds import MAX_RAW_BYTES
from uplink.wire.otlp import CONTENT_TYPE, Code, Signal
from uplink.wire.verdicts import Act, verdict

HEAD_S = 0.4


@pytest.fixture
async def desk(receiver_url: str, tmp_path: Path) -> AsyncIterator[Desk]:
    connections = bounded(head_s=HEAD_S, idle_s=1.0, most=20)
    async with receiving(receiver_url, tmp_path / "receiver", connections=connections) as desk:
        yield desk


@asynccontextmanager
async def connection(
    desk: Desk, identity: Identity | None = None
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    context = desk.trust(identity)
    reader, writer = await asyncio.open_connection("127.0.0.1", desk.port, ssl=context, server_hostname="localhost")
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def test_without_a_certificate_nothing_is_taken(desk: Desk) -> None:
    for signal in Signal:
        answer = await desk.send(None, b"", signal)
        assert answer.status == 401
        assert verdict(answer.status, answer.headers["Content-Type"]) is Act.REENROL
        assert Status.FromString(answer.body).code == Code.UNAUTHENTICATED


async def test_certificates_that_are_not_ours_dont_pass_the_handshake(desk: Desk, tmp_path: Path) -> None:
    honest = await desk.enrol()
    strangers = Authority.create(tmp_path / "other", "Test receiver", desk.clock.now())
    key = new_key()
    leaf = strangers.sign_client(key.public_key(), "acme", honest.installation, desk.clock.now(), 7)
    with pytest.raises(aiohttp.ClientError):
        await desk.send(Identity("acme", honest.installation, key, leaf), b"")


async def test_a_certificate_that_our_ca_signed_but_that_is_not_in_the_books_is_nobody(desk: Desk) -> None:
    key = new_key()
    leaf = desk.authority.sign_client(key.public_key(), "acme", uuid4(), desk.clock.now(), 7)
    assert (await desk.send(Identity("acme", uuid4(), key, leaf), b"")).status == 401


async def test_a_servers_certificate_is_no_client(desk: Desk) -> None:
    pem = desk.authority.sign_server(["localhost"], desk.clock.now())
    context = desk.trust()
    with tempfile.NamedTemporaryFile() as file:
        file.write(pem)
        file.flush()
        context.load_cert_chain(file.name)
    async with aiohttp.ClientSession(desk.url, connector=aiohttp.TCPConnector(ssl=context)) as session:
        with pytest.raises(aiohttp.ClientError):
            await session.post(Signal.LOGS.path, data=b"", headers={"Content-Type": CONTENT_TYPE})


async def test_an_ended_certificate_doesnt_pass_the_handshake(desk: Desk) -> None:
    key = new_key()
    leaf = desk.authority.sign_client(key.public_key(), "acme", uuid4(), desk.clock.now() - 8 * 86_400, 7)
    with pytest.raises(aiohttp.ClientError):
        await desk.send(Identity("acme", uuid4(), key, leaf), b"")


@pytest.mark.parametrize("end", ["revoked", "expired", "organisation"])
async def test_a_certificate_that_ends_during_a_kept_connection_ends_it(desk: Desk, end: str) -> None:
    identity = await desk.enrol()
    head = f"POST /v1/logs HTTP/1.1\r\nHost: localhost\r\nContent-Type: {CONTENT_TYPE}\r\nContent-Length: 0\r\n\r\n"
    async with connection(desk, identity) as (reader, writer):
        writer.write(head.encode())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        if end == "expired":
            desk.clock.advance(8 * 86_400)
        else:
            what = "acme" if end == "organisation" else f"{identity.certificate.serial_number:x}"
            assert await revoke(desk.store, what, desk.clock.now()) == 1
        writer.write(head.encode())
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 401" if end == "expired" else b"HTTP/1.1 403"), answer
        assert b"connection: close" in answer.lower()
        await asyncio.wait_for(reader.read(), 5)
        assert reader.at_eof()


@pytest.mark.parametrize("end", ["revoked", "forgotten"])
async def test_a_body_that_is_on_its_way_when_its_sender_is_ended_is_not_stored(desk: Desk, end: str) -> None:
    identity = await desk.enrol()
    raw = logs("late").SerializeToString()
    head = (
        f"POST /v1/logs HTTP/1.1\r\nHost: localhost\r\nContent-Type: {CONTENT_TYPE}\r\n"
        f"Content-Length: {len(raw)}\r\n\r\n"
    )
    async with connection(desk, identity) as (reader, writer):
        writer.write(head.encode() + raw[:-1])
        await writer.drain()
        await asyncio.sleep(0.1)  # it is known by now, and waits for the rest
        if end == "revoked":
            await revoke(desk.store, "acme", desk.clock.now())
        else:
            assert (await desk.ask("DELETE", names.FORGET_PATH, identity)).status == 204
        writer.write(raw[-1:])
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 403")
    for table in ("batches", "logs"):
        assert await desk.store.db.fetchval(f"SELECT count(*) FROM receiver_{table}") == 0


async def test_a_session_cant_be_resumed(desk: Desk) -> None:
    """What OpenSSL looked at yesterday is no check of today."""
    context = desk.trust(await desk.enrol())
    for _ in range(2):
        reader, writer = await asyncio.open_connection("127.0.0.1", desk.port, ssl=context, server_hostname="localhost")
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await reader.readuntil(b"ok\n")
        tls = writer.get_extra_info("ssl_object")
        assert not tls.session_reused
        assert tls.session is None or not tls.session.has_ticket
        writer.close()
        await writer.wait_closed()


async def test_old_tls_is_refused(desk: Desk) -> None:
    context = desk.trust()
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection("127.0.0.1", desk.port, ssl=context, server_hostname="localhost")


async def test_bodies_that_are_too_long_are_told_to_be_halved(desk: Desk) -> None:
    identity = await desk.enrol()
    long = logs("x" * MAX_RAW_BYTES).SerializeToString()
    for answer in (
        await desk.send(identity, long, Signal.LOGS),
        await desk.ask("POST", "/v1/logs", identity, body=long, **{"Content-Type": CONTENT_TYPE}),
    ):
        assert answer.status == 413
        assert verdict(answer.status, answer.headers["Content-Type"]) is Act.HALVE


async def test_a_bomb_is_told_before_it_goes_off(desk: Desk) -> None:
    identity = await desk.enrol()
    packer = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    bomb = b"".join(packer.compress(bytes(1024 * 1024)) for _ in range(200)) + packer.flush()  # 200 MiB
    assert len(bomb) < MAX_RAW_BYTES
    headers = {"Content-Type": CONTENT_TYPE, "Content-Encoding": "gzip"}
    async with asyncio.timeout(2):
        answer = await desk.ask("POST", "/v1/logs", identity, body=bomb, **headers)
    assert answer.status == 413


async def test_bodies_without_end_are_cut_off_at_the_bound(desk: Desk) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(64 * 1024)

    async with desk.session(await desk.enrol()) as session:
        with suppress(aiohttp.ClientError):  # the answer, or the end of the connection
            async with session.post("/v1/logs", data=endless(), headers={"Content-Type": CONTENT_TYPE}) as response:
                assert response.status == 413


GARBAGE: dict[str, tuple[bytes, dict[str, str], int]] = {
    "no protobuf": (b"\xff" * 40, {}, 400),
    "of the other signal": (metrics({"u": "Healthy"}).SerializeToString()[:-3], {}, 400),
    "no gzip": (b"plain", {"Content-Encoding": "gzip"}, 400),
    "cut off gzip": (gzip.compress(b"x" * 100)[:-4], {"Content-Encoding": "gzip"}, 400),
    "two gzips": (gzip.compress(b"") * 2, {"Content-Encoding": "gzip"}, 400),
    "zstd": (b"", {"Content-Encoding": "zstd"}, 415),
    "json": (b"{}", {"Content-Type": "application/json"}, 415),
    "no type": (b"", {"Content-Type": "application/octet-stream"}, 415),
    "a batch id that is none": (b"", {names.BATCH_ID: "1; DROP TABLE"}, 400),
}


async def test_garbage_is_refused_for_good_and_in_protobuf(desk: Desk) -> None:
    identity = await desk.enrol()
    for what, (body, headers, status) in GARBAGE.items():
        answer = await desk.ask("POST", "/v1/logs", identity, body=body, **{"Content-Type": CONTENT_TYPE, **headers})
        assert answer.status == status, (what, answer)
        assert verdict(answer.status, answer.headers["Content-Type"]) is Act.DROP
        assert Status.FromString(answer.body).code == Code.INVALID_ARGUMENT
    assert await desk.store.db.fetchval("SELECT count(*) FROM receiver_batches") == 0


async def test_half_a_million_empty_things_cost_no_time(desk: Desk) -> None:
    identity = await desk.enrol()
    many = ExportMetricsServiceRequest()
    many.resource_metrics.add().scope_metrics.add().metrics.add(name="m").gauge.data_points.extend(
        [type(many.resource_metrics.add().scope_metrics.add().metrics.add().gauge.data_points.add())()] * 200_000
    )
    resources = ExportMetricsServiceRequest()
    for _ in range(100_000):
        resources.resource_metrics.add()
    loop = asyncio.get_running_loop()
    for hostile in (many, resources):
        began = loop.time()
        answer = await desk.send(identity, hostile.SerializeToString())
        assert answer.status in (413, 200), answer
        assert loop.time() - began < 2


async def test_a_body_that_stops_halfway_is_not_stored(desk: Desk) -> None:
    identity = await desk.enrol()
    raw = logs("x").SerializeToString()
    head = (
        f"POST /v1/logs HTTP/1.1\r\nHost: localhost\r\nContent-Type: {CONTENT_TYPE}\r\n"
        f"Content-Length: {len(raw) + 1}\r\n\r\n"
    )
    async with connection(desk, identity) as (_, writer):
        writer.write(head.encode() + raw)
        await writer.drain()
        await asyncio.sleep(0.1)
    await asyncio.sleep(0.1)
    assert await desk.store.db.fetchval("SELECT count(*) FROM receiver_batches") == 0
    assert (await desk.send(identity, raw, Signal.LOGS)).status == 200


@pytest.mark.parametrize("sends", [b"", b"POST /v1/logs HTTP/1.1\r\nHost: local"])
async def test_who_dawdles_over_a_head_is_cut_off(desk: Desk, sends: bytes) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with connection(desk) as (reader, writer):
        writer.write(sends)
        with suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), 5) == b""
    assert HEAD_S * 0.8 < loop.time() - began < HEAD_S + 1


async def test_many_idle_connections_dont_keep_an_honest_one_out(desk: Desk) -> None:
    identity = await desk.enrol()
    writers = []
    for _ in range(30):  # there is room for 20
        _, writer = await asyncio.open_connection("127.0.0.1", desk.port)
        writers.append(writer)
    assert (await desk.send(identity, b"")).status == 200
    for writer in writers:
        writer.close()


async def test_who_says_nothing_in_a_handshake_is_dropped_for_others_and_in_time(desk: Desk) -> None:
    opened = [await asyncio.open_connection("127.0.0.1", desk.port) for _ in range(30)]  # 10 handshakes at once
    loop = asyncio.get_running_loop()
    began = loop.time()
    ended_s: list[float] = []
    for reader, writer in opened:
        with suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), 5) == b""
        ended_s.append(loop.time() - began)
        writer.close()
    assert ended_s[19] < HEAD_S / 2, "the first twenty made room"
    assert HEAD_S * 0.8 < ended_s[20] < HEAD_S + 1


async def test_what_is_no_http_gets_a_short_answer_that_repeats_nothing(desk: Desk) -> None:
    async with connection(desk) as (reader, writer):
        writer.write(b"activate_secret nonsense\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), 5)
    assert answer.startswith(b"HTTP/1.0 400")
    assert b"activate" not in answer
    assert b"Python" not in answer


async def test_other_paths_and_methods_are_not_there(desk: Desk) -> None:
    identity = await desk.enrol()
    for method, path in (("GET", "/v1/logs"), ("POST", est.CACERTS), ("POST", "/v1/traces"), ("GET", "/")):
        answer = await desk.ask(method, path, identity)
        assert answer.status in (404, 405)
        assert "Python" not in answer.headers["Server"]
