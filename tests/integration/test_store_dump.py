"""Dump and restore against a real PostgreSQL: whole or not at all, and never what this release does not understand."""

from __future__ import annotations

import asyncio
import json
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from muster.storage import SCHEMA_VERSION, migration_sets
from store.dump.restore import open_dump, restore_dump
from store.dump.write import write_dump
from store.errors import StoreRefused
from store.migrate import STORE_MIGRATIONS, MigrationSet, migrate, outstanding
from store.pool import Database
from tests.support.postgres import PostgresServer

LEADER_KEY = 42

FIRST = """
CREATE TABLE fish (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL, extra jsonb NOT NULL);
CREATE TABLE bites (fish_id bigint NOT NULL REFERENCES fish, at timestamptz NOT NULL, kg double precision)
    PARTITION BY RANGE (at);
CREATE TABLE bites_other PARTITION OF bites DEFAULT;
INSERT INTO fish (name, extra) VALUES ('made by the migration', '{}');
"""
SECOND = "CREATE TABLE lakes (name text PRIMARY KEY);\n"
MONTH = (
    "CREATE TABLE bites_202601 PARTITION OF bites FOR VALUES FROM ('2026-01-01T00:00:00Z') TO ('2026-02-01T00:00:00Z')"
)
ODD = 'tab\t, newline\n, backslash \\N, snowman ☃, "quotes"'


@pytest.fixture
def other_url(postgres: PostgresServer) -> Iterator[str]:
    url = postgres.create_database()
    yield url
    postgres.drop_database(url)


@pytest.fixture
def sets(tmp_path: Path) -> list[MigrationSet]:
    directory = tmp_path / "migrations"
    directory.mkdir()
    (directory / "0001_fish.sql").write_text(FIRST)
    return [STORE_MIGRATIONS, MigrationSet("pond", directory)]


def upgrade(sets: list[MigrationSet]) -> None:
    (sets[1].directory / "0002_lakes.sql").write_text(SECOND)


async def fill(database: Database, sets: list[MigrationSet]) -> None:
    await migrate(database, sets, 1)
    await database.execute(MONTH)
    await database.execute("INSERT INTO fish (name, extra) VALUES ($1, $2)", ODD, {"deep": [1, None, ODD]})
    await database.execute(
        "INSERT INTO bites SELECT 2, '2026-01-15Z'::timestamptz + n * '1 day'::interval, 0.1 * n "
        "FROM generate_series(1, 40) n"
    )
    await database.execute("UPDATE leadership SET epoch = 7, holder = 'somebody'")
    await database.execute("CREATE TABLE not_ours (secret text)")
    await database.execute("INSERT INTO not_ours VALUES ('of another program')")


async def dump(url: str, path: Path, sets: list[MigrationSet], **more: Any) -> None:
    await write_dump(url, path, sets, release="0.1.0", schema_version=1, **more)


async def restore(url: str, path: Path, sets: list[MigrationSet], **more: Any) -> None:
    await restore_dump(url, path, sets, release="0.1.0", schema_version=1, leader_key=LEADER_KEY, **more)


async def look(url: str, *statements: str) -> list[list[tuple[object, ...]]]:
    connection = await asyncpg.connect(url)
    try:
        return [[tuple(row) for row in await connection.fetch(statement)] for statement in statements]
    finally:
        await connection.close()


EVERYTHING = (
    "SELECT id, name, extra::text FROM fish ORDER BY id",
    "SELECT fish_id, at, kg, tableoid::regclass::text FROM bites ORDER BY at",
    "SELECT package, number, sha256 FROM schema_migrations ORDER BY 1, 2",
)


async def test_what_is_dumped_comes_back_in_another_database(
    database: Database, database_url: str, other_url: str, sets: list[MigrationSet], tmp_path: Path
) -> None:
    await fill(database, sets)
    path = tmp_path / "pond.dump"
    await dump(database_url, path, sets)
    assert path.stat().st_mode & 0o777 == 0o600
    assert b"of another program" not in b"".join(map(zipfile.ZipFile(path).read, zipfile.ZipFile(path).namelist()))

    await restore(other_url, path, sets)
    assert await look(other_url, *EVERYTHING) == await look(database_url, *EVERYTHING)
    (before,), (after,) = await look(
        other_url, "SELECT max(id) FROM fish", "INSERT INTO fish (name, extra) VALUES ('x', '{}') RETURNING id - 1"
    )
    assert after == before  # the numbers go on


async def test_replacing_leaves_others_tables_and_never_takes_the_fence_back(
    database: Database, database_url: str, sets: list[MigrationSet], tmp_path: Path
) -> None:
    await fill(database, sets)
    await dump(database_url, tmp_path / "d", sets)
    await database.execute("UPDATE leadership SET epoch = 30")
    await database.execute("DELETE FROM bites")
    with pytest.raises(StoreRefused, match="--replace"):
        await restore(database_url, tmp_path / "d", sets)
    assert await database.fetchval("SELECT count(*) FROM bites") == 0

    await restore(database_url, tmp_path / "d", sets, replace=True)
    assert await database.fetchval("SELECT count(*) FROM bites") == 40
    assert await database.fetchval("SELECT epoch FROM leadership") == 31
    assert await database.fetchval("SELECT count(*) FROM not_ours") == 1


async def test_an_older_dump_comes_back_and_is_migrated(
    database: Database, database_url: str, sets: list[MigrationSet], tmp_path: Path
) -> None:
    await fill(database, sets)
    await dump(database_url, tmp_path / "d", sets)
    upgrade(sets)
    await migrate(database, sets, 1)
    await restore(database_url, tmp_path / "d", sets, replace=True)
    assert await outstanding(database, sets, 1) == ["pond/0002_lakes"]
    assert await migrate(database, sets, 1) == ["pond/0002_lakes"]


async def test_a_newer_releases_dump_is_refused(
    database: Database, database_url: str, sets: list[MigrationSet], tmp_path: Path
) -> None:
    old = [STORE_MIGRATIONS, MigrationSet("pond", tmp_path / "old")]
    old[1].directory.mkdir()
    (old[1].directory / "0001_fish.sql").write_text(FIRST)
    upgrade(sets)
    await fill(database, sets)
    await write_dump(database_url, tmp_path / "d", sets, release="9.0", schema_version=1)
    with pytest.raises(StoreRefused, match=r"newer release: 9\.0 .*pond/0002_lakes.*Muster 9\.0 or later"):
        await restore(database_url, tmp_path / "d", old, replace=True)
    with pytest.raises(StoreRefused, match="newer release has used this database"):
        await dump(database_url, tmp_path / "e", old)

    await write_dump(database_url, tmp_path / "f", sets, release="9.0", schema_version=2)
    with pytest.raises(StoreRefused, match=r"newer release: 9\.0 .*version 2"):
        await restore(database_url, tmp_path / "f", sets, replace=True)
    assert await database.fetchval("SELECT count(*) FROM bites") == 40


async def test_a_restore_is_refused_while_a_service_leads(
    database: Database, database_url: str, sets: list[MigrationSet], tmp_path: Path
) -> None:
    await fill(database, sets)
    await dump(database_url, tmp_path / "d", sets)
    leader = await asyncpg.connect(database_url)
    await leader.fetchval("SELECT pg_advisory_lock($1)", LEADER_KEY)
    with pytest.raises(StoreRefused, match=r"leads on this database \(somebody\)"):
        await restore(database_url, tmp_path / "d", sets, replace=True)
    await leader.close()
    await restore(database_url, tmp_path / "d", sets, replace=True)


def rewritten(path: Path, change: Callable[[str, bytes], bytes | None]) -> Path:
    """The same dump with other contents."""
    other = path.with_name("rewritten")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(other, "w") as new:
        for name in old.namelist():
            content = change(name, old.read(name))
            if content is not None:
                new.writestr(name, content)
    return other


def manifest(**changes: Any) -> Callable[[str, bytes], bytes]:
    return lambda name, content: (
        json.dumps({**json.loads(content), **changes}).encode() if name == "manifest.json" else content
    )


async def test_a_damaged_dump_changes_nothing(
    database: Database, database_url: str, sets: list[MigrationSet], tmp_path: Path
) -> None:
    await fill(database, sets)
    path = tmp_path / "d"
    await dump(database_url, path, sets)
    before = await look(database_url, *EVERYTHING)

    async def refused(broken: Path, words: str) -> None:
        with pytest.raises(StoreRefused, match=words):
            await restore(database_url, broken, sets, replace=True)
        assert await look(database_url, *EVERYTHING) == before

    whole = path.read_bytes()
    cut = tmp_path / "cut"
    cut.write_bytes(whole[: len(whole) // 2])
    await refused(cut, "cut off")
    flipped = tmp_path / "flipped"
    at = whole.index(b"tables/fish.copy") + 50
    flipped.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
    await refused(flipped, "damaged")
    swapped = rewritten(path, lambda name, data: data.replace(b"0.1\n", b"0.9\n") if "bites" in name else data)
    await refused(swapped, "not those that were dumped")
    await refused(rewritten(path, lambda name, data: None if "bites" in name else data), "is missing")
    await refused(rewritten(path, lambda name, data: data + b"\\N\n" if "fish" in name else data), "longer than")
    await refused(rewritten(path, lambda name, data: None if name == "manifest.json" else data), "no dump of Muster")
    await refused(rewritten(path, manifest(format="tar")), "another program's")
    await refused(rewritten(path, manifest(version=2, release="9.0")), "layout 2, made by the newer release 9.0")
    await refused(rewritten(path, manifest(tables=[{"name": "x"}])), "manifest can't be read")
    evil = [{"name": "x", "parent": "bites", "bound": "DEFAULT; DROP TABLE not_ours"}]
    await refused(rewritten(path, manifest(partitions=evil)), "not a range of time")
    text = tmp_path / "text"
    text.write_text("-- PostgreSQL database dump")
    await refused(text, "no dump of Muster")
    await refused(tmp_path / "nowhere", "does not exist")


async def test_a_view_of_somebody_elses_is_named_and_stays(
    database: Database, database_url: str, sets: list[MigrationSet], tmp_path: Path
) -> None:
    await fill(database, sets)
    await dump(database_url, tmp_path / "d", sets)
    await database.execute("CREATE VIEW grafana AS SELECT * FROM fish")
    with pytest.raises(Exception, match="other objects depend on"):
        await restore(database_url, tmp_path / "d", sets, replace=True)
    assert await database.fetchval("SELECT count(*) FROM grafana") == 2


async def test_a_dump_never_overwrites_by_itself_and_leaves_no_half(
    database: Database, database_url: str, sets: list[MigrationSet], tmp_path: Path
) -> None:
    path = tmp_path / "d"
    with pytest.raises(StoreRefused, match="no Muster has ever used"):
        await dump(database_url, path, sets)
    assert not path.exists()
    await fill(database, sets)
    path.write_text("precious")
    with pytest.raises(StoreRefused, match="exists"):
        await dump(database_url, path, sets)
    assert path.read_text() == "precious"
    await dump(database_url, path, sets, overwrite=True)
    with open_dump(path) as (_, contents):
        assert {table.name: table.rows for table in contents.tables} == {"bites": 40, "fish": 2, "leadership": 1}
    assert list(tmp_path.glob("*part*")) == []  # noqa: ASYNC240 - a look at a temporary directory
    with pytest.raises(StoreRefused, match="there is no directory"):
        await dump(database_url, tmp_path / "no" / "directory", sets)


async def test_a_dump_is_of_one_moment(
    database: Database, database_url: str, sets: list[MigrationSet], tmp_path: Path
) -> None:
    """What is written while it runs is in none of its tables."""
    await fill(database, sets)
    seen: list[str] = []

    async def bite() -> None:
        writer = await asyncpg.connect(database_url)
        await writer.execute("INSERT INTO bites VALUES (1, '2026-03-01Z', 1)")
        await writer.close()

    def meanwhile(table: str, _: int) -> None:
        if not seen:
            thread = threading.Thread(target=lambda: asyncio.run(bite()))
            thread.start()
            thread.join()
        seen.append(table)

    await dump(database_url, tmp_path / "d", sets, on_progress=meanwhile)
    assert "bites" in seen[1:], "the row came after its table was read, which shows nothing"
    assert await database.fetchval("SELECT count(*) FROM bites") == 41
    with open_dump(tmp_path / "d") as (_, contents):
        assert {table.name: table.rows for table in contents.tables}["bites"] == 40


async def test_the_real_schema_is_dumped_whole(
    database: Database, database_url: str, other_url: str, tmp_path: Path
) -> None:
    """A table that a dump does not know would be lost without a word."""
    real = migration_sets()
    await migrate(database, real, SCHEMA_VERSION)
    have = await database.fetch(
        "SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p') "
        "AND NOT relispartition AND relname <> 'schema_migrations'"
    )
    await write_dump(database_url, tmp_path / "d", real, release="0.1.0", schema_version=SCHEMA_VERSION)
    with open_dump(tmp_path / "d") as (_, contents):
        assert {table.name for table in contents.tables} == {row["relname"] for row in have}
    await restore_dump(
        other_url, tmp_path / "d", real, release="0.1.0", schema_version=SCHEMA_VERSION, leader_key=LEADER_KEY
    )
