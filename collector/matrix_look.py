"""One look at the matrix, which takes over from the look before it what can't have changed.

As `collector/look.py` does for the fleet: a cell stands until one of its facts is replaced or outlives its allowance,
and whether the matrix *means* something else is found in passing. At 10,000 pairs and an interval of 15 min a look
every two seconds makes 0.2 % of the cells anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from operator import is_
from typing import NamedTuple

from collector.cluster import Cluster
from collector.matrix import CELL_CHECKS, Cell, KnownPair, cell
from validator.health import CheckState, expires_at
from validator.locations import Location
from validator.model import Check, Pair
from validator.reasons import Reason


class _Seen(NamedTuple):
    cell: Cell
    cluster: Cluster
    paused: bool
    states: tuple[CheckState | None, ...]
    """Of `CELL_CHECKS`, in their order."""
    until: float
    """Hub clock: the last instant at which the same facts make the same cell."""


class MatrixLook:
    """Sees every pair once, then `end`s. Pairs that it does not see are gone."""

    def __init__(self, before: MatrixLook | None = None) -> None:
        """`before` has ended."""
        self._before: Mapping[Pair, _Seen] = {} if before is None else before._seen  # noqa: SLF001 - one of us
        self._seen: dict[Pair, _Seen] = {}
        self.cells: dict[Pair, Cell] = {}
        """All that were seen."""
        self.changed = before is None
        """Whether anything means something else than before; ages, messages and evidence do not count."""

    def see(
        self, cluster: Cluster, location: Location, states: Mapping[Check, CheckState], now: float, *, paused: bool
    ) -> None:
        """One pair at `now`. Nothing of a location changes while it exists."""
        pair = Pair(cluster.id, location.id)
        held = tuple(map(states.get, CELL_CHECKS))
        known = self._before.get(pair)
        if (
            known is None
            or now > known.until
            or known.cluster is not cluster
            or known.paused is not paused
            or not all(map(is_, held, known.states))
        ):
            made = cell(KnownPair(cluster, location, states, paused), now)
            seen = _Seen(made, cluster, paused, held, _until(made, held, now))
            if known is None or _meaning(seen) != _meaning(known):
                self.changed = True
            known = seen
        self._seen[pair] = known
        self.cells[pair] = known.cell

    def end(self) -> None:
        """Nothing more will be seen."""
        self.changed |= not self._before.keys() <= self._seen.keys()
        self._before = {}


def _until(made: Cell, states: tuple[CheckState | None, ...], now: float) -> float:
    if made.reason is Reason.STALE:
        return -inf  # its message tells for how long nothing was heard
    return min((end for state in states if state is not None and (end := expires_at(state)) >= now), default=inf)


def _meaning(seen: _Seen) -> tuple[object, ...]:
    """What lists are filtered and sorted by is among it."""
    made, cluster = seen.cell, seen.cluster
    return (
        (made.health, made.reason, made.stage, made.check, made.since, made.last_known, made.flapping, made.method),
        (cluster.name, cluster.labels, cluster.also_known_as),
    )
