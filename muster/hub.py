"""What a running instance knows and can be asked: the seam between the composition root and the API.

An instance that waits (for the database, or as a hot standby) has no picture of its own and says so.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from collector.agents import Agents
from collector.availability import Availability
from collector.fleet import ClusterView, FleetSnapshot, view
from collector.history import History
from collector.inventory import Inventory
from collector.location import BackupLocation
from collector.location_store import Holder
from collector.locations import Locations
from collector.look import Look
from collector.naming import Naming
from collector.pairs import Pairs
from collector.pauses import Pauses
from collector.recorder import Recorder
from collector.requests import Requests
from collector.syncs import Syncs
from collector.validation_jobs import ValidationJobs
from muster.agents.desk import AgentDesk
from muster.breath import breathe
from muster.events import Events
from validator.clock import HubClock
from validator.discovery.source import SourceProblem
from validator.engine import Engine
from validator.guard import QUIET, Guard
from validator.schedule import Lane

PIECE = 100
"""Clusters that are looked at without a break: 1 ms where all views are made anew, 0.1 where they stand."""


Outside = Callable[[BackupLocation], Awaitable[Sequence[Holder]]]
"""What in the clusters refers to a location that is to be deleted."""


async def nothing_outside(_: BackupLocation) -> Sequence[Holder]:
    """No cluster is asked."""
    return ()


class Role(StrEnum):
    """What this instance does at the moment."""

    STARTING = "starting"
    STANDBY = "standby"
    LEADING = "leading"
    STOPPING = "stopping"


@dataclass(slots=True, kw_only=True)
class Leading:
    """All that exists only while this instance leads."""

    inventory: Inventory
    recorder: Recorder
    engine: Engine
    history: History
    pauses: Pauses
    availability: Availability
    locations: Locations
    pair_engine: Engine
    """Asks about backup locations, in lanes of its own: a storage that hangs keeps no API server waiting."""
    pairs: Pairs
    outside: Outside = nothing_outside
    validations: ValidationJobs
    syncs: Syncs
    agents: Agents
    """Whose reports are taken for which cluster."""
    requests: Requests
    """What agents are asked to do now."""
    agent_desk: AgentDesk | None = None
    """What serves them."""
    guard: Guard = QUIET


class Hub:
    """One instance. Written by the composition root, read by the API."""

    def __init__(self, clock: HubClock, version: str) -> None:
        self.clock = clock
        self.version = version
        self.started_at = clock.now()
        self.role = Role.STARTING
        self.waiting_for = ""
        """One sentence, while starting or standing by."""
        self.leading: Leading | None = None
        self.own_uid = ""
        """Of the cluster that this hub runs in, once this process has read it."""
        self.agent_url: str | None = None
        """What agents are told to call, where that is known."""
        self.events = Events()
        """What is told to everybody who listens; open while this instance leads."""
        self._naming: Naming | None = None

    async def fleet(self, look: Look | None = None) -> FleetSnapshot | None:
        """The picture now; None while this instance does not lead. Made in pieces: it never holds the loop for long.

        `look` takes over what the one before it saw, and tells afterwards whether anything has changed.
        """
        if (known := self.leading) is None:
            return None
        look, clusters = look or Look(), list(known.inventory.clusters.values())
        for begin in range(0, len(clusters), PIECE):
            await breathe()
            now = self.clock.now()  # in each turn anew: it may have been set, and all states with it
            some = clusters[begin : begin + PIECE]
            look.see(some, known.recorder.states, now, pending=known.recorder.pending, pause=known.pauses.active)
        return look.end(self.clock.now())

    def cluster(self, cluster_id: UUID) -> ClusterView | None:
        """One cluster now; None if there is none with this id, or this instance does not lead."""
        if self.leading is None or (cluster := self.leading.inventory.clusters.get(cluster_id)) is None:
            return None
        recorder, now = self.leading.recorder, self.clock.now()
        pending, pause = recorder.pending(cluster_id), self.leading.pauses.active(cluster_id, now)
        return view(cluster, recorder.states.get(cluster_id, {}), now, pending=pending, pause=pause)

    def asking(self) -> bool:
        """Whether any living cluster is being asked at this moment."""
        return self.leading is not None and self.leading.engine.lanes[Lane.LIVE].busy > 0

    def find(self, name: str) -> list[UUID]:
        """Ids of the clusters that this name (or other name, id, or beginning of an id) stands for."""
        if self.leading is None:
            return []
        clusters = self.leading.inventory.clusters
        if self._naming is None or not self._naming.is_of(clusters):
            self._naming = Naming(clusters)
        return self._naming.find(name)

    def source_problems(self) -> tuple[tuple[str, SourceProblem], ...]:
        """What can't be read at the moment, with the source's name."""
        return () if self.leading is None else self.leading.inventory.problems
