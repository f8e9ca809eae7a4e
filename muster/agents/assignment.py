"""What each agent is told to ask about, and how it is told at once when that changes: a long poll.

The version of an assignment is a digest of its content: the same on every instance and after a restart, so that nobody
is sent what they have. What is made is kept until the cluster's locations or requests change.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from collector.inventory import Inventory
from collector.location import BackupLocation
from collector.locations import Locations
from collector.requests import Requests
from validator.clock import Clock
from validator.locations import Location

HEARTBEAT_S = 30.0
"""Between two reports of an agent that has nothing to tell."""

MAX_LOCATIONS = 1000
MAX_POLLS = 2
"""Of one agent: one, and another that took its place where a connection was lost. The oldest is answered."""

_FIELDS = tuple(field for field in Location.__slots__ if field != "id")


@dataclass(frozen=True, slots=True)
class _Made:
    cluster: str
    version: str
    content: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Pace:
    """How often agents ask, in seconds."""

    interval_s: float
    timeout_s: float
    heartbeat_s: float = HEARTBEAT_S

    @property
    def spare_s(self) -> float:
        """Of a fact's allowance, beside its period: the question, and the wait for the next report."""
        return self.timeout_s + self.heartbeat_s


class Assignments:
    """Those of one leader's agents. All methods are to be called on the loop's thread."""

    def __init__(
        self, hub_id: UUID, inventory: Inventory, locations: Locations, requests: Requests, clock: Clock, pace: Pace
    ) -> None:
        self._hub_id = hub_id
        self._inventory = inventory
        self._locations = locations
        self._requests = requests
        self._clock = clock
        self.pace = pace
        self._made: dict[UUID, _Made] = {}
        self._changed: dict[UUID, asyncio.Event] = {}
        self._polls: dict[UUID, int] = {}
        self.closed = False
        """Nobody is told anything any more: this instance leads no more."""
        self._seen = dict(locations.known)
        locations.listen(self._look)
        requests.on_change(lambda cluster_id: self.wake((cluster_id,)))

    def version(self, cluster_id: UUID) -> str:
        """Of what its agent shall do now."""
        return self._now(cluster_id).version

    def document(self, cluster_id: UUID) -> dict[str, Any]:
        """All of it, as it goes over the wire: from now on its requests are in the agent's hands."""
        made = self._now(cluster_id)
        self._requests.told(self._requests.pending(cluster_id))
        return {"version": made.version, "now": self._clock.now(), **made.content}

    async def changed(self, cluster_id: UUID, known: str, wait_s: float) -> bool:
        """Whether there is another version than the one that is known, waiting for one as long as it may."""
        number = self._polls.get(cluster_id, 0) + 1
        self._polls[cluster_id] = number
        if number > MAX_POLLS:
            self._wake(cluster_id)  # the oldest sees that it is
        deadline = asyncio.get_running_loop().time() + wait_s
        while not self.closed and self._polls.get(cluster_id, 0) - number < MAX_POLLS:
            if self.version(cluster_id) != known:
                return True
            event = self._changed.setdefault(cluster_id, asyncio.Event())
            try:
                async with asyncio.timeout_at(deadline):
                    await event.wait()
            except TimeoutError:
                break
        return not self.closed and self.version(cluster_id) != known

    def wake(self, cluster_ids: Collection[UUID]) -> None:
        """What these clusters' agents shall do has changed."""
        for cluster_id in cluster_ids:
            self._made.pop(cluster_id, None)
            self._wake(cluster_id)

    def close(self) -> None:
        """Let all who wait go."""
        self.closed = True
        for cluster_id in list(self._changed):
            self._wake(cluster_id)

    # -- how

    def _look(self) -> None:
        """A location has changed: nothing of one does but who uses it. 50 ns a location, and what is told."""
        before, self._seen = self._seen, dict(self._locations.known)
        changed: set[UUID] = set()
        for location_id in before.keys() | self._seen.keys():
            was, now = before.get(location_id), self._seen.get(location_id)
            if was is not now:
                changed |= _users(was) ^ _users(now)
        self.wake(changed)

    def _wake(self, cluster_id: UUID) -> None:
        if (event := self._changed.pop(cluster_id, None)) is not None:
            event.set()

    def _now(self, cluster_id: UUID) -> _Made:
        cluster = self._inventory.clusters.get(cluster_id)
        name = str(cluster_id) if cluster is None else cluster.name
        made = self._made.get(cluster_id)
        if made is None or made.cluster != name:
            content = self._content(cluster_id, name)
            digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]
            made = self._made[cluster_id] = _Made(name, digest, content)
        return made

    def _content(self, cluster_id: UUID, name: str) -> dict[str, Any]:
        used = [each for each in self._locations.known.values() if is_used(each, cluster_id)][:MAX_LOCATIONS]
        told = {each.id for each in used}
        return {
            "hub_id": str(self._hub_id),
            "cluster": {"id": str(cluster_id), "name": name},
            "interval_s": self.pace.interval_s,
            "timeout_s": self.pace.timeout_s,
            "heartbeat_s": self.pace.heartbeat_s,
            "locations": [_location(each.where) for each in sorted(used, key=lambda each: each.name)],
            "requests": [
                {"id": str(each.id), "kind": each.kind, "location_id": str(each.location_id)}
                for each in self._requests.pending(cluster_id)
                if each.location_id in told
            ],
        }


def is_used(location: BackupLocation | None, cluster_id: UUID) -> bool:
    """Whether the cluster is to be asked about it."""
    return location is not None and location.deleting_at is None and cluster_id in location.assignments


def _users(location: BackupLocation | None) -> frozenset[UUID]:
    return frozenset() if location is None or location.deleting_at is not None else frozenset(location.assignments)


def _location(where: Location) -> dict[str, Any]:
    """Every field of it: nothing of a location is secret."""
    return {"id": str(where.id), **{field: getattr(where, field) for field in _FIELDS}}
