"""History on a real PostgreSQL: read in pages, kept in months, aged out, and never stopped by a wrong clock."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from math import inf
from uuid import uuid4

import pytest

from collector.history import ALL, MAX_PAGE, History, Only
from store.pool import Database
from tests.support.collecting import QUERIES, Bench, Time, add_clusters
from validator.reasons import Health, Reason

NOVEMBER = datetime(2026, 11, 21, 4, 0, tzinfo=UTC).timestamp()
DECEMBER = datetime(2026, 12, 1, tzinfo=UTC).timestamp()

COLUMNS = (
    "at, cluster_id, cluster_name, check_name, from_health, to_health, since, message, evidence, flapping, collapsed, "
    "changes"
)


@pytest.fixture
def history(fleet_database: Database) -> History:
    return History(fleet_database, QUERIES)


async def months(db: Database) -> list[str]:
    return [row["name"].removeprefix("transitions_") for row in await db.fetch(QUERIES["partitions"])]


async def add(db: Database, *moments: str) -> None:
    """Transitions at these moments."""
    [cluster] = await add_clusters(db, 1)
    for changes, moment in enumerate(moments, 1):
        await db.execute(
            f"INSERT INTO transitions ({COLUMNS}) "
            "VALUES ($1, $2, 'c', 'apiserver', 'Unknown', 'Healthy', $1, '', '{}', false, 0, $3)",
            datetime.fromisoformat(moment).replace(tzinfo=UTC),
            cluster,
            changes,
        )


async def where(db: Database) -> dict[str, int]:
    """How many transitions each partition has."""
    rows = await db.fetch("SELECT tableoid::regclass::text AS name, count(*) AS n FROM transitions GROUP BY 1")
    return {row["name"].removeprefix("transitions_"): row["n"] for row in rows}


class TestPages:
    async def test_newest_first_and_page_by_page(self, bench: Bench, history: History) -> None:
        one, other = await add_clusters(bench.db, 2)
        for number in range(6):
            bench.hear(one, Reason.NOT_READY if number % 2 else None)
            bench.hear(other, None if number % 2 else Reason.NOT_READY)
            await bench.recorder.flush()
        assert await history.page(None, 100) == sorted(bench.told, key=lambda told: -told.id)
        mine = [told for told in reversed(bench.told) if told.cluster_id == one]
        first = await history.page(one, 4)
        assert first == mine[:4]
        assert await history.page(one, 4, first[-1].id) == mine[4:]
        assert await history.page(one, 4, mine[-1].id) == []

    async def test_a_page_has_its_bound(self, bench: Bench, history: History) -> None:
        for cluster in await add_clusters(bench.db, MAX_PAGE + 5):
            bench.hear(cluster, after_s=0.001)
        await bench.recorder.flush()
        assert len(await history.page(None, 10**9)) == MAX_PAGE

    async def test_pages_neither_skip_nor_repeat_where_the_clock_went_back(
        self, fleet_database: Database, history: History
    ) -> None:
        await add(fleet_database, "2026-11-21 04:00", "2026-11-21 03:00", "2026-11-21 05:00", "2026-10-01 00:00")
        seen: list[int] = []
        while page := await history.page(None, 1, seen[-1] if seen else None):
            seen += [told.id for told in page]
        assert len(seen) == 4
        assert seen == sorted(seen, reverse=True)

    async def test_the_history_of_a_cluster_that_is_gone_stays(self, bench: Bench, history: History) -> None:
        [cluster] = await add_clusters(bench.db, 1)
        bench.hear(cluster)
        await bench.recorder.flush()
        await bench.db.execute(QUERIES["retire_clusters"], [cluster])
        assert [told.to_health for told in await history.page(cluster, 10)] == [Health.HEALTHY]

    async def test_a_window_a_check_and_a_health_narrow_it(self, fleet_database: Database, history: History) -> None:
        assert await history.oldest() is None
        await add(fleet_database, "2026-10-30 00:00", "2026-11-01 00:00", "2026-11-02 00:00", "2026-12-01 00:00")
        await history.keep_partitions(NOVEMBER, 90)
        await fleet_database.execute("UPDATE transitions SET check_name = 'identity' WHERE changes = 2")
        await fleet_database.execute("UPDATE transitions SET to_health = 'Unhealthy' WHERE changes = 3")

        async def found(only: Only) -> list[int]:
            return [told.changes for told in await history.page(None, 9, None, only)]

        november = Only(begin=datetime(2026, 11, 1, tzinfo=UTC).timestamp(), end=DECEMBER)
        assert await found(ALL) == [4, 3, 2, 1]
        assert await found(november) == [3, 2], "its begin belongs to a window, its end does not"
        assert await found(Only(end=november.begin)) == [1]
        assert await found(Only(begin=DECEMBER)) == [4]
        assert await found(Only(checks=("identity", "credential"))) == [2]
        assert await found(november._replace(to_health=("Unhealthy",))) == [3]
        assert await found(Only(checks=("identity",), to_health=("Unhealthy",))) == []
        [cluster] = await fleet_database.fetch("SELECT DISTINCT cluster_id FROM transitions")
        page = await history.page(cluster["cluster_id"], 1, None, november)
        assert [told.changes for told in page] == [3]
        assert [told.changes for told in await history.page(cluster["cluster_id"], 1, page[-1].id, november)] == [2]
        assert await history.oldest() == datetime(2026, 10, 30, tzinfo=UTC).timestamp()

    async def test_a_cluster_s_page_reads_no_more_than_it_shows(self, fleet_database: Database) -> None:
        await fleet_database.execute(
            f"INSERT INTO transitions ({COLUMNS}) SELECT now(), gen_random_uuid(), 'c', 'apiserver', 'Unknown', "
            "'Healthy', now(), '', '{}', false, 0, 1 FROM generate_series(1, 5000)"
        )
        await fleet_database.execute("ANALYZE transitions")
        plan = "EXPLAIN (ANALYZE, FORMAT JSON) "
        cluster = await fleet_database.fetchval("SELECT cluster_id FROM transitions LIMIT 1")
        for name, more in (("history", ()), ("cluster_history", (cluster, None)), ("location_history", (uuid4(),))):
            [explained] = await fleet_database.fetch(plan + QUERIES[name], 20, 2**63 - 1, -inf, inf, None, None, *more)
            assert "Seq Scan" not in str(explained), name


class TestMonths:
    async def test_are_made_ahead(self, fleet_database: Database, history: History) -> None:
        await history.keep_partitions(NOVEMBER, 90)
        assert await months(fleet_database) == ["202611", "202612", "202701"]
        await history.keep_partitions(NOVEMBER, 90)
        assert await months(fleet_database) == ["202611", "202612", "202701"]

    async def test_take_what_belongs_to_them(self, fleet_database: Database, history: History) -> None:
        await history.keep_partitions(NOVEMBER, 90)
        await add(fleet_database, "2026-11-01 00:00", "2026-11-30 23:59:59.999999", "2026-12-01 00:00", "2027-01-31")
        assert await where(fleet_database) == {"202611": 2, "202612": 1, "202701": 1}

    async def test_go_when_all_of_them_is_older_than_the_retention(
        self, fleet_database: Database, history: History
    ) -> None:
        await history.keep_partitions(NOVEMBER, 90)
        await add(fleet_database, "2026-11-05", "2026-12-05")
        march_1 = datetime(2027, 3, 1, tzinfo=UTC).timestamp()
        await history.keep_partitions(march_1 - 86400, 90)
        assert "202611" in await months(fleet_database), "on 28 February the 30th of November is 90 days old"
        await history.keep_partitions(march_1, 90)
        assert await months(fleet_database) == ["202612", "202701", "202702", "202703", "202704", "202705"]
        assert [told.at for told in await history.page(None, 9)] == [datetime(2026, 12, 5, tzinfo=UTC).timestamp()]

    async def test_rows_that_a_wrong_clock_wrote_ahead_are_moved_into_their_month(
        self, fleet_database: Database, history: History
    ) -> None:
        """PostgreSQL refuses to make a partition for rows that the default partition holds."""
        await history.keep_partitions(NOVEMBER, 90)
        await add(fleet_database, "2027-02-10", "2027-02-11", "2031-01-01")
        assert await where(fleet_database) == {"other": 3}
        before = await history.page(None, 9)
        await history.keep_partitions(DECEMBER, 90)
        assert await where(fleet_database) == {"202702": 2, "other": 1}
        assert await history.page(None, 9) == before
        await add(fleet_database, "2027-02-12")
        assert await where(fleet_database) == {"202702": 3, "other": 1}
        assert len({told.id for told in await history.page(None, 9)}) == 4

    async def test_what_is_in_no_month_ages_all_the_same(self, fleet_database: Database, history: History) -> None:
        await add(fleet_database, "1999-12-31", "2026-08-30")
        await history.keep_partitions(NOVEMBER, 90)
        assert await where(fleet_database) == {"other": 1}

    async def test_changes_go_on_being_committed_while_a_month_is_made(
        self, fleet_database: Database, history: History
    ) -> None:
        bench = Bench(fleet_database, time=Time(NOVEMBER))
        await bench.lead()
        clusters = await add_clusters(fleet_database, 40)
        await history.keep_partitions(NOVEMBER, 90)
        making = asyncio.create_task(history.keep_partitions(DECEMBER, 90), name="housekeeping")
        for reason in (None, Reason.NOT_READY, None, Reason.NOT_READY):
            for cluster in clusters:
                bench.hear(cluster, reason, after_s=0.001)
            assert await bench.recorder.flush()
        await making
        assert "202702" in await months(fleet_database)
        assert sum((await where(fleet_database)).values()) == len(bench.told) == 160

    async def test_two_that_keep_house_at_once_make_each_month_once(
        self, fleet_database: Database, history: History
    ) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(3):
                group.create_task(history.keep_partitions(NOVEMBER, 90), name=f"house:{number}")
        assert await months(fleet_database) == ["202611", "202612", "202701"]

    async def test_clusters_that_are_gone_for_longer_than_the_retention_are_forgotten(
        self, fleet_database: Database, history: History
    ) -> None:
        await add_clusters(fleet_database, 3)
        now = datetime.now(UTC)
        await fleet_database.execute(
            "UPDATE clusters SET gone_at = $1 WHERE id = (SELECT id FROM clusters LIMIT 1)", now - timedelta(days=91)
        )
        await fleet_database.execute(
            "UPDATE clusters SET gone_at = $1 WHERE id = (SELECT id FROM clusters WHERE gone_at IS NULL LIMIT 1)",
            now - timedelta(days=89),
        )
        await history.keep_partitions(now.timestamp(), 90)
        assert await fleet_database.fetchval("SELECT count(*) FROM clusters") == 2
