"""Sender and enrolment where what is around them does its worst: answers, databases, copies of a disk, passwords."""

from __future__ import annotations

import asyncio
import gzip
import logging
import shutil
import time
from pathlib import Path

import pytest
import structlog
from aiohttp import web
from cryptography.hazmat.primitives.serialization import Encoding

from store.pool import Database
from tests.support.enrolling import TOKEN, Bench, bench, eventually
from tests.support.est_server import vending
from tests.support.receiving import receiving
from tests.support.uplink_peers import Impostor, Talk, http, proxying
from tests.support.uplinking import Rig, Said, ScriptedLine, batches_of, consent, waiting_ids
from uplink.client.enrolment.enrolment import Word
from uplink.client.network.line import IngestLine
from uplink.client.network.proxy import Proxies
from uplink.client.network.transport import Transport
from uplink.client.spooling.pace import Pace
from uplink.client.spooling.sender import POISON
from uplink.receiver.revoking import revoke
from uplink.wire.bounds import MAX_ANSWER_BYTES
from uplink.wire.otlp import CONTENT_TYPE, Code, Signal, accepted, refusal

PROTOBUF = f"HTTP/1.1 200 OK\r\nContent-Type: {CONTENT_TYPE}\r\n".encode()
ANSWER = accepted(Signal.LOGS, rejected=0, message="all is well " * 20)


def _then_close(said: bytes) -> Talk:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        await writer.drain()

    return talk


ANSWERS: dict[str, bytes | Talk] = {
    "cut off": _then_close(PROTOBUF + b"Content-Length: %d\r\n\r\n" % len(ANSWER) + ANSWER[:50]),
    "cut off, and no length": _then_close(PROTOBUF + b"\r\n" + ANSWER[:50]),
    "cut off in a chunk": _then_close(PROTOBUF + b"Transfer-Encoding: chunked\r\n\r\nff\r\n" + ANSWER[:50]),
    "too long": _then_close(PROTOBUF + b"\r\n" + b"\0" * (MAX_ANSWER_BYTES + 70_000)),
    "a bomb": http(200, gzip.compress(b"\0" * 50_000_000), Content_Type=CONTENT_TYPE, Content_Encoding="gzip"),
    "a portal": http(200, b"<html>log in", Content_Type="text/html"),
    "to a portal": http(302, Content_Type="text/html", Location="https://portal.example.com"),
}


@pytest.mark.parametrize("what", ANSWERS)
async def test_h21_whatever_comes_that_is_no_whole_answer_keeps_the_batch(
    uplink_db: Database, tmp_path: Path, what: str
) -> None:
    transport: Transport
    server, given = Impostor(), consent()
    async with server.saying(ANSWERS[what]) as peer:
        line = lambda: IngestLine(1, transport, peer.url, server.trust)  # noqa: E731
        rig = Rig(uplink_db, tmp_path, line)
        transport = Transport(rig.gate.is_open)
        await rig.begin(given)
        batches = batches_of(given, 2)
        await rig.spool.add(given, batches, time.time())
        for _ in range(POISON + 1):
            await rig.gate.ask()
            assert (await rig.sender.step() or 0) > 0
        await transport.close()
    assert await waiting_ids(uplink_db) == [str(batch.id) for batch in batches]
    assert (await rig.spool.backlog()).quarantined == 0
    assert rig.sender.state.word in {"held", "degraded"}
    assert await rig.spool.counts() == {}


@pytest.mark.parametrize(
    "said",
    [
        Said(),
        Said(400, body=refusal(Code.INVALID_ARGUMENT, "no")),
        Said(413),
        Said(500, "text/html"),
    ],
    ids=lambda said: str(said.status),
)
async def test_h18_a_database_that_takes_no_writes_makes_nobody_flood_the_endpoint(
    uplink_db: Database, uplink_database: str, tmp_path: Path, said: Said
) -> None:
    """Full, or read-only after a failover: what was answered can't be written down, so the same batch comes again."""
    line, given = ScriptedLine(otherwise=lambda *_: said), consent()
    writable = Rig(uplink_db, tmp_path, lambda: line)
    await writable.begin(given)
    (batch,) = batches_of(given, 1, records=300)
    await writable.spool.add(given, [batch], time.time())
    read_only = await Database.open(f"{uplink_database}&default_transaction_read_only=on")
    try:
        rig = Rig(read_only, tmp_path, lambda: line, pace=Pace(base_s=0.4))
        rig.gate.admit(writable.gate.standing)  # type: ignore[arg-type]  # there is one
        async with rig.running():
            await asyncio.sleep(1.0)
            assert 1 <= len(line.posts) <= 3, "every 0.2 s it would be 5"
            assert rig.sender.state.word == "degraded"
            assert "read-only" in rig.sender.state.detail
            assert rig.sender.state.next_attempt_at is not None
    finally:
        await read_only.close()
    assert len(set(line.ids)) == 1, "with the same id each time: a receiver takes it once"
    assert await waiting_ids(uplink_db) == [str(batch.id)]
    line.otherwise = lambda *_: Said()
    await writable.steps()
    assert await waiting_ids(uplink_db) == []


# -- copies


async def test_h7_of_two_installations_with_one_certificate_both_go_on_and_revoking_ends_both(
    receiver_url: str, tmp_path: Path
) -> None:
    """A disk was copied with identity and consent: each renews for itself, and the receiver knows of every one."""
    async with receiving(receiver_url, tmp_path / "receiver") as desk:
        anchors = "".join(each.public_bytes(Encoding.PEM).decode() for each in desk.authority.bundle)
        url, first = f"https://localhost:{desk.port}", tmp_path / "first"
        async with bench(first, url, anchors) as one:
            await one.begin(await desk.token())
            async with one.running():
                await one.until(Word.ACTIVE)
            shutil.copytree(first, tmp_path / "second")
            async with bench(tmp_path / "second", url, anchors, bound=one.bond) as two:
                for each in (one, two):
                    await each.begin(None)
                    assert each.enroller.state().word is Word.ACTIVE
                    each.enroller.not_accepted(1)
                    async with each.running():
                        await eventually(lambda each=each: each.enroller.state().generation == 2)  # type: ignore[misc]
                serials = "SELECT count(DISTINCT serial) FROM receiver_certificates"
                assert await desk.store.db.fetchval(serials) == 3
                await revoke(desk.store, str(one.bond.installation_id), desk.clock.now())
                for each in (one, two):
                    await refused_for_good(each)


async def refused_for_good(client: Bench) -> None:
    client.clock.advance(86_400)
    client.enroller.not_accepted(2)
    async with client.running():
        state = await client.until(Word.DEGRADED, detail="revoked")
    assert "403" in state.detail


# -- what is not to be read anywhere

PASSWORD = "canary-pr0xy-pass"
SECRETS = (PASSWORD, "canary-pr0xy", TOKEN, TOKEN[:16], "PRIVATE KEY", "Basic ")


async def test_h30_no_log_state_or_error_has_a_token_or_a_proxys_password_in_it(
    uplink_db: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Through every proxy that can't be used, at an endpoint that repeats what it was told; all loggers at DEBUG."""
    caplog.set_level(logging.DEBUG)
    said: list[str] = []
    given = consent()
    with structlog.testing.capture_logs() as ours:
        async with vending() as vendor, proxying(wants="Basic other") as wants, proxying(status=502) as broken:
            vendor.sign = lambda _: web.Response(status=401, text=f"the token {TOKEN} is used")
            settings = [
                f"http://ann:{PASSWORD}@127.0.0.1:{wants.port}",
                f"http://ann:{PASSWORD}@127.0.0.1:{broken.port}",
                f"http://ann:{PASSWORD}@127.0.0.1:1",
                f"http://ann:{PASSWORD}@no-such-name.invalid:8080",
                f"https://ann:{PASSWORD}@127.0.0.1:8443",
                f"socks5://ann:{PASSWORD}@127.0.0.1",
                f"http://ann:{PASSWORD}@127.0.0.1:port",
                f"http://ann:{PASSWORD}@[half",
                f"ann:{PASSWORD}@127.0.0.1:{wants.port}",
            ]
            for number, setting in enumerate(settings):
                transport = Transport(lambda: True, Proxies(setting))
                line = IngestLine(1, transport, vendor.url, vendor.trust)
                rig = Rig(uplink_db, tmp_path, lambda line=line: line)  # type: ignore[misc]
                await rig.begin(given)
                await rig.spool.add(given, batches_of(given, 1), time.time())
                await rig.sender.step()
                said.append(f"{rig.sender.state!r}")
                assert rig.sender.state.word in {"held", "degraded"}
                async with bench(tmp_path / str(number), vendor.url, vendor.anchors_pem) as client:
                    client.transport._proxies = Proxies(setting)
                    await client.begin()
                    async with client.running():
                        said.append(repr(await client.until(Word.ENROLLING, detail="proxy")))
                await transport.close()
            async with bench(tmp_path / "refused", vendor.url, vendor.anchors_pem) as client:
                await client.begin()
                async with client.running():
                    said.append(repr(await client.until(Word.HELD)))
    logged = [str(each) for each in ours] + [record.getMessage() for record in caplog.records]
    everything = "\n".join([*said, *logged])
    assert len(ours) > len(settings)
    assert f"127.0.0.1:{wants.port}" in everything, "not deaf: the proxies are named"
    assert [secret for secret in SECRETS if secret in everything] == []
