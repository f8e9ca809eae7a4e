"""Off: within a second, without a network, in every state; what leaves after it is counted at the socket."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self
from uuid import uuid4

import pytest

from store.embedded import EmbeddedPostgres
from store.migrate import STORE_MIGRATIONS, migrate
from store.pool import Database
from tests.support.postgres import frozen
from tests.support.telemetry import ANN, OFFER
from tests.support.uplink_peers import Impostor
from tests.support.uplinking import QUICK, Rig, Said, ScriptedLine, batches_of, consent, standing_of, until, waiting_ids
from uplink.client.consent.consent import NOBODY, Absent, withdraw
from uplink.client.consent.record import Given
from uplink.client.encoding.batch import Batch
from uplink.client.network.line import IngestLine
from uplink.client.network.transport import Transport
from uplink.client.network.trust import Trust
from uplink.client.network.unreached import Obstacle, Unreached
from uplink.client.spooling.epochs import SPOOL_MIGRATIONS, Epochs
from uplink.client.spooling.off import Off
from uplink.client.spooling.pace import Pace
from uplink.client.spooling.spool import SpoolClosed


class Key:
    """A key on a disk that may be ill."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ill = False
        path.write_text("key")

    async def destroy(self) -> None:
        if self.ill:
            raise OSError(30, "Read-only file system")
        self.path.unlink(missing_ok=True)


@dataclass
class Instance:
    rig: Rig
    off: Off
    key: Key


def make(db: Database, directory: Path, line: Callable[[], object], **more: object) -> Instance:
    directory.mkdir(exist_ok=True)
    rig = Rig(db, directory, line, **more)  # type: ignore[arg-type]
    key = Key(directory / "key")
    return Instance(rig, Off(rig.epochs, rig.gate, key.destroy), key)


@asynccontextmanager
async def living(*instances: Instance) -> AsyncIterator[None]:
    """With all their tasks."""
    async with asyncio.TaskGroup() as tasks:
        started = [
            tasks.create_task(run())
            for each in instances
            for run in (each.rig.gate.run, each.rig.sender.run, each.off.run)
        ]
        try:
            yield
        finally:
            for task in started:
                task.cancel()


class Sink:
    """A server that counts every byte that comes in, and answers none."""

    def __init__(self, *, tls: ssl.SSLContext | None = None, slowly: bool = False) -> None:
        self.bytes = 0
        self.connections = 0
        self._tls = tls
        self._slowly = slowly
        self._server: asyncio.Server | None = None
        self.port = 0

    async def __aenter__(self) -> Self:
        listener = socket.socket()
        if self._slowly:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listener.bind(("127.0.0.1", 0))
        self._tasks: set[asyncio.Task[None]] = set()
        self._server = await asyncio.start_server(self._serve, sock=listener, ssl=self._tls, limit=8192)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def refuse(self) -> None:
        """Take no more connections."""
        assert self._server is not None
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            while some := await reader.read(2048 if self._slowly else 65536):
                self.bytes += len(some)
                if self._slowly:
                    await asyncio.sleep(0.02)  # 100 KB/s
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()


def large(given: Given) -> list[Batch]:
    """A batch of 1 MiB that does not compress."""
    (batch,) = batches_of(given, 1)
    request = batch.signal.request()
    request.ParseFromString(batch.raw)
    record = request.resource_logs[0].scope_logs[0].log_records[0]
    record.body.string_value = os.urandom(500_000).hex()
    return [replace(batch, id=uuid4(), raw=request.SerializeToString())]


@asynccontextmanager
async def talking(db: Database, directory: Path, sink: Sink, trust: Trust) -> AsyncIterator[tuple[Instance, Transport]]:
    """An instance whose real transport speaks to the sink."""
    transport: Transport
    instance = make(
        db,
        directory,
        lambda: IngestLine(1, transport, f"https://127.0.0.1:{sink.port}", trust),
        abort=lambda: transport.abort(),  # noqa: PLW0108 - it is made below
    )
    transport = Transport(instance.rig.gate.is_open)
    try:
        yield instance, transport
    finally:
        await transport.close()


async def off_at(instance: Instance, sink: Sink, db: Database, *, kernel: int = 0) -> None:
    """Off now: the four promises, at this socket."""
    began, before = time.monotonic(), sink.bytes
    await instance.off.ended()
    assert time.monotonic() - began < 1
    assert not instance.off.unfinished
    assert not instance.key.path.exists()
    assert await waiting_ids(db) == []
    assert (await instance.rig.epochs.read()).consent is None
    await asyncio.sleep(0.3)
    assert sink.bytes - before <= kernel, "only what the kernels held"
    connections = sink.connections
    instance.rig.sender.try_again()
    await asyncio.sleep(0.2)
    assert (sink.connections, instance.rig.sender.state.word) == (connections, "off")


async def test_h3_off_during_the_upload_of_1_mib_on_a_slow_link(uplink_db: Database, tmp_path: Path) -> None:
    ca = Impostor()
    async with Sink(tls=ca.context, slowly=True) as sink, talking(uplink_db, tmp_path, sink, ca.trust) as (instance, _):
        given = consent()
        await instance.rig.begin(given)
        instance.rig.sender._dictionary = OFFER.dictionary
        free = given.model_copy(
            update={"scope": {s: c.model_copy(update={"free_text": True}) for s, c in given.scope.items()}}
        )
        instance.rig.gate.admit(standing_of(free))
        await instance.rig.spool.add(free, large(free), time.time())
        async with living(instance):
            await until(lambda: sink.bytes > 20_000)
            before = sink.bytes
            await off_at(instance, sink, uplink_db, kernel=64_000)
            assert before < 400_000, "it was well under way, and far from done"


async def test_h3_off_during_the_tls_handshake(uplink_db: Database, tmp_path: Path) -> None:
    ca = Impostor()
    async with Sink() as sink, talking(uplink_db, tmp_path, sink, ca.trust) as (instance, _):
        given = consent()
        await instance.rig.begin(given)
        await instance.rig.spool.add(given, batches_of(given, 3), time.time())
        async with living(instance):
            await until(lambda: sink.bytes > 100)  # the ClientHello
            await off_at(instance, sink, uplink_db)


async def test_h3_off_while_an_answer_is_waited_for(uplink_db: Database, tmp_path: Path) -> None:
    ca = Impostor()
    async with Sink(tls=ca.context) as sink, talking(uplink_db, tmp_path, sink, ca.trust) as (instance, _):
        given = consent()
        await instance.rig.begin(given)
        await instance.rig.spool.add(given, batches_of(given, 3), time.time())
        async with living(instance):
            await until(lambda: sink.bytes > 300)
            await off_at(instance, sink, uplink_db)


async def test_h3_off_during_backoff(uplink_db: Database, tmp_path: Path) -> None:
    ca = Impostor()
    async with Sink() as sink, talking(uplink_db, tmp_path, sink, ca.trust) as (instance, _):
        given = consent()
        await instance.rig.begin(given)
        instance.rig.sender._pace = Pace(base_s=0.4)
        await instance.rig.spool.add(given, batches_of(given, 3), time.time())
        sink.refuse()
        async with living(instance):
            await until(lambda: instance.rig.sender.state.next_attempt_at is not None)
            await off_at(instance, sink, uplink_db)


async def test_h3_off_during_start_up(uplink_db: Database, tmp_path: Path) -> None:
    ca = Impostor()
    async with Sink() as sink, talking(uplink_db, tmp_path, sink, ca.trust) as (instance, _):
        given = consent()
        await Epochs(uplink_db).open(given)
        await instance.rig.spool.add(given, batches_of(given, 3), time.time())
        async with living(instance):
            instance.rig.gate.admit(standing_of(given))  # and before the database has said anything
            await off_at(instance, sink, uplink_db)
            assert sink.connections == 0


async def test_h4_off_at_one_replica_silences_the_other(uplink_db: Database, tmp_path: Path) -> None:
    ours, theirs = ScriptedLine(), ScriptedLine()
    theirs.otherwise = lambda *_: Said(503)
    one = make(uplink_db, tmp_path / "one", lambda: ours)
    cut: list[float] = []
    two = make(uplink_db, tmp_path / "two", lambda: theirs, abort=lambda: cut.append(time.monotonic()))
    given = consent()
    await one.rig.begin(given)
    await two.rig.begin(given)
    await one.rig.spool.add(given, batches_of(given, 2), time.time())
    async with asyncio.TaskGroup() as tasks:
        started = [tasks.create_task(run()) for run in (two.rig.gate.run, two.rig.sender.run, one.off.run)]
        await until(lambda: len(theirs.posts) > 2)
        cut.clear()
        began = time.monotonic()
        await one.off.ended()
        await until(lambda: not two.rig.gate.is_open(), within_s=1)
        assert cut
        assert min(cut) - began < 0.6
        sent = len(theirs.posts)
        await asyncio.sleep(0.3)
        assert len(theirs.posts) == sent
        assert two.rig.sender.state.word == "off"
        assert two.rig.overtaken == [2], "its file has to say so, too: the database may be restored"
        with pytest.raises(SpoolClosed):
            await two.rig.spool.add(given, batches_of(given), time.time())
        for task in started:
            task.cancel()


async def test_h6_a_database_from_before_off_switches_nothing_on(uplink_db: Database, tmp_path: Path) -> None:
    line = ScriptedLine()
    here = make(uplink_db, tmp_path, lambda: line)
    given = consent(epoch=7)
    await here.rig.begin(given)
    await here.rig.spool.add(given, batches_of(given, 2), time.time())
    rows = await uplink_db.fetch("SELECT * FROM uplink_spool")
    record = withdraw(ANN, 8, time.time())
    async with living(here):
        await here.off.ended()
        assert not line.posts
        # the backup of yesterday: consent and spool are back
        await uplink_db.execute("UPDATE uplink_consent SET epoch = 7, consent = $1", given.consent_id)
        for row in rows:
            columns = ", ".join(row.keys())
            values = ", ".join(f"${number}" for number in range(1, len(row) + 1))
            await uplink_db.execute(f"INSERT INTO uplink_spool ({columns}) VALUES ({values})", *row.values())
        assert len(await waiting_ids(uplink_db)) == 2
        await here.off.resume(record)
        assert await waiting_ids(uplink_db) == []
        assert await here.rig.epochs.read() == (8, None)
    assert not line.posts


async def test_h6_a_file_whose_consent_the_database_does_not_know_sends_nothing(
    uplink_db: Database, tmp_path: Path
) -> None:
    line = ScriptedLine()
    here = make(uplink_db, tmp_path, lambda: line)
    for known in ((3, uuid4()), (7, uuid4()), (7, None)):
        await uplink_db.execute("UPDATE uplink_consent SET epoch = $1, consent = $2", *known)
        here.rig.gate.admit(standing_of(consent(epoch=7)))
        assert not await here.rig.gate.ask()
        assert "onsent again" in here.rig.gate.why
    assert not line.posts


async def test_h5_what_a_crash_has_left_is_purged_at_start(uplink_db: Database, tmp_path: Path) -> None:
    given, record = consent(), withdraw(ANN, 2, time.time())
    await Epochs(uplink_db).open(given)
    before = make(uplink_db, tmp_path, ScriptedLine)
    await before.rig.spool.add(given, batches_of(given, 2), time.time())
    after = make(uplink_db, tmp_path, ScriptedLine)
    async with living(after):
        await after.off.resume(record)
        assert not after.off.unfinished
    assert await waiting_ids(uplink_db) == []
    assert not after.key.path.exists()
    assert await after.rig.epochs.read() == (2, None)


async def test_h5_a_later_consent_of_another_instance_survives_an_old_off(uplink_db: Database, tmp_path: Path) -> None:
    later = consent(epoch=9)
    await Epochs(uplink_db).open(later)
    here = make(uplink_db, tmp_path, ScriptedLine)
    await here.rig.spool.add(later, batches_of(later, 2), time.time())
    async with living(here):
        await here.off.resume(withdraw(ANN, 8, time.time()).model_copy(update={"told": True}))
        await here.off.resume(NOBODY)
    assert (await here.rig.epochs.read()).permits(later)
    assert len(await waiting_ids(uplink_db)) == 2
    assert not here.key.path.exists()


async def test_h1_a_file_that_cannot_be_read_is_off_and_destroys_nothing(uplink_db: Database, tmp_path: Path) -> None:
    here = make(uplink_db, tmp_path, ScriptedLine)
    async with living(here):
        await here.off.resume(Absent("it has mode 0644"))
    assert here.key.path.exists()
    assert here.rig.gate.given is None


async def test_h18_a_key_that_cannot_be_removed_is_tried_again(
    uplink_db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("uplink.client.spooling.off.AGAIN_S", 0.05)
    here = make(uplink_db, tmp_path, ScriptedLine)
    await here.rig.begin(consent())
    here.key.ill = True
    async with living(here):
        await here.off.ended()
        assert here.off.unfinished
        assert here.rig.gate.given is None
        here.key.ill = False
        await until(lambda: not here.off.unfinished)
    assert not here.key.path.exists()


@pytest.mark.timeout(90)
async def test_h4_off_and_silence_with_a_database_that_hangs(
    own_postgres: EmbeddedPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("uplink.client.spooling.off.AGAIN_S", 0.05)
    db = await Database.open(await own_postgres.start(), statement_timeout_s=1.0)
    try:
        await migrate(db, [STORE_MIGRATIONS, SPOOL_MIGRATIONS], 1)
        line = ScriptedLine(otherwise=lambda *_: Said(503))
        cut: list[float] = []
        here = make(db, tmp_path, lambda: line, abort=lambda: cut.append(time.monotonic()))
        given = consent()
        await here.rig.begin(given)
        await here.rig.spool.add(given, batches_of(given, 2), time.time())
        async with living(here):
            await until(lambda: len(line.posts) > 2)
            cut.clear()
            assert own_postgres.pid is not None
            with frozen(own_postgres.pid):
                began = time.monotonic()
                await asyncio.sleep(0.65)
                assert not here.rig.gate.is_open(), "unreachable database = silence"
                assert cut
                assert min(cut) - began < 0.6
                sent = len(line.posts)
                before = time.monotonic()
                await here.off.ended()
                assert time.monotonic() - before < 1
                assert not here.key.path.exists(), "the key waits for no database"
                assert here.off.unfinished
                await asyncio.sleep(0.1)
                assert len(line.posts) == sent
            await until(lambda: not here.off.unfinished, within_s=20)
            assert await waiting_ids(db) == []
            assert (await here.rig.epochs.read()).consent is None
    finally:
        await db.close()


async def test_a_refused_connection_is_not_taken_for_off(uplink_db: Database, tmp_path: Path) -> None:
    line = ScriptedLine(answers=[Unreached(Obstacle.CONNECT, "refused")])
    here = make(uplink_db, tmp_path, lambda: line, pace=QUICK)
    given = consent()
    await here.rig.begin(given)
    await here.rig.spool.add(given, batches_of(given, 1), time.time())
    async with living(here):
        await until(lambda: len(line.posts) == 2)
    assert here.key.path.exists()
