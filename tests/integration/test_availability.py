"""Availability on a real PostgreSQL: against a model that looks at every second, and what the numbers mean."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from random import Random
from typing import NamedTuple
from uuid import UUID, uuid4

import pytest

from collector.availability import QUERIES, Availability, Report, Share, Window
from collector.history import History
from collector.vigil import BEAT_S, Vigil
from store.errors import StoreUnavailable
from store.pool import Database
from store.sql import load_queries
from tests.support.collecting import QUERIES as COLLECTOR_QUERIES
from tests.support.collecting import Bench, Time, add_clusters
from validator.health import HealthSettings
from validator.reasons import Health, Reason

DECEMBER = int(datetime(2026, 12, 1, tzinfo=UTC).timestamp())
DAY_S = 86_400

COUNTING = load_queries(QUERIES)

UP = ("Healthy", "Degraded")
DOWN = ("Unhealthy", "Unreachable")


@pytest.fixture
def availability(fleet_database: Database) -> Availability:
    return Availability(fleet_database, COUNTING, retention_days=lambda: 90)


class Change(NamedTuple):
    since: int
    at: int
    before: str
    after: str


@dataclass
class Past:
    """All that is known of one cluster."""

    id: UUID
    first_seen_at: int = DECEMBER - 30 * DAY_S
    gone_at: int | None = None
    changes: list[Change] = field(default_factory=list)
    absences: list[tuple[int, int]] = field(default_factory=list)
    pauses: list[tuple[int, int | None, int | None]] = field(default_factory=list)
    """Begin, `until`, `ended_at`."""
    state: str | None = None

    async def write(self, db: Database) -> None:
        await db.execute(
            "INSERT INTO clusters (id, name, source, endpoint, lifecycle, first_seen_at, gone_at) "
            "VALUES ($1, 'c', 's', 'e', 'Active', to_timestamp($2), to_timestamp($3))",
            self.id,
            float(self.first_seen_at),
            None if self.gone_at is None else float(self.gone_at),
        )
        for version, change in enumerate(self.changes, 1):
            await add_change(db, self.id, change, version)
        for begin, end in self.absences:
            await db.execute(
                "INSERT INTO absences VALUES ($1, to_timestamp($2), to_timestamp($3))",
                self.id,
                float(begin),
                float(end),
            )
        for begin, until, ended_at in self.pauses:
            await add_pause(db, self.id, begin, until, ended_at)
        if self.state is not None:
            await db.execute(
                "INSERT INTO check_states (cluster_id, check_name, health, since, message, latest, streak, "
                "observed_at, received_at, allowance_s, flap_bits, flapping, changes) "
                "VALUES ($1, 'apiserver', $2, 0, '', '{}', 0, 0, 0, 73, 0, false, 9)",
                self.id,
                self.state,
            )

    def at(self, second: int, end: int) -> str:
        """What it was in that second, for a window that ends at `end`: "absent", "paused" or a health."""
        gone_at = end if self.gone_at is None else self.gone_at
        if not self.first_seen_at <= second < gone_at or any(a <= second < b for a, b in self.absences):
            return "absent"
        for begin, until, ended_at in self.pauses:
            ends = [moment for moment in (until, ended_at) if moment is not None]
            if begin <= second < min(ends, default=end):
                return "paused"
        health = self.changes[0].before if self.changes else self.state or "Unknown"
        moment = 0
        for change in self.changes:
            if min(change.since, change.at) >= end:
                continue
            moment = max(moment, min(change.since, change.at))
            if moment <= second:
                health = change.after
        return health


async def add_change(db: Database, cluster: UUID, change: Change, version: int, check: str = "apiserver") -> None:
    await db.execute(
        "INSERT INTO transitions (at, cluster_id, cluster_name, check_name, from_health, to_health, since, message, "
        "evidence, flapping, collapsed, changes) "
        "VALUES (to_timestamp($1), $2, 'c', $3, $4, $5, to_timestamp($6), '', '{}', false, 0, $7)",
        float(change.at),
        cluster,
        check,
        change.before,
        change.after,
        float(change.since),
        version,
    )


async def add_pause(db: Database, cluster: UUID, begin: int, until: int | None, ended_at: int | None = None) -> None:
    await db.execute(
        "INSERT INTO pauses (cluster_id, reason, by_whom, begins_at, until, ended_at) "
        "VALUES ($1, 'r', 'w', to_timestamp($2), to_timestamp($3), to_timestamp($4))",
        cluster,
        float(begin),
        None if until is None else float(until),
        None if ended_at is None else float(ended_at),
    )


async def add_vigil(db: Database, began_at: int, seen_at: int, allowance_s: float = 20.0) -> None:
    await db.execute(
        "INSERT INTO vigils (epoch, began_at, seen_at, allowance_s) VALUES (1, to_timestamp($1), to_timestamp($2), $3)",
        float(began_at),
        float(seen_at),
        allowance_s,
    )


def made_up(random: Random, begin: int) -> Past:
    """A cluster with any past; what is within and around the window (some 600 s from `begin`) is dense."""
    past = Past(uuid4())
    health = "Unknown"
    times = sorted(random.randrange(begin - 300, begin + 900) for _ in range(random.randrange(8)))
    if random.random() < 0.5:
        times = sorted(begin - 4 * DAY_S + random.randrange(DAY_S) for _ in range(2)) + times
    if random.random() < 0.3:
        health = random.choice((*UP, *DOWN))  # the first changes have aged out
        past.state = random.choice((*UP, *DOWN))
    for moment in times:
        after = random.choice([each for each in (*UP, *DOWN, "Unknown", "OfANewerRelease") if each != health])
        since = moment - random.choice([0] * 9 + [200])  # the clock was set back
        past.changes.append(Change(since, since + random.choice([0, 0, random.randrange(90), 4000]), health, after))
        health = after
    if past.changes:
        past.state = health
    if random.random() < 0.3:
        past.first_seen_at = begin + random.randrange(-300, 900)
    if random.random() < 0.3:
        past.gone_at = begin + random.randrange(-100, 900)
    if random.random() < 0.3:
        out = begin + random.randrange(-300, 700)
        past.absences.append((out, out + random.randrange(200)))
    for _ in range(random.choice([0, 0, 1, 2])):
        start = begin + random.randrange(-300, 700)
        until = random.choice([None, start + random.randrange(-5, 300)])
        past.pauses.append((start, until, start + random.randrange(300)))
    if random.random() < 0.2:
        past.pauses.append((begin + random.randrange(600), None, None))
    return past


def awake(vigils: list[tuple[int, int]], second: int) -> bool:
    """Whether anybody looked in that second."""
    if not vigils or second < min(began for began, _ in vigils):
        return True
    return second >= vigils[-1][0] or any(began <= second < max(began, seen + 20) for began, seen in vigils)


def model(past: Past, window: Window, vigils: list[tuple[int, int]]) -> tuple[list[list[int]], int, int]:
    """Second by second: the buckets as [up, down, unknown, paused], outages, the longest one."""
    begin, end = int(window.begin), int(window.end)
    buckets = [[0, 0, 0, 0] for _ in range(window.count)]
    downs: list[int] = []
    seen_downs: list[int] = []
    for second in range(begin - 1, end):
        was = past.at(second, end)
        if was in DOWN:
            downs.append(second)
        kind = 3 if was == "paused" else 2
        if awake(vigils, second) and was in (*UP, *DOWN):
            kind = 0 if was in UP else 1
        if second >= begin and was != "absent":
            buckets[(second - window.first_s) // window.step_s][kind] += 1
            if kind == 1:
                seen_downs.append(second)
    starts = [second for second in downs if second >= begin and second - 1 not in downs]
    runs = [len(list(run)) for _, run in groupby(enumerate(seen_downs), lambda each: each[1] - each[0])]
    return buckets, len(starts), max(runs, default=0)


def seconds(share: Share) -> list[float]:
    return [share.up_s, share.down_s, share.unknown_s, share.paused_s]


@pytest.mark.parametrize("seed", range(12))
async def test_it_is_what_looking_at_every_second_gives(
    fleet_database: Database, availability: Availability, seed: int
) -> None:
    db, random = fleet_database, Random(seed)
    await History(db, COLLECTOR_QUERIES).keep_partitions(DECEMBER - 20 * DAY_S, 90)
    begin = DECEMBER - random.randrange(600)  # across two months
    window = Window(float(begin), float(begin + random.randrange(60, 700)), random.choice([60, 77, 300]))
    vigils: list[tuple[int, int]] = []
    for _ in range(random.randrange(4)):
        began = (vigils[-1][1] if vigils else begin - 100) + random.randrange(200)
        vigils.append((began, began + random.randrange(200)))
        await add_vigil(db, *vigils[-1])
    pasts = [made_up(random, begin) for _ in range(12)]
    for past in pasts:
        await past.write(db)
    await add_change(db, pasts[0].id, Change(begin, begin, "Unknown", "Unhealthy"), 1, check="credential")
    await db.execute("ANALYZE")

    sums = [[0.0] * 4 for _ in range(window.count)]
    outages, longest_s = 0, 0.0
    for past in pasts:
        report = await availability.report(window, past.id)
        assert report is not None
        buckets, times, longest = model(past, window, vigils)
        assert [seconds(share) for share in report.buckets] == buckets, past
        assert (report.outages, report.longest_outage_s) == (times, longest), past
        sums = [[a + b for a, b in zip(one, other, strict=True)] for one, other in zip(sums, buckets, strict=True)]
        outages, longest_s = outages + times, max(longest_s, longest)
    fleet = await availability.report(window, None)
    assert fleet is not None
    assert [seconds(share) for share in fleet.buckets] == sums
    assert (fleet.outages, fleet.longest_outage_s) == (outages, longest_s)
    assert seconds(fleet.total) == [sum(kind) for kind in zip(*sums, strict=True)]


# -- what the recorder and the inventory leave


def last(time: Time, length_s: float = 600.0) -> Window:
    now = time.clock.now()
    return Window(now - length_s, now, 60)


async def reported(availability: Availability, window: Window, cluster: UUID | None) -> Report:
    report = await availability.report(window, cluster)
    assert report is not None
    return report


async def test_it_went_down_when_it_did_and_not_when_it_was_noticed(bench: Bench, availability: Availability) -> None:
    patient = Bench(bench.db, HealthSettings(), bench.time)
    await patient.lead()
    [cluster] = await add_clusters(bench.db, 1)
    await bench.db.execute("UPDATE clusters SET first_seen_at = to_timestamp($1)", bench.time.clock.now())
    patient.hear(cluster, after_s=100)
    await patient.recorder.flush()
    for reason in (*[Reason.CONNECT_TIMEOUT] * 3, None, None):
        patient.hear(cluster, reason, after_s=50)
        await patient.recorder.flush()
    bench.time.advance(50)
    assert [told.to_health for told in patient.told] == [Health.HEALTHY, Health.UNREACHABLE, Health.HEALTHY]
    report = await reported(availability, last(bench.time, 400), cluster)
    assert seconds(report.total) == [150.0, 150.0, 100.0, 0.0]
    assert (report.outages, report.longest_outage_s, report.total.availability) == (1, 150.0, 0.5)


async def test_a_change_that_was_committed_late_counts_from_when_it_began(
    bench: Bench, availability: Availability
) -> None:
    """The database was away for an hour: `at` is its return."""
    [cluster] = await add_clusters(bench.db, 1)
    now = int(bench.time.clock.now())
    await bench.db.execute("UPDATE clusters SET first_seen_at = to_timestamp($1)", float(now - DAY_S))
    await add_change(bench.db, cluster, Change(now - 9000, now - 9000, "Unknown", "Healthy"), 1)
    await add_change(bench.db, cluster, Change(now - 4000, now - 400, "Healthy", "Unreachable"), 2)
    report = await reported(availability, Window(now - 5000.0, now - 3000.0, 1000), cluster)
    assert seconds(report.total) == [1000.0, 1000.0, 0.0, 0.0]
    assert report.outages == 1


async def test_a_change_dated_ahead_freezes_nothing(bench: Bench, availability: Availability) -> None:
    """The clock was a year ahead for one change."""
    [cluster] = await add_clusters(bench.db, 1)
    now = int(bench.time.clock.now())
    await bench.db.execute("UPDATE clusters SET first_seen_at = to_timestamp($1)", float(now - DAY_S))
    ahead = now + 365 * DAY_S
    await add_change(bench.db, cluster, Change(now - 900, now - 900, "Unknown", "Healthy"), 1)
    await add_change(bench.db, cluster, Change(ahead, ahead, "Healthy", "Unreachable"), 2)
    await add_change(bench.db, cluster, Change(now - 300, now - 300, "Unreachable", "Healthy"), 3)
    report = await reported(availability, last(bench.time), cluster)
    assert seconds(report.total) == [600.0, 0.0, 0.0, 0.0]


async def test_a_cluster_whose_history_has_aged_out_is_what_it_is_now(bench: Bench, availability: Availability) -> None:
    [cluster] = await add_clusters(bench.db, 1)
    await bench.db.execute("UPDATE clusters SET first_seen_at = to_timestamp($1)", bench.time.clock.now() - DAY_S)
    bench.hear(cluster)
    await bench.recorder.flush()
    await bench.db.execute("DELETE FROM transitions")
    bench.time.advance(600)
    assert seconds((await reported(availability, last(bench.time), cluster)).total) == [600.0, 0.0, 0.0, 0.0]


async def test_a_cluster_that_was_gone_for_a_while_is_not_counted_meanwhile(
    bench: Bench, availability: Availability
) -> None:
    [cluster] = await add_clusters(bench.db, 1)
    row = {"id": str(cluster), "name": "c", "source": "s", "endpoint": "e", "lifecycle": "Active", "first_seen_at": 0}
    for _ in range(2):
        await bench.db.execute(COLLECTOR_QUERIES["save_clusters"], [row | {"labels": {}}])
    assert await bench.db.fetch("SELECT * FROM absences") == []
    await bench.db.execute(COLLECTOR_QUERIES["retire_clusters"], [cluster])
    await bench.db.execute("UPDATE clusters SET gone_at = gone_at - interval '100 s', first_seen_at = to_timestamp(0)")
    await bench.db.execute(COLLECTOR_QUERIES["save_clusters"], [row | {"labels": {}}])
    now = datetime.now(UTC).timestamp()
    report = await reported(availability, Window(now - 600, now, 60), cluster)
    assert report.total.unknown_s == pytest.approx(500, abs=0.1)
    await bench.db.execute("DELETE FROM clusters")
    assert await bench.db.fetch("SELECT * FROM absences") == []


async def test_a_cluster_that_never_was_has_no_report(availability: Availability) -> None:
    assert await availability.report(Window(DECEMBER - 600.0, float(DECEMBER), 60), uuid4()) is None
    fleet = await reported(availability, Window(DECEMBER - 600.0, float(DECEMBER), 60), None)
    assert seconds(fleet.total) == [0.0] * 4
    assert len(fleet.buckets) == 10


# -- while nobody looked


@pytest.fixture
async def up(bench: Bench) -> UUID:
    """A cluster that answered, and of which nothing else was heard."""
    [cluster] = await add_clusters(bench.db, 1)
    await bench.db.execute("UPDATE clusters SET first_seen_at = to_timestamp(0)")
    bench.hear(cluster)
    await bench.recorder.flush()
    return cluster


async def vigil(bench: Bench) -> Vigil:
    """That of the next leader."""
    watch = Vigil(bench.db, COUNTING, bench.time.clock, allowance_s=73.0)
    await watch.begin(await bench.lead(), 90)
    return watch


async def beats(bench: Bench, watch: Vigil, number: int) -> None:
    for _ in range(number):
        bench.time.advance(BEAT_S)
        await watch.beat()


async def known_s(bench: Bench, availability: Availability, cluster: UUID, length_s: float) -> list[float]:
    return seconds((await reported(availability, last(bench.time, length_s), cluster)).total)[:3]


async def test_time_without_a_hub_is_unknown_once_its_facts_have_aged(
    bench: Bench, up: UUID, availability: Availability
) -> None:
    await beats(bench, await vigil(bench), 10)
    bench.time.advance(1000)
    await beats(bench, await vigil(bench), 10)
    assert await known_s(bench, availability, up, 1200) == [273.0, 0.0, 927.0]


async def test_a_quick_restart_leaves_no_gap(bench: Bench, up: UUID, availability: Availability) -> None:
    await beats(bench, await vigil(bench), 10)
    bench.time.advance(60)
    await beats(bench, await vigil(bench), 10)
    assert await known_s(bench, availability, up, 260) == [260.0, 0.0, 0.0]


async def test_a_machine_that_slept_saw_nothing(bench: Bench, up: UUID, availability: Availability) -> None:
    watch = await vigil(bench)
    await beats(bench, watch, 10)
    bench.time.advance(1000)
    await beats(bench, watch, 10)
    assert await known_s(bench, availability, up, 1200) == [263.0, 0.0, 937.0]


async def test_the_hub_looks_on_while_the_database_is_away(bench: Bench, up: UUID, availability: Availability) -> None:
    watch = await vigil(bench)
    await bench.db.execute("ALTER TABLE vigils RENAME TO away")
    await beats(bench, watch, 100)
    await bench.db.execute("ALTER TABLE away RENAME TO vigils")
    await beats(bench, watch, 1)
    bench.time.advance(10)
    assert await known_s(bench, availability, up, 1000) == [1000.0, 0.0, 0.0]
    await vigil(bench)
    bench.time.advance(10)
    assert await known_s(bench, availability, up, 1000) == [1000.0, 0.0, 0.0]


async def test_who_no_longer_leads_watches_no_longer(bench: Bench, up: UUID) -> None:
    old = await vigil(bench)
    await vigil(bench)
    before = await bench.db.fetch("SELECT * FROM vigils ORDER BY id")
    await beats(bench, old, 1)
    bench.time.advance(1000)
    await beats(bench, old, 1)
    assert await bench.db.fetch("SELECT * FROM vigils ORDER BY id") == before


async def test_an_outage_is_not_counted_again_because_nobody_looked(
    bench: Bench, up: UUID, availability: Availability
) -> None:
    await beats(bench, await vigil(bench), 1)
    bench.hear(up, Reason.CONNECT_TIMEOUT, after_s=1)
    await bench.recorder.flush()
    bench.time.advance(1000)
    await beats(bench, await vigil(bench), 10)
    report = await reported(availability, last(bench.time, 1100), up)
    assert report.outages == 1
    assert report.longest_outage_s == report.total.down_s - (73 - 1) == 100.0


async def test_vigils_age_with_history_but_the_gap_after_them_stays(
    bench: Bench, up: UUID, availability: Availability
) -> None:
    for days in (50, 60, 88):
        await beats(bench, await vigil(bench), 1)
        bench.time.advance(days * DAY_S)
    await vigil(bench)
    assert await bench.db.fetchval("SELECT count(*) FROM vigils") == 3
    assert await known_s(bench, availability, up, 80 * DAY_S) == [0.0, 0.0, 80 * DAY_S]


# -- many who ask


async def test_who_asks_for_the_same_gets_the_same(bench: Bench, up: UUID, availability: Availability) -> None:
    window = last(bench.time)
    for cluster in (None, up):
        reports = await asyncio.gather(*(availability.report(window, cluster) for _ in range(20)))
        assert all(report is reports[0] for report in reports)
    other = Window(window.begin, window.end, 120)
    assert (await reported(availability, other, up)).window == other


async def test_a_long_count_is_given_up_and_the_next_one_works(
    bench: Bench, up: UUID, fleet_database: Database
) -> None:
    impatient = Availability(fleet_database, COUNTING, retention_days=lambda: 90, deadline_s=0.3)
    async with fleet_database.transaction() as tx:
        await tx.execute("LOCK TABLE absences IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(StoreUnavailable, match=r"not counted within 0\.3 s\. Ask for a shorter window"):
            await impatient.report(last(bench.time), None)
    patient = Availability(fleet_database, COUNTING, retention_days=lambda: 90)
    assert (await reported(patient, last(bench.time), None)).total.unknown_s == pytest.approx(600)
    assert (
        await fleet_database.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'WITH fleet%' AND state = 'active'"
        )
        == 0
    )
