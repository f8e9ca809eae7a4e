"""The recorder after a restart, beside another hub, and under a clock that is set: one ledger all the same."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest

from collector.fleet import snapshot
from collector.publication import Subject
from collector.rows import state_to_row, transition_to_row
from collector.state_sql import of_clusters
from collector.transition import Transition
from tests.support.collecting import QUERIES, Bench, Time, add_clusters, committed, flaws
from validator.clock import Clock
from validator.health import HealthSettings, stale
from validator.model import Check, SubjectId
from validator.reasons import Health, Reason

DOWN = Reason.CONNECT_TIMEOUT
NOT_READY = Reason.NOT_READY


class TestRestart:
    async def test_shows_the_same_picture(self, bench: Bench) -> None:
        clusters = await add_clusters(bench.db, 30)
        patient = Bench(bench.db, HealthSettings(), bench.time)
        await patient.lead()
        for number, cluster in enumerate(clusters):
            patient.hear(cluster, evidence={"http_ms": 1.5, "reused": True, "path": "/readyz"})
            for _ in range(number % 5):
                patient.hear(cluster, [DOWN, NOT_READY, Reason.CLOCK_SKEW][number % 3], message="ü \u2026 🙂")
            if number % 4 == 0:
                patient.hear(cluster, Reason.CREDENTIAL_REJECTED, check=Check.CREDENTIAL)
        await patient.recorder.flush()

        after = patient.restarted()
        await after.lead()
        assert after.recorder.states == patient.recorder.states
        now = after.time.clock.now()
        assert snapshot((), after.recorder.states, now) == snapshot((), patient.recorder.states, now)
        assert not any(after.recorder.pending(cluster) for cluster in clusters)

    async def test_goes_on_in_the_middle_of_a_streak(self, bench: Bench) -> None:
        [cluster] = await add_clusters(bench.db, 1)
        before = Bench(bench.db, HealthSettings(), bench.time)
        await before.lead()
        before.hear(cluster)
        before.hear(cluster, DOWN)
        before.hear(cluster, DOWN)
        await before.recorder.flush()
        after = before.restarted()
        await after.lead()
        after.hear(cluster, DOWN)
        await after.recorder.flush()
        assert [one.to_health for one in after.told] == [Health.UNREACHABLE]
        assert await flaws(bench.db, [*before.told, *after.told]) == []

    async def test_nothing_is_committed_as_stale_during_the_grace(self, bench: Bench) -> None:
        [cluster] = await add_clusters(bench.db, 1)
        bench.hear(cluster)
        await bench.recorder.flush()
        bench.time.advance(10_000)
        after = bench.restarted()
        await after.lead(grace_s=40)
        await after.recorder.sweep()
        assert after.health(cluster) is Health.HEALTHY
        assert stale(after.recorder.states[cluster][Check.APISERVER], after.time.clock.now())

        after.time.advance(41)
        await after.recorder.sweep()
        await after.recorder.flush()
        [told] = after.told
        assert (told.to_health, told.reason) == (Health.UNKNOWN, Reason.STALE)
        assert told.since == pytest.approx(bench.told[0].at + 73, abs=1.0)

    async def test_a_state_from_the_future_is_not_green_for_ever(self, bench: Bench) -> None:
        """The wall clock was an hour ahead, and was corrected while the hub was down."""
        [cluster] = await add_clusters(bench.db, 1)
        bench.hear(cluster)
        await bench.recorder.flush()
        after = Bench(bench.db, time=Time(bench.time.wall_s - 3600))
        await after.lead()
        state = after.recorder.states[cluster][Check.APISERVER]
        assert state.received_at <= after.time.clock.now()
        after.hear(cluster, DOWN)
        assert after.health(cluster) is Health.UNREACHABLE
        await after.recorder.flush()
        assert await flaws(after.db, [*bench.told, *after.told]) == []

    async def test_rows_of_a_newer_release_are_read_and_written_over(self, bench: Bench) -> None:
        one, other = await add_clusters(bench.db, 2)
        bench.hear(one)
        bench.hear(other, DOWN)
        await bench.recorder.flush()
        await bench.db.execute(
            "UPDATE check_states SET health = 'Enlightened', reason = 'Nirvana', stage = 'beyond', last_known = 'Zen', "
            "latest = $2, evidence = $3, changes = 5 WHERE cluster_id = $1",
            one,
            {"outcome": "bliss", "message": [1]},
            ["om"],
        )
        await bench.db.execute(
            'INSERT INTO check_states SELECT (jsonb_populate_record(s, \'{"check_name": "karma"}\')).* '
            "FROM check_states s WHERE cluster_id = $1",
            other,
        )
        after = bench.restarted()
        await after.lead()
        assert after.health(one) is Health.UNKNOWN
        assert set(after.recorder.states[other]) == {Check.APISERVER}
        after.hear(one)
        after.hear(other)
        assert await after.recorder.flush()
        assert [(one.from_health, one.changes) for one in sorted(after.told, key=lambda one: one.changes)] == [
            (Health.UNREACHABLE, 2),
            (Health.UNKNOWN, 6),
        ]
        assert after.recorder.stats.conflicts == 0
        assert await bench.db.fetchval("SELECT health FROM check_states WHERE check_name = 'karma'") == "Unreachable"


class TestTwoHubs:
    async def test_the_old_leader_writes_nothing(self, bench: Bench) -> None:
        one, other = await add_clusters(bench.db, 2)
        bench.hear(one)
        bench.hear(other)
        await bench.recorder.flush()
        successor = bench.restarted()
        await successor.lead()

        bench.hear(one, DOWN)
        bench.hear(other, message="from the past")
        assert not await bench.recorder.flush()
        assert bench.recorder.degraded_since is not None
        assert len(await committed(bench.db)) == 2
        assert await bench.db.fetchval("SELECT count(*) FROM check_states WHERE message <> ''") == 0
        assert bench.recorder.pending(one)
        assert bench.health(one) is Health.UNREACHABLE, "the picture goes on until it steps down"

        successor.hear(one, NOT_READY)
        assert await successor.recorder.flush()
        assert await flaws(bench.db, [*bench.told, *successor.told]) == []

    async def test_a_new_leader_waits_for_a_commit_under_way_and_then_knows_of_it(self, bench: Bench) -> None:
        [cluster] = await add_clusters(bench.db, 1)
        bench.hear(cluster, DOWN)
        state = bench.recorder.states[cluster][Check.APISERVER]
        async with bench.db.transaction() as old:
            number = await old.fetchval(
                of_clusters(QUERIES).commit, state_to_row(state), 1, 0, _went_down(cluster, Health.UNKNOWN)
            )
            assert number is not None
            successor = bench.restarted()
            taking_over = asyncio.create_task(successor.lead(), name="takeover")
            await asyncio.sleep(0.1)
            assert not taking_over.done()
        assert await taking_over == 2
        assert successor.health(cluster) is Health.UNREACHABLE

    async def test_a_save_that_waited_for_a_late_commit_does_not_write_over_it(self, bench: Bench) -> None:
        """A commit that the client gave up on may still be under way in the server; collapsed by now, it must win."""
        [cluster] = await add_clusters(bench.db, 1)
        bench.hear(cluster)
        await bench.recorder.flush()
        bench.hear(cluster, DOWN)
        down = bench.recorder.states[cluster][Check.APISERVER]
        async with bench.db.transaction() as late:
            await late.fetchval(
                of_clusters(QUERIES).commit, state_to_row(down), 1, 1, _went_down(cluster, Health.HEALTHY)
            )
            bench.recorder._writer.publication.sending(Subject(cluster, Check.APISERVER), down.changes)
            bench.hear(cluster)  # healthy again: nothing to tell, if the commit had not happened
            saving = asyncio.create_task(bench.recorder.flush(), name="flush")
            await asyncio.sleep(0.1)
            assert not saving.done()
        assert await saving
        assert [one.to_health for one in bench.told] == [Health.HEALTHY, Health.UNREACHABLE]
        assert await bench.recorder.flush()
        assert [one.changes for one in bench.told] == [1, 2, 3]
        assert await flaws(bench.db, bench.told) == []


class TestTime:
    async def test_a_stepped_wall_clock_changes_no_age(self, bench: Bench) -> None:
        clusters = await add_clusters(bench.db, 3)
        for cluster in clusters:
            bench.hear(cluster)
        await bench.recorder.flush()
        bench.time.advance(30)
        ages = _ages(bench, bench.time.clock)
        bench.time.step(3600)
        bench.recorder.follow_clock()
        await bench.recorder.sweep()
        assert _ages(bench, bench.time.clock) == ages
        assert all(bench.health(cluster) is Health.HEALTHY for cluster in clusters)
        await bench.recorder.flush()
        after = bench.restarted()
        await after.lead()
        assert _ages(after, bench.time.clock) == ages


def _ages(bench: Bench, clock: Clock) -> dict[SubjectId, float]:
    states = bench.recorder.states
    return {cluster: clock.now() - checks[Check.APISERVER].received_at for cluster, checks in states.items()}


def _went_down(cluster: UUID, before: Health) -> dict[str, object]:
    at = 1_800_000_000.0
    return transition_to_row(
        Transition(
            id=0,
            at=at,
            cluster_id=cluster,
            cluster_name="c",
            check=Check.APISERVER,
            from_health=before,
            to_health=Health.UNREACHABLE,
            since=at,
            reason=DOWN,
            stage=None,
            message="",
            evidence={},
            flapping=False,
            collapsed=0,
            changes=2,
        )
    )
