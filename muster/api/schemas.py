"""What the API answers: one class a document. Instants are RFC 3339 in UTC, durations are seconds and end in `_s`.

Enumerations are open: a reader must expect healths, reasons and stages that it does not know, hence plain strings.
Fields are added and never renamed within `/api/v1`.
"""

from __future__ import annotations

from pydantic import AwareDatetime, BaseModel, ConfigDict


class Document(BaseModel):
    """Common to all. Readers ignore fields that they don't know: the service may be newer than the CLI."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)


# -- the fleet


class Store(Document):
    """Whether what is known is also kept."""

    degraded_since: AwareDatetime | None
    """Since when the database takes nothing; the picture goes on from memory. null = all is well."""


class Guard(Document):
    """The own-outage guard: it holds alerts while the hub itself seems to be cut off. It never changes a health."""

    holding: bool
    since: AwareDatetime | None
    why: str
    """One sentence with numbers, of the last time that it began or ended; may be empty."""


class SourceProblem(Document):
    """Something in a source that can't be used. Clusters that it named before stay."""

    source: str
    where: str
    message: str
    remedy: str
    entry: str | None
    """The cluster, if only its entry is bad."""


class Lane(Document):
    """One share of the probe slots."""

    slots: int
    busy: int
    waiting: int
    lateness_p99_s: float | None
    """99th percentile, over the newest answers, of the time from when a cluster was due to its answer."""


class Lanes(Document):
    """The living never queue behind the dead."""

    live: Lane
    dead: Lane


class Fleet(Document):
    """The fleet in numbers."""

    now: AwareDatetime
    """The moment of this picture, on the hub's clock; every age is counted to it."""
    version: str
    role: str
    """`leading`; any other role answers 503 with the problem `not-leading`."""
    started_at: AwareDatetime
    total: int
    counts: dict[str, int]
    """Clusters by health, worst first; every health is there."""
    reasons: dict[str, int]
    """Clusters by the reason that decides, most frequent first; healthy ones have none."""
    flapping: int
    oldest_fact_age_s: float | None
    """Age of the oldest fact that decides for a cluster that is judged."""
    store: Store
    guard: Guard
    source_problems: tuple[SourceProblem, ...]
    """At most the first hundred."""
    source_problems_total: int
    lanes: Lanes


# -- clusters


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


# -- history


class Transition(Document):
    """One committed change of a check's health."""

    id: int
    at: AwareDatetime
    """When it was noticed."""
    since: AwareDatetime
    """When the condition began."""
    cluster_id: str
    cluster_name: str
    check: str
    from_health: str
    to_health: str
    reason: str | None
    stage: str | None
    message: str
    evidence: dict[str, str | int | float | bool]
    flapping: bool
    collapsed: int
    """Changes in between that were never committed, because the database was away."""


class TransitionPage(Document):
    """Transitions, newest first."""

    next: int | None
    """Give it as `before` for the next page; null = this was the last."""
    transitions: tuple[Transition, ...]


# -- problems


class Problem(BaseModel):
    """RFC 9457. `type` is stable; `detail` says what to do. More members depend on the type."""

    model_config = ConfigDict(frozen=True, extra="allow")

    type: str
    title: str
    status: int
    detail: str
