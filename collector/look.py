"""One look at the fleet, which takes over from the look before it what can't have changed.

A view is made of a cluster, its check states, and `now`; `now` only matters once a fact outlives its allowance. So the
view of a cluster whose objects are the same ones as before stands until the first of its facts expires. At 10,000
clusters and an interval of 30 s a look every two seconds makes 7 % of the views anew.

Whether the picture *means* something else is found in passing, by comparing the views that had to be made anew with
those before. A fingerprint of the whole picture was rejected: it costs as much as making it.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from operator import is_
from typing import NamedTuple
from uuid import UUID

from collector.cluster import Cluster
from collector.fleet import ClusterView, States, view
from collector.pauses import Pause
from validator.health import CheckState, expires_at
from validator.reasons import Reason


class _Seen(NamedTuple):
    view: ClusterView
    states: tuple[CheckState, ...]
    until: float
    """Hub clock: the last instant at which the same facts make the same view."""


class Look:
    """Sees every cluster once, then `end`s. Clusters that it does not see are gone."""

    def __init__(self, before: Look | None = None) -> None:
        """`before` has ended."""
        self._before: Mapping[UUID, _Seen] = {} if before is None else before._seen  # noqa: SLF001 - one of us
        self._seen: dict[UUID, _Seen] = {}
        self.changed = before is None
        """Whether anything means something else than before; ages, messages and evidence do not count."""

    def see(
        self, cluster: Cluster, states: States, now: float, *, pending: bool = False, pause: Pause | None = None
    ) -> ClusterView:
        """One cluster at `now`; `pause` is the one that holds then."""
        known = self._before.get(cluster.id)
        if (
            known is not None
            and now <= known.until
            and known.view.cluster is cluster
            and known.view.pending is pending
            and known.view.pause is pause
            and len(states) == len(known.states)
            and all(map(is_, states.values(), known.states))
        ):
            self._seen[cluster.id] = known
            return known.view
        seen = view(cluster, states, now, pending=pending, pause=pause)
        held = tuple(states.values())
        self._seen[cluster.id] = _Seen(seen, held, _until(seen, held, now))
        if known is None or _meaning(seen) != _meaning(known.view):
            self.changed = True
        return seen

    def end(self) -> None:
        """Nothing more will be seen."""
        self.changed |= not self._before.keys() <= self._seen.keys()
        self._before = {}


def _until(seen: ClusterView, states: tuple[CheckState, ...], now: float) -> float:
    if seen.rollup.reason is Reason.STALE:
        return -inf  # its message tells for how long nothing was heard
    return min((end for state in states if (end := expires_at(state)) >= now), default=inf)


def _meaning(seen: ClusterView) -> tuple[object, ...]:
    cluster, rollup = seen.cluster, seen.rollup
    return (
        (rollup.health, rollup.reason, rollup.stage, rollup.check, rollup.since, rollup.last_known, rollup.flapping),
        (seen.pending, seen.pause),
        (cluster.name, cluster.source, cluster.endpoint, cluster.lifecycle, cluster.labels, cluster.also_known_as),
        [(check.state.check, check.health, check.reason, check.since) for check in seen.checks],
    )
