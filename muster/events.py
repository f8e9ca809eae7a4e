"""The broadcast of events to everybody who listens: one bounded ring, and a place in it for each reader.

An event is encoded once, and its bytes are kept once however many read it; a reader costs the number of the event
that it reads next. One that falls off the end of the ring is dropped and told how many it has missed. A queue for each
reader was rejected: a thousand slow readers would hold a thousand queues, and a burst of changes that is published in
one turn of the loop would overrun the quick ones as well, unless every queue were as large as this ring.

The ring is also what a reader that comes back goes on from, without asking the database.

Nothing here does I/O, and nobody waits for a reader.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from validator.reasons import Health

MAX_EVENTS = 20_000
"""Kept in the ring: twice the changes of the largest fleet, when all of it goes down at once."""

MAX_BYTES = 16 * 1024 * 1024
"""Kept in the ring: 20,000 usual transitions of 700 bytes."""

PIECE_BYTES = 8 * 1024
"""About as much is given to a reader at once, for one write."""

WAKE = 100
"""Readers that are woken in one turn of the loop, some 5 ms of work: probes must not wait for thousands."""


class Kind(StrEnum):
    """Names of events that can be asked for."""

    TRANSITION = "transition"
    FLEET = "fleet"
    VALIDATION = "validation"


@dataclass(frozen=True, slots=True)
class Event:
    """One event, ready to be sent."""

    wire: bytes
    position: int
    """All transitions up to this id have been sent, once this is."""
    kind: Kind | None = None
    """None = for everybody."""
    cluster_id: UUID | None = None
    healths: tuple[Health, ...] = ()


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a reader wants to hear of. Empty sets and None are everything."""

    kinds: frozenset[Kind] = frozenset()
    healths: frozenset[Health] = frozenset()
    """A transition from or to one of these: who watches the broken ones wants to hear that one is well again."""
    cluster_id: UUID | None = None

    def takes(self, event: Event) -> bool:
        """Whether the event is for this reader."""
        if event.kind is None:
            return True
        if self.kinds and event.kind not in self.kinds:
            return False
        if event.kind is Kind.FLEET:
            return True
        return (self.cluster_id is None or event.cluster_id == self.cluster_id) and (
            not self.healths or not self.healths.isdisjoint(event.healths) or event.kind is not Kind.TRANSITION
        )


class Ended(Exception):  # noqa: N818 - not an error
    """There will be no more events here; the text says why."""


class Overrun(Exception):  # noqa: N818 - the reader's fault, and an answer to it
    """This reader was too slow, and `events` are gone."""

    def __init__(self, events: int) -> None:
        super().__init__(f"{events} events were not read in time")
        self.events = events


@dataclass(slots=True, eq=False)
class Reader:
    """One who listens."""

    wanted: Wanted
    on_end: Callable[[], None]
    cursor: int
    """Number of the event that is read next."""
    ended: str | None = None
    """Why there will be no more."""


class Events:
    """The ring. Its methods are to be called on the loop's thread."""

    def __init__(self, max_events: int = MAX_EVENTS, max_bytes: int = MAX_BYTES) -> None:
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._ring: deque[Event] = deque()
        self._bytes = 0
        self._next = 0
        """Number of the next event, counted since the start of the process."""
        self._floor = 0
        """Position before the oldest event of the ring."""
        self._fleet: Event | None = None
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        """In the order of the numbers that they wait for."""
        self._waking = False
        self._ended: str | None = "this instance does not lead"
        self.readers: set[Reader] = set()
        """Read-only for everybody else."""
        self.position = 0
        """Id of the last transition that was published."""
        self.dropped = 0
        """Readers that were too slow, since the start."""

    # -- telling

    def begin(self, position: int) -> None:
        """This instance leads now, and history ends with this id."""
        self._ring.clear()
        self._bytes = 0
        self._fleet = None
        self._floor = self.position = position
        self._ended = None

    def end(self, why: str) -> None:
        """No more events: every reader hears it at once, after what it has not read yet."""
        self._ended = why
        while self.readers:
            reader = self.readers.pop()
            reader.ended = why
            reader.on_end()
        while self._waiting:
            _wake(self._waiting.popleft()[1])

    def publish(self, event: Event) -> None:
        """Tell everybody; never waits. Events of transitions come in the order of their ids."""
        self._ring.append(event)
        self._next += 1
        self._bytes += len(event.wire)
        self.position = event.position
        if event.kind is Kind.FLEET:
            self._fleet = event
        while len(self._ring) > self._max_events or self._bytes > self._max_bytes:
            oldest = self._ring.popleft()
            self._bytes -= len(oldest.wire)
            self._floor = oldest.position
        if self._waiting and not self._waking:
            self._waking = True
            asyncio.get_running_loop().call_soon(self._wake_some)

    def _wake_some(self) -> None:
        for _ in range(WAKE):
            if not self._waiting or self._waiting[0][0] >= self._next:
                self._waking = False
                return
            _wake(self._waiting.popleft()[1])
        asyncio.get_running_loop().call_soon(self._wake_some)

    # -- reading

    def subscribe(self, wanted: Wanted, on_end: Callable[[], None] = lambda: None) -> Reader:
        """A reader of all that is published from now on; `leave` is the caller's. Raises `Ended`.

        `on_end` is called at the end: who is stuck with a client that does not read hears of it so.
        """
        if self._ended is not None:
            raise Ended(self._ended)
        reader = Reader(wanted, on_end, self._next)
        self.readers.add(reader)
        return reader

    def leave(self, reader: Reader) -> None:
        """It reads no more."""
        self.readers.discard(reader)

    def back_to(self, reader: Reader, position: int) -> bool:
        """Let it go on just after this transition; False if the ring does not reach there."""
        if not self._floor <= position <= self.position:
            return False
        reader.cursor = self._next
        for event in reversed(self._ring):
            if event.position <= position:
                break
            reader.cursor -= 1
        return True

    def behind(self, reader: Reader) -> int:
        """How many events it has not read yet, those that it does not want too."""
        return self._next - reader.cursor

    async def next(self, reader: Reader) -> bytes:
        """What follows for this reader, some `PIECE_BYTES` of it; waits for it. Raises `Overrun` or `Ended`."""
        while True:
            if piece := self._piece(reader):
                return b"".join(piece)
            if reader.ended is not None:
                raise Ended(reader.ended)
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.append((reader.cursor, waiter))
            await waiter

    def _piece(self, reader: Reader) -> list[bytes]:
        behind = self.behind(reader)
        if behind > len(self._ring):
            raise Overrun(behind)
        piece: list[bytes] = []
        size = 0
        while behind and size < PIECE_BYTES:
            event = self._ring[-behind]
            behind -= 1
            reader.cursor += 1
            # Of a picture that has changed again meanwhile nobody needs to hear.
            if reader.wanted.takes(event) and (event.kind is not Kind.FLEET or event is self._fleet):
                piece.append(event.wire)
                size += len(event.wire)
        return piece


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():  # it is when its reader was cancelled
        waiter.set_result(None)
