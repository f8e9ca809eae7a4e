"""Keeps the engine's targets in step with the assignment, and sees that requests are answered. No restarts.

A request `validate` is answered by the next ask of its pair that begins after it came. Which ask that is only the
probe's shell can tell (`_Asked`): the engine gives the verdicts of an ask that was under way to the same sink.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from uuid import UUID

import structlog

from validator.agent.buffer import HEAD_BYTES, Buffer
from validator.agent.probing import LocationProbes
from validator.agent.syncing import Syncs
from validator.agent.wire import (
    MAX_REPORT_BYTES,
    Assignment,
    Pacing,
    Refused,
    Request,
    RequestKind,
    SyncReport,
    SyncState,
    sync_json,
)
from validator.answer import Answer, Probe
from validator.backups.inventory import to_document
from validator.backups.runner import SyncResult
from validator.clock import Clock
from validator.engine import Engine
from validator.locations import Location
from validator.model import Pair, Verdict
from validator.schedule import ScheduleSettings

_log = structlog.get_logger(__name__)

FIRST_ROUND_S = 30.0
"""A location that is new is first asked within this time, not within its interval of 15 minutes."""

SYNCS_AT_ONCE = 2
"""A listing takes CPU and memory of a pod that has little."""


class Pairing:
    """Takes assignments and runs the engine; what comes of it goes into the buffer."""

    def __init__(
        self,
        cluster_id: UUID,
        probes: LocationProbes,
        buffer: Buffer,
        wake: Callable[[], None],
        syncs: Syncs,
        clock: Clock,
        *,
        first_round_s: float = FIRST_ROUND_S,
    ) -> None:
        self._first_round_s = first_round_s
        self._cluster_id = cluster_id
        self._probes = probes
        self._buffer = buffer
        self._wake = wake
        self._syncs = syncs
        self._clock = clock
        self._settings = self._paced(900.0, 30.0)
        self._engine = self._new_engine()
        self._locations: dict[UUID, Location | Refused] = {}
        self._wanted: dict[UUID, deque[UUID]] = {}
        """By location: requests that wait for an ask to begin."""
        self._answering: dict[UUID, UUID] = {}
        """By location: the request that the ask under way answers."""
        self._requests: set[UUID] = set()
        """All of the newest assignment: each is acted upon once."""
        self._to_sync: deque[tuple[Request, Location]] = deque()
        self._syncing: dict[UUID, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()
        self._renewed = True

    # -- what the hub wants

    def take(self, assignment: Assignment) -> None:
        """Make it so. Synchronous: the next assignment meets a finished change."""
        known = {} if self._repaced(assignment.pacing) else self._locations
        locations = {location.id: location for location in assignment.locations}
        for gone in self._locations.keys() - locations.keys():
            self._engine.remove(self._pair(gone))
            self._wanted.pop(gone, None)
        for location_id, location in locations.items():
            if known.get(location_id) != location:
                self._add(location)
        self._locations = locations
        self._take_requests(assignment.requests)
        self._changed.set()

    def _repaced(self, pacing: Pacing) -> bool:
        """Whether there is a new engine, which knows no target: an engine's settings are for its life."""
        settings = self._paced(pacing.interval_s, pacing.timeout_s)
        if settings == self._settings:
            return False
        self._settings = settings
        self._engine = self._new_engine()
        self._renewed = True
        return True

    def _paced(self, interval_s: float, timeout_s: float) -> ScheduleSettings:
        return ScheduleSettings(
            interval_s, timeout_s, first_round_s=self._first_round_s, confirm_within_s=FIRST_ROUND_S
        )

    def _add(self, location: Location | Refused) -> None:
        probe = self._probes.of(location, self._settings.timeout_s)
        self._engine.add(self._pair(location.id), location.name, _Asked(probe, self, location.id))
        if self._wanted.get(location.id):
            self._engine.ask_now(self._pair(location.id))

    def _take_requests(self, requests: Sequence[Request]) -> None:
        ids = {request.id for request in requests}
        for request in requests:
            location = self._locations.get(request.location_id)
            if request.id in self._requests:
                continue
            if location is None:
                ids.discard(request.id)  # it may be assigned by the next version
            elif request.kind is RequestKind.VALIDATE:
                self._wanted.setdefault(location.id, deque()).append(request.id)
                self._engine.ask_now(self._pair(location.id))
            elif isinstance(location, Refused):
                self._tell(request, SyncResult(0, reason=location.why.reason, message=location.why.message))
            else:
                self._to_sync.append((request, location))
        gone, self._requests = self._requests - ids, ids
        for each in gone:
            self._withdraw(each)

    def _withdraw(self, request_id: UUID) -> None:
        """It was answered, or nobody wants it any more."""
        for waiting in self._wanted.values():
            if request_id in waiting:
                waiting.remove(request_id)
        self._to_sync = deque(each for each in self._to_sync if each[0].id != request_id)
        if task := self._syncing.get(request_id):
            task.cancel()

    # -- what runs

    async def run(self) -> None:
        """Ask, and carry out syncs, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            asking: asyncio.Task[None] | None = None
            while True:
                self._changed.clear()
                if self._renewed:
                    self._renewed = False
                    if asking is not None:
                        asking.cancel()
                        await asyncio.wait([asking])
                    asking = tasks.create_task(self._engine.run(), name="engine")
                while self._to_sync and len(self._syncing) < SYNCS_AT_ONCE:
                    request, location = self._to_sync.popleft()
                    task = tasks.create_task(self._sync(request, location), name=f"sync:{location.name}")
                    self._syncing[request.id] = task
                    task.add_done_callback(partial(self._synced, request.id))
                await self._changed.wait()

    async def _sync(self, request: Request, location: Location) -> None:
        def progress(listed: int, of: int | None) -> None:
            self._report(SyncReport(request.id, location.id, SyncState.IN_PROGRESS, listed=listed, of=of))

        try:
            progress(0, None)
            self._tell(request, await self._syncs.run(location, request.id, progress))
        except asyncio.CancelledError:
            if request.id in self._requests:  # else nobody wants to know
                self._tell(request, SyncResult(0, message="the agent was stopped while it listed"))
            raise
        except Exception as defect:  # noqa: BLE001 - one sync's defect must not end the agent
            _log.exception("sync defect", location=location.name)
            self._tell(request, SyncResult(0, message=f"{type(defect).__name__} in the agent's listing; see its log"))

    def _synced(self, request_id: UUID, task: asyncio.Task[None]) -> None:
        del self._syncing[request_id]
        self._changed.set()

    def _tell(self, request: Request, result: SyncResult) -> None:
        state = SyncState.SUCCEEDED if result.succeeded else SyncState.FAILED
        inventory = None if result.inventory is None else to_document(result.inventory)
        word = SyncReport(
            request.id, request.location_id, state, result.reason, result.message, result.listed, None, inventory
        )
        if len(sync_json(word)) > MAX_REPORT_BYTES - 2 * HEAD_BYTES:
            text = "the inventory is larger than a report may be"
            word = SyncReport(request.id, request.location_id, SyncState.FAILED, message=text, listed=result.listed)
        self._report(word)

    def _report(self, word: SyncReport) -> None:
        self._buffer.tell(word)
        self._wake()

    # -- what comes of it

    def _sink(self, verdicts: Sequence[Verdict]) -> None:
        for location_id in {verdict.location_id for verdict in verdicts if verdict.location_id is not None}:
            request = self._answering.pop(location_id, None)
            of_it = [verdict for verdict in verdicts if verdict.location_id == location_id]
            self._buffer.add(of_it, [self._period_s(verdict) for verdict in of_it], request)
            if self._wanted.get(location_id):
                self._engine.ask_now(self._pair(location_id))
        self._wake()

    def _period_s(self, verdict: Verdict) -> float:
        """Of this fact: what its allowance was made of (`schedule.allowance_s`)."""
        settings = self._settings
        return max(0.0, (verdict.allowance_s - settings.timeout_s) / settings.allowance_factor)

    def begun(self, location_id: UUID) -> None:
        """An ask begins: it answers the request that waits longest."""
        waiting = self._wanted.get(location_id)
        if waiting:
            self._answering[location_id] = waiting.popleft()

    def broken_off(self, location_id: UUID) -> None:
        """That ask gives no answer; the next one will."""
        request = self._answering.pop(location_id, None)
        if request is not None and request in self._requests:
            self._wanted.setdefault(location_id, deque()).appendleft(request)
            self._engine.ask_now(self._pair(location_id))

    def _pair(self, location_id: UUID) -> Pair:
        return Pair(self._cluster_id, location_id)

    def _new_engine(self) -> Engine:
        return Engine(self._settings, self._sink, self._clock)


class _Asked:
    """A probe that says when an ask begins, and when one is broken off."""

    def __init__(self, probe: Probe, pairing: Pairing, location_id: UUID) -> None:
        self._probe = probe
        self._pairing = pairing
        self._location_id = location_id

    async def ask(self) -> Answer:
        self._pairing.begun(self._location_id)
        try:
            return await self._probe.ask()
        except asyncio.CancelledError:
            self._pairing.broken_off(self._location_id)
            raise

    def close(self) -> None:
        self._probe.close()
