"""The picture: a pure function of the stored check states, the clusters, and `now`.

Nothing here is remembered and nothing is asked: two instances with the same rows show the same picture, and a fact that
outlived its allowance is Unknown in it whether or not anybody has noticed yet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from uuid import UUID

from collector.cluster import Cluster
from collector.pauses import Pause
from validator.health import CheckState, Rollup, Shown, rollup, shown
from validator.model import Check, SubjectId
from validator.reasons import Health, Reason

States = Mapping[Check, CheckState]


@dataclass(frozen=True, slots=True)
class ClusterView:
    """One cluster at one moment."""

    cluster: Cluster
    rollup: Rollup
    checks: tuple[Shown, ...]
    """In the order of `Check`."""
    heard_at: float | None
    """When the fact that decides came in; None when there is none yet."""
    pending: bool
    """Its health has changed, but the change is not committed yet."""
    pause: Pause | None = None
    """The pause that holds, also where a lifecycle is what suspends the cluster."""

    @property
    def health(self) -> Health:
        """Shorthand for the rollup's."""
        return self.rollup.health

    def age_s(self, now: float) -> float | None:
        """Age of the fact that decides; None when there is none yet."""
        return None if self.heard_at is None else max(0.0, now - self.heard_at)


@dataclass(frozen=True, slots=True)
class FleetSnapshot:
    """The whole fleet at one moment."""

    now: float
    clusters: Mapping[UUID, ClusterView]
    """In no order: whoever lists them sorts them."""
    counts: Mapping[Health, int]
    """How many clusters have each health; every health is there."""
    oldest_age_s: float | None
    """Age of the oldest fact that decides for a cluster that is judged (not Suspended)."""
    flapping: int


def view(
    cluster: Cluster, states: States, now: float, *, pending: bool = False, pause: Pause | None = None
) -> ClusterView:
    """One cluster at `now`; `pause` is the one that holds then."""
    asked = [check for check in Check if check in states and not (check is Check.CREDENTIAL and _anonymous(cluster))]
    checks = tuple(shown(states[check], now) for check in asked)
    rolled = rollup(cluster.lifecycle, checks, paused=pause is not None)
    if pause is not None and rolled.reason is Reason.PAUSED:
        rolled = replace(rolled, message=pause.message(), since=pause.begins_at)
    deciding = next((c.state for c in checks if c.state.check is rolled.check), None)
    heard_at = None if deciding is None else deciding.received_at
    return ClusterView(cluster, rolled, checks, heard_at, pending, pause)


def snapshot(
    clusters: Iterable[Cluster],
    states: Mapping[UUID, States] | Mapping[SubjectId, States],
    now: float,
    pending: Callable[[UUID], bool] = lambda _: False,
) -> FleetSnapshot:
    """The picture at `now`, of nothing but its facts. Again and again: `collector.look`, which makes the same one."""
    views = {c.id: view(c, states.get(c.id, {}), now, pending=pending(c.id)) for c in clusters}
    counts = Counter(v.health for v in views.values())
    heard = [v.heard_at for v in views.values() if v.heard_at is not None and v.health is not Health.SUSPENDED]
    return FleetSnapshot(
        now=now,
        clusters=views,
        counts={health: counts[health] for health in Health},
        oldest_age_s=max(0.0, now - min(heard)) if heard else None,
        flapping=sum(v.rollup.flapping for v in views.values()),
    )


def _anonymous(cluster: Cluster) -> bool:
    """Asked without a credential by now: what was known of a former one says nothing any more."""
    return cluster.sighting is not None and cluster.sighting.credential is None
