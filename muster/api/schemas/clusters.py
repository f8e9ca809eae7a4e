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
    """As the person gave it."""
    by: str
    """Name of the token or session that did it."""
    version: int
    """Rises with every change."""
    etag: str
    """For the `If-Match` of a change, with its quotes."""


class Cluster(Document):
    """One cluster in a list."""

    id: str
    """Ours, a UUID. Names may come again; ids never do."""
    name: str
    source: str
    """Which source names it: `kubeconfig`, `static` or `in-cluster`."""
    endpoint: str
    """URL of its API server."""
    lifecycle: str
    """As its source has it; `Active` if that says nothing."""
    labels: dict[str, str]
    """As its source has them."""
    health: str
    """Worst of its checks': `Healthy`, `Degraded`, `Unhealthy`, `Unreachable`, `Unknown` or `Suspended`."""
    check: str | None
    """The check that decides."""
    reason: str | None
    """Why; null = nothing is wrong."""
    stage: str | None
    """Where a question to it ended, e.g. `connect`."""
    message: str
    """What was seen, in a sentence; may be empty."""
    since: AwareDatetime | None
    """Since when it is so."""
    last_known: str | None
    """While the health is Unknown: the last one that was known."""
    last_success_at: AwareDatetime | None
    """Last successful contact."""
    age_s: float | None
    """Age of the fact that decides; null = there is none."""
    flapping: bool
    """It changes to and fro."""
    pending: bool
    """The change to this health is not committed yet."""
    pause: Pause | None
    """null = it is judged."""


class ClusterPage(Document):
    """Clusters, those that need attention first."""

    now: AwareDatetime
    """The moment of this picture; every age is counted to it."""
    total: int
    """How many match the filters, on all pages."""
    next: str | None
    """Give it as `after` for the next page; null = this was the last."""
    clusters: tuple[Cluster, ...]


class StageTrace(Document):
    """How far the newest answer came."""

    stage: str
    """`dns`, `connect`, `tls`, `http` or `read`."""
    outcome: str
    """`passed`, `finding`, `failed`, `reused` (the kept connection had it done), `unreached`."""
    duration_s: float | None


class Answer(Document):
    """The newest answer to a check, whether it agrees with the health shown or not."""

    outcome: str
    """`pass`, `finding` (it works, but something needs attention), `fail` or `unknown`."""
    reason: str | None
    stage: str | None
    message: str
    received_at: AwareDatetime
    age_s: float
    duration_s: float
    """Of the question, from the moment it had its slot."""
    lateness_s: float
    """From when it was due to its answer."""
    lane: str
    """`live` or `dead`: the share of the slots in which it was asked."""
    skipped_ticks: int
    """How often it was due and not asked since the answer before."""
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
    """When the first of them came."""


class Check(Document):
    """One check of one cluster."""

    check: str
    """What was asked, e.g. `apiserver`, `credential`."""
    health: str
    """Of this check alone."""
    reason: str | None
    stage: str | None
    message: str
    since: AwareDatetime
    """Since when it is so."""
    last_known: str | None
    """While the health is Unknown: the last one that was known."""
    last_success_at: AwareDatetime | None
    """Last answer that was no failure."""
    flapping: bool
    """It changes to and fro."""
    evidence: dict[str, str | int | float | bool]
    """Of the newest answer that agrees with the health."""
    remedy: str | None
    """What to do about the reason."""
    docs: str | None
    """Where the reason is explained."""
    streak: Streak | None
    """null = the newest answers agree with the health."""
    answer: Answer | None
    """null = there is none."""


class ClusterDetail(Cluster):
    """All that is known of one cluster."""

    external_uid: str | None
    """Its own: the UID of its kube-system namespace, once that was read."""
    also_known_as: tuple[str, ...]
    """Its names in other contexts and sources."""
    first_seen_at: AwareDatetime
    """When a source named it first."""
    now: AwareDatetime
    """The moment of this picture; every age is counted to it."""
    remedy: str | None
    """What to do about the reason that decides."""
    docs: str | None
    """Where the reason is explained."""
    next_due_s: float | None
    """Until it is asked again; null = it is being asked, or waits for a slot, or nothing asks it."""
    checks: tuple[Check, ...]
