"""Query parameters: every one is known, bounded and named in its error."""

from __future__ import annotations

import base64
import difflib
import json
from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple, TypeVar

from multidict import MultiMapping
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from collector.fleet import ClusterView
from muster.api.present import ATTENTION
from muster.api.problems import Kind, ProblemError
from validator.reasons import Health

MAX_CLUSTERS = 5000
"""Clusters on one page: some 3 MB of JSON."""

MAX_TRANSITIONS = 1000
"""Transitions on one page."""

_HEALTHS: Mapping[str, Health] = {health.value.casefold(): health for health in Health}
_RANK: Mapping[Health, int] = {health: rank for rank, health in enumerate(ATTENTION)}


class Position(NamedTuple):
    """Where a cluster stands in the list, by the list's sort key.

    A page goes on where the last one ended, whatever has changed before it. An offset was rejected: it would show one
    cluster twice and another one never.
    """

    rank: int
    newest_first: float
    name: str
    id: str

    @classmethod
    def of(cls, view: ClusterView) -> Position:
        """Of one cluster, in the order of `collector.fleet.snapshot` within a health."""
        return cls(_RANK[view.health], -(view.rollup.since or 0.0), view.cluster.name, str(view.cluster.id))

    def token(self) -> str:
        """Opaque, for the answer's `next`."""
        return base64.urlsafe_b64encode(json.dumps(self).encode()).decode().rstrip("=")


def _position(token: Any) -> Any:
    try:
        rank, newest_first, name, cluster_id = json.loads(base64.urlsafe_b64decode(str(token) + "=="))
        return Position(int(rank), float(newest_first), str(name), str(cluster_id))
    except (ValueError, TypeError, RecursionError):
        raise ValueError("not a `next` of an earlier answer; leave it out to begin again") from None


def _healths(texts: Any) -> Any:
    found = set()
    for text in (part.strip() for given in texts for part in str(given).split(",")):
        health = _HEALTHS.get(text.casefold())
        if health is None:
            close = difflib.get_close_matches(text.casefold()[:64], _HEALTHS, n=1)
            hint = f"; did you mean {_HEALTHS[close[0]]}?" if close else ""
            raise ValueError(f"{text[:64]!r} is none of {', '.join(Health)}{hint}")
        found.add(health)
    return found


class ClustersQuery(BaseModel):
    """Which clusters to list."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    health: Annotated[frozenset[Health], BeforeValidator(_healths)] = frozenset(Health)
    source: Annotated[str, Field(max_length=256)] = ""
    name: Annotated[str, Field(max_length=256)] = ""
    limit: Annotated[int, Field(ge=1, le=MAX_CLUSTERS)] = 500
    after: Annotated[Position | None, BeforeValidator(_position)] = None

    def matches(self, view: ClusterView) -> bool:
        """Whether it is from the source, and the text is part of one of its names; case does not matter."""
        cluster = view.cluster
        if self.source and cluster.source != self.source:
            return False
        needle = self.name.casefold()
        return not needle or any(needle in name.casefold() for name in (cluster.name, *cluster.also_known_as))


class TransitionsQuery(BaseModel):
    """Which part of history."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    limit: Annotated[int, Field(ge=1, le=MAX_TRANSITIONS)] = 100
    before: Annotated[int, Field(ge=1, lt=2**63)] | None = None


Q = TypeVar("Q", bound=BaseModel)


def read_query(kind: type[Q], given: MultiMapping[str]) -> Q:
    """The parameters as `kind` has them. Raises `ProblemError`, naming each that makes no sense."""
    errors: list[dict[str, str]] = []
    values: dict[str, Any] = {}
    for name in dict.fromkeys(given):
        texts = given.getall(name)
        if name not in kind.model_fields:
            close = difflib.get_close_matches(name[:64], kind.model_fields, n=1)
            hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(kind.model_fields) or 'none here'}"
            errors.append({"parameter": name[:64], "message": f"unknown; {hint}"})
        elif name == "health":
            values[name] = texts
        elif len(texts) > 1:
            errors.append({"parameter": name, "message": "given more than once"})
        else:
            values[name] = texts[0]
    try:
        query = kind(**values)
    except ValidationError as error:
        errors += [
            {"parameter": str(e["loc"][0]), "message": e["msg"].removeprefix("Value error, ")} for e in error.errors()
        ]
    if errors:
        detail = "; ".join(f"{e['parameter']}: {e['message']}" for e in errors[:10])
        raise ProblemError(Kind.BAD_QUERY, f"{detail}.".replace("?.", "?"), errors=errors[:10])
    return query


class NoQuery(BaseModel):
    """Paths without parameters."""
