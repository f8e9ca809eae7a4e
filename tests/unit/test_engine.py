"""The engine with scripted probes, in real time at small intervals: isolation, one place at a time, honest lateness.

Bounds on time are several times what an idle machine needs; what they tell apart is further away still.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from time import monotonic
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from tests.support.loops import on_both_loops
from validator import schedule
from validator.answer import Answer, Fact
from validator.clock import FakeClock, HubClock
from validator.engine import Engine
from validator.model import MAX_MESSAGE_CHARS, Check, Outcome, Verdict
from validator.reasons import Reason, Stage
from validator.schedule import Lane, ScheduleSettings
from validator.testing import PASSED, TIMED_OUT, After, Collected, Held, ScriptedProbe

INTERVAL_S = 0.1
FAST = ScheduleSettings(interval_s=INTERVAL_S, timeout_s=0.3, backoff_max_s=30.0)
HOURLY = ScheduleSettings(interval_s=3600.0, timeout_s=10.0, backoff_max_s=3600.0)
"""Nothing falls due by itself: the test hastens what it wants asked."""
ONE, OTHER = UUID(int=1), UUID(int=2)
REFUSED = Answer((Fact(Check.APISERVER, Outcome.FAIL, Reason.NOT_READY, Stage.HTTP),))


class Running:
    """An engine at work, and what it said."""

    def __init__(self, settings: ScheduleSettings, descriptors: int = 10_000) -> None:
        self.said = Collected()
        self.engine = Engine(settings, self.said, HubClock(), descriptors)
        self.task: asyncio.Task[None] | None = None

    def add(self, target: UUID, *script: Answer | After | Held | Exception, now: bool = True) -> ScriptedProbe:
        probe = ScriptedProbe(*script)
        self.engine.add(target, f"cluster-{target.int}", probe)
        if now:
            self.engine.hasten(target)
        return probe

    async def ask(self, target: UUID) -> Verdict:
        """Have it asked once more; gives the verdict."""
        before = len(self.said.of(target))
        self.engine.hasten(target)
        return (await self.said.wait_for(target, before + 1))[-1]

    @property
    def busy(self) -> dict[Lane, int]:
        return {lane: slots.busy for lane, slots in self.engine.lanes.items()}


@asynccontextmanager
async def running(settings: ScheduleSettings = HOURLY, descriptors: int = 10_000) -> AsyncIterator[Running]:
    run = Running(settings, descriptors)
    run.task = asyncio.create_task(run.engine.run(), name="engine")
    try:
        yield run
    finally:
        if not run.task.done():
            run.task.cancel()
        await asyncio.wait([run.task])
        if not run.task.cancelled():
            run.task.result()


def due(verdict: Verdict) -> float:
    """When the tick fell due that it answers."""
    return verdict.received_at - verdict.lateness_s


async def until(condition: object, within_s: float = 5.0) -> None:
    """Wait until the callable gives true. Raises TimeoutError."""
    assert callable(condition)
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.002)


async def begun_but_not_asking(run: Running, probe: ScriptedProbe) -> None:
    """Wait for the one turn of the loop between a task's making and its first step."""
    for _ in range(10):
        await asyncio.sleep(0)
        if run.busy[Lane.LIVE]:
            break
    assert run.busy[Lane.LIVE] == 1
    assert probe.asked == []


def narrow_dead_lane(run: Running, slots: int) -> None:
    """Narrow the dead lane, so that a few probes fill it."""
    run.engine.lanes[Lane.DEAD].slots = slots


@on_both_loops
class TestAsking:
    async def test_a_target_is_asked_at_every_tick_of_its_phase(self) -> None:
        async with running(FAST) as run:
            run.add(ONE, now=False)
            verdicts = (await run.said.wait_for(ONE, 7))[1:]  # the first ask is sooner than its tick
        ticks = [(due(verdict) - schedule.phase_s(ONE, INTERVAL_S)) / INTERVAL_S for verdict in verdicts]
        assert ticks == pytest.approx([round(tick) for tick in ticks], abs=0.02)
        assert all(after - before >= 0.9 for before, after in pairwise(ticks))
        assert ticks[-1] - ticks[0] < 8  # five, where the machine isn't busy

    async def test_it_is_asked_one_at_a_time_and_the_ticks_it_missed_count_as_lateness(self) -> None:
        slow = After(3.5 * INTERVAL_S, PASSED)
        async with running(FAST) as run:
            probe = run.add(ONE, slow, now=False)
            verdicts = await run.said.wait_for(ONE, 3)
        assert probe.most_at_once == 1
        for verdict in verdicts:
            assert verdict.lateness_s >= verdict.duration_s >= 3.4 * INTERVAL_S
            assert verdict.skipped_ticks == int(verdict.lateness_s / INTERVAL_S) >= 3

    async def test_time_that_a_busy_loop_costs_counts_as_lateness(self) -> None:
        async with running(FAST) as run:
            run.add(ONE, now=False)
            await run.said.wait_for(ONE, 1)
            before = len(run.said.of(ONE))
            blocked_until = monotonic() + 2.5 * INTERVAL_S
            while monotonic() < blocked_until:
                pass
            late = (await run.said.wait_for(ONE, before + 1))[before]
        assert late.lateness_s > INTERVAL_S
        assert late.skipped_ticks >= 1

    async def test_a_probe_that_raises_is_a_defect_of_ours_and_the_others_go_on(self) -> None:
        async with running() as run:
            with capture_logs() as logs:
                run.add(ONE, ValueError("token-canary-4711"), PASSED)
                run.add(OTHER)
                (verdict,) = await run.said.wait_for(ONE)
            assert [(log["event"], log["target"]) for log in logs] == [("probe defect", "cluster-1")]
            assert (verdict.outcome, verdict.reason, verdict.stage) == (
                Outcome.UNKNOWN,
                Reason.PROBE_DEFECT,
                Stage.HUB,
            )
            assert verdict.message == "ValueError in the probe"  # the text could hold anything
            assert (await run.ask(ONE)).outcome is Outcome.PASS
            assert (await run.ask(OTHER)).outcome is Outcome.PASS

    async def test_a_probe_that_cancels_itself_is_asked_again(self) -> None:
        class SelfCancelling(ScriptedProbe):
            async def ask(self) -> Answer:
                if not self.asked:
                    self.asked.append(0.0)
                    raise asyncio.CancelledError
                return await super().ask()

        async with running() as run:
            run.engine.add(ONE, "cluster", SelfCancelling())
            run.engine.hasten(ONE)
            await run.said.wait_for(ONE)
            await until(lambda: run.busy[Lane.LIVE] == 0)

    async def test_every_fact_becomes_a_verdict_with_the_allowance_of_its_own_period(self) -> None:
        often = Fact(Check.APISERVER, Outcome.PASS, evidence={"http_ms": 1.5})
        seldom = Fact(Check.CREDENTIAL, Outcome.FAIL, Reason.CREDENTIAL_REJECTED, Stage.CREDENTIAL, "x" * 600, every=4)
        async with running(FAST) as run:
            run.add(ONE, Answer((often, seldom)), now=False)
            await run.said.wait_for(ONE, 4)
        apiserver, credential = run.said.verdicts[
            2:4
        ]  # the first ask is sooner than its tick, so its facts stand longer
        assert apiserver.evidence == {"http_ms": 1.5}
        assert len(credential.message) == MAX_MESSAGE_CHARS
        assert (credential.check, credential.outcome, credential.reason) == (
            Check.CREDENTIAL,
            Outcome.FAIL,
            Reason.CREDENTIAL_REJECTED,
        )
        assert apiserver.allowance_s == pytest.approx(2.1 * INTERVAL_S + FAST.timeout_s, rel=0.01)
        assert credential.allowance_s == pytest.approx(2.1 * 4 * INTERVAL_S + FAST.timeout_s, rel=0.01)
        assert apiserver.received_at == apiserver.observed_at == credential.received_at


@on_both_loops
class TestLanes:
    async def test_the_first_unanswered_ask_leads_to_the_dead_lane_and_the_first_answer_back(self) -> None:
        async with running() as run:
            run.add(ONE, PASSED, TIMED_OUT, TIMED_OUT, PASSED, PASSED)
            await run.said.wait_for(ONE)
            for _ in range(4):
                await run.ask(ONE)
        lanes = [verdict.lane for verdict in run.said.of(ONE)]
        assert lanes == [Lane.LIVE, Lane.LIVE, Lane.DEAD, Lane.DEAD, Lane.LIVE]

    async def test_two_confirming_asks_come_at_the_interval_and_then_it_backs_off(self) -> None:
        async with running(FAST) as run:
            run.add(ONE, TIMED_OUT, now=False)
            verdicts = await run.said.wait_for(ONE, 6)
        gaps = [round((due(after) - due(before)) / INTERVAL_S) for before, after in pairwise(verdicts)]
        assert gaps == [1, 1, 2, 4, 8]

    async def test_the_allowance_follows_the_backoff(self) -> None:
        async with running(FAST) as run:
            run.add(ONE, TIMED_OUT, now=False)
            verdicts = await run.said.wait_for(ONE, 4)
        periods = [1, 1, 2, 4]
        for verdict, period in zip(verdicts, periods, strict=True):
            expected = 2.1 * period * INTERVAL_S + FAST.timeout_s
            assert expected - 0.001 <= verdict.allowance_s <= expected + 0.1

    async def test_retry_after_is_honoured_and_not_longer_than_the_cap(self) -> None:
        settings = ScheduleSettings(interval_s=INTERVAL_S, timeout_s=0.3, backoff_max_s=0.6)
        throttled = Answer(PASSED.facts, retry_after_s=0.35)
        greedy = Answer(PASSED.facts, retry_after_s=1e9)
        async with running(settings) as run:
            run.add(ONE, throttled, greedy, PASSED, now=False)
            verdicts = await run.said.wait_for(ONE, 3)
        first, second = (due(after) - before.received_at for before, after in pairwise(verdicts))
        assert 0.349 <= first <= 0.351 + INTERVAL_S
        assert 0.599 <= second <= 0.601 + INTERVAL_S
        assert verdicts[1].allowance_s >= 2.1 * 0.6

    async def test_hung_targets_in_a_full_dead_lane_delay_no_live_one(self) -> None:
        lateness = await live_lateness_beside(After(0.3, TIMED_OUT))
        assert max(lateness) < 0.2

    async def test_the_same_hung_targets_in_one_lane_with_the_living_would(self) -> None:
        """The control: what the test above sees where the dead are not told apart."""
        lateness = await live_lateness_beside(After(0.3, PASSED))
        assert max(lateness) > 0.4

    async def test_a_fact_of_a_crowded_lane_is_allowed_the_wait_for_a_slot(self) -> None:
        settings = replace(HOURLY, timeout_s=1000.0)
        async with running(settings) as run:
            targets = [UUID(int=number) for number in range(10, 29)]
            for target in targets:
                run.add(target, TIMED_OUT, Held())
            await until(lambda: len(run.said.verdicts) == len(targets))
            narrow_dead_lane(run, 1)
            for target in targets:
                run.engine.hasten(target)
            await until(lambda: len(run.engine.lanes[Lane.DEAD]) == 18)
            run.add(ONE, TIMED_OUT)
            narrow_dead_lane(run, 1)  # adding one has widened it again
            (crowded,) = await run.said.wait_for(ONE)
            due_s = run.engine.next_due_s(ONE)
            assert due_s is not None
        expected_s = schedule.allowance_s(settings, due_s + 18 * settings.timeout_s)
        assert crowded.allowance_s == pytest.approx(expected_s, rel=0.01)

    async def test_slots_grow_and_shrink_with_the_fleet(self) -> None:
        run = Running(HOURLY, descriptors=100_000)
        settings = ScheduleSettings()
        engine = Engine(settings, run.said, FakeClock(), 100_000)
        assert (engine.lanes[Lane.LIVE].slots, engine.lanes[Lane.DEAD].slots) == (64, 32)
        for number in range(3000):
            engine.add(UUID(int=number), "cluster", ScriptedProbe())
        assert (engine.lanes[Lane.LIVE].slots, engine.lanes[Lane.DEAD].slots) == (1241, 310)
        assert len(engine) == 3000
        for number in range(2700):
            engine.remove(UUID(int=number))
        assert (engine.lanes[Lane.LIVE].slots, len(engine)) == (182, 300)


async def live_lateness_beside(hung: After) -> list[float]:
    """Lateness of 10 live targets beside 60 that hang for 0.3 s, with 16 live and 8 dead slots, once that is known."""
    settings = ScheduleSettings(interval_s=0.3, timeout_s=0.3, confirm=1000)  # no backoff: all of them, all the time
    async with running(settings, descriptors=32) as run:
        live = [UUID(int=number) for number in range(10)]
        for target in live:
            run.add(target, now=False)
        for number in range(100, 160):
            run.add(UUID(int=number), hung, now=False)
        assert {lane: slots.slots for lane, slots in run.engine.lanes.items()} == {Lane.LIVE: 16, Lane.DEAD: 8}
        await asyncio.sleep(1.0)
        run.said.verdicts.clear()
        await asyncio.sleep(0.7)
        assert len(run.engine.lanes[Lane.DEAD]) > 8 or hung.answer is PASSED
        return [verdict.lateness_s for target in live for verdict in run.said.of(target)]


@on_both_loops
class TestBursts:
    async def test_five_thousand_targets_added_at_once_are_asked_evenly_over_the_first_round(self) -> None:
        settings = ScheduleSettings(interval_s=2.0, timeout_s=1.0)
        async with running(settings, descriptors=100_000) as run:
            began = monotonic()
            for number in range(5000):
                run.add(UUID(int=number), now=False)
            await asyncio.sleep(2.3)
        first = {verdict.cluster_id: verdict for verdict in reversed(run.said.verdicts)}
        assert len(first) == 5000
        began += HubClock().now() - monotonic()
        tenths = [0] * 12
        for verdict in first.values():
            tenths[min(int((due(verdict) - began) / (0.2 * schedule.FIRST_ROUND)), 11)] += 1
        assert max(tenths) < 1250  # 500 expected in each of ten; a busy machine adds them late
        assert sum(number > 100 for number in tenths) >= 8  # a busy machine takes a while to add them all


@on_both_loops
class TestChanges:
    async def test_a_target_removed_in_mid_ask_is_cancelled_closed_and_silent(self) -> None:
        async with running() as run:
            probe = run.add(ONE, Held())
            await until(lambda: probe.asking == 1)
            run.engine.remove(ONE)
            await until(lambda: probe.asking == 0)
            assert (probe.cancelled, probe.closed, len(run.engine)) == (1, 1, 0)
            await until(lambda: run.busy[Lane.LIVE] == 0)
            assert run.said.verdicts == []

    async def test_a_target_removed_before_its_ask_has_begun_gives_its_slot_back(self) -> None:
        async with running() as run:
            probe = run.add(ONE)
            await begun_but_not_asking(run, probe)
            run.engine.remove(ONE)
            await asyncio.sleep(0.05)
            assert run.busy[Lane.LIVE] == 0
            assert not probe.asked_after_close

    async def test_a_target_removed_while_it_waits_for_a_slot_is_never_asked(self) -> None:
        async with running() as run:
            narrow_dead_lane(run, 1)
            held = Held()
            run.add(ONE, TIMED_OUT, held)
            probe = run.add(OTHER, TIMED_OUT)
            await run.said.wait_for(ONE)
            await run.said.wait_for(OTHER)
            narrow_dead_lane(run, 1)
            run.engine.hasten(ONE)
            await until(lambda: run.busy[Lane.DEAD] == 1)
            run.engine.hasten(OTHER)
            await until(lambda: len(run.engine.lanes[Lane.DEAD]) == 1)
            run.engine.remove(OTHER)
            held.release(TIMED_OUT)
            await run.said.wait_for(ONE, 2)
            await asyncio.sleep(0.05)
            assert not probe.asked_after_close
            assert len(run.said.of(OTHER)) == 1
            assert run.busy[Lane.DEAD] == 0

    async def test_a_target_that_comes_back_while_its_old_ask_ends_is_asked_anew(self) -> None:
        async with running() as run:
            old = run.add(ONE, Held())
            await until(lambda: old.asking == 1)
            run.engine.remove(ONE)
            new = run.add(ONE)
            await run.said.wait_for(ONE)
            assert (old.cancelled, len(new.asked), len(run.engine)) == (1, 1, 1)

    async def test_a_probe_replaced_in_mid_ask_ends_and_the_new_one_is_asked_at_once(self) -> None:
        async with running() as run:
            old = run.add(ONE, Held())
            await until(lambda: old.asking == 1)
            new = run.add(ONE, now=False)
            (verdict,) = await run.said.wait_for(ONE)
            assert verdict.outcome is Outcome.PASS
            assert (old.asking, old.closed, old.asked_after_close) == (0, 1, False)
            assert (len(new.asked), len(run.engine)) == (1, 1)
            await until(lambda: sum(run.busy.values()) == 0)

    async def test_a_probe_replaced_before_its_ask_has_begun_is_not_asked(self) -> None:
        async with running() as run:
            old = run.add(ONE)
            await begun_but_not_asking(run, old)
            new = run.add(ONE, now=False)
            await run.said.wait_for(ONE)
            assert not old.asked_after_close
            assert len(new.asked) == 1

    async def test_a_replaced_probe_keeps_its_tick(self) -> None:
        async with running() as run:
            old = run.add(ONE, now=False)
            due_s = run.engine.next_due_s(ONE)
            new = run.add(ONE, now=False)
            assert run.engine.next_due_s(ONE) == pytest.approx(due_s, abs=0.1)
            assert (old.closed, new.closed, len(new.asked)) == (1, 0, 0)
            assert (await run.ask(ONE)).outcome is Outcome.PASS

    async def test_a_dead_target_that_is_given_another_endpoint_need_not_wait_for_its_backoff(self) -> None:
        settings = ScheduleSettings(interval_s=0.2, timeout_s=0.3, backoff_max_s=60.0)
        async with running(settings) as run:
            run.add(ONE, TIMED_OUT)
            for _ in range(12):
                await run.ask(ONE)
            assert (run.engine.next_due_s(ONE) or 0) > 30.0
            new = run.add(ONE, now=False)
            assert (run.engine.next_due_s(ONE) or 0) <= 0.2
            await until(lambda: len(new.asked) >= 2, within_s=3)

    async def test_hasten_asks_now_and_the_usual_ticks_follow(self) -> None:
        async with running() as run:
            probe = run.add(ONE, now=False)
            await asyncio.sleep(0.05)
            assert probe.asked == []
            verdict = await run.ask(ONE)
            assert verdict.lateness_s < 0.2
            assert verdict.skipped_ticks == 0
            due_s = run.engine.next_due_s(ONE)
            assert due_s is not None
            assert due_s > 0.4 * HOURLY.interval_s

    async def test_hasten_in_mid_ask_means_once_more_after_it(self) -> None:
        async with running() as run:
            held = Held()
            probe = run.add(ONE, held, PASSED)
            await until(lambda: probe.asking == 1)
            assert run.engine.next_due_s(ONE) is None
            run.engine.hasten(ONE)
            run.engine.hasten(ONE)
            held.release()
            await run.said.wait_for(ONE, 2)
            await asyncio.sleep(0.05)
            assert (len(probe.asked), probe.most_at_once) == (2, 1)

    async def test_hasten_in_the_very_turn_of_an_answer_asks_one_at_a_time(self) -> None:
        loop = asyncio.get_running_loop()
        async with running() as run:
            probe = run.add(ONE, After(0.001, PASSED), now=False)

            def sink(_: object) -> None:
                run.engine.hasten(ONE)
                loop.call_soon(run.engine.hasten, ONE)
                loop.call_soon(loop.call_soon, run.engine.hasten, ONE)

            run.engine._sink = sink
            run.engine.hasten(ONE)
            await until(lambda: len(probe.asked) > 100)
            assert probe.most_at_once == 1
            assert len(run.engine.lanes[Lane.LIVE]) + run.busy[Lane.LIVE] <= 1

    async def test_hastening_or_removing_an_unknown_target_does_nothing(self) -> None:
        async with running() as run:
            run.engine.hasten(ONE)
            run.engine.remove(ONE)
            assert run.engine.next_due_s(ONE) is None


@on_both_loops
class TestAskingNow:
    async def test_the_answer_is_told_after_the_sink_has_it(self) -> None:
        async with running() as run:
            run.add(ONE, now=False)
            verdicts = await asyncio.wait_for(run.engine.ask_now(ONE), 5)
            assert verdicts == run.said.of(ONE)
            due_s = run.engine.next_due_s(ONE)
            assert due_s is not None
            assert due_s > 0.4 * HOURLY.interval_s

    async def test_all_who_ask_before_it_begins_share_one_ask(self) -> None:
        async with running() as run:
            probe = run.add(ONE, now=False)
            answers = await asyncio.wait_for(asyncio.gather(*(run.engine.ask_now(ONE) for _ in range(100))), 5)
            assert all(answer == run.said.of(ONE) for answer in answers)
            assert len(probe.asked) == 1

    async def test_who_asks_in_mid_ask_gets_the_answer_to_the_next_one(self) -> None:
        async with running() as run:
            held = Held()
            probe = run.add(ONE, held, PASSED)
            await until(lambda: probe.asking == 1)
            first, second = run.engine.ask_now(ONE), run.engine.ask_now(ONE)
            held.release(TIMED_OUT)
            answers = [await asyncio.wait_for(each, 5) for each in (first, second)]
            assert answers == [run.said.of(ONE)[1:]] * 2
            assert (len(probe.asked), probe.most_at_once) == (2, 1)

    async def test_it_waits_for_a_slot_of_the_dead_lane_like_any_other(self) -> None:
        async with running() as run:
            held = Held()
            run.add(ONE, TIMED_OUT, held)
            run.add(OTHER, TIMED_OUT)
            await run.said.wait_for(ONE)
            await run.said.wait_for(OTHER)
            narrow_dead_lane(run, 1)
            first = run.engine.ask_now(ONE)
            await until(lambda: run.busy[Lane.DEAD] == 1)
            second = run.engine.ask_now(OTHER)
            await asyncio.sleep(0.05)
            assert not second.done()
            held.release(TIMED_OUT)
            assert await asyncio.wait_for(first, 5)
            assert await asyncio.wait_for(second, 5)

    async def test_retry_after_binds_it_and_not_a_hastened_ask(self) -> None:
        throttled = Answer(PASSED.facts, retry_after_s=0.3)
        async with running() as run:
            probe = run.add(ONE, throttled, PASSED, throttled, PASSED)
            await run.said.wait_for(ONE)
            assert 0.2 < run.engine.held_back_s(ONE) <= 0.3
            await asyncio.wait_for(run.engine.ask_now(ONE), 5)
            assert probe.asked[1] - probe.asked[0] >= 0.29
            assert run.engine.held_back_s(ONE) == 0.0
            await run.ask(ONE)
            await asyncio.wait_for(run.ask(ONE), 5)
            assert probe.asked[3] - probe.asked[2] < 0.2

    async def test_retry_after_of_the_answer_in_between_binds_it_too(self) -> None:
        async with running() as run:
            held = Held()
            probe = run.add(ONE, held, PASSED)
            await until(lambda: probe.asking == 1)
            awaited = run.engine.ask_now(ONE)
            held.release(Answer(PASSED.facts, retry_after_s=0.3))
            await asyncio.wait_for(awaited, 5)
            assert probe.asked[1] - probe.asked[0] >= 0.29

    async def test_a_replaced_probe_gives_its_waiters_to_the_new_one(self) -> None:
        async with running() as run:
            old = run.add(ONE, Held())
            await until(lambda: old.asking == 1)
            in_mid_ask = run.engine.ask_now(ONE)
            new = run.add(ONE, now=False)
            assert await asyncio.wait_for(in_mid_ask, 5) == run.said.of(ONE)
            assert (old.cancelled, len(new.asked)) == (1, 1)

    async def test_the_waiters_of_a_cancelled_ask_itself_get_the_new_answer(self) -> None:
        async with running() as run:
            old = run.add(ONE, Held(), now=False)
            awaited = run.engine.ask_now(ONE)
            await until(lambda: old.asking == 1)
            run.add(ONE, now=False)
            assert await asyncio.wait_for(awaited, 5) == run.said.of(ONE)

    async def test_a_removed_target_answers_nobody_and_says_so_at_once(self) -> None:
        async with running() as run:
            probe = run.add(ONE, Held(), now=False)
            asking = run.engine.ask_now(ONE)
            await until(lambda: probe.asking == 1)
            waiting = run.engine.ask_now(ONE)
            idle = run.add(OTHER, Answer(PASSED.facts, retry_after_s=3600.0))
            await run.said.wait_for(OTHER)
            held_back = run.engine.ask_now(OTHER)
            run.engine.remove(ONE)
            run.engine.remove(OTHER)
            answers = await asyncio.wait_for(asyncio.gather(asking, waiting, held_back), 1)
            assert not any(answers)
            assert len(idle.asked) == 1

    async def test_nobody_waits_for_an_unknown_target_or_a_dead_engine(self) -> None:
        async with running() as run:
            assert await asyncio.wait_for(run.engine.ask_now(ONE), 1) is None
            probe = run.add(ONE, Held(), now=False)
            asking = run.engine.ask_now(ONE)
            await until(lambda: probe.asking == 1)
            waiting = run.engine.ask_now(ONE)
        assert not any(await asyncio.wait_for(asyncio.gather(asking, waiting), 1))

    async def test_whoever_waits_no_more_stops_nothing_and_is_forgotten(self) -> None:
        async with running() as run:
            held = Held()
            probe = run.add(ONE, held, now=False)
            gone, stays = run.engine.ask_now(ONE), run.engine.ask_now(ONE)
            await until(lambda: probe.asking == 1)
            gone.cancel()
            for _ in range(100):
                run.engine.ask_now(ONE).cancel()
            last = run.engine.ask_now(ONE)
            assert len(run.engine._targets[ONE].awaited) == 1
            held.release()
            assert await asyncio.wait_for(stays, 5)
            assert await asyncio.wait_for(last, 5)


@on_both_loops
class TestEnd:
    async def test_cancelling_it_cancels_every_ask_closes_every_probe_and_leaves_no_task(self) -> None:
        before = asyncio.all_tasks()
        async with running() as run:
            narrow_dead_lane(run, 1)
            asking = [run.add(UUID(int=number), Held()) for number in range(20)]
            idle = run.add(UUID(int=100), now=False)
            await until(lambda: all(probe.asking for probe in asking))
            assert run.task is not None
            run.task.cancel()
            await asyncio.wait([run.task], timeout=1.0)
            assert run.task.cancelled()
        assert all((probe.cancelled, probe.closed) == (1, 1) for probe in asking)
        assert idle.closed == 1
        assert asyncio.all_tasks() == before
        assert run.said.verdicts == []

    async def test_a_sink_that_raises_ends_it_and_says_so(self) -> None:
        def broken(_: object) -> None:
            raise ZeroDivisionError

        engine = Engine(HOURLY, broken, HubClock(), 100)
        probe, hung = ScriptedProbe(), ScriptedProbe(Held())
        for target, each in ((ONE, probe), (OTHER, hung)):
            engine.add(target, "cluster", each)
            engine.hasten(target)
        with pytest.raises(ExceptionGroup) as caught:
            await asyncio.wait_for(engine.run(), 5)
        assert isinstance(caught.value.exceptions[0], ZeroDivisionError)
        assert (probe.closed, hung.closed) == (1, 1)


def test_a_restart_gives_the_same_ticks() -> None:
    """Two engines, started at different times on different monotonic scales, agree on the hub clock."""

    async def tick(clock_at: float) -> float:
        clock = FakeClock(clock_at)
        engine = Engine(ScheduleSettings(), lambda _: None, clock, 100)
        engine.add(ONE, "cluster", ScriptedProbe())
        due_s = engine.next_due_s(ONE)
        assert due_s is not None
        return (clock.now() + due_s / schedule.FIRST_ROUND) % 30.0

    ticks = [asyncio.run(tick(at)) for at in (1_800_000_000.0, 1_800_000_017.3, 1_800_654_321.9)]
    assert ticks == pytest.approx([schedule.phase_s(ONE, 30.0)] * 3, abs=0.05)


class TestConfirming:
    """Where the interval is long, what is new is asked for again soon."""

    SOON = replace(HOURLY, confirm_within_s=0.05)

    async def test_three_answers_that_say_something_new_come_soon_and_then_it_rests(self) -> None:
        async with running(self.SOON) as run:
            probe = run.add(ONE, PASSED, REFUSED)
            await run.said.wait_for(ONE, 1)
            assert run.engine.next_due_s(ONE) > 60, "the first answer contradicts nobody"  # type: ignore[operator]
            run.engine.hasten(ONE)
            await run.said.wait_for(ONE, 4)
            await asyncio.sleep(0.2)
            assert len(probe.asked) == 4
            assert run.engine.next_due_s(ONE) > 60  # type: ignore[operator]
            assert min(verdict.allowance_s for verdict in run.said.of(ONE)) >= 2.1 * 3600, "or it would be stale soon"

    async def test_a_server_that_asks_to_be_left_alone_is(self) -> None:
        alone = Answer(REFUSED.facts, retry_after_s=30.0)
        async with running(self.SOON) as run:
            run.add(ONE, PASSED, alone)
            await run.said.wait_for(ONE, 1)
            run.engine.hasten(ONE)
            await run.said.wait_for(ONE, 2)
            assert run.engine.next_due_s(ONE) > 20  # type: ignore[operator]

    async def test_without_it_a_long_interval_stays_long(self) -> None:
        async with running() as run:
            run.add(ONE, PASSED, REFUSED)
            await run.said.wait_for(ONE, 1)
            run.engine.hasten(ONE)
            await run.said.wait_for(ONE, 2)
            assert run.engine.next_due_s(ONE) > 60  # type: ignore[operator]
