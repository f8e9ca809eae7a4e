"""What can be asked of the matrix."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated
from uuid import UUID

from pydantic import BeforeValidator, Field, WithJsonSchema

from collector.matrix import CellFilter
from muster.api.cursor import MAX_CURSOR_CHARS
from muster.api.fleet_queries import LabelSelector
from muster.api.queries import Query, one_of, some_of
from muster.api.selector import Selector
from validator.locations import Provider
from validator.reasons import Health, Reason

MAX_CELLS = 5000
"""Cells on one page: some 2.5 MB of JSON."""

MAX_NAMES = 100
"""Clusters or locations in one question; they have to fit into a URL anyway."""

_NAME_CHARS = 1024


class MatrixSort(StrEnum):
    """How cells can be sorted."""

    CLUSTER = "cluster"
    LOCATION = "location"
    ATTENTION = "attention"
    ROWS = "rows"


class Method(StrEnum):
    """Who asks about a pair."""

    AGENT = "agent"
    RESOURCE = "resource"
    DIRECT = "direct"


def _texts(given: Iterable[str]) -> frozenset[str]:
    """With commas between them, or repeated."""
    texts = frozenset(text for each in given for text in each.split(","))
    if len(texts) > MAX_NAMES:
        raise ValueError(f"names {len(texts)}; at most {MAX_NAMES} at a time")
    if any(not 1 <= len(text) <= _NAME_CHARS for text in texts):
        raise ValueError(f"each is 1 to {_NAME_CHARS} characters, with one comma between two")
    return texts


_ITEM = {"type": "string", "minLength": 1, "maxLength": _NAME_CHARS, "pattern": "^[^,]*$"}

Texts = Annotated[
    frozenset[str],
    BeforeValidator(_texts),
    WithJsonSchema({"type": "array", "items": _ITEM, "minItems": 1, "maxItems": MAX_NAMES}),
]


class MatrixQuery(Query):
    """Which cells, and in which order. Pages are of cells: a row may go on on the next one."""

    cluster: Texts = Field(default_factory=frozenset)
    """Only these clusters, by name or id; one whose name has a comma by its id."""
    label: LabelSelector = Field(default_factory=Selector)
    """Only clusters whose labels match this selector, in the grammar of Kubernetes (`kubectl -l`)."""
    location: Texts = Field(default_factory=frozenset)
    """Only these locations, by name or id."""
    health: Annotated[frozenset[Health], *some_of(Health)] = Field(default_factory=frozenset)
    """Only cells of this health."""
    reason: Annotated[frozenset[Reason], *some_of(Reason)] = Field(default_factory=frozenset)
    """Only cells for which this reason decides."""
    provider: Annotated[frozenset[Provider], *some_of(Provider)] = Field(default_factory=frozenset)
    """Only locations of this provider."""
    account: Texts = Field(default_factory=frozenset)
    """Only locations in this storage account."""
    owner: Annotated[str, Field(max_length=256)] = ""
    """Only locations of this owner."""
    method: Annotated[frozenset[Method], *some_of(Method)] = Field(default_factory=frozenset)
    """Only cells that were asked about so."""
    sort: Annotated[MatrixSort, *one_of(MatrixSort)] = MatrixSort.CLUSTER
    """`cluster`: by name of the cluster, then of the location; `location`: the other way round; `attention`: the worst
    cell first, news first; `rows`: the cluster with the worst cell first, all cells of a cluster together."""
    limit: Annotated[int, Field(ge=1, le=MAX_CELLS)] = 500
    """Cells on a page."""
    after: Annotated[str, Field(min_length=1, max_length=MAX_CURSOR_CHARS)] | None = None
    """The `next` of the page before, of the same query."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A query whose names have been looked up: the same for everybody who asks for the same cells in the same order."""

    sort: MatrixSort
    label: Selector
    cells: CellFilter
    """Without the selector, and without `states`."""
    states: frozenset[Health]
    """Empty = any."""

    @classmethod
    def of(cls, query: MatrixQuery, clusters: Iterable[UUID] | None, locations: Iterable[UUID] | None) -> Wanted:
        """`clusters` and `locations` are what its names stand for, `owner` included; None = any."""
        cells = CellFilter(
            clusters=None if clusters is None else frozenset(clusters),
            locations=None if locations is None else frozenset(locations),
            reasons=query.reason or None,
            providers=query.provider or None,
            accounts=query.account or None,
            methods=frozenset(map(str, query.method)) or None,
        )
        return cls(query.sort, query.label, cells, query.health)

    def canonical(self) -> str:
        """The same text for the same list, and for no other list of any kind."""
        wanted = self.cells
        sets = (wanted.clusters, wanted.locations, wanted.reasons, wanted.providers, wanted.accounts, wanted.methods)
        texts = [None if each is None else sorted(map(str, each)) for each in sets]
        return repr(["matrix", self.sort.value, str(self.label), sorted(map(str, self.states)), *texts])
