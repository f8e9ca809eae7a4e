"""The clusters of one picture, filtered and sorted: made once for everybody who pages through the same query.

A page costs as much as it shows: its begin is found by bisection in a list that the picture keeps. Only the first page
of a query from a new picture looks at the whole fleet, in pieces.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from operator import itemgetter
from typing import NamedTuple, Protocol

from collector.fleet import ClusterView
from muster.api.cursor import Position
from muster.api.present import ATTENTION, CHUNK, chunks
from validator.reasons import Health

KEPT = 16
"""Lists that one picture keeps; each has 80 KB at 10,000 clusters. A picture lives for half a second."""

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


class Listed(NamedTuple):
    """All that a query matches."""

    views: Sequence[ClusterView]
    sort: Sort

    def after(self, position: Position | None, limit: int) -> tuple[Sequence[ClusterView], Position | None]:
        """The page after a position, and the position where the next one begins; None = there is none."""
        begin = 0 if position is None else self._begin(position)
        page = self.views[begin : begin + limit]
        more = begin + limit < len(self.views)
        return page, position_of(self.sort, page[-1]) if more else None

    def _begin(self, position: Position) -> int:
        place, backwards = _PLACES[self.sort], self.sort is Sort.NAME_REVERSED
        return bisect_left(
            self.views, True, key=lambda view: place(view) < position if backwards else place(view) > position
        )


class Lists:
    """Those of one picture."""

    def __init__(self, by_health: Mapping[Health, Sequence[ClusterView]]) -> None:
        """`by_health` in the order of attention, and so is each of its groups."""
        self._by_health = by_health
        self._kept: dict[str, Listed] = {}
        self._making = asyncio.Lock()  # held over turns of our own loop, never over network I/O

    async def get(self, wanted: Wanted) -> Listed:
        """All that match, sorted. Lets the loop breathe."""
        name = wanted.canonical()
        async with self._making:
            if name not in self._kept:
                if len(self._kept) == KEPT:
                    del self._kept[next(iter(self._kept))]
                self._kept[name] = await self._make(wanted)
            return self._kept[name]

    async def _make(self, wanted: Wanted) -> Listed:
        views: list[ClusterView] = []
        matches = wanted.predicate()
        for health, group in self._by_health.items():
            if wanted.health and health not in wanted.health:
                continue
            if matches is None:
                views += group
            else:
                async for some in chunks(group, 5 * CHUNK):
                    views += filter(matches, some)
        if wanted.sort is not Sort.ATTENTION:  # they come so
            views = await _sorted(views, wanted.sort)
        return Listed(views, wanted.sort)


async def _sorted(views: Sequence[ClusterView], sort: Sort) -> list[ClusterView]:
    placed: list[tuple[Position, ClusterView]] = []
    place = _PLACES[sort]
    async for some in chunks(views, 5 * CHUNK):
        placed += [(place(view), view) for view in some]
    placed.sort(key=itemgetter(0), reverse=sort is Sort.NAME_REVERSED)
    return [view for _, view in placed]


def position_of(sort: Sort, view: ClusterView) -> Position:
    """Where a cluster stands in a list that is sorted so."""
    return _PLACES[sort](view)


Place = Callable[[ClusterView], Position]


def _attention(view: ClusterView) -> Position:
    """Within one health the order of `collector.fleet.assemble`."""
    return Position(_RANK[view.health], -(view.rollup.since or 0.0), view.cluster.name, str(view.cluster.id))


def _attention_reversed(view: ClusterView) -> Position:
    return Position(-_RANK[view.health], view.rollup.since or 0.0, view.cluster.name, str(view.cluster.id))


def _by_name(view: ClusterView) -> Position:
    # Cut: folding may make a name three times as long, and the cursor has to fit into a URL.
    return Position(0, 0.0, view.cluster.name.casefold()[:512], str(view.cluster.id))


def _by_time(when: Callable[[ClusterView], float | None], sign: int) -> Place:
    def place(view: ClusterView) -> Position:
        moment = when(view)
        missing, number = (1, 0.0) if moment is None else (0, sign * moment)
        return Position(missing, number, view.cluster.name, str(view.cluster.id))

    return place


_PLACES: Mapping[Sort, Place] = {
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
