"""The matrix: how each backup location works from each cluster that uses it. Pure; `now` is an argument.

A cell is the Health of the checks that say whether a backup could be written from there now (`CELL_CHECKS`), after
hysteresis, by the same rules as a cluster's: what is stale is Unknown, with the last known state beside it, and a
cluster that sleeps or is paused has suspended cells. The state of a validation job is none of its business, so that a
cell does not flicker with one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID

from collector.cluster import Cluster
from validator.health import CheckState, rollup, shown
from validator.locations import Location, Provider
from validator.model import Check, Pair
from validator.reasons import Health, Reason, Stage

CELL_CHECKS = (Check.LOCATION, Check.OBJECT_LOCK)
"""Object lock too: a locked container whose settings are missing fails validation in the product that is followed.
How old the backups are is another question, with answers of its own."""


@dataclass(frozen=True, slots=True)
class KnownPair:
    """One cluster and one location that it uses, and what is known of the two together."""

    cluster: Cluster
    location: Location
    states: Mapping[Check, CheckState]
    paused: bool = False
    """A person has paused the cluster."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One pair at one moment."""

    key: Pair
    cluster: str
    location: str
    provider: Provider
    account: str | None
    health: Health
    reason: Reason | None
    stage: Stage | None
    message: str
    check: Check | None
    """The check that decides; None where nothing is known or the cluster is suspended."""
    since: float | None
    last_known: Health | None
    last_success_at: float | None
    heard_at: float | None
    """Hub clock: when the fact that decides came in; where the cluster is suspended, the newest one. None: no fact."""
    method: str
    """How it was asked: `agent`, `resource` or `direct`; "" where it never was."""
    flapping: bool

    def age_s(self, now: float) -> float | None:
        """Of that fact."""
        return None if self.heard_at is None else max(0.0, now - self.heard_at)


@dataclass(frozen=True, slots=True)
class CellFilter:
    """Which cells are wanted. None: whatever it is; an empty set: none."""

    clusters: frozenset[UUID] | None = None
    locations: frozenset[UUID] | None = None
    states: frozenset[Health] | None = None
    reasons: frozenset[Reason] | None = None
    providers: frozenset[Provider] | None = None
    accounts: frozenset[str] | None = None
    methods: frozenset[str] | None = None

    def admits(self, cell: Cell) -> bool:
        """Whether the cell is all that is asked for."""
        asked = (
            (self.clusters, cell.key.cluster_id),
            (self.locations, cell.key.location_id),
            (self.states, cell.health),
            (self.reasons, cell.reason),
            (self.providers, cell.provider),
            (self.accounts, cell.account),
            (self.methods, cell.method),
        )
        return all(wanted is None or has in wanted for wanted, has in asked)


EVERYTHING = CellFilter()


def matrix(pairs: Iterable[KnownPair], now: float, wanted: CellFilter = EVERYTHING) -> tuple[Cell, ...]:
    """The cells that are wanted, by name of the cluster, then of the location. 7 µs a pair."""
    cells = (cell(pair, now) for pair in pairs)
    return tuple(sorted(filter(wanted.admits, cells), key=by_name))


def cell(pair: KnownPair, now: float) -> Cell:
    """One pair at `now`."""
    checks = [shown(pair.states[check], now) for check in CELL_CHECKS if check in pair.states]
    rolled = rollup(pair.cluster.lifecycle, checks, paused=pair.paused)
    known = [each.state for each in checks]
    deciding = next((state for state in known if state.check is rolled.check), None)
    fact = deciding or max(known, key=lambda state: state.received_at, default=None)
    location = pair.location
    return Cell(
        key=Pair(pair.cluster.id, location.id),
        cluster=pair.cluster.name,
        location=location.name,
        provider=location.provider,
        account=location.account,
        health=rolled.health,
        reason=rolled.reason,
        stage=rolled.stage,
        message=rolled.message,
        check=rolled.check,
        since=rolled.since,
        last_known=rolled.last_known,
        last_success_at=rolled.last_success_at,
        heard_at=None if fact is None else fact.received_at,
        method="" if fact is None else str(fact.evidence.get("method", "")),
        flapping=rolled.flapping,
    )


def by_name(each: Cell) -> tuple[str, str, Pair]:
    """The order of the matrix."""
    return each.cluster, each.location, each.key
