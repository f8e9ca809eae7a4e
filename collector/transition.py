"""A change of health: append-only, and the only thing that alerts and history are made of."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from validator.model import Evidence
from validator.reasons import Health


@dataclass(frozen=True, slots=True)
class Transition:
    """One committed change of one check. It exists once its transaction has committed, never before."""

    id: int
    """Grows with every commit; the order of history."""
    at: float
    """Hub clock, seconds since the epoch: when it was noticed. `since` is when the condition began."""
    cluster_id: UUID
    cluster_name: str
    check: str
    from_health: Health
    to_health: Health
    since: float
    reason: str | None
    stage: str | None
    message: str
    evidence: Evidence
    flapping: bool
    collapsed: int
    """Changes between `from_health` and `to_health` that were never committed, because the database was away."""
    changes: int
    """The check's version that it made; unique for a check."""
    location_id: UUID | None = None
    """Of a pair, as is `location_name`; None: the check is of the cluster itself."""
    location_name: str | None = None
