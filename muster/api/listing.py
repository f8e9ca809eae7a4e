"""The clusters of one picture, filtered and sorted: made once for everybody who pages through the same query.

A page costs as much as it shows: its begin is found by bisection in a list that the picture keeps. Only the first page
of a query looks at the whole fleet, in pieces; from the next picture on only at what has changed since.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from operator import itemgetter
from typing import NamedTuple, Protocol
from uuid import UUID

from collector.fleet import ClusterView
from muster.api.cursor import Position
from muster.api.present import ATTENTION, CHUNK, chunks
from validator.reasons import Health

KEPT = 16
"""Lists that one picture keeps; with what it is sorted by, each has 2 MB at most at 10,000 clusters."""

Groups = Mapping[Health, Sequence[ClusterView]]

Place = tuple[int, float, str, UUID]
"""A `Position` before it is written down: ids have the same order as their texts, which take longer to make."""

Placed = tuple[Place, ClusterView]

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
        sort, backwards = self.sort, self.sort is Sort.NAME_REVERSED
        return bisect_left(
            self.views,
            True,
            key=lambda view: position_of(sort, view) < position if backwards else position_of(sort, view) > position,
        )


class Former(NamedTuple):
    """What a picture's lists leave to those of the next one: most views stand for many pictures (`collector/look.py`).

    It holds the views of its picture: as long as it does, no new one can have the identity of one of them.
    """

    by_health: Groups
    placed: Mapping[str, Sequence[Placed]]


class Lists:
    """Those of one picture."""

    def __init__(self, by_health: Groups, former: Former | None = None) -> None:
        """`by_health` in the order of attention, and so is each of its groups; `former` is of the picture before."""
        self._by_health = by_health
        self._former = former or Former({}, {})
        self._kept: dict[str, Listed] = {}
        self._placed: dict[str, Sequence[Placed]] = {}
        self._comparison: tuple[set[int], Groups] | None = None
        self._making = asyncio.Lock()  # held over turns of our own loop, never over network I/O

    def former(self) -> Former:
        """For the next picture's. Without what came from the one before this: it would go on for ever."""
        return Former(self._by_health, self._placed)

    async def get(self, wanted: Wanted) -> Listed:
        """All that match, sorted. Lets the loop breathe."""
        name = wanted.canonical()
        async with self._making:
            if name not in self._kept:
                if len(self._kept) == KEPT:
                    oldest = next(iter(self._kept))
                    del self._kept[oldest]
                    self._placed.pop(oldest, None)
                self._kept[name] = await self._make(wanted, name)
            return self._kept[name]

    async def _make(self, wanted: Wanted, name: str) -> Listed:
        sort, matches = wanted.sort, wanted.predicate()
        if sort is Sort.ATTENTION and matches is None:  # they come so
            return Listed([view for group in _of(self._by_health, wanted) for view in group], sort)
        placed: list[Placed] = []
        groups = self._by_health
        if (known := self._former.placed.get(name)) is not None:
            standing, groups = await self._compared()
            async for those in chunks(known, 5 * CHUNK):
                placed += [each for each in those if id(each[1]) in standing]
        place, backwards = _PLACES[sort], sort is Sort.NAME_REVERSED
        # In runs, which the last sort only merges: sorting 10,000 at once would hold the loop for 10 ms.
        for group in _of(groups, wanted):
            async for some in chunks(group, 5 * CHUNK):
                run = [(place(view), view) for view in (some if matches is None else filter(matches, some))]
                placed += sorted(run, key=itemgetter(0), reverse=backwards)
        placed.sort(key=itemgetter(0), reverse=backwards)
        self._placed[name] = placed
        return Listed([view for _, view in placed], sort)

    async def _compared(self) -> tuple[set[int], Groups]:
        """Identities of the views of this picture, and the views that the picture before did not have."""
        if self._comparison is None:
            former: set[int] = set()
            for group in self._former.by_health.values():
                async for some in chunks(group, 5 * CHUNK):
                    former.update(map(id, some))
            standing: set[int] = set()
            fresh: dict[Health, list[ClusterView]] = {health: [] for health in self._by_health}
            for health, group in self._by_health.items():
                async for some in chunks(group, 5 * CHUNK):
                    standing.update(map(id, some))
                    fresh[health] += [view for view in some if id(view) not in former]
            self._comparison = standing, fresh
        return self._comparison


def _of(groups: Groups, wanted: Wanted) -> Iterator[Sequence[ClusterView]]:
    return (group for health, group in groups.items() if not wanted.health or health in wanted.health)


def position_of(sort: Sort, view: ClusterView) -> Position:
    """Where a cluster stands in a list that is sorted so."""
    rank, number, name, cluster_id = _PLACES[sort](view)
    return Position(rank, number, name, str(cluster_id))


PlaceOf = Callable[[ClusterView], Place]


def _attention(view: ClusterView) -> Place:
    """Within one health the order of `collector.fleet.assemble`."""
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
