"""The fleet in numbers."""

from __future__ import annotations

from pydantic import AwareDatetime

from muster.api.schemas.document import Document


class Store(Document):
    """Whether what is known is also kept."""

    degraded_since: AwareDatetime | None
    """Since when the database takes nothing; the picture goes on from memory. null = all is well."""


class Guard(Document):
    """The own-outage guard: it holds alerts while the hub itself seems to be cut off. It never changes a health."""

    holding: bool
    since: AwareDatetime | None
    """When that began."""
    why: str
    """One sentence with numbers, of the last time that it began or ended; may be empty."""


class SourceProblem(Document):
    """Something in a source that can't be used. Clusters that it named before stay."""

    source: str
    where: str
    """File, entry and field."""
    message: str
    remedy: str
    entry: str | None
    """The cluster, if only its entry is bad."""


class Lane(Document):
    """One share of the probe slots."""

    slots: int
    """Questions that it may have under way."""
    busy: int
    """Those that are."""
    waiting: int
    """Clusters that are due and wait for a slot."""
    lateness_p99_s: float | None
    """99th percentile, over the newest answers, of the time from when a cluster was due to its answer."""


class Lanes(Document):
    """The living never queue behind the dead."""

    live: Lane
    """Of clusters that answer."""
    dead: Lane
    """Of clusters that have not answered last time."""


class Fleet(Document):
    """The fleet in numbers."""

    generation: int
    """Rises whenever the picture means something else: a change of health, or a fact that outlived its allowance. It is
    the ETag; ages and lateness grow without it."""
    now: AwareDatetime
    """The moment of this picture, on the hub's clock; every age is counted to it."""
    version: str
    """Release of the service."""
    role: str
    """`leading`; any other role answers 503 with the problem `not-leading`."""
    started_at: AwareDatetime
    """When this instance started."""
    total: int
    """Clusters."""
    counts: dict[str, int]
    """Clusters by health, worst first; every health is there."""
    reasons: dict[str, int]
    """Clusters by the reason that decides, most frequent first; healthy ones have none."""
    flapping: int
    """Clusters that change to and fro."""
    oldest_fact_age_s: float | None
    """Age of the oldest fact that decides for a cluster that is judged."""
    store: Store
    guard: Guard
    source_problems: tuple[SourceProblem, ...]
    """At most the first hundred."""
    source_problems_total: int
    """How many there are."""
    lanes: Lanes
