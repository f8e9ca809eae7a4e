"""A full disk under PostgreSQL: told as such, survived, and over when there is space again."""

from __future__ import annotations

from pathlib import Path

import pytest

from store.embedded import EmbeddedPostgres
from store.errors import StoreFull
from store.pool import Database
from tests.support import disk
from tests.support.disk import fill

small_disk = disk.small_disk


async def test_a_full_disk_is_told_and_is_over_when_there_is_space(small_disk: Path) -> None:
    server = EmbeddedPostgres(small_disk / "data", settings={"max_wal_size": "32MB"})
    try:
        database = await Database.open(await server.start())
        await database.execute("CREATE TABLE t (id int, what text)")
        await database.execute("INSERT INTO t VALUES (0, 'kept')")
        filler = fill(small_disk)
        with pytest.raises(StoreFull, match=r"No space left on device.*Free space"):
            await database.execute("INSERT INTO t SELECT n, repeat('x', 1000) FROM generate_series(1, 20000) AS n")
        assert await database.fetchval("SELECT what FROM t WHERE id = 0") == "kept"
        filler.unlink()
        await database.execute("INSERT INTO t VALUES (-1, 'after')")
        assert await database.fetchval("SELECT what FROM t WHERE id = -1") == "after"
        await database.close()
    finally:
        await server.stop()


async def test_a_disk_that_is_full_at_the_first_start_leaves_nothing_half_done(small_disk: Path) -> None:
    data_dir = small_disk / "data"
    data_dir.mkdir()
    filler = fill(small_disk)
    with filler.open("r+b") as file:
        file.truncate(filler.stat().st_size - (8 << 20))
    server = EmbeddedPostgres(data_dir)
    with pytest.raises(StoreFull, match="Free space"):
        await server.start()
    assert {path.name for path in data_dir.iterdir()} == {"muster.lock"}
    filler.unlink()
    try:
        await server.start()
    finally:
        await server.stop()
