"""The clusters of the newest picture, filtered and sorted: kept for everybody who pages through the same query.

A page costs as much as it shows: its begin is found by bisection in a list that is there. Only the first page of a
query looks at the whole fleet, in pieces; from then on a list is brought up to date with what has changed since it was
asked for last. At 10,000 clusters and an interval of 60 s some 80 do between two pictures; to make eight lists anew for
each picture was most of what pages cost.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol
from uuid import UUID

from collector.fleet import ClusterView, FleetSnapshot
from collector.look import Changes
from muster.api.cursor import Position
from muster.api.ordered import Ordered, Place, PlaceOf
from muster.api.present import ATTENTION, CHUNK, chunks
from validator.reasons import Health

KEPT = 16
"""Lists that are kept; with what it is sorted by, each has 2 MB at most at 10,000 clusters."""

LOGGED = 240
"""Turns that are remembered: two minutes. A list that nobody has asked for in this time is made anew."""

REPLAYED = 4
"""And so is one that is behind by more than one of so many clusters: that is cheaper."""

_RANK: Mapping[Health, int] = {health: rank for rank, health in enumerate(ATTENTION)}


class Sort(StrEnum):
    """How clusters can be sorted. `-` is the other way round; what a cluster has not got comes last either way."""

    ATTENTION = "attention"
    """Worst first, as people look; the newest change first where the health is the same."""
    ATTENTION_REVERSED = "-attention"
    NAME = "name"
    """Case does not matter."""
    NAME_REVERSED = "-name"
    SINCE = "since"
    """First those that are as they are for longest."""
    SINCE_REVERSED = "-since"
    AGE = "age"
    """Freshest fact first."""
    AGE_REVERSED = "-age"
    LAST_SUCCESS = "last-success"
    """First those that answered longest ago; last those that never did."""
    LAST_SUCCESS_REVERSED = "-last-success"


class Wanted(Protocol):
    """Which clusters, and in which order."""

    @property
    def sort(self) -> Sort:
        """The order."""
        ...

    @property
    def health(self) -> frozenset[Health]:
        """Of one of these; empty = any."""
        ...

    def predicate(self) -> Callable[[ClusterView], bool] | None:
        """Every filter but that of health; None = there is none."""
        ...

    def canonical(self) -> str:
        """The same text for the same list, and no other."""
        ...


class Page(NamedTuple):
    """A part of a list."""

    views: Sequence[ClusterView]
    following: Position | None
    """Where the next page begins; None = there is none."""
    total: int
    """Of all pages."""
    now: float
    """The moment that all of it is of."""


@dataclass(slots=True)
class _Kept:
    takes: Callable[[ClusterView | None], ClusterView | None]
    """The view if it is in the list."""
    ordered: Ordered
    turn: int
    """How many turns it has made."""
    now: float


class Lists:
    """Those of the newest picture. To be used on the loop's thread."""

    def __init__(self) -> None:
        self._clusters: Mapping[UUID, ClusterView] = {}
        self._now = 0.0
        self._turns = 0
        self._log: deque[tuple[float, Changes]] = deque()
        """Of the last turns, with their moments."""
        self._logged = 0
        self._kept: dict[str, _Kept] = {}
        """Asked for longest ago first."""
        self._asking = asyncio.Lock()  # held over turns of our own loop, never over network I/O

    def turn(self, picture: FleetSnapshot, changes: Changes) -> None:
        """To the next picture, by the changes that lead there."""
        self._clusters, self._now = picture.clusters, picture.now
        self._turns += 1
        self._log.append((picture.now, changes))
        self._logged += len(changes)
        while len(self._log) > LOGGED or self._logged > len(picture.clusters) / REPLAYED:
            self._logged -= len(self._log.popleft()[1])

    async def page(self, wanted: Wanted, position: Position | None, limit: int) -> Page:
        """The page after a position; from the begin where it is None. Lets the loop breathe."""
        async with self._asking:
            name = wanted.canonical()
            kept = self._kept.pop(name, None)  # who is cancelled half way leaves none
            if kept is None or self._turns - kept.turn > len(self._log):
                kept = await self._made(wanted)
            else:
                await self._bring_up(kept)
            if len(self._kept) == KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[name] = kept
            views, following = _after(kept.ordered, wanted.sort, position, limit)
            return Page(views, following, len(kept.ordered), kept.now)

    async def _made(self, wanted: Wanted) -> _Kept:
        healths, matches = wanted.health, wanted.predicate()

        def takes(view: ClusterView | None) -> ClusterView | None:
            if view is None or (healths and view.health not in healths) or (matches and not matches(view)):
                return None
            return view

        kept = _Kept(takes, Ordered(_PLACES[wanted.sort]), self._turns, self._now)
        async for some in chunks(list(self._clusters.values()), 4 * CHUNK):
            kept.ordered.append_run(view for view in some if takes(view))
        kept.ordered.merge()
        return kept

    async def _bring_up(self, kept: _Kept) -> None:
        while (behind := self._turns - kept.turn) and behind <= len(self._log):
            now, changes = self._log[-behind]
            async for some in chunks(list(changes.values()), CHUNK):
                for before, after in some:
                    kept.ordered.change(kept.takes(before), kept.takes(after))
            kept.turn, kept.now = kept.turn + 1, now


def _after(
    ordered: Ordered, sort: Sort, position: Position | None, limit: int
) -> tuple[Sequence[ClusterView], Position | None]:
    """The views of a page, and where the next one begins. What is sorted backwards is read from the end."""
    if sort is Sort.NAME_REVERSED:
        end = len(ordered) if position is None else ordered.first(lambda view: position_of(sort, view) >= position)
        views, more = ordered[max(0, end - limit) : end][::-1], end > limit
    else:
        begin = 0 if position is None else ordered.first(lambda view: position_of(sort, view) > position)
        views, more = ordered[begin : begin + limit], begin + limit < len(ordered)
    return views, position_of(sort, views[-1]) if more else None


def position_of(sort: Sort, view: ClusterView) -> Position:
    """Where a cluster stands in a list that is sorted so."""
    rank, number, name, cluster_id = _PLACES[sort](view)
    return Position(rank, number, name, str(cluster_id))


def _attention(view: ClusterView) -> Place:
    """Within one health the one that is so for longest comes last: news is what people look for."""
    return _RANK[view.health], -(view.rollup.since or 0.0), view.cluster.name, view.cluster.id


def _attention_reversed(view: ClusterView) -> Place:
    return -_RANK[view.health], view.rollup.since or 0.0, view.cluster.name, view.cluster.id


def _by_name(view: ClusterView) -> Place:
    # Cut: folding may make a name three times as long, and the cursor has to fit into a URL.
    return 0, 0.0, view.cluster.name.casefold()[:512], view.cluster.id


def _by_time(when: Callable[[ClusterView], float | None], sign: int) -> PlaceOf:
    def place(view: ClusterView) -> Place:
        moment = when(view)
        missing, number = (1, 0.0) if moment is None else (0, sign * moment)
        return missing, number, view.cluster.name, view.cluster.id

    return place


_PLACES: Mapping[Sort, PlaceOf] = {
    Sort.ATTENTION: _attention,
    Sort.ATTENTION_REVERSED: _attention_reversed,
    Sort.NAME: _by_name,
    Sort.NAME_REVERSED: _by_name,
    Sort.SINCE: _by_time(lambda view: view.rollup.since, 1),
    Sort.SINCE_REVERSED: _by_time(lambda view: view.rollup.since, -1),
    # The moment that a fact came in, not its age: an age is another one in every picture.
    Sort.AGE: _by_time(lambda view: view.heard_at, -1),
    Sort.AGE_REVERSED: _by_time(lambda view: view.heard_at, 1),
    Sort.LAST_SUCCESS: _by_time(lambda view: view.rollup.last_success_at, 1),
    Sort.LAST_SUCCESS_REVERSED: _by_time(lambda view: view.rollup.last_success_at, -1),
}
