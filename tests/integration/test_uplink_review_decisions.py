"""Decisions on two hosts with one database, and while it hangs: an off is never undone, and never waits for anybody."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest
from structlog.testing import capture_logs

from muster.access.audit import Audit
from muster.api.server import ApiServer
from store.embedded import EmbeddedPostgres
from store.errors import StoreUnavailable
from store.migrate import STORE_MIGRATIONS, migrate
from store.pool import Database
from tests.support.hub import LOCAL_TOKEN, MadeUpHub, made_up_access, no_metrics
from tests.support.postgres import frozen
from tests.support.runtime import bearer
from tests.support.secret_server import NAME, SecretServer, secret_server
from tests.support.telemetry import ANN, NOW, OFFER, Bench, MadeUpFacts, change, facts, wanted
from tests.support.uplinking import DICTIONARY, until
from uplink.client.consent.consent import Offer
from uplink.client.consent.desk import Desk
from uplink.client.consent.record import Given, Withdrawn
from uplink.client.consent.streams import Stream
from uplink.client.encoding.facts import ChangeFact
from uplink.client.encoding.pseudonyms import Pseudonyms
from uplink.client.encoding.redact import redact
from uplink.client.enrolment.anchors import Anchors
from uplink.client.enrolment.secret_name import SecretName
from uplink.client.enrolment.secret_vault import WAIT_S, SecretVault
from uplink.client.enrolment.vault import FILE, FileVault
from uplink.client.local import LocalTelemetry
from uplink.client.network.proxy import Proxies
from uplink.client.spooling.epochs import SPOOL_MIGRATIONS
from uplink.client.uplink import Setup, Uplink
from uplink.wire.private_file import PrivateFileError
from validator.clock import HubClock

LESS = frozenset({Stream.LOGS})


class Host:
    """All of telemetry on one host, as the service composes it; nobody but a file takes anything out."""

    def __init__(self, directory: Path, watch_s: float = 0.1) -> None:
        now = time.time()
        self.source = source = MadeUpFacts(facts(3, at=now), [change(at=now)])
        setup = Setup(
            directory=directory,
            identity=FileVault(directory / "identity"),
            export_key=FileVault(directory / "export-key"),
            anchors=Anchors(),
            proxies=Proxies(),
            host=lambda: "",
        )
        self.desk = Desk(directory, lambda: Offer(OFFER.dictionary, OFFER.commitments, "acme", None), {})
        self.uplink = Uplink(source, HubClock(), "0.1.0", DICTIONARY, setup)
        self.telemetry = LocalTelemetry(self.desk, source, self.uplink, HubClock(), "0.1.0", watch_s=watch_s)

    @property
    def word(self) -> str:
        return self.telemetry.link().word

    async def on(self) -> None:
        await self.telemetry.turn_on(wanted(), ANN, None)
        await until(lambda: self.word == "export")

    @asynccontextmanager
    async def running(self, url: str) -> AsyncIterator[None]:
        opened = asyncio.Event()

        async def open_database() -> Database:
            opened.set()
            return await Database.open(url, connections=3)

        tasks = [
            asyncio.create_task(self.telemetry.run(open_database), name="telemetry"),
            asyncio.create_task(self.telemetry.lead(), name="leading"),
        ]
        await opened.wait()
        await until(lambda: self.uplink._kept is not None)
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
async def two(uplink_database: str, uplink_db: Database, tmp_path: Path) -> AsyncIterator[Sequence[Host]]:
    """Two hosts on one database."""
    assert uplink_db is not None, "and it is empty"
    hosts = [Host(tmp_path / name) for name in ("one", "two")]
    async with AsyncExitStack() as running:
        for host in hosts:
            await running.enter_async_context(host.running(uplink_database))
        yield hosts


async def holds(db: Database) -> bool:
    return await db.fetchval("SELECT consent FROM uplink_consent") is not None


@pytest.mark.parametrize("after_s", [0.0, 0.15])
async def test_h4_fewer_streams_here_do_not_undo_an_off_elsewhere(
    two: Sequence[Host], uplink_db: Database, after_s: float
) -> None:
    one, other = two
    await one.on()
    await other.telemetry.turn_off(ANN)
    await asyncio.sleep(after_s)
    with suppress(ValueError):  # it may be off here by now
        await one.telemetry.turn_off(ANN, LESS)
    assert not await holds(uplink_db)
    await until(lambda: isinstance(one.desk.found(), Withdrawn))
    assert one.word == "off"


async def test_h10_fewer_streams_of_a_consent_that_holds_go_on(two: Sequence[Host], uplink_db: Database) -> None:
    one, _ = two
    await one.on()
    await one.telemetry.turn_off(ANN, LESS)
    await until(lambda: one.word == "export")
    await one.telemetry.turn_off(ANN, frozenset({Stream.METRICS}))
    await until(lambda: one.word == "export")
    found = one.desk.found()
    assert isinstance(found, Given)
    assert set(found.scope) == {Stream.INVENTORY}
    assert await holds(uplink_db)


@asynccontextmanager
async def alone(server: EmbeddedPostgres, directory: Path) -> AsyncIterator[Host]:
    url = await server.start()
    db = await Database.open(url)
    await migrate(db, [STORE_MIGRATIONS, SPOOL_MIGRATIONS], 1)
    await db.close()
    host = Host(directory)
    async with host.running(url):
        yield host


@pytest.mark.timeout(60)
async def test_h3_off_while_the_database_hangs_in_the_middle_of_an_on(
    own_postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    """The lock of the row is somebody's: what opens the consent hangs in the database, for as long as it may."""
    async with alone(own_postgres, tmp_path / "one") as host:
        kept, pid = host.uplink._kept, own_postgres.pid
        assert kept is not None
        assert pid is not None
        opening, hangs, ice = kept.epochs.open, asyncio.Event(), AsyncExitStack()

        async def frozen_and_opened(given: Given, *, known: bool = False) -> None:
            if not hangs.is_set():
                ice.enter_context(frozen(pid))
                hangs.set()
            await opening(given, known=known)

        kept.epochs.open = frozen_and_opened  # type: ignore[method-assign]
        async with ice:
            on = asyncio.create_task(host.telemetry.turn_on(wanted(), ANN, None), name="on")
            await hangs.wait()
            asked = time.monotonic()
            off = asyncio.create_task(host.telemetry.turn_off(ANN), name="off")
            await until(lambda: isinstance(host.desk.found(), Withdrawn), 0.5)
            await off
            assert time.monotonic() - asked < 2
            await on
        await until(lambda: not host.uplink.unfinished, 15)
        assert host.word == "off"


@pytest.mark.timeout(60)
async def test_an_off_that_the_database_is_away_for_says_so_once(
    own_postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    async with alone(own_postgres, tmp_path / "one") as host:
        await host.on()
        kept = host.uplink._kept
        assert kept is not None

        async def away(at_least: int = 0) -> None:
            raise StoreUnavailable("it is away")

        close, kept.epochs.close = kept.epochs.close, away  # type: ignore[method-assign]
        with capture_logs() as logs:
            await host.telemetry.turn_off(ANN)
            assert "other instances" in host.telemetry.link().detail
            await asyncio.sleep(1.2)
        assert [each["log_level"] for each in logs].count("warning") == 1
        kept.epochs.close = close  # type: ignore[method-assign]
        await until(lambda: not host.uplink.unfinished)
        assert host.telemetry.link().detail == ""


class SlowChanges(list[ChangeFact]):
    """A history that takes its time."""

    def __iter__(self) -> Iterator[ChangeFact]:
        time.sleep(0.6)
        return super().__iter__()


async def test_previews_do_not_keep_anybody_from_switching_off(tmp_path: Path) -> None:
    """A viewer may ask for previews, and for many."""
    bench = Bench(tmp_path / "telemetry", facts())
    await bench.telemetry.turn_on(wanted(Stream.METRICS), ANN, None)

    async def changes(since: float, after_id: int, limit: int) -> Sequence[ChangeFact]:
        return SlowChanges([change(at=NOW)])

    bench.source.changes = changes  # type: ignore[method-assign]
    looking = [asyncio.create_task(bench.telemetry.preview(Stream.LOGS), name="looking") for _ in range(3)]
    await asyncio.sleep(0.1)
    asked = time.monotonic()
    await bench.telemetry.turn_off(ANN)
    assert time.monotonic() - asked < 0.5
    assert all(await asyncio.gather(*looking))


@pytest.fixture
async def slow(tmp_path: Path) -> AsyncIterator[SecretServer]:
    """An API server that always takes longer than somebody who switches off waits."""
    async with secret_server(tmp_path / "pod") as server:
        answer = server.serve

        async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(1.5 * WAIT_S)
            await answer(reader, writer)

        server.serve = late  # type: ignore[method-assign]
        yield server


async def test_a_key_is_destroyed_once_at_an_api_server_that_is_always_slow(slow: SecretServer) -> None:
    """Else off would never be done, and would destroy the identity of the next consent with that of the last."""
    vault = SecretVault(SecretName.parse(NAME), FILE, slow.cluster)
    await vault.write(b"a key")
    with pytest.raises(PrivateFileError, match="goes on"):
        await vault.destroy()
    await until(lambda: slow.document() is None)
    await asyncio.sleep(0.1)
    asked = len(slow.asked)
    await vault.destroy()
    assert len(slow.asked) == asked, "it is told what became of it, and nothing begins anew"


async def test_a_consent_that_is_given_here_after_an_off_elsewhere_is_not_taken_for_the_one_that_was_overtaken(
    two: Sequence[Host], uplink_db: Database
) -> None:
    one, other = two
    await one.on()
    await other.telemetry.turn_off(ANN)
    await until(lambda: one.word == "off")
    await one.on()  # before this host has looked at what it was told
    await asyncio.sleep(0.3)
    assert isinstance(one.desk.found(), Given)
    assert one.word == "export"
    assert await holds(uplink_db)


async def test_two_instances_with_one_directory_follow_what_is_decided_at_either(
    uplink_database: str, uplink_db: Database, tmp_path: Path
) -> None:
    one, other = Host(tmp_path / "shared"), Host(tmp_path / "shared", watch_s=0.5)
    async with one.running(uplink_database), other.running(uplink_database):
        for _ in range(2):  # the second ends the first, which the other one hears of before it looks at the file
            await one.on()
            await asyncio.sleep(0.7)
            assert one.word == "export"
            assert other.word == "export"
        await other.telemetry.turn_off(ANN)
        await until(lambda: one.word == "off")
        assert not await holds(uplink_db)


async def test_whoever_looks_again_and_again_does_not_have_a_batch_made_each_time(
    two: Sequence[Host], uplink_db: Database
) -> None:
    one, _ = two
    await one.on()
    one.source.known = facts(3, at=time.time())
    first = await one.telemetry.preview(Stream.METRICS)
    assert first is not None
    assert first.batch is not None
    for _ in range(3):
        await uplink_db.execute("DELETE FROM uplink_spool")  # as if it was received
        await one.telemetry.preview(Stream.METRICS)
    assert await uplink_db.fetchval("SELECT count(*) FROM uplink_spool WHERE stream = 'metrics'") == 0


def test_a_known_name_is_redacted_in_whatever_case_a_message_has_it() -> None:
    names = Pseudonyms(b"k" * 32)
    assert redact("CUSTOMER-Prod-1 is down", names, ["customer-prod-1"]) == "[name] is down"


class HangingAudit(Audit):
    """The service's audit log, in a database that is frozen."""

    async def write(self, *_: object, **__: object) -> None:
        await asyncio.sleep(30)


async def test_the_answer_to_off_does_not_wait_for_the_audit_log(tmp_path: Path) -> None:
    hub = MadeUpHub()
    bench = Bench(tmp_path / "telemetry", facts())
    access = made_up_access(hub)
    access.audit = HangingAudit(access.store, hub.clock)
    server = ApiServer(hub, no_metrics, "127.0.0.1", 0, access=access, telemetry=bench.telemetry)
    await bench.telemetry.turn_on(wanted(), ANN, None)
    await server.start()
    asked = time.monotonic()
    try:
        async with (
            aiohttp.ClientSession(server.url) as session,
            session.delete("/api/v1/telemetry", headers=bearer(LOCAL_TOKEN)) as answer,
        ):
            assert (await answer.json())["state"] == "off"
        assert time.monotonic() - asked < 1
    finally:
        await server.stop()
        for task in asyncio.all_tasks():
            if task.get_name() == "telemetry-noting":
                task.cancel()
