"""The sender at what others have written: nginx that asks for certificates, openssl's alerts, and a collector."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from store.pool import Database
from tests.support.loops import on_both_loops
from tests.support.uplink_fronts import Backend, Circle, Nginx, alerting, backing, collecting, fronting
from tests.support.uplink_peers import listening
from tests.support.uplinking import Rig, batches_of, consent, until, waiting_ids
from uplink.client.consent.streams import Stream
from uplink.client.encoding.batch import Batch
from uplink.client.network.line import IngestLine
from uplink.client.network.transport import Transport
from uplink.client.network.trust import Trust
from uplink.client.spooling.sender import POISON
from uplink.wire.otlp import CONTENT_TYPE, ENCODING, Signal, pack, parse
from uplink.wire.verdicts import Act, verdict

ALERTS = {
    "revoked": "certificate revoked",
    "foreign": "unknown ca",
    "ended": "certificate expired",
    "missing": "certificate required",
}


@pytest.fixture(scope="module")
def circle() -> Circle:
    return Circle()


@dataclass
class Client:
    """A sender whose endpoint and certificate are exchanged by the test."""

    rig: Rig
    line: IngestLine

    async def add(self, count: int, stream: Stream = Stream.LOGS, records: int = 1) -> list[Batch]:
        given = self.rig.gate.given
        assert given is not None
        batches = batches_of(given, count, stream, records)
        await self.rig.spool.add(given, batches, time.time())
        return batches

    async def lost(self) -> dict[str, int]:
        """What is not waiting and was not received."""
        counts = await self.rig.spool.counts()
        return {**counts, "quarantined": (await self.rig.spool.backlog()).quarantined}


@asynccontextmanager
async def client_of(db: Database, directory: Path, url: str, trust: Trust) -> AsyncIterator[Client]:
    transport: Transport
    client: Client
    rig = Rig(db, directory, lambda: client.line, abort=lambda: transport.abort())  # noqa: PLW0108 - made below
    transport = Transport(rig.gate.is_open)
    client = Client(rig, IngestLine(trust.generation, transport, url, trust))
    try:
        await rig.begin(consent())
        yield client
    finally:
        await transport.close()


def present(client: Client, trust: Trust) -> None:
    """Enrolment has brought another certificate."""
    client.line = IngestLine(trust.generation, client.line.transport, client.line.url, trust)
    client.rig.sender.try_again()


# -- nginx with `ssl_verify_client on`


@pytest.fixture
async def backend() -> AsyncIterator[Backend]:
    async with backing() as made:
        yield made


@pytest.fixture
def nginx(tmp_path: Path, circle: Circle, backend: Backend) -> Iterator[Nginx]:
    with fronting(tmp_path / "nginx", circle, backend.where) as made:
        yield made


def sent(batches: list[Batch]) -> list[tuple[str, bytes]]:
    return [(batch.signal.path, batch.raw) for batch in batches]


async def test_through_nginx_that_asks_for_a_certificate_everything_arrives(
    uplink_db: Database, tmp_path: Path, circle: Circle, nginx: Nginx, backend: Backend
) -> None:
    with nginx.running():
        async with client_of(uplink_db, tmp_path, nginx.url, circle.trust()) as client:
            batches = [batch for stream in Stream for batch in await client.add(2, stream, 300)]
            await client.rig.steps()
            assert (client.rig.sender.state.word, await client.lost()) == ("active", {"quarantined": 0})
    assert backend.got == sent(batches)


@pytest.mark.parametrize("what", ["missing", "ended", "foreign", "revoked"])
async def test_h17_nginx_refuses_a_certificate_with_a_page_and_nothing_is_dropped(
    uplink_db: Database, tmp_path: Path, circle: Circle, nginx: Nginx, backend: Backend, what: str
) -> None:
    """It is a 400, which OTLP would have us drop."""
    bad = circle.trust(what)
    with nginx.running():
        async with client_of(uplink_db, tmp_path, nginx.url, bad) as client:
            batches = await client.add(3)
            for _ in range(5):
                assert (await client.rig.sender.step() or 0) > 0
            state = client.rig.sender.state
            assert (state.word, await client.lost()) == ("held", {"quarantined": 0})
            assert "400" in state.detail
            assert "certificate" in state.detail
            assert state.next_attempt_at is not None
            assert await waiting_ids(uplink_db) == [str(batch.id) for batch in batches]
            assert backend.got == []
            present(client, circle.trust(generation=2))
            await client.rig.steps()
            assert client.rig.sender.state.word == "active"
    assert backend.got == sent(batches), "all of it, in order, once the certificate is mended"


async def test_h25_nginx_has_a_smaller_bound_and_nothing_is_dropped(
    uplink_db: Database, tmp_path: Path, circle: Circle, nginx: Nginx, backend: Backend
) -> None:
    """Its 413 comes while the body is on its way, as a page."""
    async with client_of(uplink_db, tmp_path, nginx.url, circle.trust()) as client:
        batches = await client.add(2, records=600)
        with nginx.running(max_body="2k"):
            await client.rig.steps()
            assert (client.rig.sender.state.word, await client.lost()) == ("active", {"quarantined": 0})
            assert len(backend.got) > len(batches)
        got = [parse(Signal.LOGS, body) for _, body in backend.got]
        assert [item for request in got for item in items(request)] == [
            item for batch in batches for item in items(parse(Signal.LOGS, batch.raw))
        ]
        kept = await client.add(1)
        with nginx.running(max_body="10"):
            for _ in range(5):
                await client.rig.sender.step()
            assert "413" in client.rig.sender.state.detail
            assert await waiting_ids(uplink_db) == [str(batch.id) for batch in kept]
        backend.got.clear()
        with nginx.running():
            await client.rig.steps()
    assert backend.got == sent(kept)


async def test_h21_nginx_without_its_backend_and_nothing_is_dropped(
    uplink_db: Database, tmp_path: Path, circle: Circle, nginx: Nginx, backend: Backend
) -> None:
    """502 and 504 as pages, and once more 200 as one: all of them are waited for."""
    async with client_of(uplink_db, tmp_path, nginx.url, circle.trust()) as client:
        batches = await client.add(3)
        for status in ("502", "504", "200"):
            backend.hangs = status == "504"
            backend.answers = [web.Response(text="<html>soon", content_type="text/html")] if status == "200" else []
            with nginx.running(away=status == "502"):
                assert (await client.rig.sender.step() or 0) > 0
            state = client.rig.sender.state
            assert (state.word, status in state.detail) == ("degraded", True), state.detail
            assert await waiting_ids(uplink_db) == [str(batch.id) for batch in batches]
        with nginx.running():
            await client.rig.steps()
        assert await client.lost() == {"quarantined": 0}
    assert backend.got == sent(batches)


# -- a collector that others have written


def items(request: Any) -> list[tuple[str, Any]]:
    """Each record or point with the resource that it is of."""
    found: list[tuple[str, Any]] = []
    for of in getattr(request, "resource_logs", None) or request.resource_metrics:
        resource = str(sorted(f"{each.key}={each.value.string_value}" for each in of.resource.attributes))
        for scope in getattr(of, "scope_logs", None) or of.scope_metrics:
            found += [(resource, each) for each in getattr(scope, "log_records", None) or scope.metrics]
    return found


async def test_a_collector_behind_nginx_reads_what_we_say_and_passes_it_on(
    uplink_db: Database, tmp_path: Path, circle: Circle, backend: Backend
) -> None:
    """rotel has no TLS of its own for what comes in: nginx ends it, and asks for the certificate."""
    async with collecting(tmp_path, backend.where) as where:
        with fronting(tmp_path / "nginx", circle, where) as nginx, nginx.running():
            async with client_of(uplink_db, tmp_path, nginx.url, circle.trust()) as client:
                batches = [batch for stream in Stream for batch in await client.add(1, stream, 200)]
                await client.rig.steps()
                assert (client.rig.sender.state.word, await client.lost()) == ("active", {"quarantined": 0})
                expected = sorted(
                    map(str, (each for batch in batches for each in items(parse(batch.signal, batch.raw))))
                )
                await until(lambda: len(read(backend)) >= len(expected))
                headers = {"Content-Type": CONTENT_TYPE, "Content-Encoding": ENCODING}
                garbage = await client.line.post(Signal.LOGS.path, pack(b"\xff"), headers, 5)
                assert verdict(garbage.status, garbage.content_type) is Act.HOLD, "a bare 400: no verdict"
                empty = await client.line.post(Signal.LOGS.path, pack(b""), headers, 5)
                assert verdict(empty.status, empty.content_type) is Act.DONE
    assert len(expected) > 100
    assert read(backend) == expected


def read(backend: Backend) -> list[str]:
    signals = {signal.path: signal for signal in Signal}
    return sorted(str(each) for path, body in backend.got for each in items(parse(signals[path], body)))


# -- alerts of openssl's server


@on_both_loops
@pytest.mark.parametrize("records", [1, 3000])
@pytest.mark.parametrize("what", ALERTS)
async def test_h17_an_alert_holds_everything_and_asks_for_another_certificate_once(
    uplink_db: Database, tmp_path: Path, circle: Circle, what: str, records: int
) -> None:
    """In TLS 1.3 it comes after the handshake, while a body is on its way: uvloop loses it then, if nobody looks."""
    trust = circle.trust(what)
    async with alerting(tmp_path, circle) as url, client_of(uplink_db, tmp_path, url, trust) as client:
        ids = [str(batch.id) for batch in await client.add(2, records=records)]
        for _ in range(4):
            assert (await client.rig.sender.step() or 0) > 0
            state = client.rig.sender.state
            assert (state.word, ALERTS[what] in state.detail) == ("held", True), state.detail
            assert "does not accept our certificate" in state.detail
        assert client.rig.refused == [1]
        assert await waiting_ids(uplink_db) == ids
        assert await client.lost() == {"quarantined": 0}


@on_both_loops
async def test_h17_a_reset_instead_of_an_alert_looks_like_the_network_and_holds_everything(
    uplink_db: Database, tmp_path: Path, circle: Circle
) -> None:
    """So do servers on asyncio that want a certificate and do not like ours."""
    circle.write(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    context.load_verify_locations(tmp_path / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    async with (
        listening(_never, context) as peer,
        client_of(uplink_db, tmp_path, peer.url, circle.trust("foreign")) as client,
    ):
        ids = [str(batch.id) for batch in await client.add(2)]
        for _ in range(POISON + 2):
            await client.rig.gate.ask()
            assert (await client.rig.sender.step() or 0) > 0
        assert client.rig.sender.state.word in {"held", "degraded"}
        assert "ClientOSError" not in client.rig.sender.state.detail
        assert await waiting_ids(uplink_db) == ids
        assert await client.lost() == {"quarantined": 0}


async def _never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    pytest.fail("its certificate was refused")
