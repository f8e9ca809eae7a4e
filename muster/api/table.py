"""A row of the one route table: what the router, access control, the OpenAPI document and the docs are made of."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel

from muster.access.roles import Role
from muster.api.problems import Handler, Kind
from muster.api.queries import NoQuery

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path."""

    method: str
    path: str
    """As aiohttp has it: `/api/v1/clusters/{cluster}`."""
    handler: Handler
    role: Role | None
    """The least role that may; None = no token is needed."""
    summary: str
    """One line; the handler's docstring says more."""
    answer: type[BaseModel] | None = None
    """Of a success; None = not a document of ours."""
    query: type[BaseModel] = NoQuery
    body: type[BaseModel] | None = None
    body_required: bool = True
    status: int = 200
    media_type: str = JSON
    """Of a success. `application/x-ndjson` has one `answer` a line."""
    events: tuple[tuple[str, type[BaseModel]], ...] = ()
    """Of `text/event-stream`: the names of its events, and what each has as `data`."""
    problems: tuple[Kind, ...] = ()
    """Besides those that any route may have."""
    idempotent: bool = False
    """A POST that creates: takes an `Idempotency-Key`."""
    if_match: bool = False
    """Two writers on one resource: takes `If-Match`."""
    tagged: bool = False
    """Has an `ETag` and takes `If-None-Match`."""
    changes: bool = False
    """Writes: sessions need their CSRF header, and the audit log has it."""
    action: str = ""
    """What the audit log calls it: `token.create`."""
