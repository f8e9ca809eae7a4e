"""The schedule is arithmetic: properties over all phases, paces and moments, and the law of the lanes."""

from __future__ import annotations

import math
import subprocess
import sys
from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from validator import schedule
from validator.schedule import Lane, Pace, ScheduleSettings

DEFAULTS = ScheduleSettings()
ROUNDING_S = 1e-5
"""What doubles lose at 1.8e9 s, the size of a hub-clock phase, with room to spare."""
PLENTY = 1_000_000

settings = st.builds(
    ScheduleSettings,
    interval_s=st.floats(0.05, 3600.0),
    timeout_s=st.floats(0.05, 60.0),
    confirm=st.integers(1, 10),
    backoff_max_s=st.floats(1.0, 3600.0),
)
moments = st.floats(0.0, 1e7)
paces = st.builds(Pace, st.integers(0, 100))
phases = st.one_of(st.floats(0.0, 3600.0), st.floats(-1.9e9, -1.7e9))  # loop scale, and hub-clock scale


def off_grid_s(moment: float, phase: float, interval_s: float) -> float:
    """Distance to the nearest tick."""
    away = (moment - phase) / interval_s
    return abs(away - round(away)) * interval_s


class TestGrid:
    @given(moments, phases, st.floats(0.05, 3600.0))
    def test_the_first_tick_is_on_the_grid_and_less_than_an_interval_away(
        self, moment: float, phase: float, interval_s: float
    ) -> None:
        tick = schedule.tick_at_or_after(moment, phase, interval_s)
        assert moment - ROUNDING_S <= tick <= moment + interval_s + ROUNDING_S
        assert off_grid_s(tick, phase, interval_s) < ROUNDING_S

    def test_a_moment_on_a_tick_is_that_tick_however_it_was_rounded(self) -> None:
        tick = 0.0
        for _ in range(10_000):
            again = schedule.tick_at_or_after(tick, 0.1, 0.1)
            assert again == pytest.approx(tick or 0.0, abs=ROUNDING_S)
            tick = schedule.tick_at_or_after(again + 0.05, 0.1, 0.1)
        assert tick == pytest.approx(1000.0, abs=1e-3)


class TestNextDue:
    @given(moments, st.floats(0.0, 1000.0), phases, paces, settings, st.one_of(st.none(), st.floats(0.0, 1e6)))
    def test_it_is_on_the_grid_and_never_in_the_past(
        self, due: float, took_s: float, phase: float, pace: Pace, limits: ScheduleSettings, retry_after_s: float | None
    ) -> None:
        now = due + took_s
        tick = schedule.next_due(due, now, phase, pace, limits, retry_after_s)
        assert tick >= now - ROUNDING_S
        assert off_grid_s(tick, phase, limits.interval_s) < ROUNDING_S

    @given(moments, st.floats(0.0, 1000.0), phases, paces, settings, st.floats(0.0, 1e6))
    def test_it_is_never_before_retry_after_but_the_cap_holds(
        self, due: float, took_s: float, phase: float, pace: Pace, limits: ScheduleSettings, retry_after_s: float
    ) -> None:
        now = due + took_s
        tick = schedule.next_due(due, now, phase, pace, limits, retry_after_s)
        assert tick >= now + min(retry_after_s, limits.backoff_max_s) - ROUNDING_S
        longest_s = max(limits.backoff_max_s, schedule.period_s(pace, limits)) + limits.interval_s
        assert tick <= now + longest_s + ROUNDING_S

    @given(phases, settings, st.integers(0, 10_000), st.floats(0.0, 0.99))
    def test_a_target_that_answers_in_time_is_asked_at_every_tick(
        self, phase: float, limits: ScheduleSettings, number: int, part: float
    ) -> None:
        due = schedule.tick_at_or_after(number * limits.interval_s, phase, limits.interval_s)
        now = due + part * limits.interval_s
        tick = schedule.next_due(due, now, phase, Pace(), limits)
        assert tick == pytest.approx(due + limits.interval_s, abs=ROUNDING_S)
        assert schedule.skipped_ticks(due, now, limits.interval_s) == 0

    @given(phases, settings, st.integers(0, 10_000), st.floats(0.05, 50.0))
    def test_every_tick_is_either_asked_or_counted_as_skipped(
        self, phase: float, limits: ScheduleSettings, number: int, intervals: float
    ) -> None:
        interval_s = limits.interval_s
        due = schedule.tick_at_or_after(number * interval_s, phase, interval_s)
        now = due + intervals * interval_s
        if off_grid_s(now, phase, interval_s) < ROUNDING_S:
            return  # on the very tick: either reading of it is right
        tick = schedule.next_due(due, now, phase, Pace(), limits)
        skipped = schedule.skipped_ticks(due, now, interval_s)
        assert skipped == round((tick - due) / interval_s) - 1

    @given(st.floats(0.0, 29.9), st.floats(0.0, 29.9))
    def test_a_hastened_target_goes_back_to_its_grid_without_a_double(self, early_s: float, phase: float) -> None:
        due = 3000.0 + early_s  # off the grid
        tick = schedule.next_due(due, due + 0.01, phase, Pace(), DEFAULTS)
        assert tick - due + ROUNDING_S >= 15.0
        assert tick - due <= 45.02

    def test_after_half_an_interval_the_next_tick_is_not_the_one_just_answered(self) -> None:
        assert schedule.next_due(30.0, 30.0, 0.0, Pace(), DEFAULTS) == 60.0

    @pytest.mark.parametrize(("retry_after_s", "tick"), [(None, 60.0), (1.0, 60.0), (31.0, 90.0), (10_000.0, 360.0)])
    def test_retry_after_moves_the_tick_within_the_cap(self, retry_after_s: float | None, tick: float) -> None:
        assert schedule.next_due(30.0, 31.0, 0.0, Pace(), DEFAULTS, retry_after_s) == tick


class TestPace:
    def test_confirming_comes_at_the_interval_and_then_it_backs_off_to_five_minutes(self) -> None:
        periods = [schedule.period_s(Pace(unanswered), DEFAULTS) for unanswered in range(9)]
        assert periods == [30.0, 30.0, 30.0, 60.0, 120.0, 240.0, 300.0, 300.0, 300.0]

    @given(settings)
    def test_backoff_never_shrinks_and_never_passes_its_cap(self, limits: ScheduleSettings) -> None:
        periods = [schedule.period_s(Pace(unanswered), limits) for unanswered in range(200)]
        assert all(before <= after for before, after in pairwise(periods))
        assert periods[0] == limits.interval_s
        assert periods[-1] <= max(limits.interval_s, limits.backoff_max_s)

    def test_the_first_unanswered_ask_leads_to_the_dead_lane_and_the_first_answer_back(self) -> None:
        lively = Pace()
        dead = lively.after(unanswered=True)
        assert (lively.lane, dead.lane, dead.after(unanswered=True).lane) == (Lane.LIVE, Lane.DEAD, Lane.DEAD)
        assert Pace(1000).after(unanswered=False) == lively


class TestPhase:
    def test_ten_thousand_targets_spread_evenly_over_the_interval(self) -> None:
        slices = [0] * 100
        for number in range(10_000):
            slices[int(schedule.phase_s(UUID(int=number), 60.0) / 0.6)] += 1
        # 100 expected in each, with a deviation of 10: six of those is one in a billion, and the ids are fixed.
        assert min(slices) > 60
        assert max(slices) < 140

    @given(st.uuids(), st.floats(0.05, 3600.0))
    def test_it_is_within_the_interval(self, target: UUID, interval_s: float) -> None:
        assert 0.0 <= schedule.phase_s(target, interval_s) <= interval_s

    def test_another_process_gives_the_same_phase(self) -> None:
        target = UUID("eae5ffd4-4b56-4afa-a588-932ea562b33e")
        code = f"from validator.schedule import phase_s; from uuid import UUID; print(phase_s(UUID('{target}'), 30.0))"
        other = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=30)
        assert float(other.stdout) == schedule.phase_s(target, 30.0) == 28.55470879957044


class TestLaneSizes:
    """The shared-slot law: N dead targets stall C slots when N >= C x period / T."""

    @given(st.integers(0, 100_000), settings)
    def test_even_a_fleet_that_uses_its_whole_timeout_does_not_fill_the_live_lane(
        self, fleet: int, limits: ScheduleSettings
    ) -> None:
        slots = schedule.live_slots(fleet, limits, descriptors=2**40)
        assert slots * limits.interval_s / limits.timeout_s >= fleet * (1 - 1e-9)

    @given(st.integers(0, 100_000), settings, st.integers(1, 100_000))
    def test_both_lanes_fit_the_descriptors_and_neither_is_shut(
        self, fleet: int, limits: ScheduleSettings, descriptors: int
    ) -> None:
        live = schedule.live_slots(fleet, limits, descriptors)
        dead = schedule.dead_slots(fleet, limits, descriptors)
        assert min(live, dead) >= 1
        assert live + dead <= max(2, descriptors * 3 // 4)

    @pytest.mark.parametrize(
        ("fleet", "descriptors", "live", "dead"),
        [
            (0, PLENTY, 64, 32),
            (10, PLENTY, 68, 32),
            (192, PLENTY, 140, 35),
            (300, PLENTY, 182, 45),
            (10_000, PLENTY, 3986, 996),
            (10_000, 1024, 512, 128),
            (10_000, 2, 1, 1),
        ],
    )
    def test_sizes_of_the_defaults(self, fleet: int, descriptors: int, live: int, dead: int) -> None:
        assert schedule.live_slots(fleet, DEFAULTS, descriptors) == live
        assert schedule.dead_slots(fleet, DEFAULTS, descriptors) == dead

    def test_with_all_of_them_dead_one_round_takes_less_than_the_longest_backoff(self) -> None:
        slots = schedule.dead_slots(10_000, DEFAULTS, PLENTY)
        assert 10_000 * DEFAULTS.timeout_s / slots < DEFAULTS.backoff_max_s


class TestAllowance:
    def test_one_answer_may_be_missed_but_not_two(self) -> None:
        allowance_s = schedule.allowance_s(DEFAULTS, DEFAULTS.interval_s)
        assert 2 * DEFAULTS.interval_s + DEFAULTS.timeout_s < allowance_s < 3 * DEFAULTS.interval_s

    @given(settings, st.floats(0.05, 3600.0))
    def test_it_grows_with_the_period(self, limits: ScheduleSettings, period_s: float) -> None:
        assert math.isclose(schedule.allowance_s(limits, period_s), 2.1 * period_s + limits.timeout_s)


@given(now=st.floats(0, 1e6), interval_s=st.floats(1, 3600), share=st.floats(0, 1, exclude_max=True))
def test_a_new_target_is_asked_within_the_first_round_and_then_at_a_tick_of_its_own(
    now: float, interval_s: float, share: float
) -> None:
    phase = share * interval_s
    first = schedule.first_due(now, phase, interval_s)
    assert now - 1e-3 <= first <= now + schedule.FIRST_ROUND * interval_s + 1e-3
    settings = ScheduleSettings(interval_s=interval_s, timeout_s=interval_s / 3)
    after = schedule.next_due(first, first, phase, Pace(), settings)
    assert interval_s / 2 - 1e-3 <= after - first <= 1.5 * interval_s + 1e-3
