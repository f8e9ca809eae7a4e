"""What cells of the matrix that are not well have in common: "12 clusters: RoleMissing on account X". Pure.

Cells with the same health and reason are folded, each into exactly one cause:

- by what the storage refuses: to the largest group first of those that share an account, a location or a cluster, so
  that one missing role is one line whether it hits twelve clusters or five locations. Among equally large groups the
  account goes first: that is where roles and firewalls are mended. Reasons of one container are never blamed on its
  account;
- by anything else (no answer, no agent, no identity): to one line a reason. Two hundred clusters that are offline would
  else look like five locations that are broken.

The result depends on the cells only, not on their order, and has at most `MAX_CAUSES` lines: what is left over is
counted in the last one. Folding 10,000 cells of which none is well takes 70 ms: whoever has a loop to look after takes
the steps of `folding` one by one.
"""

from __future__ import annotations

import heapq
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from uuid import UUID

from collector.matrix import Cell, by_name
from validator.model import Pair
from validator.reasons import PRECEDENCE, REASONS, Health, Reason, Stage

MAX_CAUSES = 50
"""More lines than this nobody reads; the matrix itself has them all."""
MAX_NAMES = 5
"""Clusters or locations named in a line; the rest is counted."""

STEP = 200
"""Cells that are worked off in one step."""


class Scope(IntEnum):
    """What the cells of a cause share, besides health and reason; in the order of preference."""

    ACCOUNT = 0
    LOCATION = 1
    CLUSTER = 2
    REASON = 3
    """Nothing else."""
    REST = 4
    """Not even a reason: causes beyond the limit."""


@dataclass(frozen=True, slots=True)
class Cause:
    """One line."""

    scope: Scope
    where: str
    """Name of the account, location or cluster; "" for the two others."""
    health: Health
    """The worst of its cells."""
    reason: Reason | None
    pairs: tuple[Pair, ...]
    """The cells, by name."""
    clusters: tuple[str, ...]
    """Names, sorted."""
    locations: tuple[str, ...]
    since: float | None
    """Of the cell that is so for longest."""

    @property
    def text(self) -> str:
        """For people."""
        clusters, locations, reason = self.clusters, self.locations, self.reason or self.health
        if self.scope is Scope.REST:
            return f"{_count(len(self.pairs), 'more pair')}, for other reasons"
        if len(self.pairs) == 1:
            return f"{clusters[0]}: {reason} on {locations[0]}"
        if self.scope is Scope.CLUSTER:
            return f"{_count(len(locations), 'location')}: {reason} from {self.where}"
        who = clusters[0] if len(clusters) == 1 else _count(len(clusters), "cluster")
        if self.scope is Scope.REASON:
            return f"{who}: {reason} ({_count(len(self.pairs), 'pair')})"
        return f"{who}: {reason} on {'account ' if self.scope is Scope.ACCOUNT else ''}{self.where}"

    @property
    def names(self) -> str:
        """Who it hits: some clusters, or some locations where it is one cluster's."""
        named = self.locations if self.scope is Scope.CLUSTER else self.clusters
        rest = len(named) - MAX_NAMES
        return ", ".join(named[:MAX_NAMES]) + (f" and {rest} more" if rest > 0 else "")


_OF_CONTAINER = {
    Reason.CONTAINER_NOT_FOUND,
    Reason.CONTAINER_UNAVAILABLE,
    Reason.INVALID_LOCATION_NAME,
    Reason.WRONG_REGION,
    Reason.OBJECT_LOCK_SETTINGS_MISSING,
    Reason.OBJECT_LOCK_MISCONFIGURED,
    Reason.WRITE_PROBE_IMMUTABLE,
    Reason.READ_BACK_MISMATCH,
}
_SAID_OF_STORAGE = {Reason.RESOURCE_UNAVAILABLE, Reason.RESOURCE_READ_ONLY}


Folding = Generator[None, None, tuple[Cause, ...]]


def fold(cells: Iterable[Cell], limit: int = MAX_CAUSES) -> tuple[Cause, ...]:
    """The causes of all cells that are not Healthy, the worst and largest first; at most `limit` (1 or more).

    What is suspended on purpose comes last.
    """
    steps = folding(sorted(cells, key=by_name), limit)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            causes: tuple[Cause, ...] = end.value
            return causes


def folding(cells: Sequence[Cell], limit: int = MAX_CAUSES) -> Folding:
    """The same in steps of about a millisecond, of cells that come by name (`collector.matrix.by_name`)."""
    alike: dict[_Kind, list[Cell]] = {}
    for some in _steps(cells):
        for each in some:
            if each.health is not Health.HEALTHY:
                alike.setdefault((each.health, each.reason), []).append(each)
        yield
    causes: list[Cause] = []
    for (_, reason), group in alike.items():
        if reason is not None and (reason in _SAID_OF_STORAGE or REASONS[reason].stage is Stage.STORAGE):
            causes += yield from _shared(group, _scopes(reason))
        else:
            causes.append((yield from _cause(Scope.REASON, "", group)))
    causes.sort(key=_worst_first)
    if len(causes) <= limit:
        return tuple(causes)
    left_over: set[Pair] = set()
    for cause in causes[limit - 1 :]:
        left_over.update(cause.pairs)
        yield
    rest = []
    for some in _steps(cells):
        rest += [each for each in some if each.key in left_over]
        yield
    return (*causes[: limit - 1], (yield from _cause(Scope.REST, "", rest)))


def _steps(cells: Sequence[Cell]) -> Iterable[Sequence[Cell]]:
    return (cells[begin : begin + STEP] for begin in range(0, len(cells), STEP))


def _scopes(reason: Reason) -> tuple[Scope, ...]:
    return (
        (Scope.LOCATION, Scope.CLUSTER) if reason in _OF_CONTAINER else (Scope.ACCOUNT, Scope.LOCATION, Scope.CLUSTER)
    )


_Kind = tuple[Health, Reason | None]
_Shared = tuple[Scope, tuple[str, str | UUID]]


def _shared(cells: Sequence[Cell], scopes: Sequence[Scope]) -> Generator[None, None, list[Cause]]:
    """Greedy, the largest group first. Sizes in the heap may be out of date, and are looked at again when popped."""
    groups: dict[_Shared, dict[Pair, Cell]] = {}
    for some in _steps(cells):
        for each in some:
            for shared in _shares(each, scopes):
                groups.setdefault(shared, {})[each.key] = each
        yield
    heap = [(-len(group), shared) for shared, group in groups.items()]
    heapq.heapify(heap)
    causes: list[Cause] = []
    while heap:
        size, shared = heapq.heappop(heap)
        group = groups[shared]
        if -size != len(group):
            if group:
                heapq.heappush(heap, (-len(group), shared))
            continue
        taken = list(group.values())
        causes.append((yield from _cause(shared[0], str(shared[1][0]), taken)))
        for some in _steps(taken):
            for each in some:
                for other in _shares(each, scopes):
                    del groups[other][each.key]
            yield
    return causes


def _shares(each: Cell, scopes: Sequence[Scope]) -> Iterable[_Shared]:
    """What the cell may share with others. Names first, for people and for the order; ids, since names may repeat."""
    for scope in scopes:
        if scope is Scope.ACCOUNT:
            if each.account is not None:
                yield scope, (each.account, each.provider)
        elif scope is Scope.LOCATION:
            yield scope, (each.location, each.key.location_id)
        else:
            yield scope, (each.cluster, each.key.cluster_id)


def _cause(scope: Scope, where: str, cells: Sequence[Cell]) -> Generator[None, None, Cause]:
    """Of cells that come by name."""
    worst = min(cells, key=lambda cell: _RANK[cell.health])
    yield
    clusters = {cell.key.cluster_id: cell.cluster for cell in cells}
    yield
    locations = {cell.key.location_id: cell.location for cell in cells}
    yield
    return Cause(
        scope=scope,
        where=where,
        health=worst.health,
        reason=None if scope is Scope.REST else worst.reason,
        pairs=tuple(cell.key for cell in cells),
        clusters=tuple(sorted(clusters.values())),
        locations=tuple(sorted(locations.values())),
        since=min((cell.since for cell in cells if cell.since is not None), default=None),
    )


_RANK = {health: rank for rank, health in enumerate((*PRECEDENCE[1:-1], Health.SUSPENDED, Health.HEALTHY))}
"""Worst first, as people look: what sleeps must not push what is broken off the screen."""


def _worst_first(cause: Cause) -> tuple[int, int, str, Scope, str, tuple[Pair, ...]]:
    return _RANK[cause.health], -len(cause.pairs), cause.reason or "", cause.scope, cause.where, cause.pairs


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
