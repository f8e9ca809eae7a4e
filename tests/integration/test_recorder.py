"""The recorder on a real PostgreSQL: what is committed, in which transaction, and what comes in meanwhile."""

from __future__ import annotations

import asyncio
import sys
from functools import partial

import pytest

from collector.rows import state_to_row
from collector.writer import BATCH
from tests.support.collecting import QUERIES, Bench, add_clusters, committed, flaws
from validator.clean import clean_evidence, clean_text
from validator.model import MAX_MESSAGE_CHARS, Check, Evidence
from validator.reasons import Health, Reason

DOWN = Reason.CONNECT_TIMEOUT
NOT_READY = Reason.NOT_READY


class TestWriting:
    async def test_the_first_verdict_that_decides_is_a_transition(self, bench: Bench) -> None:
        [cluster] = await add_clusters(bench.db, 1)
        bench.hear(cluster, DOWN, message="no answer", evidence={"connect_ms": 3000})
        assert bench.recorder.pending(cluster)
        assert bench.told == []

        assert await bench.recorder.flush()

        [told] = bench.told
        assert (told.from_health, told.to_health, told.changes) == (Health.UNKNOWN, Health.UNREACHABLE, 1)
        assert (told.reason, told.message, told.evidence) == (DOWN, "no answer", {"connect_ms": 3000})
        assert await committed(bench.db) == [told]
        assert not bench.recorder.pending(cluster)

    async def test_a_first_verdict_that_says_nothing_is_kept_and_is_no_transition(self, bench: Bench) -> None:
        [cluster] = await add_clusters(bench.db, 1)
        bench.hear(cluster, Reason.HUB_OUT_OF_DESCRIPTORS)
        assert await bench.recorder.flush()
        assert await committed(bench.db) == []
        assert await bench.db.fetchval("SELECT reason FROM check_states") == "HubOutOfDescriptors"

        bench.hear(cluster)
        assert await bench.recorder.flush()
        assert await flaws(bench.db, bench.told) == []
        assert [one.to_health for one in bench.told] == [Health.HEALTHY]

    async def test_a_thousand_states_are_one_statement_and_one_transaction(self, bench: Bench) -> None:
        clusters = await add_clusters(bench.db, BATCH + 1)
        for cluster in clusters:
            bench.hear(cluster, Reason.HUB_OUT_OF_DESCRIPTORS, after_s=0.001)
        for cluster in clusters[:BATCH]:
            bench.hear(cluster, Reason.HUB_OUT_OF_DESCRIPTORS, after_s=0.001)
        assert await bench.recorder.flush()
        assert bench.at.seen.count("before save") == 2

        bench.at.seen.clear()
        for cluster in clusters[:BATCH]:
            bench.hear(cluster, Reason.HUB_OUT_OF_DESCRIPTORS, message="again", after_s=0.001)
        assert await bench.recorder.flush()
        assert bench.at.seen == ["before flush", "before save", "after save", "after flush"]
        written = await bench.db.fetchrow(
            "SELECT count(DISTINCT xmin::text), count(*) FROM check_states WHERE message = 'again'"
        )
        assert tuple(written or ()) == (1, BATCH)

    async def test_each_transition_has_a_transaction_of_its_own_with_its_state(self, bench: Bench) -> None:
        for cluster in await add_clusters(bench.db, 20):
            bench.hear(cluster, DOWN)
        assert await bench.recorder.flush()
        rows = await bench.db.fetch(
            "SELECT s.xmin::text AS state, t.xmin::text AS transition "
            "FROM check_states s JOIN transitions t USING (cluster_id, check_name)"
        )
        assert len(rows) == 20
        assert all(row["state"] == row["transition"] for row in rows)
        assert len({row["state"] for row in rows}) == 20

    async def test_quiet_verdicts_make_no_history(self, bench: Bench) -> None:
        [cluster] = await add_clusters(bench.db, 1)
        for number in range(5):
            bench.hear(cluster, message=f"{number}")
            assert await bench.recorder.flush()
        assert len(bench.told) == 1
        assert await bench.db.fetchval("SELECT message FROM check_states") == "4"

    async def test_nothing_new_is_nothing_written(self, bench: Bench) -> None:
        [cluster] = await add_clusters(bench.db, 1)
        bench.hear(cluster)
        await bench.recorder.flush()
        bench.at.seen.clear()
        assert await bench.recorder.flush()
        assert bench.at.seen == ["before flush", "after flush"]

    async def test_updates_stay_on_their_page(self, bench: Bench) -> None:
        clusters = await add_clusters(bench.db, 50)
        for _ in range(20):
            for cluster in clusters:
                bench.hear(cluster, after_s=0.1, evidence={"address": "127.64.0.1", "http_ms": 3.25, "path": "/readyz"})
            await bench.recorder.flush()
        await bench.db.execute("SELECT pg_stat_force_next_flush()")
        await asyncio.sleep(0.1)
        counts = await bench.db.fetchrow(
            "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'check_states'"
        )
        assert counts is not None
        assert counts["n_tup_upd"] > 0
        assert counts["n_tup_hot_upd"] >= 0.95 * counts["n_tup_upd"]

    async def test_run_flushes_every_second_and_notices_what_is_stale(self, bench: Bench) -> None:
        [cluster] = await add_clusters(bench.db, 1)
        bench.hear(cluster)
        await bench.recorder.flush()
        bench.time.advance(80)
        flushed = asyncio.Event()
        bench.at.do("after flush", flushed.set)
        running = asyncio.create_task(bench.recorder.run(), name="recorder")
        async with asyncio.timeout(5):
            await flushed.wait()
        running.cancel()
        await asyncio.wait([running])
        assert [one.to_health for one in bench.told] == [Health.HEALTHY, Health.UNKNOWN]


class TestBetweenTwoAwaits:
    """Verdicts come while a flush waits for PostgreSQL."""

    async def test_a_change_during_the_commit_of_the_one_before_is_committed_next(self, bench: Bench) -> None:
        [cluster] = await add_clusters(bench.db, 1)
        bench.hear(cluster)
        bench.at.do("before commit", partial(bench.hear, cluster, DOWN))
        assert await bench.recorder.flush()
        assert [one.to_health for one in bench.told] == [Health.HEALTHY]
        assert bench.recorder.pending(cluster)

        bench.at.do("after commit", partial(bench.hear, cluster, NOT_READY))
        assert await bench.recorder.flush()
        assert await bench.recorder.flush()
        assert [one.to_health for one in bench.told] == [Health.HEALTHY, Health.UNREACHABLE, Health.UNHEALTHY]
        assert await flaws(bench.db, bench.told) == []
        assert not bench.recorder.pending(cluster)

    @pytest.mark.parametrize("step", ["before save", "after save"])
    async def test_a_verdict_during_a_save_is_saved_next(self, bench: Bench, step: str) -> None:
        [cluster] = await add_clusters(bench.db, 1)
        bench.hear(cluster)
        await bench.recorder.flush()
        bench.hear(cluster, message="older")
        bench.at.do(step, partial(bench.hear, cluster, message="newer"))
        await bench.recorder.flush()
        assert await bench.db.fetchval("SELECT message FROM check_states") == "older"
        await bench.recorder.flush()
        assert await bench.db.fetchval("SELECT message FROM check_states") == "newer"

    async def test_a_health_that_went_and_came_back_during_a_flush_is_counted_as_collapsed(self, bench: Bench) -> None:
        [cluster] = await add_clusters(bench.db, 1)
        bench.hear(cluster)

        def there_and_back() -> None:
            bench.hear(cluster, DOWN)
            bench.hear(cluster)

        bench.at.do("after commit", there_and_back)
        await bench.recorder.flush()
        await bench.recorder.flush()
        assert bench.recorder.stats.collapsed == 2
        bench.hear(cluster, DOWN)
        await bench.recorder.flush()
        assert [one.changes for one in bench.told] == [1, 4]
        assert await flaws(bench.db, bench.told) == []

    async def test_the_clock_is_stepped_during_a_save(self, bench: Bench) -> None:
        [cluster] = await add_clusters(bench.db, 1)
        bench.hear(cluster)
        await bench.recorder.flush()
        bench.hear(cluster)
        before = bench.recorder.states[cluster][Check.APISERVER]

        def step() -> None:
            bench.time.step(-3600)
            bench.recorder.follow_clock()

        bench.at.do("before save", step)
        await bench.recorder.flush()
        await bench.recorder.flush()
        assert await bench.db.fetchval("SELECT received_at FROM check_states") == before.received_at - 3600
        bench.hear(cluster, DOWN)
        await bench.recorder.flush()
        assert await flaws(bench.db, bench.told) == []

    @pytest.mark.parametrize("step", ["before commit", "after commit"])
    async def test_a_cluster_that_is_forgotten_during_its_commit_stays_forgotten(self, bench: Bench, step: str) -> None:
        [cluster] = await add_clusters(bench.db, 1)
        bench.hear(cluster, DOWN)
        bench.at.do(step, lambda: bench.recorder.forget(cluster))
        assert await bench.recorder.flush()
        assert bench.recorder.states == {}
        assert bench.recorder._writer._committed == {}
        assert bench.recorder._writer.publication.doubts == {}
        assert await bench.recorder.flush()

    async def test_a_cluster_that_is_retired_before_it_is_forgotten_is_written_no_more(self, bench: Bench) -> None:
        one, other = await add_clusters(bench.db, 2)
        bench.hear(one)
        bench.hear(other)
        await bench.recorder.flush()
        await bench.db.execute(QUERIES["retire_clusters"], [one])
        bench.hear(one, DOWN)
        bench.hear(other, message="goes on")
        assert await bench.recorder.flush()
        bench.hear(one)
        assert await bench.recorder.flush()
        assert await bench.db.fetchval("SELECT count(*) FROM check_states WHERE cluster_id = $1", one) == 0
        assert await bench.db.fetchval("SELECT message FROM check_states") == "goes on"

    async def test_a_state_that_somebody_deleted_is_written_anew(self, bench: Bench) -> None:
        [cluster] = await add_clusters(bench.db, 1)
        bench.hear(cluster)
        await bench.recorder.flush()
        await bench.db.execute("DELETE FROM check_states")
        for _ in range(3):
            bench.hear(cluster)
            assert await bench.recorder.flush()
        assert await bench.db.fetchval("SELECT health FROM check_states") == "Healthy"

    async def test_what_another_writer_put_there_is_the_truth(self, bench: Bench) -> None:
        one, other = await add_clusters(bench.db, 2)
        bench.hear(one)
        bench.hear(other)
        await bench.recorder.flush()
        await bench.db.execute("UPDATE check_states SET health = 'Degraded', changes = 7 WHERE cluster_id = $1", one)
        bench.hear(one)
        bench.hear(other, message="not disturbed")
        await bench.recorder.flush()
        assert bench.health(one) is Health.DEGRADED
        assert bench.recorder.stats.conflicts == 1
        written = await bench.db.fetchval("SELECT message FROM check_states WHERE cluster_id = $1", other)
        assert written == "not disturbed"
        bench.hear(one)
        await bench.recorder.flush()
        assert bench.told[-1].changes == 8


class TestPoison:
    """Verdicts are cleaned where they are made; should that fail, nobody else may suffer."""

    @pytest.mark.parametrize("quiet", [True, False])
    async def test_a_row_that_postgresql_can_not_take_fails_alone(self, bench: Bench, *, quiet: bool) -> None:
        clusters = await add_clusters(bench.db, 20)
        if quiet:
            for cluster in clusters:
                bench.hear(cluster)
            assert await bench.recorder.flush()
        poisons: list[str | float] = ["\0", "\ud800", float("nan")]
        for number, cluster in enumerate(clusters):
            evidence: Evidence = {"word": poisons[number // 5 % 3] if number % 5 == 0 else "fine"}
            bench.hear(cluster, None if quiet else DOWN, message="new", evidence=evidence)
        assert not await bench.recorder.flush()
        assert bench.recorder.degraded_since is not None
        assert await bench.db.fetchval("SELECT count(*) FROM check_states WHERE message = 'new'") == 16

        for cluster in clusters:
            bench.hear(cluster, None if quiet else DOWN, message="clean")
        assert await bench.recorder.flush()
        assert bench.recorder.degraded_since is None
        assert await bench.db.fetchval("SELECT count(*) FROM check_states WHERE message = 'clean'") == 20
        assert await flaws(bench.db, bench.told) == []

    async def test_whatever_a_server_says_can_be_stored_once_it_is_clean(self, bench: Bench) -> None:
        """Every character that there is, lone surrogates too."""
        everything = "".join(map(chr, range(sys.maxunicode + 1)))
        texts = [
            everything[begin : begin + MAX_MESSAGE_CHARS] for begin in range(0, len(everything), MAX_MESSAGE_CHARS)
        ]
        [cluster] = await add_clusters(bench.db, 1)
        states = []
        for text in texts:
            message = clean_text(text, MAX_MESSAGE_CHARS)
            bench.hear(cluster, message=message, evidence=clean_evidence({text[:50]: text}), after_s=0.001)
            states.append(state_to_row(bench.recorder.states[cluster][Check.APISERVER]))
        taken = await bench.db.fetchval(
            "SELECT sum(length(s->>'message')) FROM jsonb_array_elements($1::jsonb) s", states
        )
        assert taken == sum(len(state["message"]) for state in states)
