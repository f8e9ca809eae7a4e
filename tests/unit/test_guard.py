"""The own-outage guard: counts and edges by table, and whole outages played through the hysteresis."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from validator.guard import QUIET, Counts, Guard, GuardSettings, assess, count, shift
from validator.health import CheckState, HealthSettings, expires_at, step, went_stale
from validator.model import Check, Outcome, Verdict
from validator.reasons import Health, Reason

START = 1_800_000_000.0
INTERVAL_S = 30.0
ALLOWANCE_S = 73.0
DEFAULTS = GuardSettings()
HYSTERESIS = HealthSettings()
CLUSTER = UUID(int=1)


def verdict(
    at: float, reason: Reason | None = None, *, cluster: UUID = CLUSTER, check: Check = Check.APISERVER
) -> Verdict:
    outcome = Outcome.FAIL if reason else Outcome.PASS
    if reason is Reason.HUB_OUT_OF_DESCRIPTORS:
        outcome = Outcome.UNKNOWN
    return Verdict(check, cluster, outcome, at, at, 0.01, 0.0, ALLOWANCE_S, reason=reason)


def state_of(*reasons: Reason | None, start: float = START) -> CheckState:
    state: CheckState | None = None
    for i, reason in enumerate(reasons):
        state = step(state, verdict(start + i * INTERVAL_S, reason), HYSTERESIS)
    assert state is not None
    return state


def counted(*states: CheckState, now: float, guard: Guard = QUIET) -> tuple[int, int, int]:
    counts = count(guard, states, set(), now, DEFAULTS)
    return counts.total, counts.failing, counts.newly_failing


DOWN = Reason.CONNECT_TIMEOUT


class TestBeginning:
    @pytest.mark.parametrize(
        ("total", "failing", "newly_failing", "holds"),
        [
            (100, 51, 51, True),
            (100, 50, 50, False),  # half is not most
            (9, 5, 5, True),
            (4, 4, 4, False),  # all of four may be one switch
            (5, 5, 5, True),
            (100, 90, 6, False),  # 84 were dead before: 6 of 16
            (100, 90, 9, False),  # 9 of 19
            (100, 90, 10, False),  # 10 of 20: half
            (100, 90, 11, True),  # 11 of 21
            (4000, 4000, 4000, True),
            (4000, 4000, 0, False),
            (0, 0, 0, False),
        ],
    )
    def test_most_of_those_that_answered(self, total: int, failing: int, newly_failing: int, holds: bool) -> None:  # noqa: FBT001 - a column
        guard = assess(QUIET, Counts(total, failing, newly_failing), [], START, DEFAULTS)
        assert guard.holding is holds
        assert guard.since == (START if holds else None)

    def test_the_sentence_has_the_numbers(self) -> None:
        guard = assess(QUIET, Counts(4100, 4012, 3990), [], START, DEFAULTS)
        assert guard.why == (
            "3990 of 4078 answering clusters stopped answering within 30 s: "
            "most likely it is the hub's own network; alerts are held for 15 min at most."
        )

    @pytest.mark.parametrize(
        ("references", "holds"), [([], False), ([False], True), ([False, True], False), ([False, False], True)]
    )
    def test_all_references_fail(self, references: list[bool], holds: bool) -> None:  # noqa: FBT001 - a column
        guard = assess(QUIET, Counts(10, 0, 0), references, START, DEFAULTS)
        assert guard.holding is holds
        if holds:
            assert guard.why.startswith(f"None of the hub's {len(references)} reference targets answers:")

    def test_nothing_to_say_gives_the_same_object(self) -> None:
        assert assess(QUIET, Counts(10, 1, 1), [True], START, DEFAULTS) is QUIET


ALL_DARK, QUARTER, LESS, FINE = Counts(100, 100, 100), Counts(100, 25, 25), Counts(100, 24, 24), Counts(100, 0, 0)


def holding(counts: Counts = ALL_DARK, *references: bool) -> Guard:
    guard = assess(QUIET, counts, references, START, DEFAULTS)
    assert guard.holding
    return guard


def later(guard: Guard, *moments: tuple[float, Counts], references: tuple[bool, ...] = ()) -> Guard:
    for after_s, counts in moments:
        guard = assess(guard, counts, references, START + after_s, DEFAULTS)
    return guard


class TestEnd:
    def test_it_holds_while_it_lasts_and_makes_no_garbage(self) -> None:
        guard = holding()
        assert later(guard, (1, ALL_DARK), (100, QUARTER), (899, ALL_DARK)) is guard

    def test_it_lets_go_after_one_calm_interval(self) -> None:
        calm = later(holding(), (60, LESS))
        assert later(calm, (89.75, LESS)).holding
        over = later(calm, (90, LESS))
        assert (over.holding, over.since, over.calm_since) == (False, None, None)
        assert over.why == "It is over: 24 of 100 clusters that answered before fail; alerts go out."

    def test_a_quarter_failing_is_not_calm(self) -> None:
        assert later(holding(), (60, QUARTER), (90, QUARTER), (120, QUARTER)).holding

    def test_calm_that_is_interrupted_starts_anew(self) -> None:
        guard = later(holding(), (60, FINE), (80, QUARTER), (85, FINE))
        assert later(guard, (114.75, FINE)).holding
        assert not later(guard, (115, FINE)).holding

    def test_after_fifteen_minutes_people_must_know(self) -> None:
        guard = holding()
        assert later(guard, (899.75, ALL_DARK)).holding
        loud = later(guard, (900, ALL_DARK))
        assert not loud.holding
        assert loud.why == (
            "Held for 15 min, and 100 of 100 clusters that answered before fail: "
            "it is real, or the hub needs repair; alerts go out."
        )

    def test_calm_that_comes_too_late_does_not_prolong_it(self) -> None:
        assert not later(holding(), (890, FINE), (900, FINE)).holding

    def test_the_same_incident_never_holds_twice(self) -> None:
        loud = later(holding(), (900, ALL_DARK))
        assert later(loud, (901, ALL_DARK), (2000, QUARTER), (9000, ALL_DARK)) is loud

    def test_after_calm_the_next_incident_holds_again(self) -> None:
        over = later(holding(), (900, ALL_DARK), (1000, FINE), (1030, FINE))
        assert over == Guard(why=later(holding(), (900, ALL_DARK)).why)
        again = later(over, (2000, ALL_DARK))
        assert (again.holding, again.since) == (True, START + 2000)

    def test_it_lasts_as_long_as_no_reference_answers(self) -> None:
        guard = holding(FINE, False, False)
        assert later(guard, (60, FINE), (120, FINE), references=(False, False)).holding
        assert not later(guard, (60, FINE), (90, FINE), references=(False, True)).holding
        assert not later(guard, (900, FINE), references=(False, False)).holding

    def test_a_fleet_that_was_suspended_meanwhile_is_calm(self) -> None:
        assert not later(holding(), (60, Counts(0, 0, 0)), (90, Counts(0, 0, 0))).holding

    @given(
        st.lists(
            st.tuples(st.integers(1, 120), st.sampled_from([ALL_DARK, QUARTER, LESS, FINE]), st.booleans()),
            min_size=1,
            max_size=60,
        )
    )
    def test_no_alert_is_held_for_longer_than_promised(self, ticks: list[tuple[int, Counts, bool]]) -> None:
        """Held until it was calm or `longest_s` are over; then quiet until it was calm."""
        guard, now, calm_s = QUIET, START, 0.0
        for after_s, counts, reference in ticks:
            before, now = guard, now + after_s
            guard = assess(before, counts, [reference], now, DEFAULTS)
            dark = not reference or counts in (ALL_DARK, QUARTER)
            calm_s = 0.0 if dark else calm_s + after_s
            if guard.holding and guard.since is not None:
                assert now - guard.since < DEFAULTS.longest_s
                assert before.holding or before.since is None
            if before.holding and not guard.holding:
                assert calm_s > DEFAULTS.interval_s or now - (before.since or 0) >= DEFAULTS.longest_s
            assert (guard.why != before.why) == (guard.holding != before.holding)

    def test_a_clock_step_makes_no_difference(self) -> None:
        for guard in (QUIET, holding(), later(holding(), (60, FINE)), later(holding(), (900, ALL_DARK))):
            for after_s in (100.0, 905.0, 935.0):
                expected = shift(assess(guard, FINE, [], START + after_s, DEFAULTS), 3600.0)
                assert assess(shift(guard, 3600.0), FINE, [], START + after_s + 3600.0, DEFAULTS) == expected


class TestCount:
    def test_an_answering_cluster(self) -> None:
        assert counted(state_of(None), now=START) == (1, 0, 0)

    def test_a_finding_is_an_answer(self) -> None:
        warned = replace(verdict(START, Reason.SLOW_ANSWER), outcome=Outcome.FINDING)
        assert counted(step(None, warned, HYSTERESIS), now=START) == (1, 0, 0)

    def test_the_first_failure_counts_as_new_for_one_interval(self) -> None:
        state = state_of(None, DOWN)
        assert counted(state, now=START + 60) == (1, 1, 1)
        assert counted(state, now=START + 60.25) == (1, 1, 0)

    def test_a_confirmed_failure_is_as_old_as_its_first_verdict(self) -> None:
        confirmed = state_of(None, DOWN, DOWN, DOWN)
        assert confirmed.health is Health.UNREACHABLE
        assert counted(confirmed, now=START + 90) == (1, 1, 0)

    def test_an_answer_that_says_nothing_counts_as_failing(self) -> None:
        assert counted(state_of(None, Reason.HUB_OUT_OF_DESCRIPTORS), now=START + 30) == (1, 1, 1)

    def test_a_recovering_cluster_fails_until_its_health_has_recovered(self) -> None:
        assert counted(state_of(None, DOWN, DOWN, DOWN, None), now=START + 120) == (1, 1, 0)
        assert counted(state_of(None, DOWN, DOWN, DOWN, None, None), now=START + 150) == (1, 0, 0)

    def test_a_cluster_that_never_answered_did_not_go_dark(self) -> None:
        assert counted(state_of(DOWN), now=START) == (1, 1, 0)

    @pytest.mark.parametrize("noticed", [False, True])
    def test_a_silent_cluster_counts_from_the_end_of_its_allowance(self, *, noticed: bool) -> None:
        state = state_of(None)
        gone_at = expires_at(state)
        assert counted(state, now=gone_at) == (1, 0, 0)
        if noticed:
            state = went_stale(state, gone_at + 1)
        assert counted(state, now=gone_at + 30) == (1, 1, 1)
        assert counted(state, now=gone_at + 30.25) == (1, 1, 0)

    def test_during_an_incident_all_that_failed_since_just_before_it_counts_as_new(self) -> None:
        guard = Guard(holding=True, since=START + 60)
        assert counted(state_of(None, DOWN), now=START + 600, guard=guard) == (1, 1, 1)
        assert counted(state_of(None, DOWN, start=START - 0.25), now=START + 600, guard=guard) == (1, 1, 0)

    def test_a_row_without_its_verdict_counts_by_its_health(self) -> None:
        assert counted(replace(state_of(None), latest=None), now=START) == (1, 0, 0)
        assert counted(replace(state_of(None, DOWN, DOWN, DOWN), latest=None), now=START + 90) == (1, 1, 0)

    def test_other_checks_and_suspended_clusters_do_not_count(self) -> None:
        credential = step(None, verdict(START, check=Check.CREDENTIAL), HYSTERESIS)
        asleep = step(None, verdict(START, cluster=UUID(int=2)), HYSTERESIS)
        counts = count(QUIET, [credential, asleep, state_of(None)], {UUID(int=2)}, START, DEFAULTS)
        assert counts == Counts(1, 0, 0)


class Fleet:
    """Clusters asked in turn, evenly over the interval, with the guard looking every second."""

    def __init__(self, size: int, dead: int = 0) -> None:
        self.clusters = [UUID(int=i + 1) for i in range(size)]
        self.dead = set(self.clusters[::-1][:dead])
        self.states: dict[UUID, CheckState] = {}
        self.guard = QUIET
        self.second = 0
        self.alerts: list[UUID] = []
        """Clusters that turned Unreachable while nobody held the alert."""

    @property
    def now(self) -> float:
        return START + self.second

    def run(self, seconds: int, answers: Callable[[UUID], bool] = lambda _: True) -> None:
        for _ in range(seconds):
            self.second += 1
            for i, cluster in enumerate(self.clusters):
                if i % INTERVAL_S == self.second % INTERVAL_S:
                    self._hear(cluster, DOWN if cluster in self.dead or not answers(cluster) else None)
            counts = count(self.guard, self.states.values(), set(), self.now, DEFAULTS)
            self.guard = assess(self.guard, counts, [], self.now, DEFAULTS)

    def unreachable(self) -> set[UUID]:
        return {cluster for cluster, state in self.states.items() if state.health is Health.UNREACHABLE}

    def forget_alerts(self) -> None:
        self.alerts.clear()

    def _hear(self, cluster: UUID, reason: Reason | None) -> None:
        before = self.states.get(cluster)
        after = step(before, verdict(self.now, reason, cluster=cluster), HYSTERESIS)
        self.states[cluster] = after
        turned = before is None or before.health is not Health.UNREACHABLE
        if turned and after.health is Health.UNREACHABLE and not self.guard.holding:
            self.alerts.append(cluster)


def nobody(_: UUID) -> bool:
    return False


def but(lost: Iterable[UUID]) -> Callable[[UUID], bool]:
    gone = set(lost)
    return lambda cluster: cluster not in gone


class TestOutages:
    def test_an_outage_of_the_hub_alerts_nobody_and_releases_only_when_all_have_recovered(self) -> None:
        fleet = Fleet(120, dead=40)
        fleet.run(120)
        fleet.forget_alerts()
        assert not fleet.guard.holding, "the first picture of many dead clusters is no outage"

        fleet.run(180, nobody)
        assert len(fleet.unreachable()) == 120
        assert fleet.guard.holding
        assert fleet.alerts == []

        for _ in range(200):
            fleet.run(1)
            if not fleet.guard.holding:
                break
        assert fleet.guard == Guard(why="It is over: 0 of 80 clusters that answered before fail; alerts go out.")
        assert fleet.unreachable() == fleet.dead
        assert fleet.alerts == []

    def test_a_third_of_the_fleet_is_not_the_hub(self) -> None:
        fleet = Fleet(120)
        fleet.run(60)
        lost = fleet.clusters[::3]
        fleet.run(120, but(lost))
        assert not fleet.guard.holding
        assert sorted(fleet.alerts) == sorted(lost)

    def test_half_of_the_fleet_dying_slowly_is_not_the_hub(self) -> None:
        fleet = Fleet(120)
        fleet.run(60)
        for dead in range(0, 60, 12):
            fleet.run(30, but(fleet.clusters[: dead + 12]))
            assert not fleet.guard.holding

    def test_a_hub_that_boots_without_network_is_recognised_by_the_first_few(self) -> None:
        fleet = Fleet(120, dead=40)
        fleet.run(120)
        fleet.forget_alerts()
        fleet.second += 3600  # switched off; every fact is stale, so one failure decides
        fleet.run(30, nobody)
        assert fleet.guard.holding
        assert len(fleet.alerts) <= 8  # those asked before and in the second in which five had failed
        fleet.run(100)
        assert not fleet.guard.holding
        assert fleet.unreachable() == fleet.dead


@pytest.mark.parametrize(
    ("field", "kwargs"),
    [
        ("share", {"share": 1.0}),
        ("release_share", {"release_share": 0.6}),
        ("release_share", {"release_share": 0.0}),
        ("share", {"share": float("nan")}),
        ("minimum", {"minimum": 0}),
        ("interval_s", {"interval_s": 0.0}),
        ("longest_s", {"longest_s": -1.0}),
        ("longest_s", {"longest_s": float("nan")}),
    ],
)
def test_settings_that_make_no_sense_are_refused_by_name(field: str, kwargs: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=field):
        GuardSettings(**kwargs)  # type: ignore[arg-type]  # the table mixes int and float fields


def test_shares_may_meet() -> None:
    assert GuardSettings(share=0.5, release_share=0.5).release_share == 0.5
