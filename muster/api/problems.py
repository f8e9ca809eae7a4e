"""Errors as RFC 9457 problem documents: one table of types, one exception, one middleware."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Any
from uuid import uuid4

import structlog
from aiohttp import web

from muster.api.schemas import Problem
from store.errors import StoreError

_log = structlog.get_logger(__name__)

CONTENT_TYPE = "application/problem+json"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Kind(Enum):
    """Every problem that the API knows: the end of its `type`, the HTTP status, the title. Types never change."""

    BAD_REQUEST = ("bad-request", 400, "The request can't be read")
    BAD_QUERY = ("bad-query", 400, "A query parameter makes no sense")
    NOT_FOUND = ("not-found", 404, "There is nothing at this path")
    CLUSTER_NOT_FOUND = ("cluster-not-found", 404, "No cluster has this name or id")
    METHOD_NOT_ALLOWED = ("method-not-allowed", 405, "This path only reads")
    AMBIGUOUS_CLUSTER = ("ambiguous-cluster", 409, "Several clusters have this name")
    TOO_LARGE = ("too-large", 413, "The request is too large")
    WRONG_HOST = ("wrong-host", 421, "This is not a name of this service")
    DEFECT = ("defect", 500, "Muster itself failed")
    NOT_LEADING = ("not-leading", 503, "This instance has no picture of the fleet")
    STORE_UNAVAILABLE = ("store-unavailable", 503, "The database does not answer")

    @property
    def type(self) -> str:
        """The `type` member: a reference, relative to the service."""
        return f"/problems/{self.value[0]}"

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.value[1]

    @property
    def title(self) -> str:
        """The same for every problem of this kind."""
        return self.value[2]


_BY_STATUS = {
    404: Kind.NOT_FOUND,
    405: Kind.METHOD_NOT_ALLOWED,
    413: Kind.TOO_LARGE,
}


class ProblemError(Exception):
    """Ends a request with a problem. `detail` is for people and says what to do; `members` are for programs."""

    def __init__(self, kind: Kind, detail: str, **members: Any) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.members = members


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn whatever ends a request into a problem document. Nothing of a traceback leaves the process."""
    try:
        return await handler(request)
    except ProblemError as error:
        return _response(error.kind, error.detail, **error.members)
    except StoreError as error:
        return _response(Kind.STORE_UNAVAILABLE, error.message)
    except web.HTTPException as error:
        return _from_aiohttp(request, error)
    except Exception:  # noqa: BLE001 - the last resort of one request; logged with its id, and the service goes on
        number = str(uuid4())
        _log.exception("API defect", path=request.path, incident=number)
        return _response(Kind.DEFECT, f"Report it with the hub's log line of incident {number}.", incident=number)


def _from_aiohttp(request: web.Request, error: web.HTTPException) -> web.Response:
    kind = _BY_STATUS.get(error.status, Kind.BAD_REQUEST)
    if kind is Kind.NOT_FOUND:
        return _response(kind, f"{request.path[:200]} is no path of this service; /api/v1/fleet is one.")
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        response = _response(kind, f"{request.method} is not possible here; {allowed} is.")
        response.headers["Allow"] = allowed
        return response
    return _response(kind, error.reason)


def _response(kind: Kind, detail: str, **members: Any) -> web.Response:
    problem = Problem(type=kind.type, title=kind.title, status=kind.status, detail=detail, **members)
    return web.Response(status=kind.status, body=problem.model_dump_json().encode(), content_type=CONTENT_TYPE)
