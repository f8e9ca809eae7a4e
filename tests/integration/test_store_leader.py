"""Hot standby against a real PostgreSQL: one leads, its death is noticed, and a late writer is fenced."""

# ruff: noqa: ASYNC110 - the server's own state is waited for
from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest

from store.embedded import EmbeddedPostgres
from store.errors import StoreError, StoreRefused
from store.leader import Leadership
from store.migrate import STORE_MIGRATIONS, migrate
from store.pool import Database
from tests.support.postgres import frozen

KEY = 4711

LEAD_AND_HANG = """
import asyncio, sys
from store.leader import Leadership
async def main():
    leadership = Leadership(sys.argv[1], int(sys.argv[2]), holder="the other")
    print(await leadership.acquire(print), flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


@pytest.fixture
async def migrated_url(database: Database, database_url: str) -> str:
    await migrate(database, [STORE_MIGRATIONS], 1)
    return database_url


@asynccontextmanager
async def leading(url: str, holder: str = "one") -> AsyncIterator[Leadership]:
    leadership = Leadership(url, KEY, holder=holder)
    await leadership.acquire(lambda _: None)
    try:
        yield leadership
    finally:
        await leadership.close()


def no_wait(cause: str) -> None:
    pytest.fail(f"waited: {cause}")


async def test_each_leader_has_an_epoch_of_its_own(database: Database, migrated_url: str) -> None:
    for epoch in (1, 2):
        leadership = Leadership(migrated_url, KEY, holder=f"number {epoch}")
        assert leadership.epoch is None
        assert await leadership.acquire(no_wait) == epoch
        assert leadership.epoch == epoch
        row = await database.fetchrow("SELECT epoch, holder, now() - since < '1 minute' AS fresh FROM leadership")
        assert row
        assert tuple(row) == (epoch, f"number {epoch}", True)
        await leadership.close()


async def test_a_standby_waits_and_takes_over_from_a_leader_that_stops(migrated_url: str) -> None:
    causes: list[str] = []
    standby = Leadership(migrated_url, KEY, holder="standby")
    async with leading(migrated_url):
        waiting = asyncio.create_task(standby.acquire(causes.append))
        await asyncio.sleep(1.2)
        assert not waiting.done()
    async with asyncio.timeout(5):
        assert await waiting == 2
    assert causes == ["another instance leads; this one is its hot standby"]
    await standby.close()


async def test_a_standby_takes_over_within_5_s_of_a_kill_9(migrated_url: str) -> None:
    other = await asyncio.create_subprocess_exec(
        sys.executable, "-c", LEAD_AND_HANG, migrated_url, str(KEY), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert other.stdout
        assert await asyncio.wait_for(other.stdout.readline(), 10) == b"1\n"
        standby = Leadership(migrated_url, KEY, holder="standby")
        waited = asyncio.Event()
        waiting = asyncio.create_task(standby.acquire(lambda _: waited.set()))
        await asyncio.wait_for(waited.wait(), 5)
    finally:
        other.kill()
    killed = time.monotonic()
    assert await asyncio.wait_for(waiting, 5) == 2
    assert time.monotonic() - killed < 5
    await other.wait()
    await standby.close()


async def test_nothing_is_lost_while_the_connection_stands(migrated_url: str) -> None:
    async with leading(migrated_url) as leadership:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.3):
                await leadership.lost()
        assert await leadership.regain()


async def test_a_closed_connection_is_noticed_at_once_and_regained(database: Database, migrated_url: str) -> None:
    async with leading(migrated_url) as leadership:
        lost = asyncio.create_task(leadership.lost())
        await asyncio.sleep(0)
        began = time.monotonic()
        await terminate_the_leader(database)
        assert "leadership in database" in await asyncio.wait_for(lost, 1)
        assert time.monotonic() - began < 0.5
        assert await asyncio.wait_for(leadership.regain(), 5)
        assert leadership.epoch == 1
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.3):
                await leadership.lost()


async def test_whoever_led_in_between_makes_the_former_leader_step_down(database: Database, migrated_url: str) -> None:
    async with leading(migrated_url) as former:
        await terminate_the_leader(database)
        await asyncio.wait_for(former.lost(), 5)
        async with leading(migrated_url, "usurper"):
            assert not await asyncio.wait_for(former.regain(), 5)
        await terminate_the_leader(database)
        assert not await asyncio.wait_for(former.regain(), 5), "nobody leads now, but somebody did"
        assert await former.acquire(no_wait) == 3


async def test_leadership_is_regained_after_a_restart_of_the_server(own_postgres: EmbeddedPostgres) -> None:
    url = await own_postgres.start()
    await prepare(url)
    async with leading(url) as leadership:
        await kill(own_postgres)
        await asyncio.wait_for(leadership.lost(), 5)
        regaining = asyncio.create_task(leadership.regain())
        await asyncio.sleep(0.3)
        assert not regaining.done(), "the database is away"
        await own_postgres.start()
        assert await asyncio.wait_for(regaining, 5)


async def test_leadership_is_not_regained_if_another_led_after_the_restart(own_postgres: EmbeddedPostgres) -> None:
    url = await own_postgres.start()
    await prepare(url)
    async with leading(url) as former:
        await kill(own_postgres)
        await asyncio.wait_for(former.lost(), 5)
        await own_postgres.start()
        async with leading(url, "usurper"):
            assert not await asyncio.wait_for(former.regain(), 5)


async def test_a_standby_outlives_a_restart_of_the_server(own_postgres: EmbeddedPostgres) -> None:
    url = await own_postgres.start()
    await prepare(url)
    causes: list[str] = []
    standby = Leadership(url, KEY, holder="standby")
    async with leading(url):
        waiting = asyncio.create_task(standby.acquire(causes.append))
        await asyncio.sleep(0.3)
        await kill(own_postgres)
        await asyncio.sleep(1.1)
    await own_postgres.start()
    assert await asyncio.wait_for(waiting, 5) == 2
    assert len(causes) == len(set(causes)) <= 3, "a change of cause is told, not each second"
    await standby.close()


async def test_a_frozen_server_is_noticed_by_the_heartbeat(own_postgres: EmbeddedPostgres) -> None:
    url = await own_postgres.start()
    await prepare(url)
    async with leading(url) as leadership:
        assert own_postgres.pid
        began = time.monotonic()
        with frozen(own_postgres.pid):
            assert "deadline" in await asyncio.wait_for(leadership.lost(), 6)
        assert time.monotonic() - began < 5
        assert await asyncio.wait_for(leadership.regain(), 10)


async def test_a_writer_with_an_old_epoch_is_fenced(database: Database, migrated_url: str) -> None:
    """The new leader's increment waits for a fenced write under way, and a later one sees the new epoch."""
    async with leading(migrated_url):
        async with database.transaction() as tx:
            assert await tx.fetchval("SELECT epoch FROM leadership FOR SHARE") == 1
            await terminate_the_leader(database)
            usurper = Leadership(migrated_url, KEY, holder="usurper")
            taking = asyncio.create_task(usurper.acquire(lambda _: None))
            await asyncio.sleep(0.5)
            assert not taking.done()
        assert await asyncio.wait_for(taking, 5) == 2
        async with database.transaction() as tx:
            assert await tx.fetchval("SELECT epoch FROM leadership FOR SHARE") == 2
        await usurper.close()


async def test_nobody_leads_a_database_that_can_not_be_written_to(database: Database, migrated_url: str) -> None:
    name = urlsplit(migrated_url).path[1:]
    await database.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    told: asyncio.Queue[str] = asyncio.Queue()
    leadership = Leadership(migrated_url, KEY, holder="one")
    waiting = asyncio.create_task(leadership.acquire(told.put_nowait))
    assert "read-only" in await asyncio.wait_for(told.get(), 5)
    await database.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = off")
    assert await asyncio.wait_for(waiting, 5) == 1
    await leadership.close()


async def test_what_a_person_has_to_mend_is_raised(migrated_url: str) -> None:
    wrong = Leadership(migrated_url.replace("postgres:", "postgres:x", 1), KEY, holder="one")
    with pytest.raises(StoreRefused, match="password"):
        await wrong.acquire(no_wait)


async def test_without_its_table_nobody_leads(database_url: str) -> None:
    leadership = Leadership(database_url, KEY, holder="one")
    with pytest.raises(StoreError, match="leadership"):
        await leadership.acquire(no_wait)


async def test_an_absent_database_is_waited_for_and_can_be_given_up() -> None:
    causes: list[str] = []
    leadership = Leadership("postgresql://muster:secret@127.0.0.1:1/muster", KEY, holder="one")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await leadership.acquire(causes.append)
    assert len(causes) == 1
    assert "secret" not in causes[0]
    await leadership.close()


async def prepare(url: str) -> None:
    database = await Database.open(url)
    await migrate(database, [STORE_MIGRATIONS], 1)
    await database.close()


async def kill(server: EmbeddedPostgres) -> None:
    assert server.pid
    os.kill(server.pid, signal.SIGKILL)
    await server.exited()


async def terminate_the_leader(database: Database) -> None:
    """End the session that holds the lock, as a failover or an operator would."""
    held = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = $1 AND granted"
    await database.execute(f"SELECT pg_terminate_backend(pid) FROM ({held}) AS holder", KEY)
    async with asyncio.timeout(5):
        while await database.fetchval(held, KEY):
            await asyncio.sleep(0.02)
