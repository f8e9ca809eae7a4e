"""Keeps the engine's targets in step with the inventory: the one task that changes either.

Sources and probes only leave notes (a reading, a UID); one task works them off in order, so that identity is never
decided by two at once. While the database is away nothing is decided, and every known cluster goes on being probed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from uuid import UUID

import structlog

from collector.cluster import Cluster
from collector.inventory import Changes, Inventory
from collector.recorder import Recorder
from store.errors import StoreError, StoreFull, StoreUnavailable
from validator.answer import Probe
from validator.clean import clean_text
from validator.clock import Clock
from validator.discovery.source import Reading, Source
from validator.engine import Engine
from validator.model import MAX_MESSAGE_CHARS, Check, Outcome, Verdict
from validator.reasons import Reason, Stage

_log = structlog.get_logger(__name__)

RETRY_S = 2.0
"""Between two attempts while the database is away."""

_NOT_NOW = (StoreUnavailable, StoreFull)
"""Errors of the database as a whole: the other notes would meet them too, each after its deadline."""

PIECE = 100
"""Targets that are taken up in one turn of the loop: some 4 ms."""

MakeProbe = Callable[[Cluster], Probe | None]
"""None: nothing is asked there; only its agent reports."""


class Intake:
    """Readings in, targets out."""

    def __init__(
        self,
        sources: Sequence[Source],
        inventory: Inventory,
        recorder: Recorder,
        engine: Engine,
        clock: Clock,
        *,
        make_probe: MakeProbe,
        identity_allowance_s: float,
        on_change: Callable[[], None],
        retry_s: float = RETRY_S,
    ) -> None:
        """`on_change` is called after the set of targets has changed."""
        self._sources = sources
        self._inventory = inventory
        self._recorder = recorder
        self._engine = engine
        self._clock = clock
        self._make_probe = make_probe
        self._identity_allowance_s = identity_allowance_s
        self._on_change = on_change
        self._retry_s = retry_s
        self._readings: dict[str, Reading] = {}
        self._uids: dict[UUID, str] = {}
        self._noted = asyncio.Event()
        self.begun = asyncio.Event()
        """Set once every source was read and taken up: before that, an empty fleet only means that nobody looked."""
        self._awaited = {source.name for source in sources}
        self._complained: set[object] = set()

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            for source in self._sources:
                group.create_task(self._listen(source), name=f"source:{source.name}")
            group.create_task(self._work(), name="intake")

    def note_uid(self, cluster_id: UUID, uid: str) -> None:
        """A probe has read this cluster's kube-system UID. Cheap when it is what is known already."""
        cluster = self._inventory.clusters.get(cluster_id)
        if cluster is not None and (cluster.external_uid != uid or self._in_conflict(cluster_id)):
            self._uids[cluster_id] = uid
            self._noted.set()

    async def _listen(self, source: Source) -> None:
        async for reading in source.readings():
            self._readings[source.name] = reading
            self._noted.set()

    async def _work(self) -> None:
        waits_for = ""
        while True:
            await self._noted.wait()
            self._noted.clear()
            error = await self._work_off()
            if error is None:
                waits_for = ""
                continue
            if error.message != waits_for:
                waits_for = error.message
                _log.warning("inventory waits for the database", error=error.message)
            await asyncio.sleep(self._retry_s)
            self._noted.set()

    async def _work_off(self) -> StoreError | None:
        """Every note once; what failed stays noted. A note that the database refuses does not hold up the others."""
        failed: StoreError | None = None
        for name, reading in list(self._readings.items()):
            try:
                await self._take(await self._inventory.apply(name, reading))
            except _NOT_NOW as error:
                return error
            except StoreError as error:
                failed = error
                continue
            self._complain(name, reading)
            self._awaited.discard(name)
            if not self._awaited:
                self.begun.set()
            if self._readings[name] is reading:  # else a newer one has come meanwhile
                del self._readings[name]
        try:
            for cluster_id in await self._inventory.settle_uids(dict(self._uids)):
                del self._uids[cluster_id]
                self._say_agreed(cluster_id)
            for cluster_id, uid in list(self._uids.items()):
                await self._learn(cluster_id, uid)
                del self._uids[cluster_id]
        except StoreError as error:
            return error
        return failed

    async def _learn(self, cluster_id: UUID, uid: str) -> None:
        learnt = await self._inventory.learn_uid(cluster_id, uid)
        if isinstance(learnt, str):
            self._say_identity(cluster_id, learnt)
            return
        await self._take(learnt)
        self._say_agreed(cluster_id)

    async def _take(self, changes: Changes) -> None:
        """In pieces: a fleet that arrives at once must not hold the loop."""
        for cluster_id in changes.removed:
            self._engine.remove(cluster_id)
            self._recorder.forget(cluster_id)
        for number, cluster in enumerate((*changes.added, *changes.redirected), 1):
            if (probe := self._make_probe(cluster)) is not None:
                self._engine.add(cluster.id, cluster.name, probe)
            if number % PIECE == 0:
                await asyncio.sleep(0)
        if changes:
            _log.info(
                "inventory changed",
                added=len(changes.added),
                redirected=len(changes.redirected),
                removed=len(changes.removed),
                clusters=len(self._inventory.clusters),
            )
            self._on_change()

    def _say_agreed(self, cluster_id: UUID) -> None:
        if self._in_conflict(cluster_id):
            self._say_identity(cluster_id, "")

    def _say_identity(self, cluster_id: UUID, conflict: str) -> None:
        """The `identity` check is made of what the inventory believes; it only exists where there was a conflict."""
        now = self._clock.now()
        outcome, reason, stage = Outcome.PASS, None, None
        if conflict:
            outcome, reason, stage = Outcome.FINDING, Reason.IDENTITY_CONFLICT, Stage.SOURCE
        verdict = Verdict(
            check=Check.IDENTITY,
            cluster_id=cluster_id,
            outcome=outcome,
            observed_at=now,
            received_at=now,
            duration_s=0.0,
            lateness_s=0.0,
            allowance_s=self._identity_allowance_s,
            reason=reason,
            stage=stage,
            message=clean_text(conflict, MAX_MESSAGE_CHARS),
        )
        self._recorder.record([verdict])

    def _in_conflict(self, cluster_id: UUID) -> bool:
        return Check.IDENTITY in self._recorder.states.get(cluster_id, {})

    def _complain(self, source: str, reading: Reading) -> None:
        """Each problem once, when it appears."""
        problems = {(source, problem) for problem in reading.problems}
        for name, problem in problems - self._complained:
            _log.warning("source problem", source=name, where=problem.where, error=problem.message)
        self._complained = {p for p in self._complained if isinstance(p, tuple) and p[0] != source} | problems
