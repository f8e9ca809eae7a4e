"""Validation jobs: somebody wants to know now whether a location works from a cluster. Pure; `now` is an argument.

    Pending -> InProgress -> Valid | Failed

One job a pair, the last one. It is about a question and its answer, not about how the pair is: the cell of the matrix
is the Health of the continuous check, which counts this answer as any other and does not flicker with a job.

Every job ends. One that waits too long to begin, or for its answer, ends as Failed with `ValidationTimeout`, whoever
was to carry it out. A job that its hub did not outlive is carried out by the next one: the question changes nothing, so
that it may be asked twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from uuid import UUID

from collector.matrix import CELL_CHECKS
from validator.model import Outcome, Pair, Verdict
from validator.reasons import REASONS, Reason, Stage

AGENT = "agent"
"""The method of a job whose question the agent in the cluster asks."""


class JobState(StrEnum):
    """How a job stands, in the words of the field."""

    PENDING = "Pending"
    IN_PROGRESS = "InProgress"
    VALID = "Valid"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True)
class Job:
    """One job. Moments are seconds since the epoch on the hub clock."""

    pair: Pair
    id: UUID
    number: int
    """Rises with every job that there ever was."""
    by: str
    asked_at: float
    state: JobState = JobState.PENDING
    method: str = ""
    """`agent`, `resource` or `direct`; "" before it is known who asks."""
    began_at: float | None = None
    ended_at: float | None = None
    reason: Reason | None = None
    """Of a failure, or of what an answer that passes finds."""
    stage: Stage | None = None
    message: str = ""

    @property
    def is_running(self) -> bool:
        """Whether it has no end yet."""
        return self.state in (JobState.PENDING, JobState.IN_PROGRESS)


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a job may be on its way."""

    untold_s: float = 60.0
    """For an agent to come for it. One that is there waits for work: it comes within a second, or after a restart."""
    queued_s: float = 600.0
    """For a place among the questions of the hub, while thousands are asked."""
    answer_s: float = 120.0
    """From the beginning to the answer: four times what a question may take."""
    abandoned_s: float = 600.0
    """A job that was asked for so long ago is not taken over from a hub that has ended: nobody waits for it."""
    settling_s: float = 30.0
    """After a takeover nobody may be there to ask yet: the sources are being read. So long a job waits for somebody."""


LIMITS = Limits()


def begun(job: Job, now: float) -> Job:
    """The question is asked now, or the agent knows that it is to ask. The same object if that is nothing new."""
    if job.state is not JobState.PENDING:
        return job
    return replace(job, state=JobState.IN_PROGRESS, began_at=max(now, job.asked_at))


def answered(job: Job, verdicts: Sequence[Verdict], now: float) -> Job:
    """The answer has come. It says Valid where the checks of the cell pass, or only find something.

    An answer that says nothing of the location is a failure, for the first reason that it has.
    """
    if not job.is_running:
        return job
    own = [each for each in verdicts if each.subject == job.pair]
    deciding = sorted((each for each in own if each.check in CELL_CHECKS), key=lambda v: CELL_CHECKS.index(v.check))
    bad = next((each for each in deciding if not _passes(each)), None)
    if bad is None and not any(each.check is CELL_CHECKS[0] for each in deciding):
        bad = next((each for each in own if not _passes(each)), None)
        if bad is None:
            return failed(job, Reason.NOT_CHECKED_YET, "The answer says nothing about the location.", now)
    told = bad or next((each for each in deciding if each.outcome is Outcome.FINDING), deciding[0])
    method = str(told.evidence.get("method", job.method))
    state = JobState.VALID if bad is None else JobState.FAILED
    return _ended(replace(job, method=method), state, told.reason, told.stage, told.message, now)


def failed(job: Job, reason: Reason, message: str, now: float) -> Job:
    """It ends without an answer."""
    return _ended(job, JobState.FAILED, reason, REASONS[reason].stage, message, now)


def taken_over(job: Job, now: float, limits: Limits = LIMITS) -> Job:
    """A job as the next leader takes it up: to be carried out once more, or ended if it is too old for that."""
    if not job.is_running or now - job.asked_at <= limits.abandoned_s:
        return job
    message = f"The hub ended before the answer, and for {limits.abandoned_s:.0f} s nobody went on. Validate again."
    return failed(job, Reason.VALIDATION_TIMEOUT, message, now)


def watched(job: Job, now: float, led_since: float, limits: Limits = LIMITS) -> Job:
    """The job, ended if it has been left too long; `led_since`: when this hub began to carry jobs out."""
    if job.state is JobState.PENDING and now - max(job.asked_at, led_since) > (
        limit_s := limits.untold_s if job.method == AGENT else limits.queued_s
    ):
        who = "The agent has not come for it" if job.method == AGENT else "It has had no turn"
        return failed(job, Reason.VALIDATION_TIMEOUT, f"{who} within {limit_s:.0f} s.", now)
    if job.state is JobState.IN_PROGRESS and now - max(job.began_at or job.asked_at, led_since) > limits.answer_s:
        who = "from the agent " if job.method == AGENT else ""
        message = f"No answer {who}within {limits.answer_s:.0f} s."
        return failed(job, Reason.VALIDATION_TIMEOUT, message, now)
    return job


def shift(job: Job, by_s: float) -> Job:
    """The same job after the hub clock was moved: every moment moves, every age stays."""
    return replace(
        job,
        asked_at=job.asked_at + by_s,
        began_at=None if job.began_at is None else job.began_at + by_s,
        ended_at=None if job.ended_at is None else job.ended_at + by_s,
    )


def _ended(job: Job, state: JobState, reason: Reason | None, stage: Stage | None, message: str, now: float) -> Job:
    if not job.is_running:
        return job
    at = max(now, job.asked_at, job.began_at or job.asked_at)
    return replace(job, state=state, ended_at=at, reason=reason, stage=stage, message=message)


def _passes(verdict: Verdict) -> bool:
    return verdict.outcome in (Outcome.PASS, Outcome.FINDING)
