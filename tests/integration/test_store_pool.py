"""The pool against a real PostgreSQL: deadlines, errors, restarts, and what it leaves behind."""

# ruff: noqa: ASYNC110, PT012 - the server's own state is waited for; errors appear at the end of the block
from __future__ import annotations

import asyncio
import os
import signal
import time
import traceback
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from store.embedded import EmbeddedPostgres
from store.errors import StoreConflict, StoreError, StoreFull, StoreRefused, StoreUnavailable
from store.pool import Database
from tests.support.postgres import frozen, process_tree

CANARY = "canary-7Qx"


async def test_the_four_ways_to_ask(database: Database) -> None:
    await database.execute("CREATE TABLE t (id int PRIMARY KEY, what text); INSERT INTO t VALUES (1, 'one')")
    assert await database.execute("INSERT INTO t VALUES ($1, $2)", 2, "two") == "INSERT 0 1"
    assert [row["what"] for row in await database.fetch("SELECT * FROM t ORDER BY id")] == ["one", "two"]
    assert await database.fetchrow("SELECT * FROM t WHERE id = $1", 3) is None
    assert await database.fetchval("SELECT what FROM t WHERE id = $1", 2) == "two"


async def test_jsonb_is_what_json_says(database: Database) -> None:
    value = {"a": [1, 2.5, None, True], "ü": "text"}
    assert await database.fetchval("SELECT $1::jsonb", value) == value
    with pytest.raises(StoreError):
        await database.fetchval("SELECT $1::jsonb", {"nan": float("nan")})


async def test_a_transaction_commits_or_leaves_nothing(database: Database) -> None:
    await database.execute("CREATE TABLE t (id int PRIMARY KEY)")
    async with database.transaction() as tx:
        await tx.execute("INSERT INTO t VALUES (1)")
    with pytest.raises(LookupError):
        async with database.transaction() as tx:
            await tx.execute("INSERT INTO t VALUES (2)")
            raise LookupError
    assert await database.fetchval("SELECT array_agg(id) FROM t") == [1]


async def test_a_cancelled_transaction_leaves_nothing_and_gives_its_connection_back(database_url: str) -> None:
    database = await Database.open(database_url, connections=1)
    await database.execute("CREATE TABLE t (id int PRIMARY KEY)")

    async def write_and_hang() -> None:
        async with database.transaction() as tx:
            await tx.execute("INSERT INTO t VALUES (1)")
            await tx.execute("SELECT pg_sleep(60)")

    task = asyncio.create_task(write_and_hang())
    await asyncio.sleep(0.2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await database.fetchval("SELECT count(*) FROM t", timeout_s=3) == 0
    await database.close()


async def test_a_constraint_is_named(database: Database) -> None:
    await database.execute("CREATE TABLE t (id int CONSTRAINT only_one PRIMARY KEY)")
    await database.execute("INSERT INTO t VALUES (1)")
    with pytest.raises(StoreConflict) as caught:
        await database.execute("INSERT INTO t VALUES (1)")
    assert caught.value.constraint == "only_one"


async def test_a_slow_statement_ends_at_its_deadline_on_both_sides(database: Database) -> None:
    began = time.monotonic()
    with pytest.raises(StoreUnavailable, match="deadline"):
        await database.fetchval("SELECT pg_sleep(60)", timeout_s=0.2)
    assert time.monotonic() - began < 1
    running = (
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND state = 'active' AND pid <> $1"
    )
    async with asyncio.timeout(3):
        while await database.fetchval(running, await database.fetchval("SELECT pg_backend_pid()")) > 1:
            await asyncio.sleep(0.05)


async def test_a_statement_may_be_given_more_than_the_default(database_url: str) -> None:
    database = await Database.open(database_url, statement_timeout_s=0.2)
    assert await database.fetchval("SELECT 1 FROM pg_sleep(0.5)", timeout_s=5) == 1
    async with database.transaction() as tx:
        assert await tx.fetchval("SELECT 1 FROM pg_sleep(0.5)", timeout_s=5) == 1
    await database.close()


async def test_waiting_for_a_connection_has_a_deadline(database_url: str) -> None:
    database = await Database.open(database_url, connections=1)
    async with database.session():
        with pytest.raises(StoreUnavailable, match="getting a connection: no answer before the deadline"):
            await database.fetchval("SELECT 1", timeout_s=0.2)
    assert await database.fetchval("SELECT 1") == 1
    await database.close()


async def test_the_server_ends_a_transaction_that_is_held_idle(database_url: str) -> None:
    database = await Database.open(database_url)
    with pytest.raises(StoreUnavailable):
        async with database.transaction() as tx:
            assert await tx.fetchval("SHOW idle_in_transaction_session_timeout") == "10s"
            await tx.execute("SET LOCAL idle_in_transaction_session_timeout = '100ms'")
            await asyncio.sleep(0.4)
            await tx.fetchval("SELECT 1")
    assert await database.fetchval("SELECT 1") == 1
    await database.close()


async def test_a_schema_change_under_a_prepared_statement_is_not_for_ever(database: Database) -> None:
    """As when a newer release migrates while this one runs."""
    await database.execute("CREATE TABLE t (id int)")
    async with database.transaction() as tx:
        await tx.fetch("SELECT * FROM t")
    await database.execute("ALTER TABLE t ADD COLUMN what text")
    answers: list[bool] = []
    for _ in range(3):
        try:
            async with database.transaction() as tx:
                await tx.fetch("SELECT * FROM t")
            answers.append(True)
        except StoreUnavailable:
            answers.append(False)
    assert answers[-1]


async def test_close_is_bounded_while_a_statement_hangs(database_url: str) -> None:
    database = await Database.open(database_url)
    hanging = asyncio.create_task(database.fetchval("SELECT pg_sleep(60)", timeout_s=30))
    await asyncio.sleep(0.2)
    began = time.monotonic()
    await database.close()
    assert time.monotonic() - began < 3
    with pytest.raises(StoreUnavailable):
        await hanging
    with pytest.raises(StoreUnavailable, match=r"clos(ed|ing)"):
        await database.fetchval("SELECT 1")


async def test_an_absent_server_is_told_at_once() -> None:
    with pytest.raises(
        StoreUnavailable, match=r"database 127\.0\.0\.1:1/muster: .*see whether PostgreSQL runs"
    ) as caught:
        await Database.open(f"postgresql://muster:{CANARY}@127.0.0.1:1/muster")
    assert CANARY not in caught.value.message


async def test_an_absent_socket_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="PostgreSQL runs"):
        await Database.open(f"postgresql://muster:{CANARY}@/muster?host={quote(str(tmp_path), safe='')}")


async def test_a_wrong_password_is_refused_and_told_nowhere(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    right = urlsplit(database_url).password
    assert right
    with pytest.raises(StoreRefused, match="password") as caught:
        await Database.open(database_url.replace(f":{right}@", f":{CANARY}@"))
    shown = "".join(traceback.format_exception(caught.value)) + caplog.text
    assert CANARY not in shown
    assert right not in shown


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("path", "/nothere"), 'database "nothere" does not exist.*Create the database'),
        (("query", "{query}&sslmode=perhaps"), "sslmode"),
        (("query", "{query}&no_such_setting=1"), "no_such_setting.*Correct the parameters"),
    ],
)
async def test_what_a_person_has_to_mend_is_refused(database_url: str, change: tuple[str, str], message: str) -> None:
    parts = urlsplit(database_url)
    name, value = change
    url = parts._replace(**{name: value.format(query=parts.query)}).geturl()
    with pytest.raises(StoreRefused, match=message):
        await Database.open(url)


async def test_a_role_without_rights_is_refused(database: Database, database_url: str) -> None:
    await database.execute(f"DROP ROLE IF EXISTS poor; CREATE ROLE poor LOGIN PASSWORD '{CANARY}'")
    parts = urlsplit(database_url)
    poor = await Database.open(parts._replace(netloc=f"poor:{CANARY}@").geturl())
    with pytest.raises(StoreRefused, match=r"permission denied.*GRANT"):
        await poor.execute("CREATE TABLE t (id int)")
    await poor.close()
    await database.execute("DROP ROLE poor")


async def test_too_many_connections_are_told_as_such(database: Database, database_url: str) -> None:
    await database.execute("ALTER DATABASE " + urlsplit(database_url).path[1:] + " CONNECTION LIMIT 1")
    await database.execute(f"CREATE ROLE many LOGIN PASSWORD '{CANARY}'")  # a limit does not bind a superuser
    url = urlsplit(database_url)._replace(netloc=f"many:{CANARY}@").geturl()
    with pytest.raises(StoreUnavailable, match=r"too many connections.*Raise max_connections"):
        for _ in range(2):
            await Database.open(url)
    await database.execute("DROP ROLE many")


async def test_a_read_only_server_is_full_for_writers(database: Database) -> None:
    await database.execute("CREATE TABLE t (id int)")
    with pytest.raises(StoreFull, match="read-only"):
        async with database.transaction() as tx:
            await tx.execute("SET TRANSACTION READ ONLY")
            await tx.execute("INSERT INTO t VALUES (1)")


async def test_a_frozen_server_costs_the_deadline_and_no_more(own_postgres: EmbeddedPostgres) -> None:
    database = await Database.open(await own_postgres.start(), connections=2, statement_timeout_s=0.5)
    pid = own_postgres.pid
    assert pid
    began = time.monotonic()
    with frozen(pid):
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="deadline"):
                await database.fetchval("SELECT 1")
    assert time.monotonic() - began < 2 * (0.5 + 2.0) + 1
    assert await database.fetchval("SELECT 1", timeout_s=5) == 1
    await database.close()


@pytest.mark.parametrize("victim", ["postmaster", "a backend"])
async def test_a_server_killed_and_restarted_under_load_is_used_again(
    own_postgres: EmbeddedPostgres, victim: str
) -> None:
    """What was answered with success is there afterwards, what failed said that it may be tried again."""
    database = await Database.open(await own_postgres.start(), connections=4)
    await database.execute("CREATE TABLE t (id bigint PRIMARY KEY)")
    committed: list[int] = []
    failures: list[StoreError] = []
    stop = asyncio.Event()

    async def write(worker: int) -> None:
        number = worker
        while not stop.is_set():
            try:
                async with database.transaction() as tx:
                    await tx.execute("INSERT INTO t VALUES ($1)", number)
                committed.append(number)
            except StoreError as error:
                failures.append(error)
                await asyncio.sleep(0.01)
            number += 8

    pid = own_postgres.pid
    assert pid
    async with asyncio.TaskGroup() as group:
        for worker in range(8):
            group.create_task(write(worker), name=f"writer {worker}")
        await asyncio.sleep(0.3)
        if victim == "postmaster":
            os.kill(pid, signal.SIGKILL)
            await own_postgres.exited()
            await asyncio.sleep(0.1)
            await own_postgres.start()
        else:
            backend = await database.fetchval("SELECT pg_backend_pid()")
            assert backend in [process.pid for process in process_tree(pid)]
            os.kill(backend, signal.SIGKILL)
        recovered_from = len(committed)
        async with asyncio.timeout(10):
            while len(committed) < recovered_from + 50:
                await asyncio.sleep(0.02)
        stop.set()
    assert failures
    assert not [failure for failure in failures if type(failure) is not StoreUnavailable]
    stored = {row["id"] for row in await database.fetch("SELECT id FROM t")}
    assert set(committed) <= stored
    assert len(stored) <= len(committed) + len(failures)
    await database.close()


async def test_the_first_call_after_a_restart_works(own_postgres: EmbeddedPostgres) -> None:
    database = await Database.open(await own_postgres.start())
    async with database.session(), database.session():
        pass  # two connections lie in the pool, and both will be broken
    assert own_postgres.pid
    os.kill(own_postgres.pid, signal.SIGKILL)
    await own_postgres.exited()
    with pytest.raises(StoreUnavailable):
        await database.fetchval("SELECT 1")
    await own_postgres.start()
    assert await database.fetchval("SELECT 1") == 1
    await database.close()
