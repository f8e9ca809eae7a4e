"""Syncs of a leader: asked for by people or by the interval, carried out by agents or by the hub, watched, kept.

Decisions, and what was decided against:

- The database decides who has a bucket (a partial unique index), and gives it to the next one in the transaction that
  ends a sync: no crash and no second hub leaves a bucket with two, or with nobody while somebody waits.
- Progress is in memory only. A hub that takes over asks for an open sync again, from its beginning.
- An agent's word counts for the sync that it was asked for, of its own cluster, and for nothing else; its inventory is
  read as what anybody may have sent.
- Syncs of the interval go the same way as those of people, and wait as they do. They are begun few at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import NoReturn
from uuid import UUID, uuid4

import structlog

from collector.backup_checks import Seen, SyncSettings, verdicts_of
from collector.location import BackupLocation
from collector.pauses import Beside, nothing_beside
from collector.requests import Answered, RequestKind, TooManyRequests
from collector.requests import SyncState as Reported
from collector.sync import KeptInventory, Limits, Sync, SyncState, overdue, place, shift
from collector.sync_due import due_at
from collector.sync_seams import AgentRequests, LocationGoing, NoAsker, Runner, SyncBusy
from collector.sync_store import SyncStore
from store.errors import StoreError
from validator.backups.inventory import BadInventory, from_document
from validator.backups.runner import SyncResult
from validator.clock import Clock
from validator.health import CheckState
from validator.locations import Location
from validator.model import Check, Pair, Verdict
from validator.reasons import Reason, reason_from

_log = structlog.get_logger(__name__)

LOOK_EVERY_S = 1.0
"""How often the watch looks, and the database is tried again."""

DUE_EVERY_S = 30.0
"""How often locations are looked through for those that are due."""

DIRECT_AT_ONCE = 4
"""Listings of the hub itself."""

DUE_AT_ONCE = 20
"""Syncs of the interval that are open at the same time."""

PIECE = 200
"""Locations, or pairs, that are looked at in one turn of the loop."""

BY_INTERVAL = "muster"
"""Who asks for those that nobody asked for."""


class Syncs:
    """Those of one leader. All methods are to be called on the loop's thread."""

    def __init__(
        self,
        store: SyncStore,
        clock: Clock,
        requests: AgentRequests,
        *,
        locations: Callable[[], Mapping[UUID, BackupLocation]],
        has_agent: Callable[[UUID], bool],
        is_direct: Callable[[BackupLocation], bool],
        runner: Runner | None,
        names: Callable[[UUID], Collection[str]],
        states: Callable[[Pair], Mapping[Check, CheckState]],
        record: Callable[[Sequence[Verdict]], None],
        settings: Callable[[], SyncSettings],
        limits: Limits = Limits(),  # noqa: B008 - frozen
    ) -> None:
        """`names`: of a cluster, all by which a store's prefix may call it; none where it has left the fleet.

        `is_direct`: whether the hub lists a location itself; only with a `runner`. `states`: what is known of a pair.
        """
        self._store = store
        self._clock = clock
        self._requests = requests
        self._locations = locations
        self._has_agent = has_agent
        self._is_direct = is_direct
        self._runner = runner
        self._names = names
        self._states = states
        self._record = record
        self._settings = settings
        self._limits = limits
        self._epoch = 0
        self._open: dict[UUID, Sync] = {}
        self._last: dict[UUID, Sync] = {}
        """By location: the last one that has ended."""
        self._kept: dict[UUID, KeptInventory] = {}
        self._heard_at: dict[UUID, float] = {}
        """By open sync that is being carried out: the last news of it."""
        self._results: dict[UUID, SyncResult] = {}
        """How open syncs have ended, where that is not written yet."""
        self._begun: set[UUID] = set()
        """Open syncs that have begun, where that is not written yet."""
        self._tried_at: dict[tuple[UUID, UUID | None], float] = {}
        """By location and asker: the end of the last sync of the interval."""
        self._running: dict[UUID, asyncio.Task[None]] = {}
        self._in_doubt = False
        self._inventories_in_doubt = False
        self._reads = 0
        self._look_at = 0.0
        self._changed = asyncio.Event()

    async def load(self, epoch: int) -> None:
        """Take over what the database knows, as the leader of `epoch`. Raises `StoreError`."""
        found, kept = await self._store.read()
        self._epoch = epoch
        self._take(found, kept)
        for sync in self._open.values():
            if self._clock.now() - sync.asked_at > self._limits.abandoned_s:
                text = "The hub ended before it was through, and for long nobody went on. Sync again."
                self._results[sync.id] = SyncResult(sync.listed, message=text)

    # -- what people ask

    def of(self, location_id: UUID) -> Sync | None:
        """The open sync of a location, or the last one that has ended."""
        return self.open_of(location_id) or self._last.get(location_id)

    def open_of(self, location_id: UUID) -> Sync | None:
        """The one that has no end yet."""
        return next((each for each in self._open.values() if each.location_id == location_id), None)

    def holder(self, bucket: str) -> Sync | None:
        """Which one has the bucket."""
        return next((each for each in self._open.values() if each.bucket == bucket and each.holds), None)

    def waiting(self, bucket: str) -> int:
        """How many wait for it."""
        return sum(each.bucket == bucket and not each.holds for each in self._open.values())

    def place(self, sync: Sync) -> int:
        """How many are before it, with the one that has the bucket; 0: it has the bucket, or has ended."""
        return place(sync, self._open.values())

    def inventory(self, location_id: UUID) -> KeptInventory | None:
        """The newest one."""
        return self._kept.get(location_id)

    async def start(
        self,
        location: BackupLocation,
        cluster_id: UUID | None,
        by: str,
        *,
        queue: bool,
        beside: Beside = nothing_beside,
    ) -> Sync:
        """Begin a sync, by the agent of this cluster or by whoever can; with `queue` it may have to wait.

        Where the location has an open one already, `queue` joins it. Raises `NoAsker`, `SyncBusy`, `LocationGoing`,
        `StoreError`.
        """
        if queue and (known := self.open_of(location.id)) is not None:
            return known
        asker = self._asker(location, cluster_id)
        kept = self._of_bucket(location.bucket)
        new = Sync(
            id=uuid4(),
            location_id=location.id,
            bucket=location.bucket,
            cluster_id=asker,
            by=by,
            asked_at=self._clock.now(),
            expected=None if kept is None else kept.inventory.objects,
        )
        try:
            done = await self._store.begin(self._epoch, new, beside, queue=queue)
        except BaseException:
            self._in_doubt = True  # it may have been done
            raise
        await self._read_again(inventories=False)
        if done and new.id in self._open:
            self._changed.set()
            return self._open[new.id]
        holder = self.open_of(location.id) or self.holder(location.bucket)
        if holder is None:
            raise LocationGoing
        raise SyncBusy(holder, self.waiting(location.bucket), full=queue)

    def hasten(self) -> None:
        """A location was made or assigned: look at once whether a first sync is due."""
        self._look_at = 0.0
        self._changed.set()

    def heard(self, answered: Answered) -> None:
        """What an agent says (`Requests.on_answer`). Of a sync that was not asked of it, nothing is taken."""
        sync, said = self._open.get(answered.request_id), answered.sync
        if sync is None or said is None or not sync.holds or sync.cluster_id != answered.cluster_id:
            return
        if sync.location_id != answered.location_id:
            return
        self._progress(sync.id, said.listed, said.of)
        if said.state is Reported.IN_PROGRESS:
            return
        reason, message, inventory = reason_from(said.reason), said.message, None
        if said.state is Reported.SUCCEEDED:
            try:
                inventory = from_document(said.inventory)
            except BadInventory as error:
                reason, message = Reason.UNEXPECTED_STORAGE_ANSWER, f"The agent's inventory can't be read: {error}."
        self._end(sync.id, SyncResult(said.listed, inventory, reason, message))

    def shift(self, by_s: float) -> None:
        """The hub clock was moved: so are the moments of what is open."""
        self._open = {key: shift(each, by_s) for key, each in self._open.items()}
        self._heard_at = {key: at + by_s for key, at in self._heard_at.items()}
        self._tried_at = {key: at + by_s for key, at in self._tried_at.items()}
        self._look_at += by_s

    # -- what runs

    async def run(self) -> NoReturn:
        """Until cancelled: carry syncs out, watch them, write how they stand, begin those that are due."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._changed.clear()
                try:
                    if self._in_doubt:
                        await self._read_again()
                    self._carry_out(tasks)
                    self._watch()
                    await self._write()
                    self._carry_out(tasks)
                    await self._begin_due()
                except StoreError as error:
                    _log.debug("syncs wait for the database", error=error.message)
                    await asyncio.sleep(LOOK_EVERY_S)
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_EVERY_S):
                        await self._changed.wait()

    def _carry_out(self, tasks: asyncio.TaskGroup) -> None:
        """Ask for those that have their bucket and that nobody was asked for yet, here."""
        for sync in self._open.values():
            if not sync.holds or sync.id in self._heard_at or sync.id in self._results:
                continue
            location = self._locations().get(sync.location_id)
            if location is None:
                continue
            if sync.cluster_id is not None:
                if sync.cluster_id not in location.assignments:
                    self._end(sync.id, SyncResult(0, message="The cluster does not use the location any more."))
                    continue
                with suppress(TooManyRequests):  # it is tried again
                    self._requests.ask(sync.cluster_id, RequestKind.SYNC, sync.location_id, sync.id)
                    self._heard_at[sync.id] = self._clock.now()
            elif self._runner is None:
                self._end(sync.id, SyncResult(0, reason=Reason.NO_ASKER, message="The hub lists nothing itself."))
            elif len(self._running) < DIRECT_AT_ONCE:
                self._heard_at[sync.id] = self._clock.now()
                task = tasks.create_task(
                    self._list(self._runner, location.where, sync.id), name=f"sync:{location.name}"
                )
                self._running[sync.id] = task

    async def _list(self, runner: Runner, where: Location, sync_id: UUID) -> None:
        try:
            self._progress(sync_id, 0, None)
            result = await runner.run(where, sync_id, lambda listed, of: self._progress(sync_id, listed, of))
        except Exception as defect:  # noqa: BLE001 - one sync's defect must not end the others
            _log.exception("sync defect", location=where.name)
            result = SyncResult(0, reason=Reason.PROBE_DEFECT, message=f"{type(defect).__name__}; see the hub's log.")
        finally:
            del self._running[sync_id]
        self._end(sync_id, result)

    def _progress(self, sync_id: UUID, listed: int, of: int | None) -> None:
        sync = self._open.get(sync_id)
        if sync is None:
            return
        self._heard_at[sync_id] = self._clock.now()
        if sync.state is SyncState.PENDING:
            self._begun.add(sync_id)
            self._changed.set()
        expected = sync.expected if of is None else of
        self._open[sync_id] = replace(
            sync, state=SyncState.IN_PROGRESS, listed=max(sync.listed, listed), expected=expected
        )

    def _end(self, sync_id: UUID, result: SyncResult) -> None:
        if sync_id in self._open and sync_id not in self._results:
            self._results[sync_id] = result
            self._changed.set()

    def _watch(self) -> None:
        now = self._clock.now()
        for sync in list(self._open.values()):
            if (heard_at := self._heard_at.get(sync.id)) is None or sync.id in self._results:
                continue
            if (why := overdue(sync, heard_at, now, self._limits)) is not None:
                self._end(sync.id, SyncResult(sync.listed, reason=why[0], message=why[1]))

    async def _write(self) -> None:
        """Steps and ends. Raises `StoreError`."""
        for sync_id in list(self._begun):
            await self._store.begins(self._epoch, sync_id)
            self._begun.discard(sync_id)
        for sync_id, result in list(self._results.items()):
            sync = self._open.get(sync_id)
            if sync is not None:
                await self._write_end(sync, result)
            self._results.pop(sync_id, None)

    async def _write_end(self, sync: Sync, result: SyncResult) -> None:
        now = self._clock.now()
        began_at = sync.began_at if sync.began_at is not None else sync.asked_at
        inventory, kept = result.inventory, None
        if inventory is not None:
            kept = KeptInventory(sync.cluster_id, now, max(0.0, now - began_at), inventory)
        state = SyncState.FAILED if inventory is None else SyncState.SUCCEEDED
        ended = replace(
            sync,
            state=state,
            holds=False,
            ended_at=max(now, began_at),
            listed=max(sync.listed, result.listed),
            reason=result.reason,
            message=result.message,
        )
        done = await self._store.end(self._epoch, ended, kept)
        if (task := self._running.get(sync.id)) is not None:
            task.cancel()
        if sync.cluster_id is not None:
            self._requests.withdraw(sync.id)
        self._tried_at[(sync.location_id, sync.cluster_id)] = now
        _log.info("sync ended", location=str(sync.location_id), state=state, listed=ended.listed, reason=ended.reason)
        if kept is not None:
            self._judge(ended, kept)
        if done and kept is not None:
            self._kept[sync.location_id] = kept
        await self._read_again(inventories=not done)  # it had ended: by a write whose answer was lost

    def _judge(self, sync: Sync, kept: KeptInventory) -> None:
        """What the inventory says of pairs: of its own alone where an agent has made it."""
        location = self._locations().get(sync.location_id)
        if location is None or location.deleting_at is not None:
            return
        clusters = {each: names for each in location.assignments if (names := self._names(each))}
        about = clusters.keys() if sync.cluster_id is None else clusters.keys() & {sync.cluster_id}
        seen = Seen(kept.inventory, location.id, kept.at, kept.took_s, sync.method)
        self._record(verdicts_of(seen, clusters, sorted(about), self._settings()))

    # -- the interval

    async def _begin_due(self) -> None:
        """Begin syncs of locations that have the flag, the longest overdue first. Raises `StoreError`."""
        now = self._clock.now()
        if now < self._look_at:
            return
        self._look_at = now + DUE_EVERY_S
        looked_at, due = 0, list[tuple[float, BackupLocation, UUID | None]]()
        for location in list(self._locations().values()):
            if not location.sync or location.deleting_at is not None or self.open_of(location.id) is not None:
                continue
            for asker in self._askers(location):
                looked_at += 1
                if looked_at % PIECE == 0:
                    await asyncio.sleep(0)
                if (at := self._due_at(location, asker)) <= now:
                    due.append((at, location, asker))
        due.sort(key=lambda each: each[0])
        begun: set[UUID] = set()
        room = DUE_AT_ONCE - sum(each.by == BY_INTERVAL for each in self._open.values())
        for _, location, asker in due:
            if room <= 0:
                return
            if location.id in begun or self.open_of(location.id) is not None:
                continue
            begun.add(location.id)
            with suppress(SyncBusy, NoAsker, LocationGoing):
                await self.start(location, asker, BY_INTERVAL, queue=True)
                room -= 1

    def _due_at(self, location: BackupLocation, asker: UUID | None) -> float:
        kept = self._kept.get(location.id)
        direct = kept if asker is None and kept is not None and kept.cluster_id is None else None
        about = location.assignments.keys() if asker is None else (asker,)
        backups = [self._states(Pair(each, location.id)).get(Check.BACKUPS) for each in about]
        return due_at(self._tried_at.get((location.id, asker)), direct, backups, self._settings())

    # -- helpers

    def _askers(self, location: BackupLocation) -> list[UUID | None]:
        """Who can list it: the hub itself, or the agents of clusters that use it."""
        if self._runner is not None and self._is_direct(location):
            return [None]
        return [each for each in location.assignments if self._has_agent(each) and self._names(each)]

    def _asker(self, location: BackupLocation, wanted: UUID | None) -> UUID | None:
        """The one that is wanted, or the one that has listed it longest ago. Raises `NoAsker`."""
        if wanted is not None:
            if wanted not in location.assignments or not self._has_agent(wanted):
                raise NoAsker
            return wanted
        askers = self._askers(location)
        if not askers:
            raise NoAsker
        return min(askers, key=lambda each: (self._due_at(location, each), str(each)))

    def _of_bucket(self, bucket: str) -> KeptInventory | None:
        found = [kept for key, kept in self._kept.items() if self._is_of(key, bucket)]
        return max(found, key=lambda each: each.at, default=None)

    def _is_of(self, location_id: UUID, bucket: str) -> bool:
        location = self._locations().get(location_id)
        return location is not None and location.bucket == bucket

    async def _read_again(self, *, inventories: bool = True) -> None:
        """What the database has is the truth, but for progress. Raises `StoreError`.

        Without the inventories where nothing of ours about them is in doubt: all of them at each beginning and end of a
        sync would be a second of the loop at two thousand locations.
        """
        self._in_doubt = True
        self._reads += 1
        reads = self._reads
        if inventories or self._inventories_in_doubt:
            self._inventories_in_doubt = True
            found, kept = await self._store.read_again(self._epoch)
            self._inventories_in_doubt = False
        else:
            found, there = await self._store.syncs_again(self._epoch), self._locations()
            kept = {key: each for key, each in self._kept.items() if key in there}
        self._take(found, kept)
        self._in_doubt = reads != self._reads  # of two at once nobody knows which is the newer

    def _take(self, found: Sequence[Sync], kept: Mapping[UUID, KeptInventory]) -> None:
        before = self._open
        self._open = {}
        self._last = {each.location_id: each for each in found if not each.is_open}
        self._kept = dict(kept)
        for sync in found:
            if not sync.is_open:
                continue
            known = before.get(sync.id)
            self._open[sync.id] = (
                sync
                if known is None
                else replace(sync, state=known.state, listed=known.listed, expected=known.expected)
            )
        for gone in self._heard_at.keys() - self._open.keys():
            del self._heard_at[gone]
