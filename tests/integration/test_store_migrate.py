"""Migrations against a real PostgreSQL: once, whole or not at all, and never under an older release's feet."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from store.errors import StoreConflict, StoreError, StoreRefused, StoreUnavailable
from store.migrate import LOCK_KEY, STORE_MIGRATIONS, MigrationSet, migrate
from store.pool import Database

APPLIED = "SELECT array_agg(package || '/' || name ORDER BY package, number) FROM schema_migrations"


def written(directory: Path, **files: str) -> MigrationSet:
    directory.mkdir(exist_ok=True)
    for name, sql in files.items():
        (directory / f"{name.removeprefix('m')}.sql").write_text(sql)
    return MigrationSet("test", directory)


async def test_migrations_are_applied_in_order_and_once(database: Database, tmp_path: Path) -> None:
    ours = written(tmp_path, m0001_t="CREATE TABLE t (id int);", m0002_row="INSERT INTO t VALUES (1); SELECT 1;")
    assert await migrate(database, [STORE_MIGRATIONS, ours], 1) == [
        "store/0001_leadership",
        "test/0001_t",
        "test/0002_row",
    ]
    assert await migrate(database, [STORE_MIGRATIONS, ours], 1) == []
    written(tmp_path, m0003_row="INSERT INTO t VALUES (2);")
    assert await migrate(database, [STORE_MIGRATIONS, ours], 1) == ["test/0003_row"]
    assert await database.fetchval("SELECT count(*) FROM t") == 2


async def test_two_instances_that_start_at_once_apply_each_once(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    ours = written(
        tmp_path, m0001_t="CREATE TABLE t (id int); SELECT pg_sleep(0.3);", m0002_r="INSERT INTO t VALUES (1);"
    )
    others = [await Database.open(database_url) for _ in range(3)]
    results = await asyncio.gather(*(migrate(one, [ours], 1) for one in (database, *others)))
    assert sorted(results) == [[], [], [], ["test/0001_t", "test/0002_r"]]
    assert await database.fetchval("SELECT count(*) FROM t") == 1
    for other in others:
        await other.close()


async def test_a_migration_that_fails_leaves_nothing_half_done(database: Database, tmp_path: Path) -> None:
    ours = written(
        tmp_path,
        m0001_good="CREATE TABLE good (id int PRIMARY KEY);",
        m0002_bad="CREATE TABLE half (id int); INSERT INTO good VALUES (1), (1);",
        m0003_never="CREATE TABLE never (id int);",
    )
    with pytest.raises(StoreConflict, match=r"migration test/0002_bad\.sql was rolled back"):
        await migrate(database, [ours], 1)
    assert await database.fetchval(APPLIED) == ["test/0001_good"]
    tables = await database.fetch("SELECT relname FROM pg_class WHERE relname IN ('good', 'half', 'never')")
    assert [row["relname"] for row in tables] == ["good"]
    written(tmp_path, m0002_bad="CREATE TABLE half (id int); INSERT INTO good VALUES (1);")
    assert await migrate(database, [ours], 1) == ["test/0002_bad", "test/0003_never"]


async def test_a_newer_schema_is_refused_and_untouched(database: Database, tmp_path: Path) -> None:
    newer = written(tmp_path / "newer", m0001_t="SELECT 1;", m0002_breaking="-- min_code_version: 5\nSELECT 1;")
    await migrate(database, [newer], 5)
    older = written(tmp_path / "older", m0001_t="SELECT 1;")
    other = MigrationSet("other", written(tmp_path / "other", m0001_u="CREATE TABLE u (id int);").directory)
    with pytest.raises(StoreRefused, match=r"test/0002_breaking it needs schema version 5 or later.* has 4"):
        await migrate(database, [older, other], 4)
    assert await database.fetchval("SELECT to_regclass('u')") is None


async def test_an_old_release_runs_on_a_newer_schema(database: Database, tmp_path: Path) -> None:
    newer = written(tmp_path / "newer", m0001_t="SELECT 1;", m0002_more="-- min_code_version: 3\nSELECT 1;")
    await migrate(database, [newer], 5)
    older = written(tmp_path / "older", m0001_t="SELECT 1;")
    assert await migrate(database, [older], 3) == []


async def test_a_changed_file_is_refused_by_name(database: Database, tmp_path: Path) -> None:
    ours = written(tmp_path, m0001_t="CREATE TABLE t (id int);")
    await migrate(database, [ours], 1)
    written(tmp_path, m0001_t="CREATE TABLE t (id bigint);", m0002_u="CREATE TABLE u (id int);")
    with pytest.raises(StoreRefused, match=r"test/0001_t\.sql is not the file that was applied"):
        await migrate(database, [ours], 1)
    assert await database.fetchval("SELECT to_regclass('u')") is None


async def test_the_wait_for_another_instance_is_bounded_and_names_it(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    other = await Database.open(database_url, application_name="muster on hub-2")
    async with other.session() as session:
        await session.execute("SELECT pg_advisory_lock($1)", LOCK_KEY)
        with pytest.raises(StoreUnavailable, match=r"process \d+ \(muster on hub-2\)"):
            await migrate(database, [written(tmp_path, m0001_t="SELECT 1;")], 1, lock_wait_s=0.3)
    assert await migrate(database, [written(tmp_path)], 1) == ["test/0001_t"]
    await other.close()


async def test_a_cancelled_migration_gives_up_its_lock(database: Database, tmp_path: Path) -> None:
    slow = written(tmp_path, m0001_slow="CREATE TABLE t (id int); SELECT pg_sleep(60);")
    task = asyncio.create_task(migrate(database, [slow], 1))
    await asyncio.sleep(0.3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    written(tmp_path, m0001_slow="CREATE TABLE t (id int);")
    assert await migrate(database, [slow], 1, lock_wait_s=5) == ["test/0001_slow"]


async def test_a_migration_does_not_queue_behind_a_busy_table(database: Database, tmp_path: Path) -> None:
    """It gives up instead: whoever waits for an exclusive lock makes every later reader wait too."""
    ours = written(tmp_path, m0001_t="CREATE TABLE t (id int);")
    await migrate(database, [ours], 1)
    written(tmp_path, m0002_alter="ALTER TABLE t ADD COLUMN what text;")
    async with database.transaction() as reader:
        await reader.fetch("SELECT * FROM t")
        with pytest.raises(StoreUnavailable, match=r"0002_alter.*lock timeout"):
            await migrate(database, [ours], 1, table_lock_timeout_s=0.3)
    assert await migrate(database, [ours], 1) == ["test/0002_alter"]


async def test_sql_that_is_wrong_names_its_file(database: Database, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"migration test/0001_t\.sql .*syntax error"):
        await migrate(database, [written(tmp_path, m0001_t="CREATE TABEL t (id int);")], 1)
