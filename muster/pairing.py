"""Keeps the targets that the hub itself asks about backup locations in step with the fleet and the assignments.

Two kinds, each in an engine of its own: a *look* at what the backup products of a cluster say, for each cluster that
uses a location, and the *pairs* of clusters without an agent. Who changes anything (the inventory, the locations, the
agents) leaves a note; one task compares what should be asked with what is asked, in pieces. It never works off single
changes, so that none can be missed.

A cluster that no source has named since the start is not asked and its pairs keep what is known of them; so a restart
changes no state.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import NoReturn
from uuid import UUID

import structlog

from collector.cluster import Cluster
from collector.inventory import Inventory
from collector.location import BackupLocation
from collector.pairs import Pairs
from collector.recorder import Recorder
from collector.retiring import Retiring
from store.errors import StoreError
from validator.agent.probing import METHOD as AGENT
from validator.discovery.source import AgentEndpoint, Sighting
from validator.engine import Awaited, Engine
from validator.health import CheckState
from validator.locations import Location
from validator.model import Check, Pair, SubjectId
from validator.probes.cluster_look import ClusterLook
from validator.probes.hub_pair import HubPairProbe, Method
from validator.probes.resource import LastRead

_log = structlog.get_logger(__name__)

PIECE = 200
"""Pairs that are taken up in one turn of the loop: some 2 ms."""

RETRY_S = 5.0
"""Until checks that nobody asks any more are retired again, where the database did not take it."""

COMPARE_EVERY_S = 30.0
"""Without a note, too: an agent that comes or goes leaves none. 10,000 pairs take some 30 ms."""

READ_WITHIN_S = 12.0
"""So long an ask that somebody waits for waits for a read of the cluster; one takes 10 s at most."""

LOOKED = frozenset({Check.VELERO, Check.STORK, Check.WORKLOAD_IDENTITY})
"""What a look tells of a cluster."""


@dataclass(frozen=True, slots=True)
class PairContext:
    """What the probe of one pair is made of."""

    pair: Pair
    where: Location
    direct: bool
    """The location's owner lets the hub ask with its own identity."""
    last_read: Callable[[], LastRead | None] | None
    """None: the hub has no way into the cluster."""
    before: str
    """Method of the newest fact that is known."""
    on_told: Callable[[Method], None]


MakeLook = Callable[[Cluster, Callable[[], None]], ClusterLook]
"""Of a cluster that has a sighting; the look calls what it is given after each read."""

MakePair = Callable[[PairContext], HubPairProbe]


@dataclass(slots=True, eq=False)
class _Look:
    """One cluster that is looked at."""

    probe: ClusterLook
    name: str
    sighting: Sighting
    pairs: dict[UUID, HubPairProbe] = field(default_factory=dict)
    """By location."""
    waiting: list[asyncio.Future[None]] = field(default_factory=list)
    """For the next read."""

    def leads_as(self, name: str, sighting: Sighting) -> bool:
        """Whether it goes the same way. Credentials by identity: equal sources may give different ones."""
        mine = self.sighting
        return (self.name, mine.endpoint) == (name, sighting.endpoint) and mine.credential is sighting.credential

    def last_read(self) -> LastRead | None:
        """What it brought last."""
        return self.probe.last_read


@dataclass(frozen=True, slots=True)
class _Asked:
    """One pair that is asked."""

    probe: HubPairProbe
    look: _Look | None
    where: Location
    direct: bool


class Pairing:
    """All methods are to be called on the loop's thread."""

    def __init__(
        self,
        inventory: Inventory,
        pairs: Pairs,
        recorder: Recorder,
        retiring: Retiring,
        *,
        looks: Engine,
        asks: Engine,
        make_look: MakeLook,
        make_pair: MakePair,
        may_ask_directly: Callable[[BackupLocation], bool],
        has_agent: Callable[[UUID], bool],
        retry_s: float = RETRY_S,
        read_within_s: float = READ_WITHIN_S,
    ) -> None:
        self._inventory = inventory
        self._pairs = pairs
        self._recorder = recorder
        self._retiring = retiring
        self._looks_engine = looks
        self._asks_engine = asks
        self._make_look = make_look
        self._make_pair = make_pair
        self._may_ask_directly = may_ask_directly
        self._has_agent = has_agent
        self._retry_s = retry_s
        self._read_within_s = read_within_s
        self._looks: dict[UUID, _Look] = {}
        self._asked: dict[Pair, _Asked] = {}
        self._noted = asyncio.Event()
        self._noted.set()

    def note(self) -> None:
        """Something has changed: clusters, credentials, locations, assignments or agents."""
        self._noted.set()

    def last_read(self, cluster_id: UUID) -> LastRead | None:
        """What the last look at a cluster brought; None where there was none since the start."""
        look = self._looks.get(cluster_id)
        return None if look is None else look.last_read()

    def ask_now(self, target_id: SubjectId) -> Awaited:
        """As `Engine.ask_now`, for a pair: by a read of the cluster that begins now, where that is how it is asked."""
        if isinstance(target_id, Pair) and (asked := self._asked.get(target_id)) is not None and asked.look is not None:
            asked.probe.demand(partial(self._next_read, target_id.cluster_id, asked.look))
        return self._asks_engine.ask_now(target_id)

    def knows(self, pair: Pair) -> bool:
        """Whether the hub asks about it."""
        return pair in self._asked

    async def run(self) -> NoReturn:
        """Until cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(COMPARE_EVERY_S):
                    await self._noted.wait()
            self._noted.clear()
            await self._compare()
            try:
                await self._retiring.run_once(self._left_over())
            except StoreError as error:
                _log.debug("checks that nobody asks wait for the database", error=error.message)
                await asyncio.sleep(self._retry_s)
                self._noted.set()

    # -- comparing

    async def _compare(self) -> None:
        """Bring both engines in step. What goes, goes first; what comes, in pieces."""
        for pair in self._pairs.look().removed & self._asked.keys():
            self._drop(pair)  # at once: an answer that came now would bring back what is forgotten
        wanted: dict[Pair, tuple[Cluster, BackupLocation]] = {}
        users: dict[UUID, Cluster] = {}
        for number, (cluster, location, _) in enumerate(list(self._pairs.all()), 1):
            users[cluster.id] = cluster
            if not self._has_agent(cluster.id):
                wanted[Pair(cluster.id, location.id)] = (cluster, location)
            if number % PIECE == 0:
                await asyncio.sleep(0)
        for cluster_id in self._looks.keys() - users.keys():
            self._looks_engine.remove(cluster_id)
            del self._looks[cluster_id]
            if cluster_id not in self._inventory.clusters:
                self._recorder.forget(cluster_id)  # once more: a look may have been answered since it went
        for pair in self._asked.keys() - wanted.keys():
            self._drop(pair)
        for number, cluster in enumerate(users.values(), 1):
            self._look_at(cluster)
            if number % PIECE == 0:
                await asyncio.sleep(0)
        for number, (pair, (cluster, location)) in enumerate(wanted.items(), 1):
            self._ask_about(pair, cluster, location)
            if number % PIECE == 0:
                await asyncio.sleep(0)

    def _look_at(self, cluster: Cluster) -> None:
        sighting = cluster.sighting
        if sighting is None or isinstance(sighting.endpoint, AgentEndpoint):
            return  # not named since the start, or not any more; or there is no way in
        known = self._looks.get(cluster.id)
        if known is not None and known.leads_as(cluster.name, sighting):
            return
        probe = self._make_look(cluster, lambda: self._was_read(cluster.id))
        self._looks[cluster.id] = _Look(probe, cluster.name, sighting)
        self._looks_engine.add(cluster.id, cluster.name, probe)

    def _ask_about(self, pair: Pair, cluster: Cluster, location: BackupLocation) -> None:
        look, direct = self._looks.get(cluster.id), self._may_ask_directly(location)
        if look is None and not direct:
            return  # nothing can be said before a source has named the cluster
        known = self._asked.get(pair)
        where = location.where
        if known is not None and known.look is look and known.direct is direct and known.where == where:
            return
        state = self._recorder.states.get(pair, {}).get(Check.LOCATION)
        before = "" if state is None else str(state.evidence.get("method", ""))
        last_read = None if look is None else look.last_read
        probe = self._make_pair(PairContext(pair, where, direct, last_read, before, self._told_of(pair)))
        self._asked[pair] = _Asked(probe, look, where, direct)
        if look is not None:
            look.pairs[location.id] = probe
        self._asks_engine.add(pair, f"{cluster.name}/{location.name}", probe)

    def _drop(self, pair: Pair) -> None:
        asked = self._asked.pop(pair)
        if asked.look is not None:
            asked.look.pairs.pop(pair.location_id, None)
        self._asks_engine.remove(pair)

    # -- while they are asked

    def _was_read(self, cluster_id: UUID) -> None:
        """The cells that are made of this read are made now, not when they are due."""
        look = self._looks.get(cluster_id)
        if look is not None:
            for waiting in look.waiting:
                if not waiting.done():
                    waiting.set_result(None)
            look.waiting.clear()
        for location_id, probe in () if look is None else list(look.pairs.items()):
            if probe.depends_on_read:
                self._asks_engine.hasten(Pair(cluster_id, location_id))

    async def _next_read(self, cluster_id: UUID, look: _Look) -> None:
        """Returns after it, or when it does not come: then there is nothing new to tell."""
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        look.waiting.append(waiting)
        self._looks_engine.ask_now(cluster_id)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._read_within_s):
                await waiting

    def _told_of(self, pair: Pair) -> Callable[[Method], None]:
        def told(method: Method) -> None:
            if method is not Method.DIRECT and Check.OBJECT_LOCK in self._recorder.states.get(pair, {}):
                self._noted.set()  # only who asks the storage knows of object lock: it is left over from that

        return told

    def _is_of_agent(self, cluster_id: UUID, state: CheckState) -> bool:
        return self._has_agent(cluster_id) and state.evidence.get("method") == AGENT

    def _left_over(self) -> Iterator[tuple[SubjectId, frozenset[Check]]]:
        """Checks that are kept though nobody asks them any more: they would stand there as stale for ever."""
        states = self._recorder.states
        users = {cluster.id for cluster, _, _ in self._pairs.all()}
        for cluster_id in self._inventory.clusters:
            if cluster_id in users:
                continue
            known = states.get(cluster_id, _NOTHING)
            found = frozenset(
                check for check in LOOKED & known.keys() if not self._is_of_agent(cluster_id, known[check])
            )
            if found:
                yield cluster_id, found
        for pair, asked in self._asked.items():
            if Check.OBJECT_LOCK in states.get(pair, _NOTHING) and asked.probe.told in {Method.RESOURCE, Method.NOBODY}:
                yield pair, frozenset({Check.OBJECT_LOCK})


_NOTHING: Mapping[Check, CheckState] = {}
