"""Off in the stages that are not an upload: a name is looked up, a person has to approve, a certificate is renewed.

And what is off from the beginning, whatever the file and the database say. The rest of H3 is in test_uplink_off.py.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from aiohttp import web

from store.pool import Database
from tests.support.enrolling import TOKEN, bond, eventually
from tests.support.est_server import Made, Vendor, vending
from tests.support.relay import Relay
from tests.support.telemetry import ENDPOINTS, OFFER
from tests.support.uplink_peers import Impostor, http
from tests.support.uplinking import Rig, ScriptedLine, batches_of, consent, standing_of, until, waiting_ids
from uplink.client.consent.consent import decide
from uplink.client.consent.record import Endpoints
from uplink.client.enrolment.enroller import Enroller
from uplink.client.enrolment.enrolment import Word
from uplink.client.enrolment.est import EstRegistrar
from uplink.client.enrolment.prober import IngestProber
from uplink.client.enrolment.vault import FileVault
from uplink.client.network.line import IngestLine
from uplink.client.network.resolving import Names
from uplink.client.network.transport import Transport
from uplink.client.spooling.off import Off
from validator.clock import FakeClock


@dataclass
class Enrolling:
    """Enrolment, gate and off of one instance, at a vendor behind a relay that counts."""

    rig: Rig
    off: Off
    enroller: Enroller
    transport: Transport
    clock: FakeClock
    relay: Relay
    directory: Path

    def wake(self, after_s: float) -> None:
        self.clock.advance(after_s)
        self.enroller._woken.set()


@asynccontextmanager
async def enrolling(db: Database, tmp_path: Path, vendor: Vendor) -> AsyncIterator[Enrolling]:
    transport: Transport
    clock, relay, directory = FakeClock(time.time()), Relay(vendor.port), tmp_path / "identity"
    rig = Rig(db, tmp_path, lambda: None, abort=lambda: transport.abort())  # noqa: PLW0108 - made below
    transport = Transport(rig.gate.is_open)
    enroller = Enroller(FileVault(directory), vendor.anchors_pem, clock, retire=transport.retire, dice=lambda: 0.0)
    off = Off(rig.epochs, rig.gate, enroller.destroy)
    url = f"https://localhost:{relay.port}"
    await rig.begin(consent())
    await enroller.begin(bond(url), TOKEN, EstRegistrar(transport, url, clock), IngestProber(transport, url))
    async with asyncio.TaskGroup() as tasks:
        started = [tasks.create_task(run()) for run in (rig.gate.run, off.run, enroller.run)]
        try:
            yield Enrolling(rig, off, enroller, transport, clock, relay, directory)
        finally:
            for task in started:
                task.cancel()
            await transport.close()
            relay.close()


async def nothing_more(here: Enrolling, vendor: Vendor, connections: int, sent: int) -> None:
    """After off: not a byte at the socket, nothing on the disk, and no time of day changes it."""
    asked = len(vendor.asked)
    for _ in range(3):
        here.wake(after_s=5 * 86_400)
        await asyncio.sleep(0.1)
    assert (here.relay.connections, here.relay.bytes, len(vendor.asked)) == (connections, sent, asked)
    assert list(here.directory.iterdir()) == []
    assert here.enroller.trust() is None
    assert here.enroller.state().word is Word.OFF
    assert not here.off.unfinished


async def test_h3_off_while_a_name_is_looked_up(uplink_db: Database, tmp_path: Path) -> None:
    """The name server is silent: what c-ares would ask it again is counted at its socket."""
    transport: Transport
    trust = Impostor().trust
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.setblocking(False)
        names = Names(["127.0.0.1"], udp_port=server.getsockname()[1], try_s=0.2)
        line = lambda: IngestLine(1, transport, "https://ingest.example.com", trust)  # noqa: E731
        rig = Rig(uplink_db, tmp_path, line, abort=lambda: transport.abort())  # noqa: PLW0108 - made below
        transport = Transport(rig.gate.is_open, names=names)
        off = Off(rig.epochs, rig.gate, _no_key)
        given = consent()
        await rig.begin(given)
        await rig.spool.add(given, batches_of(given, 3), time.time())
        async with rig.running():
            finishing = asyncio.create_task(off.run())
            try:
                await until(lambda: heard(server) > 0)
                heard(server)
                began = time.monotonic()
                await off.ended()
                assert time.monotonic() - began < 1
                heard(server)  # what had left before
                await asyncio.sleep(0.6)
                assert heard(server) == 0
                assert rig.sender.state.word == "off"
                assert await waiting_ids(uplink_db) == []
            finally:
                finishing.cancel()
        await transport.close()


async def _no_key() -> None:
    pass


def heard(server: socket.socket) -> int:
    count = 0
    with suppress(BlockingIOError):
        while server.recv(4096):
            count += 1
    return count


async def test_h3_off_while_a_person_has_to_approve(uplink_db: Database, tmp_path: Path) -> None:
    async with vending() as vendor:
        vendor.sign = lambda _: web.Response(status=202, headers={"Retry-After": "1"})
        async with enrolling(uplink_db, tmp_path, vendor) as here:
            await eventually(lambda: "approve" in here.enroller.state().detail)
            here.wake(after_s=2)
            await eventually(lambda: vendor.paths().count("simpleenroll") == 2)
            await eventually(lambda: here.enroller.state().next_attempt_at)
            await asyncio.sleep(0.05)
            connections, sent = here.relay.connections, here.relay.bytes
            assert sent > 0
            began = time.monotonic()
            await here.off.ended()
            assert time.monotonic() - began < 1
            await nothing_more(here, vendor, connections, sent)


@pytest.mark.parametrize("at", ["simplereenroll", "probe"])
async def test_h3_off_while_a_certificate_is_renewed(uplink_db: Database, tmp_path: Path, at: str) -> None:
    async with vending() as vendor, enrolling(uplink_db, tmp_path, vendor) as here:
        await eventually(lambda: here.enroller.state().word is Word.ACTIVE)
        sign, counted = vendor.sign, list[tuple[int, int]]()
        off: list[asyncio.Task[None]] = []

        def switch_off() -> None:
            counted.append((here.relay.connections, here.relay.bytes))
            off.append(asyncio.create_task(here.off.ended()))

        def signing(csr: object) -> Made:
            if at == "simplereenroll":
                switch_off()
            return sign(csr)  # type: ignore[arg-type]  # a request

        def probed(_: object) -> web.Response:
            switch_off()
            return web.Response(content_type="application/x-protobuf")

        vendor.sign = signing
        if at == "probe":
            vendor.ingest = probed
        here.wake(after_s=5 * 86_400)
        await eventually(lambda: off)
        await off[0]
        await nothing_more(here, vendor, *counted[0])
        assert len(counted) == 1
        assert here.enroller.state().generation == 0


# -- off from the beginning


@pytest.mark.parametrize("environ", [{"DO_NOT_TRACK": "1"}, {"MUSTER_TELEMETRY": "off"}])
async def test_h2_a_variable_beats_the_file_and_the_database(
    uplink_db: Database, tmp_path: Path, environ: dict[str, str]
) -> None:
    line, given = ScriptedLine(), consent()
    rig = Rig(uplink_db, tmp_path, lambda: line)
    await rig.epochs.open(given)
    await rig.spool.add(given, batches_of(given, 2), time.time())
    assert (await rig.epochs.read()).permits(given), "the database says yes"
    rig.gate.admit(decide(given, OFFER, environ))
    async with rig.running():
        await asyncio.sleep(0.3)
        assert not rig.gate.is_open()
        assert rig.sender.state.word == "off"
        rig.gate.admit(decide(given, OFFER, {}))  # not deaf: without it the same consent sends
        await until(lambda: len(line.posts) == 2)


async def test_h29_an_endpoint_that_was_edited_to_another_host_hears_nothing(
    uplink_db: Database, tmp_path: Path
) -> None:
    transport: Transport
    server, given = Impostor(), consent()
    async with server.saying(http(200, Content_Type="application/x-protobuf")) as other:
        line = lambda: IngestLine(1, transport, other.url, server.trust)  # noqa: E731
        rig = Rig(uplink_db, tmp_path, line, abort=lambda: transport.abort())  # noqa: PLW0108 - made below
        transport = Transport(rig.gate.is_open)
        await rig.begin(given)
        await rig.spool.add(given, batches_of(given, 2), time.time())
        edited = replace(OFFER, endpoints=Endpoints(register_url=ENDPOINTS.register_url, ingest_url=other.url))
        standing = decide(given, edited, {})
        rig.gate.admit(standing)
        async with rig.running():
            await asyncio.sleep(0.2)
            assert (other.connections, len(await waiting_ids(uplink_db))) == (0, 2)
            assert "endpoint" in standing.why
            rig.gate.admit(standing_of(given))  # not deaf
            rig.sender.wake()
            await until(lambda: other.connections > 0)
        await transport.close()
