"""The state machine of a validation job: every job ends, once, with a reason that says why."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from collector.validation import (
    AGENT,
    LIMITS,
    Job,
    JobState,
    Limits,
    answered,
    begun,
    failed,
    shift,
    taken_over,
    watched,
)
from tests.support.validating import answer_of
from validator.model import Check, Pair
from validator.reasons import Reason

PAIR = Pair(UUID(int=1), UUID(int=2))
NEW = Job(PAIR, UUID(int=3), 1, "ann", asked_at=1000.0)
BEGUN = begun(NEW, 1001.0)

moments = st.floats(900.0, 3000.0)
reasons = st.sampled_from([None, Reason.ROLE_MISSING, Reason.CERTIFICATE_EXPIRING_SOON, Reason.NO_ASKER])
answers = st.lists(st.builds(answer_of, st.just(PAIR), reasons, st.sampled_from(Check)), max_size=4)
steps = st.one_of(
    st.builds(lambda at: lambda job: begun(job, at), moments),
    st.builds(lambda at, verdicts: lambda job: answered(job, verdicts, at), moments, answers),
    st.builds(lambda at: lambda job: failed(job, Reason.NO_ASKER, "nobody", at), moments),
    st.builds(lambda at, since: lambda job: watched(job, at, since), moments, moments),
    st.builds(lambda at: lambda job: taken_over(job, at), moments),
)

ORDER = {JobState.PENDING: 0, JobState.IN_PROGRESS: 1, JobState.VALID: 2, JobState.FAILED: 2}


@given(st.lists(steps, max_size=8))
def test_a_job_only_goes_forward_and_ends_once_whatever_happens_in_whatever_order(happening: list) -> None:  # type: ignore[type-arg]
    job = NEW
    for step in happening:
        after = step(job)
        assert ORDER[after.state] >= ORDER[job.state]
        if not job.is_running:
            assert after is job
        assert (after.ended_at is None) == after.is_running
        assert after.state is not JobState.FAILED or after.reason is not None
        moments = [each for each in (after.asked_at, after.began_at, after.ended_at) if each is not None]
        assert moments == sorted(moments)
        job = after


@given(st.sampled_from([NEW, replace(NEW, method=AGENT), BEGUN]), st.floats(0, 900), st.floats(0, 2000))
def test_the_watch_ends_every_job_that_nobody_ends(job: Job, later_s: float, since: float) -> None:
    after = watched(job, max(1001.0, since) + max(LIMITS.queued_s, LIMITS.answer_s) + 1 + later_s, since)
    assert (after.state, after.reason) == (JobState.FAILED, Reason.VALIDATION_TIMEOUT)
    assert watched(job, 1002.0, 1000.0) is job


def test_a_job_left_too_long_says_what_did_not_come() -> None:
    def told(job: Job, at: float) -> str:
        return watched(job, at, 0.0).message

    assert told(NEW, 1601.0) == "It has had no turn within 600 s."
    assert told(replace(NEW, method=AGENT), 1061.0) == "The agent has not come for it within 60 s."
    assert told(BEGUN, 1122.0) == "No answer within 120 s."
    assert told(replace(BEGUN, method=AGENT), 1122.0) == "No answer from the agent within 120 s."


def test_the_time_of_a_hub_that_was_away_does_not_count() -> None:
    assert watched(BEGUN, 1500.0, led_since=1450.0) is BEGUN
    assert watched(BEGUN, 1571.0, led_since=1450.0).reason is Reason.VALIDATION_TIMEOUT


def test_the_next_leader_takes_up_what_is_young_and_ends_what_is_old() -> None:
    assert taken_over(BEGUN, 1600.0) is BEGUN
    ended = taken_over(BEGUN, 1601.0)
    assert (ended.state, ended.reason) == (JobState.FAILED, Reason.VALIDATION_TIMEOUT)
    assert "The hub ended before the answer" in ended.message
    assert taken_over(ended, 9999.0, Limits(abandoned_s=1)) is ended


def test_an_answer_is_valid_where_the_checks_of_the_cell_pass_or_only_find_something() -> None:
    found = answer_of(PAIR, Reason.OBJECT_LOCK_UNREADABLE, Check.OBJECT_LOCK, "may not read it")
    job = answered(BEGUN, [found, answer_of(PAIR)], 1003.0)
    assert (job.state, job.reason, job.message, job.ended_at) == (
        JobState.VALID,
        Reason.OBJECT_LOCK_UNREADABLE,
        "may not read it",
        1003.0,
    )
    assert answered(BEGUN, [answer_of(PAIR)], 1003.0).method == "direct"
    old = answer_of(PAIR, Reason.BACKUPS_TOO_OLD, Check.BACKUPS)
    assert answered(BEGUN, [answer_of(PAIR), old], 1003.0).state is JobState.VALID


def test_an_answer_that_fails_gives_its_reason() -> None:
    bad = answer_of(PAIR, Reason.ROLE_MISSING, text="no role")
    job = answered(BEGUN, [bad, answer_of(PAIR, None, Check.OBJECT_LOCK)], 1003.0)
    assert (job.state, job.reason, job.stage, job.message) == (
        JobState.FAILED,
        Reason.ROLE_MISSING,
        bad.stage,
        "no role",
    )
    lock = answer_of(PAIR, Reason.OBJECT_LOCK_SETTINGS_MISSING, Check.OBJECT_LOCK)
    assert answered(BEGUN, [lock, answer_of(PAIR)], 1003.0).reason is Reason.OBJECT_LOCK_SETTINGS_MISSING


def test_an_answer_about_something_else_is_no_success() -> None:
    elsewhere = answer_of(Pair(PAIR.cluster_id, UUID(int=9)))
    assert answered(BEGUN, [elsewhere], 1003.0).state is JobState.FAILED
    lock = answer_of(PAIR, None, Check.OBJECT_LOCK)
    assert answered(BEGUN, [lock], 1003.0).reason is Reason.NOT_CHECKED_YET
    velero = answer_of(PAIR, Reason.RESOURCE_FORBIDDEN, Check.VELERO)
    assert answered(BEGUN, [lock, velero], 1003.0).reason is Reason.RESOURCE_FORBIDDEN


def test_ages_stay_when_the_clock_is_set() -> None:
    job = answered(BEGUN, [answer_of(PAIR)], 1003.0)
    moved = shift(job, -3600.0)
    assert (moved.asked_at, moved.began_at, moved.ended_at) == (-2600.0, -2599.0, -2597.0)
