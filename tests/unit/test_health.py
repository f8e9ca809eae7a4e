"""Verdicts to health: tables for the edges, properties for everything between."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from validator.health import (
    CheckState,
    HealthSettings,
    Rollup,
    Shown,
    candidate,
    expires_at,
    rollup,
    shift,
    shown,
    stale,
    step,
    went_stale,
)
from validator.model import Check, Lifecycle, Outcome, Verdict
from validator.reasons import PRECEDENCE, REASONS, SEVERITY, Health, Reason, Stage

CLUSTER = UUID("00000000-0000-4000-8000-000000000001")
START = 1_800_000_000.0
INTERVAL_S = 30.0
ALLOWANCE_S = 73.0
DEFAULTS = HealthSettings()

ANSWERS: dict[str, tuple[Outcome, Reason | None]] = {
    "P": (Outcome.PASS, None),
    "W": (Outcome.FINDING, Reason.SLOW_ANSWER),
    "B": (Outcome.FAIL, Reason.NOT_READY),
    "G": (Outcome.FAIL, Reason.CONNECT_TIMEOUT),
    "?": (Outcome.UNKNOWN, Reason.HUB_OUT_OF_DESCRIPTORS),
}
"""Letters for answers: Pass, Warning (finding), Bad (Unhealthy), Gone (Unreachable), ? (Unknown)."""

HEALTHS = {
    "P": Health.HEALTHY,
    "W": Health.DEGRADED,
    "B": Health.UNHEALTHY,
    "G": Health.UNREACHABLE,
    "?": Health.UNKNOWN,
}


def verdict(letter: str, at: float, *, observed_at: float | None = None, check: Check = Check.APISERVER) -> Verdict:
    outcome, reason = ANSWERS[letter]
    return Verdict(
        check=check,
        cluster_id=CLUSTER,
        outcome=outcome,
        observed_at=at if observed_at is None else observed_at,
        received_at=at,
        duration_s=0.01,
        lateness_s=0.0,
        allowance_s=ALLOWANCE_S,
        reason=reason,
        stage=REASONS[reason].stage if reason else None,
        message=f"{letter} at {at:.0f}",
        evidence={"at": at},
    )


def verdicts(letters: str, start: float = START) -> list[Verdict]:
    return [verdict(letter, start + i * INTERVAL_S) for i, letter in enumerate(letters)]


def fold(heard: list[Verdict], settings: HealthSettings = DEFAULTS, state: CheckState | None = None) -> CheckState:
    result = reduce(lambda before, one: step(before, one, settings), heard, state)
    assert result is not None
    return result


def trace(heard: list[Verdict], settings: HealthSettings = DEFAULTS) -> list[CheckState]:
    return [fold(heard[: i + 1], settings) for i in range(len(heard))]


def seen(letters: str, settings: HealthSettings = DEFAULTS) -> str:
    """The health after each answer, in the same letters."""
    back = {health: letter for letter, health in HEALTHS.items()}
    return "".join(back[state.health] for state in trace(verdicts(letters), settings))


# Gaps are whole quarters of a second, so that sums and differences of instants are exact.
fresh_gaps = st.integers(1, int(ALLOWANCE_S * 4)).map(lambda quarters: quarters / 4)
any_gaps = st.integers(1, int(ALLOWANCE_S * 12)).map(lambda quarters: quarters / 4)


@st.composite
def histories(draw: st.DrawFn, gaps: st.SearchStrategy[float] = any_gaps, max_size: int = 25) -> list[Verdict]:
    letters = draw(st.text("PWBG?", min_size=1, max_size=max_size))
    at = START
    heard = []
    for letter in letters:
        heard.append(verdict(letter, at))
        at += draw(gaps)
    return heard


@st.composite
def states(draw: st.DrawFn) -> CheckState:
    """A state as it may be found: after any verdicts, with or without a notice of staleness at the end."""
    state = fold(draw(histories()))
    return draw(st.sampled_from([state, went_stale(state, expires_at(state) + draw(any_gaps))]))


settings_ = st.builds(HealthSettings, fail_after=st.integers(1, 5), pass_after=st.integers(1, 5))


class TestCandidate:
    @pytest.mark.parametrize(
        ("outcome", "reason", "health"),
        [
            (Outcome.PASS, None, Health.HEALTHY),
            (Outcome.FINDING, Reason.CERTIFICATE_EXPIRING_SOON, Health.DEGRADED),
            (Outcome.FINDING, Reason.NOT_READY, Health.DEGRADED),
            (Outcome.FINDING, None, Health.DEGRADED),
            (Outcome.FAIL, Reason.CONNECT_TIMEOUT, Health.UNREACHABLE),
            (Outcome.FAIL, Reason.CREDENTIAL_REJECTED, Health.UNHEALTHY),
            (Outcome.FAIL, Reason.THROTTLED, Health.UNHEALTHY),
            (Outcome.FAIL, Reason.HUB_OUT_OF_DESCRIPTORS, Health.UNKNOWN),
            (Outcome.FAIL, Reason.HIBERNATED, Health.UNHEALTHY),
            (Outcome.FAIL, None, Health.UNHEALTHY),
            (Outcome.UNKNOWN, Reason.PROBE_DEFECT, Health.UNKNOWN),
            (Outcome.UNKNOWN, Reason.NOT_READY, Health.UNKNOWN),
            (Outcome.UNKNOWN, None, Health.UNKNOWN),
        ],
    )
    def test_a_verdict_speaks_for(self, outcome: Outcome, reason: Reason | None, health: Health) -> None:
        assert candidate(replace(verdict("P", START), outcome=outcome, reason=reason)) is health

    @given(st.sampled_from(Outcome), st.none() | st.sampled_from(Reason))
    def test_never_suspended_and_green_only_for_a_pass(self, outcome: Outcome, reason: Reason | None) -> None:
        health = candidate(replace(verdict("P", START), outcome=outcome, reason=reason))
        assert health is not Health.SUSPENDED
        assert (health is Health.HEALTHY) == (outcome is Outcome.PASS)
        assert (health is Health.DEGRADED) == (outcome is Outcome.FINDING)


class TestHysteresis:
    @pytest.mark.parametrize(
        ("answers", "health"),
        [
            # the first verdict decides, and so does any while Unknown
            ("P", "P"),
            ("G", "G"),
            ("?", "?"),
            ("?G", "?G"),
            ("??P", "??P"),
            # three worse ones to get worse, two better ones to get better
            ("PGGG", "PPPG"),
            ("PGG", "PPP"),
            ("GPP", "GGP"),
            ("GP", "GG"),
            ("PWWW", "PPPW"),
            ("WPP", "WWP"),
            # a good answer in between starts the count anew
            ("PGGPGGP", "PPPPPPP"),
            ("PGGPGGG", "PPPPPPG"),
            ("GPGPGP", "GGGGGG"),
            # a mixed streak is one streak, and the newest decides
            ("PGBG", "PPPG"),
            ("PGGB", "PPPB"),
            ("PGGW", "PPPW"),
            ("GWP", "GGP"),
            ("GPW", "GGW"),
            # a streak that turns round starts anew
            ("WBBPBBB", "WWWWWWB"),
            ("BGGPGGG", "BBBBBBG"),
            ("BPGPP", "BBBBP"),
            # Unknown is worse than Degraded and better than Unhealthy, as the table says
            ("P???", "PPP?"),
            ("G??", "GG?"),
            # then the next answer decides
            ("P???G", "PPP?G"),
            ("G??P", "GG?P"),
        ],
    )
    def test_default_thresholds(self, answers: str, health: str) -> None:
        assert seen(answers) == health

    @pytest.mark.parametrize(
        ("fail_after", "pass_after", "answers", "health"),
        [
            (1, 1, "PGPG", "PGPG"),
            (2, 1, "PGGP", "PPGP"),
            (1, 3, "PGPPP", "PGGGP"),
            (4, 2, "PGGGG", "PPPPG"),
        ],
    )
    def test_other_thresholds(self, fail_after: int, pass_after: int, answers: str, health: str) -> None:
        assert seen(answers, HealthSettings(fail_after=fail_after, pass_after=pass_after)) == health

    @given(histories(fresh_gaps), settings_)
    def test_health_moves_after_exactly_enough_verdicts_in_one_direction(
        self, heard: list[Verdict], settings: HealthSettings
    ) -> None:
        """The longest run of verdicts on one side of the health held is long enough if, and only if, health moves."""
        held: Health | None = None
        run: list[int] = []  # +1 worse, -1 better, since `held` began or a verdict agreed with it
        for one, state in zip(heard, trace(heard, settings), strict=True):
            found = candidate(one)
            if held is None or held is Health.UNKNOWN:
                expected = found
            else:
                side = (SEVERITY[found] > SEVERITY[held]) - (SEVERITY[found] < SEVERITY[held])
                run = [*run, side] if side and (not run or run[-1] == side) else [side] * abs(side)
                enough = settings.fail_after if side > 0 else settings.pass_after
                expected = found if side and len(run) == enough else held
            assert state.health is expected
            if expected is not held:
                run = []
            held = expected

    @given(histories(fresh_gaps), settings_)
    def test_health_never_gets_worse_with_fewer_than_fail_after_worse_verdicts(
        self, heard: list[Verdict], settings: HealthSettings
    ) -> None:
        for i, (before, after) in enumerate(pairwise(trace(heard, settings)), start=1):
            if before.health is Health.UNKNOWN or after.health is before.health:
                continue
            worse = SEVERITY[after.health] > SEVERITY[before.health]
            needed = settings.fail_after if worse else settings.pass_after
            streak = [candidate(one) for one in heard[max(0, i + 1 - needed) : i + 1]]
            assert len(streak) == needed
            assert all((SEVERITY[found] > SEVERITY[before.health]) == worse for found in streak)
            assert before.health not in streak

    def test_changes_count_the_changes_of_health(self) -> None:
        assert [state.changes for state in trace(verdicts("?PGGGBPP?"))] == [0, 1, 1, 1, 2, 2, 3, 3, 3]

    @given(histories())
    def test_changes_move_exactly_when_health_does(self, heard: list[Verdict]) -> None:
        before = 0, Health.UNKNOWN
        for state in trace(heard):
            assert (state.changes != before[0]) == (state.health is not before[1])
            assert state.changes - before[0] in {0, 1}
            before = state.changes, state.health

    def test_flapping_shows_through_hysteresis(self) -> None:
        state = fold(verdicts("PG" * 5))
        assert state.health is Health.HEALTHY
        assert state.flap.flapping

    def test_flap_thresholds_come_from_the_settings(self) -> None:
        assert not fold(verdicts("PG" * 5), HealthSettings(flap_enter=0.9)).flap.flapping
        calming = verdicts("PG" * 5 + "G" * 15)
        assert not fold(calming).flap.flapping
        assert fold(calming, HealthSettings(flap_leave=0.05)).flap.flapping


class TestWhatIsShown:
    def test_a_pending_streak_shows_the_reason_of_the_health_that_is_held(self) -> None:
        state = fold(verdicts("PWWWGG"))
        assert (state.health, state.reason) == (Health.DEGRADED, Reason.SLOW_ANSWER)
        assert state.message == f"W at {START + 90:.0f}"
        assert state.evidence == {"at": START + 90}
        assert state.stage is Stage.HTTP
        assert state.streak == 2
        assert state.latest == verdict("G", START + 150)

    def test_a_better_streak_counts_below_zero(self) -> None:
        assert fold(verdicts("GP")).streak == -1

    def test_the_reason_follows_the_newest_verdict_that_agrees(self) -> None:
        before = verdicts("G")
        refused = replace(verdict("G", START + 30), reason=Reason.CONNECTION_REFUSED, message="refused")
        state = fold([*before, refused])
        assert (state.reason, state.message) == (Reason.CONNECTION_REFUSED, "refused")
        assert (state.changes, state.since) == (1, START)

    @given(histories())
    def test_reason_and_health_never_contradict_each_other(self, heard: list[Verdict]) -> None:
        for i, state in enumerate(trace(heard)):
            holders = [one for one in heard[: i + 1] if one.message == state.message]
            assert [candidate(one) for one in holders[-1:]] == [state.health]
            assert (state.reason, state.stage, state.evidence) == (
                holders[-1].reason,
                holders[-1].stage,
                holders[-1].evidence,
            )

    @given(histories())
    def test_the_newest_verdict_is_what_age_is_counted_from(self, heard: list[Verdict]) -> None:
        state = fold(heard)
        assert state.latest is heard[-1]
        assert (state.received_at, state.observed_at) == (heard[-1].received_at, heard[-1].observed_at)
        assert state.allowance_s == heard[-1].allowance_s

    def test_since_is_the_first_verdict_of_the_streak(self) -> None:
        broken = fold(verdicts("PPGGG"))
        assert broken.since == START + 60
        assert fold(verdicts("PPGGGPP")).since == START + 150
        assert fold(verdicts("PGGPGGG")).since == START + 120

    def test_the_start_of_a_pending_streak_is_kept_until_it_ends(self) -> None:
        assert [state.streak_since for state in trace(verdicts("PGGP"))] == [None, START + 30, START + 30, None]
        assert fold(verdicts("BGP")).streak_since == START + 60  # turned round: a new streak

    @given(histories())
    def test_since_and_last_success_never_go_back(self, heard: list[Verdict]) -> None:
        for before, after in pairwise(trace(heard)):
            assert before.since <= after.since <= after.received_at
            assert (before.since == after.since) or before.changes != after.changes
            assert before.last_success_at is None or (
                after.last_success_at is not None and before.last_success_at <= after.last_success_at
            )

    @given(histories())
    def test_last_success_is_the_last_pass_or_finding(self, heard: list[Verdict]) -> None:
        successes = [one.received_at for one in heard if one.outcome in {Outcome.PASS, Outcome.FINDING}]
        assert fold(heard).last_success_at == (successes[-1] if successes else None)

    def test_unknown_keeps_what_was_known_before(self) -> None:
        assert fold(verdicts("W???")).last_known is Health.DEGRADED
        assert fold(verdicts("W?????")).last_known is Health.DEGRADED
        assert fold(verdicts("W???P")).last_known is None
        assert fold(verdicts("?")).last_known is None


class TestOrder:
    @given(histories(), st.data())
    def test_any_batches_give_the_same_state(self, heard: list[Verdict], data: st.DataObject) -> None:
        cuts = sorted(data.draw(st.lists(st.integers(0, len(heard)), max_size=5)))
        state: CheckState | None = None
        for start, end in pairwise([0, *cuts, len(heard)]):
            batch = heard[start:end]
            if batch:
                state = fold(batch, state=state)
        assert state == fold(heard)

    @given(histories(), st.data())
    def test_replayed_and_late_verdicts_change_nothing(self, heard: list[Verdict], data: st.DataObject) -> None:
        noisy: list[Verdict] = []
        for i, one in enumerate(heard):
            noisy.append(one)
            noisy += data.draw(st.lists(st.sampled_from(heard[: i + 1]), max_size=3))
        assert fold(noisy) == fold(heard)

    def test_what_is_not_newer_gives_the_same_object_back(self) -> None:
        state = fold(verdicts("PG"))
        for one in (
            verdict("G", START + 30),  # a duplicate
            verdict("G", START + 29.75),  # received before
            verdict("G", START + 30, observed_at=START + 29),  # received together, observed before
        ):
            assert step(state, one, DEFAULTS) is state

    def test_verdicts_of_one_report_count_in_the_order_of_observation(self) -> None:
        report = [verdict("G", START + 30, observed_at=START + at) for at in (10, 20, 29)]
        assert fold([verdict("P", START), *report]).health is Health.UNREACHABLE


class TestStaleness:
    def test_a_fact_stands_to_the_end_of_its_allowance(self) -> None:
        state = fold(verdicts("P"))
        assert expires_at(state) == START + ALLOWANCE_S
        assert not stale(state, START + ALLOWANCE_S)
        assert stale(state, START + ALLOWANCE_S + 0.25)

    @given(states(), any_gaps)
    def test_never_stale_green(self, state: CheckState, late: float) -> None:
        view = shown(state, expires_at(state) + late)
        assert (view.health, view.reason) == (Health.UNKNOWN, Reason.STALE)
        assert rollup(Lifecycle.ACTIVE, [view]).health is Health.UNKNOWN
        assert rollup(Lifecycle.HIBERNATED, [view]).health is Health.SUSPENDED

    @given(histories(), st.integers(0, int(ALLOWANCE_S * 4)))
    def test_a_fresh_fact_is_shown_as_it_is(self, heard: list[Verdict], quarters: int) -> None:
        state = fold(heard)
        view = shown(state, state.received_at + quarters / 4)
        assert (view.health, view.reason, view.stage, view.message, view.since, view.last_known) == (
            state.health,
            state.reason,
            state.stage,
            state.message,
            state.since,
            state.last_known,
        )
        assert view.state is state

    @given(histories(), any_gaps, st.integers(0, 4000))
    def test_the_picture_is_the_same_whether_or_not_staleness_was_noticed(
        self, heard: list[Verdict], late: float, later: int
    ) -> None:
        state = fold(heard)
        noticed_at = expires_at(state) + late
        noticed = went_stale(state, noticed_at)
        now = noticed_at + later
        unnoticed_view, noticed_view = shown(state, now), shown(noticed, now)
        assert replace(noticed_view, state=state) == unnoticed_view
        assert noticed_view.state.last_success_at == state.last_success_at
        assert noticed_view.state.evidence == state.evidence

    def test_noticing_makes_it_unknown_since_the_allowance_ran_out(self) -> None:
        state = fold(verdicts("PGG"))
        gone = went_stale(state, START + 60 + 150)
        assert (gone.health, gone.reason, gone.stage) == (Health.UNKNOWN, Reason.STALE, Stage.HUB)
        assert gone.since == START + 60 + ALLOWANCE_S
        assert (gone.last_known, gone.last_success_at, gone.latest) == (Health.HEALTHY, START, state.latest)
        assert (gone.streak, gone.streak_since) == (0, None)
        assert gone.changes == state.changes + 1
        assert gone.message == "Nothing heard for 2 min; the last answer stood for 73 s. Last known: Healthy."

    @pytest.mark.parametrize(
        ("age_s", "text"),
        [(74, "74 s"), (119, "119 s"), (120, "2 min"), (7199, "120 min"), (7200, "2 h"), (172_800, "2 d")],
    )
    def test_the_message_names_the_age_in_a_readable_unit(self, age_s: int, text: str) -> None:
        assert shown(fold(verdicts("P")), START + age_s).message.startswith(f"Nothing heard for {text};")

    def test_what_was_never_known_says_so(self) -> None:
        view = shown(fold(verdicts("?")), START + 1000)
        assert view.last_known is None
        assert "never known" in view.message
        assert view.since == START

    @given(states(), any_gaps, any_gaps)
    def test_noticing_twice_changes_nothing(self, state: CheckState, late: float, later: float) -> None:
        once = went_stale(state, expires_at(state) + late)
        assert went_stale(once, expires_at(state) + late + later) is once

    @given(states())
    def test_there_is_nothing_to_notice_before_the_allowance_ran_out(self, state: CheckState) -> None:
        assert went_stale(state, expires_at(state)) is state

    def test_unknown_becomes_stale_without_a_change_of_health(self) -> None:
        state = fold(verdicts("W???"))
        gone = went_stale(state, START + 10_000)
        assert (gone.reason, gone.changes, gone.since) == (Reason.STALE, state.changes, state.since)
        assert gone.last_known is Health.DEGRADED

    @pytest.mark.parametrize("noticed", [False, True])
    @pytest.mark.parametrize("answer", "PWBG")
    def test_the_first_answer_after_a_gap_decides_at_once(self, answer: str, *, noticed: bool) -> None:
        """One failure of three must not turn a stale check green again."""
        state = fold(verdicts("PG"))
        back_at = expires_at(state) + 0.25
        if noticed:
            state = went_stale(state, back_at)
        after = step(state, verdict(answer, back_at), DEFAULTS)
        assert after.health is HEALTHS[answer]
        assert (after.streak, after.last_known) == (0, None)
        assert after.since == (START if answer == "P" and not noticed else back_at)

    def test_an_answer_at_the_very_end_of_the_allowance_still_meets_hysteresis(self) -> None:
        state = fold(verdicts("P"))
        assert step(state, verdict("G", expires_at(state)), DEFAULTS).health is Health.HEALTHY

    def test_a_verdict_that_waited_in_a_queue_while_staleness_was_noticed_does_not_turn_since_back(self) -> None:
        gone = went_stale(fold(verdicts("P")), START + 100)
        back = step(gone, verdict("P", START + 60), DEFAULTS)
        assert (back.health, back.since, back.last_success_at) == (Health.HEALTHY, gone.since, START + 60)


def view(health: Health, since: float = START, check: Check = Check.APISERVER, *, flapping: bool = False) -> Shown:
    state = fold([verdict("P", since, check=check)])
    state = replace(state, health=health, since=since, flap=replace(state.flap, flapping=flapping))
    return shown(state, since)


views = st.builds(
    view,
    st.sampled_from([health for health in PRECEDENCE if health is not Health.SUSPENDED]),
    st.integers(0, 3).map(lambda n: START + n),
    st.sampled_from(Check),
    flapping=st.booleans(),
)


class TestRollup:
    @pytest.mark.parametrize("lifecycle", [one for one in Lifecycle if one is not Lifecycle.ACTIVE])
    @pytest.mark.parametrize("paused", [False, True])
    def test_every_lifecycle_but_active_suspends_with_its_own_reason(
        self, lifecycle: Lifecycle, *, paused: bool
    ) -> None:
        whole = rollup(lifecycle, [view(Health.UNREACHABLE, flapping=True)], paused=paused)
        expected = "Deleting" if lifecycle is Lifecycle.GONE else lifecycle.value
        assert (whole.health, whole.reason) == (Health.SUSPENDED, Reason(expected))
        assert (whole.check, whole.since, whole.flapping) == (None, None, False)
        assert whole.message == REASONS[Reason(expected)].means
        assert whole.last_success_at == START

    def test_a_pause_suspends(self) -> None:
        whole = rollup(Lifecycle.ACTIVE, [view(Health.UNREACHABLE)], paused=True)
        assert (whole.health, whole.reason) == (Health.SUSPENDED, Reason.PAUSED)

    def test_without_checks_it_is_not_checked_yet(self) -> None:
        whole = rollup(Lifecycle.ACTIVE, [])
        assert (whole.health, whole.reason, whole.stage) == (Health.UNKNOWN, Reason.NOT_CHECKED_YET, Stage.HUB)
        assert (whole.check, whole.since, whole.last_success_at) == (None, None, None)

    @pytest.mark.parametrize(
        ("worse", "better"), list(pairwise([health for health in PRECEDENCE if health is not Health.SUSPENDED]))
    )
    def test_the_worst_check_decides(self, worse: Health, better: Health) -> None:
        whole = rollup(Lifecycle.ACTIVE, [view(better, START), view(worse, START + 5, Check.CREDENTIAL, flapping=True)])
        assert (whole.health, whole.check, whole.since) == (worse, Check.CREDENTIAL, START + 5)
        assert whole.flapping
        assert whole.last_success_at == START + 5

    def test_among_equals_the_longest_decides(self) -> None:
        whole = rollup(
            Lifecycle.ACTIVE, [view(Health.UNHEALTHY, START + 5), view(Health.UNHEALTHY, START, Check.CREDENTIAL)]
        )
        assert whole.check is Check.CREDENTIAL

    def test_a_stale_check_brings_its_last_known_health(self) -> None:
        whole = rollup(Lifecycle.ACTIVE, [shown(fold(verdicts("W")), START + 1000)])
        assert (whole.health, whole.reason, whole.last_known) == (Health.UNKNOWN, Reason.STALE, Health.DEGRADED)
        assert (whole.since, whole.last_success_at) == (START + ALLOWANCE_S, START)

    @given(
        lifecycle=st.sampled_from(Lifecycle),
        checks=st.lists(views, max_size=4, unique_by=lambda one: one.state.check),
        paused=st.booleans(),
        data=st.data(),
    )
    def test_order_and_repetition_do_not_matter(
        self, lifecycle: Lifecycle, checks: list[Shown], *, paused: bool, data: st.DataObject
    ) -> None:
        whole = rollup(lifecycle, checks, paused=paused)
        assert rollup(lifecycle, data.draw(st.permutations(checks + checks)), paused=paused) == whole
        assert rollup(lifecycle, iter(checks), paused=paused) == whole

    @given(st.lists(views, min_size=1, max_size=4))
    def test_no_check_is_worse_than_the_whole(self, checks: list[Shown]) -> None:
        whole: Rollup = rollup(Lifecycle.ACTIVE, checks)
        assert whole.health is min((one.health for one in checks), key=PRECEDENCE.index)


class TestShift:
    @given(states(), st.sampled_from([-7200.0, -3600.0, 3600.0]), any_gaps)
    def test_every_age_stays_what_it_was(self, state: CheckState, by_s: float, age: float) -> None:
        now = state.received_at + age
        moved = shift(state, by_s)
        assert stale(moved, now + by_s) is stale(state, now)
        assert expires_at(moved) - by_s == expires_at(state)
        for name in ("since", "streak_since", "last_success_at", "observed_at", "received_at"):
            before, after = getattr(state, name), getattr(moved, name)
            assert after == (None if before is None else before + by_s), name
        assert moved.latest is not None
        assert (moved.latest.received_at, moved.latest.observed_at) == (moved.received_at, moved.observed_at)
        assert shift(moved, -by_s) == state

    @given(histories(), histories(), st.sampled_from([-3600.0, 3600.0]), any_gaps)
    def test_a_clock_step_between_two_verdicts_makes_no_difference(
        self, before: list[Verdict], after: list[Verdict], by_s: float, gap: float
    ) -> None:
        def moved(heard: list[Verdict], by: float) -> list[Verdict]:
            return [replace(one, observed_at=one.observed_at + by, received_at=one.received_at + by) for one in heard]

        after = moved(after, before[-1].received_at - START + gap)
        stepped = fold(moved(after, by_s), state=shift(fold(before), by_s))
        assert stepped == shift(fold(before + after), by_s)

    def test_a_state_from_an_old_row_without_its_verdict_moves_too(self) -> None:
        state = replace(fold(verdicts("P")), latest=None, last_success_at=None)
        assert shift(state, 10.0) == replace(state, since=START + 10, observed_at=START + 10, received_at=START + 10)


@pytest.mark.parametrize(
    ("field", "kwargs"),
    [
        ("fail_after", {"fail_after": 0}),
        ("pass_after", {"pass_after": 0}),
        ("flap_leave", {"flap_leave": 0.5}),
        ("flap_leave", {"flap_leave": -0.1}),
        ("flap_enter", {"flap_enter": 1.5}),
        ("flap_enter", {"flap_enter": float("nan")}),
    ],
)
def test_settings_that_make_no_sense_are_refused_by_name(field: str, kwargs: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=field):
        HealthSettings(**kwargs)  # type: ignore[arg-type]  # the table mixes int and float fields
