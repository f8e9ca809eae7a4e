"""The living pairs: which cluster uses which location, and what is known of the two together.

Nothing is kept here but which pairs there were at the last look, so that what goes is forgotten once: a pair is made of
the inventory and the locations' assignments, and lives while both do. One whose location is DeletePending has none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple
from uuid import UUID

from collector.cluster import Cluster
from collector.inventory import Inventory
from collector.location import BackupLocation
from collector.locations import Locations
from collector.matrix import KnownPair, cell
from collector.recorder import Recorder
from validator.clock import Clock
from validator.health import CheckState
from validator.model import Check, Pair
from validator.reasons import Health

_WORKS = (Health.HEALTHY, Health.DEGRADED)


class PairChanges(NamedTuple):
    """What became of the pairs since the look before."""

    added: frozenset[Pair]
    removed: frozenset[Pair]


class Pairs:
    """Those of one leader."""

    def __init__(
        self,
        inventory: Inventory,
        locations: Locations,
        recorder: Recorder,
        clock: Clock,
        paused: Callable[[UUID], bool] = lambda _: False,
    ) -> None:
        """`paused` tells whether a person has paused a cluster now."""
        self._inventory = inventory
        self._locations = locations
        self._recorder = recorder
        self._clock = clock
        self._paused = paused
        self._before: frozenset[Pair] = frozenset()

    def all(self) -> Iterator[tuple[Cluster, BackupLocation, Mapping[Check, CheckState]]]:
        """Every living pair with its states, by location; stable while nothing of it is awaited in between."""
        for location in self._locations.known.values():
            yield from self.of_location(location)

    def of_location(
        self, location: BackupLocation
    ) -> Iterator[tuple[Cluster, BackupLocation, Mapping[Check, CheckState]]]:
        """Those of one location."""
        if location.deleting_at is not None:
            return
        clusters, states = self._inventory.clusters, self._recorder.states
        for cluster_id in location.assignments:
            if (cluster := clusters.get(cluster_id)) is not None:
                yield cluster, location, states.get(Pair(cluster_id, location.id), {})

    def of_cluster(self, cluster_id: UUID) -> list[BackupLocation]:
        """The locations that a cluster of the fleet uses, by name."""
        if cluster_id not in self._inventory.clusters:
            return []
        found = (each for each in self._locations.known.values() if cluster_id in each.assignments)
        return sorted((each for each in found if each.deleting_at is None), key=lambda each: each.name)

    def find(self, pair: Pair) -> tuple[Cluster, BackupLocation] | None:
        """The two of a living pair; None if it is none."""
        cluster, location = self._inventory.clusters.get(pair.cluster_id), self._locations.known.get(pair.location_id)
        if cluster is None or location is None or location.deleting_at is not None:
            return None
        return (cluster, location) if pair.cluster_id in location.assignments else None

    def healths(self, location_id: UUID) -> dict[UUID, Health]:
        """Of one location: the health of its cells, by cluster, for the location's roll-up."""
        location, now = self._locations.known.get(location_id), self._clock.now()
        if location is None:
            return {}
        return {
            cluster.id: cell(KnownPair(cluster, location.where, states, self._paused(cluster.id)), now).health
            for cluster, _, states in self.of_location(location)
        }

    def worked(self, location_id: UUID) -> int:
        """From how many clusters the location worked when they last could tell, which they can't now."""
        location, now = self._locations.known.get(location_id), self._clock.now()
        if location is None:
            return 0
        cells = (
            cell(KnownPair(cluster, location.where, states), now) for cluster, _, states in self.of_location(location)
        )
        return sum(each.health is Health.UNKNOWN and each.last_known in _WORKS for each in cells)

    def look(self) -> PairChanges:
        """What has come and gone since the last look; what is gone is forgotten. 0.4 µs a pair."""
        living = frozenset(
            Pair(cluster_id, location.id)
            for location in self._locations.known.values()
            if location.deleting_at is None
            for cluster_id in location.assignments
            if cluster_id in self._inventory.clusters
        )
        changes = PairChanges(living - self._before, self._before - living)
        self._before = living
        for pair in changes.removed:
            self._recorder.forget(pair)
        return changes
