"""Backup locations: made, assigned to clusters, deleted; in memory for the leader, the database first.

Decisions, and what was decided against:

- Names are unique in the whole service, as products keep a location under its name. A name is free again when the
  location is gone, not when its deletion begins.
- The same bucket under two names is refused, unless whoever makes the second says `allow_shared`: two that prune and
  list one bucket are mostly an accident, and sometimes meant. Both show it.
- A deletion is two steps. The first, in one transaction, makes sure that nothing holds the location and marks it; from
  then on nothing can be assigned. The second removes what is known of it, in the background and in pieces, and goes on
  after a crash or a takeover, since the mark is in the database. What is in the bucket is nobody's business here.
- Writes are fenced by the leader's epoch. One whose answer was lost is in doubt, and is read again before the next
  write and every few seconds, as for pauses.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import MappingProxyType
from typing import NoReturn
from uuid import UUID

import structlog

from collector.location import BackupLocation, others_of
from collector.location_store import Holder, LocationHeld, LocationStore, Reassignment
from collector.pauses import Beside, nothing_beside
from store.errors import StoreError, StoreUnavailable
from validator.clock import Clock

_log = structlog.get_logger(__name__)

SWEEP_EVERY_S = 5.0
"""How often doubts are looked into, and removals that failed tried again. A new deletion is taken up at once."""

MAX_LOCATIONS = 1000
"""Far more than the products manage in one place; each is asked about from every cluster that it is assigned to."""


class LocationConflict(Exception):  # noqa: N818 - an answer, not an error
    """Somebody was faster. `current` is what there is now; None = the location is gone."""

    def __init__(self, current: BackupLocation | None) -> None:
        super().__init__("it is gone" if current is None else f"it has version {current.version}")
        self.current = current


class NameTaken(Exception):  # noqa: N818 - the same
    """A location has this name."""

    def __init__(self, current: BackupLocation) -> None:
        super().__init__(f"{current.name} exists")
        self.current = current


class BucketShared(Exception):  # noqa: N818 - the same
    """Locations have this bucket, and nobody said that this one may have it, too."""

    def __init__(self, others: Collection[BackupLocation]) -> None:
        super().__init__(", ".join(each.name for each in others))
        self.others = tuple(others)


class TooManyLocations(Exception):  # noqa: N818 - the same
    """There are `MAX_LOCATIONS`."""


class Locations:
    """Those of one leader. All methods are to be called on the loop's thread."""

    def __init__(self, store: LocationStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._epoch = 0
        self._known: dict[UUID, BackupLocation] = {}
        self._gone: set[UUID] = set()
        """Removed in this process's time: the late answer to an earlier write brings none of them back."""
        self._in_doubt: set[UUID] = set()
        self._changes = 0
        """Of memory: tells whether a reading of the database is still the newest word."""
        self._deletions = asyncio.Event()
        self._listeners: list[Callable[[], None]] = []

    def listen(self, on_change: Callable[[], None]) -> None:
        """Have `on_change` called after each change of memory: a location or an assignment has come or gone."""
        self._listeners.append(on_change)

    async def load(self, epoch: int) -> None:
        """Take over what the database knows, as the leader of `epoch`. Raises `StoreError`."""
        found = await self._store.read()
        self._epoch = epoch
        self._known = {each.id: each for each in found}
        self._in_doubt = set()

    @property
    def known(self) -> Mapping[UUID, BackupLocation]:
        """Every location, those too that are DeletePending. A location is the same object until it changes."""
        return MappingProxyType(self._known)

    def find(self, name: str) -> BackupLocation | None:
        """By name, or by its id in full."""
        by_name = next((each for each in self._known.values() if each.name == name), None)
        if by_name is not None or len(name) != 36:
            return by_name
        try:
            return self._known.get(UUID(name))
        except ValueError:
            return None

    def sharing(self, location: BackupLocation) -> list[BackupLocation]:
        """Others with the same bucket, by name."""
        return others_of(location, self._known.values())

    async def create(self, new: BackupLocation, beside: Beside = nothing_beside) -> BackupLocation:
        """Add one that has no problems (`collector.location.problems_of`).

        The same id again is the same request, whose answer was lost: the location that it has made is given. Raises
        `NameTaken`, `BucketShared`, `TooManyLocations`, `StoreError`.
        """
        await self.settle()
        if (made := self._made_before(new)) is not None:
            return made
        with self._doubtful(new.id):
            created = await self._store.insert(self._epoch, new, beside)
        if created is None:  # somebody was faster, or another instance leads
            await self.refresh()
            if (made := self._made_before(new)) is not None:
                return made
            raise StoreUnavailable("the name or the bucket has just become free; ask again")
        self._gone.discard(created.id)
        return self._remember(created)

    async def reassign(self, wanted: Reassignment, beside: Beside = nothing_beside) -> BackupLocation:
        """Assign and unassign clusters. Raises `LocationConflict`, `StoreError`."""
        await self.settle()
        with self._doubtful(wanted.location_id):
            changed = await self._store.reassign(self._epoch, wanted, beside)
        return await self._settled(wanted.location_id, changed)

    async def delete(
        self,
        location_id: UUID,
        by: str,
        version: int | None = None,
        beside: Beside = nothing_beside,
        outside: Collection[Holder] = (),
    ) -> BackupLocation:
        """Begin a deletion; one that has begun is not begun again.

        `outside`: what was found to hold it where no transaction reaches, in the clusters.

        Raises `LocationHeld` (and nothing has changed), `LocationConflict`, `StoreError`.
        """
        await self.settle()
        known = self._known.get(location_id)
        if known is not None and known.deleting_at is not None:
            return known
        now = self._clock.now()
        with self._doubtful(location_id):
            marked = await self._store.begin_deletion(self._epoch, location_id, version, by, now, beside, outside)
        location = await self._settled(location_id, marked)
        self._deletions.set()
        return location

    async def run(self) -> NoReturn:
        """Until cancelled: remove what is DeletePending, and look into doubts."""
        while True:
            self._deletions.clear()
            try:
                await self.settle()
            except StoreError as error:
                _log.debug("locations wait for the database", error=error.message)
            for location in [each for each in self._known.values() if each.deleting_at is not None]:
                await self._remove(location)
            with suppress(TimeoutError):
                async with asyncio.timeout(SWEEP_EVERY_S):
                    await self._deletions.wait()

    async def settle(self) -> None:
        """Read again what is in doubt. Raises `StoreError`."""
        if self._in_doubt:
            await self._read_again(frozenset(self._in_doubt))

    async def refresh(self) -> None:
        """Read everything again: clusters that are forgotten take their assignments along. Raises `StoreError`."""
        await self._read_again(None)

    # -- how

    def _made_before(self, new: BackupLocation) -> BackupLocation | None:
        """The location that an earlier attempt has made. Raises what keeps `new` from being made."""
        for known in self._known.values():
            if known.id == new.id and known.version == 1 and known.is_made_as(new):
                return known
            if known.name == new.name or known.id == new.id:
                raise NameTaken(known)
        if not new.allow_shared and (others := self.sharing(new)):
            raise BucketShared(others)
        if len(self._known) >= MAX_LOCATIONS:
            raise TooManyLocations
        return None

    async def _remove(self, location: BackupLocation) -> None:
        """One that fails keeps no other waiting."""
        try:
            await self._store.remove(self._epoch, location.id)
        except StoreError as error:
            _log.debug("a location is not removed yet", location=location.name, error=error.message)
            return
        self._forget(location.id)
        self._gone.add(location.id)
        _log.info("location removed", location=location.name, bucket=location.where.url)

    async def _settled(self, location_id: UUID, written: BackupLocation | None) -> BackupLocation:
        if written is not None:
            return self._remember(written)
        await self._read_again(frozenset({location_id}))
        raise LocationConflict(self._known.get(location_id))

    @contextmanager
    def _doubtful(self, location_id: UUID) -> Iterator[None]:
        """A write that ends by any error may have been done, but for one that is told to wait."""
        try:
            yield
        except LocationHeld:
            raise
        except BaseException:
            self._in_doubt.add(location_id)
            raise

    async def _read_again(self, location_ids: Collection[UUID] | None) -> None:
        """What the database has is the truth."""
        changes = self._changes
        found = {each.id: each for each in await self._store.read_again(self._epoch, location_ids)}
        if changes != self._changes:
            return  # something was written meanwhile: what is in doubt stays so until the next look
        for location_id in list(self._known) if location_ids is None else location_ids:
            if location_id not in found:
                self._forget(location_id)
        for location in found.values():
            self._remember(location)
        self._in_doubt.difference_update(self._in_doubt if location_ids is None else location_ids)

    def _remember(self, location: BackupLocation) -> BackupLocation:
        """The newest version stays, in whatever order the answers come."""
        self._changes += 1
        known = self._known.get(location.id)
        if location.id not in self._gone and (known is None or known.version <= location.version):
            self._known[location.id] = location
            self._tell(changed=known is None or known.version < location.version)
        return location

    def _forget(self, location_id: UUID) -> None:
        self._changes += 1
        self._tell(changed=self._known.pop(location_id, None) is not None)

    def _tell(self, *, changed: bool) -> None:
        for on_change in self._listeners if changed else ():
            on_change()
