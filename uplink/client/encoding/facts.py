"""What the uplink is told. The composition root fills these in: the uplink reads neither collector nor database.

Plain words and numbers, with names as they are. What of it may leave, and in which form, is decided by the encoder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol
from uuid import UUID


@dataclass(frozen=True, slots=True)
class FleetFact:
    """The fleet in numbers, by the words of health."""

    clusters: Mapping[str, int]
    pairs: Mapping[str, int] = field(default_factory=dict)
    flapping: int = 0


@dataclass(frozen=True, slots=True)
class ClusterFact:
    """One cluster at one moment."""

    id: UUID
    external_uid: str | None
    """Of the namespace kube-system, or the source's own; None until it has been read once."""
    name: str
    source: str
    lifecycle: str
    health: str
    reason: str | None
    heard_at: float | None
    """When the fact came in that decides the health, hub clock; None: no fact decides it."""
    kubernetes_version: str | None = None


@dataclass(frozen=True, slots=True)
class LocationFact:
    """One backup location."""

    id: UUID
    name: str
    provider: str
    account: str | None
    container: str
    environment: str | None
    clusters: int
    """That use it."""


class VerdictKey(NamedTuple):
    """By which verdicts are counted."""

    check: str
    outcome: str
    reason: str | None


@dataclass(frozen=True, slots=True)
class ChangeFact:
    """One committed transition."""

    id: int
    at: float
    cluster_id: UUID
    external_uid: str | None
    cluster_name: str
    check: str
    from_health: str
    to_health: str
    reason: str | None = None
    stage: str | None = None
    flapping: bool = False
    collapsed: int = 0
    location_id: UUID | None = None
    location_name: str | None = None
    message: str = ""
    """Free text: it leaves only where that was asked for, and redacted."""
    names: tuple[str, ...] = ()
    """That may stand in it: of accounts, containers, hosts."""


@dataclass(frozen=True, slots=True)
class Facts:
    """All that is known at one moment."""

    at: float
    """Hub clock, seconds since the epoch."""
    fleet: FleetFact
    clusters: Sequence[ClusterFact] = ()
    locations: Sequence[LocationFact] = ()
    verdicts: Mapping[VerdictKey, int] = field(default_factory=dict)
    """Since the process began: only differences leave."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """What the uplink itself has lost since the process began, by why."""


class FactSource(Protocol):
    """Where facts come from."""

    async def facts(self) -> Facts | None:
        """Now; None while this instance has no picture."""
        ...

    async def changes(self, since: float, after_id: int, limit: int) -> Sequence[ChangeFact]:
        """Transitions at `since` or later, with ids above `after_id`, oldest first."""
        ...
