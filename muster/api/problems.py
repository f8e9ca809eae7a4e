"""Errors as RFC 9457 problem documents: one table of types, one exception, one middleware."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
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
    """Every problem that the API knows: the end of its `type`, the HTTP status, the title, what to do.

    Types never change. `docs/problems.md` is generated from this.
    """

    BAD_REQUEST = (
        "bad-request",
        400,
        "The request can't be read",
        "A header makes no sense, or a token is in the address; `detail` says which. Revoke a token that was in one.",
    )
    BAD_QUERY = (
        "bad-query",
        400,
        "A query parameter makes no sense",
        "A parameter is unknown, repeated, out of bounds, or a cursor of another query. `errors` names each.",
    )
    UNAUTHENTICATED = (
        "unauthenticated",
        401,
        "Nothing shows who asks",
        "Send `Authorization: Bearer muster_…`, with a token that has neither ended nor been revoked.",
    )
    FORBIDDEN = (
        "forbidden",
        403,
        "This takes another role",
        "`role` is what the token may, `needed` what this takes. Ask an admin for such a token.",
    )
    CSRF = (
        "csrf",
        403,
        "A change has to come from our own page",
        "Only browsers meet it. Send `X-Muster-CSRF` with the `csrf` of `GET /api/v1/session`, from our own page.",
    )
    NOT_FOUND = (
        "not-found",
        404,
        "There is nothing at this path",
        "`/openapi.json` has every path that there is.",
    )
    CLUSTER_NOT_FOUND = (
        "cluster-not-found",
        404,
        "No cluster has this name or id",
        "`suggestions` has the names that are most alike. One that has left the fleet has a history by its id.",
    )
    TOKEN_NOT_FOUND = (
        "token-not-found",
        404,
        "No token has this id",
        "`GET /api/v1/tokens` has the ids.",
    )
    LOCATION_NOT_FOUND = (
        "location-not-found",
        404,
        "No backup location has this name or id",
        "`suggestions` has the names that are most alike. It may have been deleted: the audit log says by whom.",
    )
    PAIR_NOT_FOUND = (
        "pair-not-found",
        404,
        "This cluster does not use this backup location",
        "`GET /api/v1/locations/{location}` has the clusters that do. Assign the cluster, if it should.",
    )
    NO_INVENTORY = (
        "no-inventory",
        404,
        "The backup location has never been listed",
        "`POST /api/v1/locations/{location}/sync` lists it.",
    )
    METHOD_NOT_ALLOWED = (
        "method-not-allowed",
        405,
        "This path does not take this method",
        "The header `Allow` has the methods that it takes.",
    )
    SLOW_REQUEST = (
        "slow-request",
        408,
        "The request did not come in time",
        "Send the body at once: it has 10 s.",
    )
    AMBIGUOUS_CLUSTER = (
        "ambiguous-cluster",
        409,
        "Several clusters have this name",
        "`clusters` has each of them. Ask again with an id.",
    )
    ALREADY_PAUSED = (
        "already-paused",
        409,
        "The cluster is paused already",
        "`pause` is the one that there is. To change it, send its `etag` as `If-Match`.",
    )
    NOT_PAUSED = (
        "not-paused",
        409,
        "The cluster is not paused",
        "There is nothing to end: somebody was faster, or its time has run out.",
    )
    NOT_ASKED = (
        "not-asked",
        409,
        "Nothing asks this cluster",
        "No source has named it since this instance leads. `source_problems` of `/api/v1/fleet` says why.",
    )
    AGENT_NOT_FOUND = (
        "agent-not-found",
        404,
        "This cluster has no agent",
        "`GET /api/v1/agents` has those that are registered.",
    )
    AGENT_EXISTS = (
        "agent-exists",
        409,
        "The cluster has an agent already, or another cluster has this name",
        "Remove that one first, if its keys or its account have changed, or choose another name.",
    )
    TOO_MANY_AGENTS = (
        "too-many-agents",
        409,
        "No more agents can be registered",
        "There are ten thousand. Remove those of clusters that are gone.",
    )
    NOT_AN_AGENT = (
        "not-an-agent",
        403,
        "This is no registered agent",
        "For agents only. `detail` says what is registered, and whom the token is of; `muster clusters add` registers.",
    )
    ALREADY_EXISTS = (
        "already-exists",
        409,
        "There is one of this name already",
        "A token of this name still works. Revoke it first, or choose another name.",
    )
    TOO_MANY_TOKENS = (
        "too-many-tokens",
        409,
        "No more tokens can be made",
        "A thousand work. Revoke those that nobody needs.",
    )
    LOCATION_EXISTS = (
        "location-exists",
        409,
        "A backup location has this name",
        "Choose another name, or use that location: `location` is its id.",
    )
    BUCKET_SHARED = (
        "bucket-shared",
        409,
        "Another backup location has this bucket",
        "`locations` has their names. Assign one of those, or say `allow_shared` if two in one bucket are meant.",
    )
    TOO_MANY_LOCATIONS = (
        "too-many-locations",
        409,
        "No more backup locations can be made",
        "There are a thousand. Delete those that nobody uses.",
    )
    SYNC_BUSY = (
        "sync-busy",
        409,
        "The bucket is being listed already",
        "`holder` says since when, how far it is and how long it may take. Ask again then, or wait with `queue`.",
    )
    NO_SYNC_ASKER = (
        "no-sync-asker",
        409,
        "Nobody can list the backup location",
        "Install the agent in a cluster that uses it, or add its owner to `direct_owners`.",
    )
    LOCATION_IMMUTABLE = (
        "location-immutable",
        409,
        "Of a backup location only the assignment can be changed",
        "Make another location, assign the clusters to that, and delete this one.",
    )
    LOCATION_HELD = (
        "location-held",
        409,
        "Something still needs the backup location",
        "`holders` names each; `detail` says how they let go. Then delete it again.",
    )
    LOCATION_DELETING = (
        "location-deleting",
        409,
        "The backup location is being deleted",
        "Nothing can be assigned to it any more. Make another one.",
    )
    TELEMETRY_TERMS_CHANGED = (
        "telemetry-terms-changed",
        409,
        "What was read is not what there is now",
        "Read `GET /api/v1/telemetry/terms` again, and consent to that if you still mean it.",
    )
    TELEMETRY_IMPOSSIBLE = (
        "telemetry-impossible",
        409,
        "Telemetry can't do this now",
        "`detail` says why: a variable or a setting, no consent, or nobody on the other side. Nothing has changed.",
    )
    TELEMETRY_FILES = (
        "telemetry-files",
        409,
        "The files of telemetry can't be used",
        "`detail` names the file and the remedy. Whatever can't be read counts as off.",
    )
    IDEMPOTENCY_CONFLICT = (
        "idempotency-conflict",
        409,
        "This Idempotency-Key stands for another request",
        "Make a new key for each thing to be done. Or the first request is still under way: wait for it.",
    )
    PRECONDITION_FAILED = (
        "precondition-failed",
        412,
        "Somebody else has changed it meanwhile",
        "`pause` or `location` is what there is now. Look at it, and send its `etag` if you still mean it.",
    )
    TOO_LARGE = (
        "too-large",
        413,
        "The request is too large",
        "A body has 64 KiB at most, an agent's report 1 MiB.",
    )
    UNSUPPORTED_MEDIA_TYPE = (
        "unsupported-media-type",
        415,
        "The body is of another kind than asked for",
        "Send JSON in UTF-8, uncompressed, with `Content-Type: application/json`.",
    )
    WRONG_HOST = (
        "wrong-host",
        421,
        "This is not a name of this service",
        "Call the service by its address, or by a name from the setting `hosts`.",
    )
    BAD_BODY = (
        "bad-body",
        422,
        "The body makes no sense",
        "A field is unknown, missing or out of bounds: `errors` names each. Or it is no JSON: `line` and `column`.",
    )
    PRECONDITION_REQUIRED = (
        "precondition-required",
        428,
        "This has to say what it is based on",
        "Send the `etag` of what you have seen as `If-Match`; `*` for whatever there is.",
    )
    TOO_MANY_ATTEMPTS = (
        "too-many-attempts",
        429,
        "Too many wrong codes",
        "Wait for `Retry-After` seconds, or make a new code with `muster login`.",
    )
    TOO_MANY_REQUESTS = (
        "too-many-requests",
        429,
        "An agent asks too often",
        "For agents only. Wait for `Retry-After` seconds.",
    )
    KEYS_UNAVAILABLE = (
        "agent-keys-unavailable",
        503,
        "The keys of the agent's cluster can't be read",
        "For agents only. `detail` says why. Let the hub's account read `/openid/v1/jwks` there, or register the keys.",
    )
    DEFECT = (
        "defect",
        500,
        "Muster itself failed",
        "A mistake of Muster's. Report it with the log line that has the number in `incident`.",
    )
    NOT_LEADING = (
        "not-leading",
        503,
        "This instance has no picture of the fleet",
        "It starts, stands by or stops (`role`; `waiting_for`). Ask the instance that leads, or again later.",
    )
    BUSY = (
        "busy",
        503,
        "Too much is asked at once",
        "Wait for `Retry-After` seconds.",
    )
    STORE_UNAVAILABLE = (
        "store-unavailable",
        503,
        "The database does not answer",
        "`detail` has the cause. The picture goes on; history and changes wait. Ask again later.",
    )

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

    @property
    def remedy(self) -> str:
        """What to do, for the documentation; `detail` knows more of the case at hand."""
        return self.value[3]


_BY_STATUS = {
    404: Kind.NOT_FOUND,
    405: Kind.METHOD_NOT_ALLOWED,
    413: Kind.TOO_LARGE,
}


_HEADERS: Mapping[Kind, Mapping[str, str]] = {
    Kind.UNAUTHENTICATED: {"WWW-Authenticate": 'Bearer realm="muster"'},
    Kind.TOO_MANY_ATTEMPTS: {"Retry-After": "6"},
    Kind.TOO_MANY_REQUESTS: {"Retry-After": "1"},
    Kind.KEYS_UNAVAILABLE: {"Retry-After": "10"},
    Kind.NOT_LEADING: {"Retry-After": "2"},
    Kind.BUSY: {"Retry-After": "1"},
}
"""What goes with a problem of this kind besides its document."""


def kind_headers(kind: Kind) -> Mapping[str, str]:
    """Headers of every problem of this kind."""
    return _HEADERS.get(kind, {})


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
        return problem_response(error.kind, error.detail, **error.members)
    except StoreError as error:
        return problem_response(Kind.STORE_UNAVAILABLE, error.message)
    except web.HTTPException as error:
        return _from_aiohttp(request, error)
    except Exception as error:  # noqa: BLE001 - the last resort of one request; logged with its id, and the service goes on
        return defect(error, request.path)


def _from_aiohttp(request: web.Request, error: web.HTTPException) -> web.Response:
    kind = _BY_STATUS.get(error.status, Kind.BAD_REQUEST)
    if kind is Kind.NOT_FOUND:
        return problem_response(kind, f"{request.path[:200]} is no path of this service; /api/v1/fleet is one.")
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        response = problem_response(kind, f"{request.method} is not possible here; {allowed} is.")
        response.headers["Allow"] = allowed
        return response
    return problem_response(kind, error.reason)


def defect(error: BaseException | None, path: str) -> web.Response:
    """The answer to a mistake of ours: a number, by which the log has the rest."""
    number = str(uuid4())
    _log.error("API defect", path=path, incident=number, exc_info=error)
    return problem_response(Kind.DEFECT, f"Report it with the hub's log line of incident {number}.", incident=number)


def problem_response(kind: Kind, detail: str, **members: Any) -> web.Response:
    """The document of a problem."""
    problem = Problem(type=kind.type, title=kind.title, status=kind.status, detail=detail, **members)
    return web.Response(
        status=kind.status,
        body=problem.model_dump_json().encode(),
        content_type=CONTENT_TYPE,
        headers=kind_headers(kind),
    )
