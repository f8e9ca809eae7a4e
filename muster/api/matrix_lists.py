"""The cells of one generation of the matrix, filtered, sorted and folded: made once for everybody who asks the same.

A list is of pairs, not of cells: what it is filtered, sorted and folded by is what a generation means, so it stands for
every picture of that generation, and each page takes its cells from the newest one. A page costs as much as it shows.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter
from uuid import UUID

from collector.causes import Cause, folding
from collector.cluster import Cluster
from collector.matrix import Cell, by_name
from muster.api.cursor import Position
from muster.api.matrix_queries import MatrixSort, Wanted
from muster.api.present import ATTENTION, CHUNK, chunks
from muster.api.selector import Selector
from muster.breath import breathe
from validator.model import Pair
from validator.reasons import Health

KEPT = 16
"""Lists that one generation keeps; each has 0.5 MB at 10,000 cells, and 2 MB where none of them is well."""

RUN = 5 * CHUNK
"""Cells that are sorted at once, in 1 ms; the last sort only merges such runs."""

Cells = Mapping[Pair, Cell]

_RANK: Mapping[Health, int] = {health: rank for rank, health in enumerate(ATTENTION)}


@dataclass(slots=True)
class MatrixList:
    """All that a query matches."""

    sort: MatrixSort
    pairs: Sequence[Pair] = ()
    """In the order of `sort`."""
    counts: Counter[Health] = field(default_factory=Counter)
    """Also of cells that only their health keeps out."""
    rows: dict[UUID, int] = field(default_factory=dict)
    """Clusters, by the rank of their worst cell."""
    columns: Counter[UUID] = field(default_factory=Counter)
    """Cells by location, in the order of the locations' names."""
    causes: Sequence[Cause] = ()

    def page(self, cells: Cells, after: Position | None, limit: int) -> tuple[Sequence[Cell], Position | None]:
        """The cells after a position, and the position where the next page begins; None = there is none."""
        begin = 0
        if after is not None:
            begin = bisect_left(self.pairs, True, key=lambda pair: self.place(cells[pair]) > after)
        page = [cells[pair] for pair in self.pairs[begin : begin + limit]]
        more = begin + limit < len(self.pairs)
        return page, self.place(page[-1]) if more else None

    def place(self, cell: Cell) -> Position:
        """Where a cell stands."""
        names, ids = (cell.cluster, cell.location), f"{cell.key.cluster_id}/{cell.key.location_id}"
        if self.sort is MatrixSort.LOCATION:
            names = names[::-1]
        rank, number = 0, 0.0
        if self.sort is MatrixSort.ATTENTION:
            rank, number = _attention(cell)
        elif self.sort is MatrixSort.ROWS:
            rank = self.rows[cell.key.cluster_id]
        return Position(rank, number, "\0".join(names), ids)


class MatrixLists:
    """Those of one generation."""

    def __init__(self, cells: Cells, clusters: Mapping[UUID, Cluster]) -> None:
        """Of its first picture; `clusters` has at least those that have cells."""
        self._cells = cells
        self._clusters = clusters
        self._ordered: Sequence[Cell] | None = None
        self._kept: dict[Wanted, MatrixList] = {}
        self._making = asyncio.Lock()  # held over turns of our own loop, never over network I/O

    async def get(self, wanted: Wanted) -> MatrixList:
        """All that match. Lets the loop breathe."""
        async with self._making:
            if wanted not in self._kept:
                if len(self._kept) == KEPT:
                    del self._kept[next(iter(self._kept))]
                self._kept[wanted] = await self._make(wanted)
            return self._kept[wanted]

    async def _make(self, wanted: Wanted) -> MatrixList:
        if self._ordered is None:
            self._ordered = await _sorted(list(self._cells.values()), by_name)
        admits = wanted.cells.admits
        if wanted.label.requirements:
            labelled = await self._labelled(wanted.label, wanted.cells.clusters)
            admits = replace(wanted.cells, clusters=labelled).admits
        made, states = MatrixList(wanted.sort), wanted.states
        found: list[Cell] = []
        columns: Counter[tuple[str, UUID]] = Counter()
        async for some in chunks(self._ordered):
            admitted = list(filter(admits, some))
            made.counts.update(cell.health for cell in admitted)
            matching = [cell for cell in admitted if not states or cell.health in states]
            found += matching
            columns.update((cell.location, cell.key.location_id) for cell in matching)
            for cell in matching:
                cluster_id, rank = cell.key.cluster_id, _RANK[cell.health]
                made.rows[cluster_id] = min(rank, made.rows.get(cluster_id, rank))
        for (_, location_id), number in sorted(columns.items()):
            made.columns[location_id] = number
        made.causes = await _folded(found)
        made.pairs = [cell.key for cell in await _sorted(found, _order(wanted.sort, made.rows))]
        return made

    async def _labelled(self, label: Selector, among: Collection[UUID] | None) -> frozenset[UUID]:
        found: set[UUID] = set()
        async for some in chunks(list(self._clusters.values())):
            found.update(each.id for each in some if label.matches(each.labels))
        return frozenset(found if among is None else found.intersection(among))


async def _folded(cells: Sequence[Cell]) -> Sequence[Cause]:
    steps = folding(cells)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            causes: Sequence[Cause] = end.value
            return causes
        await breathe()


_KeyOf = Callable[[Cell], tuple[object, ...]]


async def _sorted(cells: Sequence[Cell], key: _KeyOf | None) -> Sequence[Cell]:
    if key is None:
        return cells
    placed: list[tuple[tuple[object, ...], Cell]] = []
    async for some in chunks(cells, RUN):
        placed += sorted(((key(cell), cell) for cell in some), key=itemgetter(0))
    placed.sort(key=itemgetter(0))
    return [cell for _, cell in placed]


def _order(sort: MatrixSort, rows: Mapping[UUID, int]) -> _KeyOf | None:
    """Cells come by name: what is equal stays in that order."""
    match sort:
        case MatrixSort.CLUSTER:
            return None
        case MatrixSort.LOCATION:
            return lambda cell: (cell.location,)
        case MatrixSort.ATTENTION:
            return _attention
        case MatrixSort.ROWS:
            return lambda cell: (rows[cell.key.cluster_id],)


def _attention(cell: Cell) -> tuple[int, float]:
    return _RANK[cell.health], -(cell.since or 0.0)
