"""Clusters, and all that is known of one."""

from __future__ import annotations

from pydantic import AwareDatetime

from muster.api.schemas.document import Document


class Pause(Document):
    """A person has taken the cluster out of judgement. It is asked all the same, so that its end shows the truth."""

    since: AwareDatetime
    until: AwareDatetime | None
    """null = until somebody resumes it."""
    reason: str
    by: str
    """Name of the token or session that did it."""
    version: int
    """Its ETag: `If-Match` of a change."""


class Cluster(Document):
    """One cluster in a list."""

    id: str
    name: str
    source: str
    endpoint: str
    lifecycle: str
    labels: dict[str, str]
    health: str
    check: str | None
    """The check that decides."""
    reason: str | None
    stage: str | None
    message: str
    since: AwareDatetime | None
    last_known: str | None
    """While the health is Unknown: the last one that was known."""
    last_success_at: AwareDatetime | None
    """Last successful contact."""
    age_s: float | None
    """Age of the fact that decides; null = there is none."""
    flapping: bool
    pending: bool
    """The change to this health is not committed yet."""
    pause: Pause | None


class ClusterPage(Document):
    """Clusters, those that need attention first."""

    now: AwareDatetime
    total: int
    """How many match the filters, on all pages."""
    next: str | None
    """Give it as `after` for the next page; null = this was the last."""
    clusters: tuple[Cluster, ...]


class StageTrace(Document):
    """How far the newest answer came."""

    stage: str
    outcome: str
    """`passed`, `finding`, `failed`, `reused` (the kept connection had it done), `unreached`."""
    duration_s: float | None


class Answer(Document):
    """The newest answer to a check, whether it agrees with the health shown or not."""

    outcome: str
    reason: str | None
    stage: str | None
    message: str
    received_at: AwareDatetime
    age_s: float
    duration_s: float
    lateness_s: float
    lane: str
    skipped_ticks: int
    allowance_s: float
    """How long it stands before it is stale."""
    stages: tuple[StageTrace, ...]


class Streak(Document):
    """Answers in a row that speak against the health shown."""

    answers: int
    needed: int
    towards: str
    """The health that `needed` of them lead to."""
    since: AwareDatetime | None


class Check(Document):
    """One check of one cluster."""

    check: str
    health: str
    reason: str | None
    stage: str | None
    message: str
    since: AwareDatetime
    last_known: str | None
    last_success_at: AwareDatetime | None
    flapping: bool
    evidence: dict[str, str | int | float | bool]
    """Of the newest answer that agrees with the health."""
    remedy: str | None
    docs: str | None
    """Where the reason is explained."""
    streak: Streak | None
    answer: Answer | None


class ClusterDetail(Cluster):
    """All that is known of one cluster."""

    external_uid: str | None
    also_known_as: tuple[str, ...]
    first_seen_at: AwareDatetime
    now: AwareDatetime
    remedy: str | None
    """What to do about the reason that decides."""
    docs: str | None
    next_due_s: float | None
    """Until it is asked again; null = it is being asked, or waits for a slot, or nothing asks it."""
    checks: tuple[Check, ...]
