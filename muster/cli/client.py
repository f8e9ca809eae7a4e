"""Asks the running service: one method for each thing that can be asked, documents in and out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote
from uuid import uuid4

from pydantic import BaseModel, ValidationError

from muster.api import schemas
from muster.cli.errors import BadServer, Lost, NotReachable, Refused
from muster.cli.sse import Event, events_of
from muster.cli.transport import Answer, Query, Request, Transport

__all__ = ["BadServer", "Client", "NotReachable", "Refused", "as_json"]

PAGE = 1000
"""Clusters, or lines of history, in one request."""

MATRIX_PAGE = 5000
"""Cells of the matrix in one request."""

SILENCE_S = 60.0
"""Longest silence on `/api/v1/events` before the connection is taken for dead; a heartbeat comes every 15 s."""

SPARE_S = 10.0
"""On top of the time that a validation may take: for the service to say that it took too long."""

LOG_LEVEL = "/api/v1/log-level"

LOCATIONS = "/api/v1/locations"

TELEMETRY = "/api/v1/telemetry"
AGENTS = "/api/v1/agents"

ASSIGNED_AT_ONCE = 500
"""Clusters in one request: as ids 20 KB, of the 64 KB that a body may have."""

M = TypeVar("M", bound=BaseModel)


class Client:
    """One service. Raises `BadServer`; its methods raise `NotReachable` and `Refused`."""

    def __init__(self, server: str, token_file: Path | None = None, ca_file: Path | None = None) -> None:
        self.transport = Transport(server, token_file, ca_file)

    @property
    def url(self) -> str:
        """Of the service."""
        return self.transport.url

    # -- what is known

    def fleet(self) -> schemas.Fleet:
        """The fleet in numbers."""
        return self._get(schemas.Fleet, "/api/v1/fleet")

    def page(self, limit: int, query: Query = (), after: str | None = None) -> schemas.ClusterPage:
        """One page of clusters, those that need attention first."""
        more = [("after", after)] if after else []
        return self._get(schemas.ClusterPage, "/api/v1/clusters", [*query, *more, ("limit", limit)])

    def pages(self, query: Query = ()) -> Iterator[schemas.ClusterPage]:
        """All pages."""
        page = self.page(PAGE, query)
        yield page
        while page.next is not None:
            page = self.page(PAGE, query, page.next)
            yield page

    def cluster(self, name: str) -> schemas.ClusterDetail:
        """One cluster by name, other name, or id."""
        return self._get(schemas.ClusterDetail, _cluster(name))

    def transitions(self, name: str | None, limit: int, before: int | None = None) -> schemas.TransitionPage:
        """Transitions, newest first, of one cluster or of all."""
        path = "/api/v1/transitions" if name is None else f"{_cluster(name)}/history"
        return self._get(schemas.TransitionPage, path, _given(limit=limit, before=before))

    def availability(self, name: str | None, query: Query) -> schemas.Availability:
        """Of one cluster, or of the fleet; `query` is `from`, `to` and `step`."""
        path = "/api/v1/availability" if name is None else f"{_cluster(name)}/availability"
        return self._get(schemas.Availability, path, query)

    @contextmanager
    def events(self, after: str | None, query: Query = (), silence_s: float = SILENCE_S) -> Iterator[Iterator[Event]]:
        """What changes, from now on or since the event `after`, for as long as the connection holds."""
        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": after} if after else {})}
        request = Request("GET", "/api/v1/events", query, headers=headers)
        with self.transport.stream(request, "text/event-stream", silence_s, None) as stream:
            if stream.answer is not None:
                raise self._unexpected(stream.answer)
            yield events_of(stream.lines())

    # -- what is done

    def validate(self, name: str, timeout_s: float) -> Iterator[schemas.ValidateEvent]:
        """Ask a cluster now: the lines of the answer as they come, the last of them `done` or `late`."""
        body, headers = {"timeout_s": timeout_s}, {"Accept": "application/x-ndjson"}
        request = Request("POST", f"{_cluster(name)}/validate", body=body, headers=headers)
        whole_s = timeout_s + SPARE_S
        with self.transport.stream(request, "application/x-ndjson", whole_s, whole_s) as stream:
            if stream.answer is not None:
                raise self._unexpected(stream.answer)
            for line in filter(None, stream.lines()):
                event = self._read(schemas.ValidateEvent, line)
                yield event
                if event.event in {"done", "late"}:
                    return
        raise Lost(f"{self.url} broke off before the validation had ended")

    def pause(self, name: str, reason: str, until: datetime | None, *, change: bool = False) -> schemas.ClusterDetail:
        """Take a cluster out of judgement; with `change` a pause that is there gets this reason and end.

        Where the answer is lost on the way it is asked for again, under the same key.
        """
        body = {"reason": reason, "until": None if until is None else until.isoformat()}
        headers = {"Idempotency-Key": str(uuid4()), **({"If-Match": "*"} if change else {})}
        request = Request("POST", f"{_cluster(name)}/pause", body=body, headers=headers)
        try:
            return self._changed(schemas.ClusterDetail, request)
        except Lost:
            return self._changed(schemas.ClusterDetail, request)

    def resume(self, name: str) -> schemas.ClusterDetail:
        """Judge it again."""
        return self._changed(schemas.ClusterDetail, Request("POST", f"{_cluster(name)}/resume"))

    # -- backup locations

    def location_pages(self, query: Query = ()) -> Iterator[schemas.LocationPage]:
        """All pages, by name."""
        after: str | None = None
        while True:
            page = self._get(schemas.LocationPage, LOCATIONS, [*query, *_given(limit=PAGE, after=after)])
            yield page
            if (after := page.next) is None:
                return

    def matrix_pages(self, query: Query = (), limit: int = MATRIX_PAGE) -> Iterator[schemas.MatrixPage]:
        """All pages of the matrix, of `limit` cells each."""
        after: str | None = None
        while True:
            page = self._get(schemas.MatrixPage, "/api/v1/matrix", [*query, *_given(limit=limit, after=after)])
            yield page
            if (after := page.next) is None:
                return

    def location(self, name: str) -> schemas.LocationDetail:
        """One location by name or id."""
        return self._get(schemas.LocationDetail, _location(name))

    def create_location(self, wanted: Mapping[str, Any]) -> schemas.LocationDetail:
        """Make one. Where the answer is lost on the way it is asked for again, under the same key."""
        request = Request("POST", LOCATIONS, body=wanted, headers={"Idempotency-Key": str(uuid4())})
        try:
            return self._changed(schemas.LocationDetail, request)
        except Lost:
            return self._changed(schemas.LocationDetail, request)

    def reassign_location(self, name: str, add: Sequence[str], remove: Sequence[str]) -> schemas.LocationDetail:
        """Assign it to clusters and take it from others, as many at a time as the service takes."""
        changes = [{"add": list(some)} for some in _portions(add)] + [{"remove": list(r)} for r in _portions(remove)]
        answer: schemas.LocationDetail | None = None
        for body in changes:
            answer = self._changed(schemas.LocationDetail, Request("PATCH", f"{_location(name)}/assignment", body=body))
        return self.location(name) if answer is None else answer

    def validate_location(self, name: str, clusters: Sequence[str]) -> schemas.ValidationsAsked:
        """Begin validation jobs, or join those under way; without clusters from all that use it."""
        body = {"clusters": list(clusters)} if clusters else {}
        return self._changed(schemas.ValidationsAsked, Request("POST", f"{_location(name)}/validate", body=body))

    def validations(self, name: str, states: Sequence[str] = ()) -> Iterator[schemas.ValidationJob]:
        """The last validation jobs of a location, or those of them in these states."""
        after: str | None = None
        while True:
            query = [*(("state", each) for each in states), *_given(limit=PAGE, after=after)]
            page = self._get(schemas.ValidationJobPage, f"{_location(name)}/validations", query)
            yield from page.validations
            if (after := page.next) is None:
                return

    def sync_location(self, name: str, cluster: str | None, *, queue: bool) -> schemas.Sync:
        """List its backups now, by the agent of this cluster or by whoever can."""
        body = {"queue": queue, **({} if cluster is None else {"cluster": cluster})}
        return self._changed(schemas.Sync, Request("POST", f"{_location(name)}/sync", body=body))

    def sync_status(self, name: str) -> schemas.SyncStatus:
        """How its sync stands."""
        return self._get(schemas.SyncStatus, f"{_location(name)}/sync")

    def location_inventory(self, name: str) -> schemas.Inventory:
        """Which backups it has."""
        return self._get(schemas.Inventory, f"{_location(name)}/inventory")

    def delete_location(self, name: str, *, force: bool = False) -> schemas.LocationDetail:
        """Begin to delete what is known of it; with `force` also where a cluster can't be asked."""
        query = (("force", "true"),) if force else ()
        return self._changed(schemas.LocationDetail, Request("DELETE", _location(name), query))

    # -- agents

    def agent_pages(self) -> Iterator[schemas.AgentPage]:
        """All pages, by cluster."""
        after: str | None = None
        while True:
            page = self._get(schemas.AgentPage, AGENTS, _given(limit=PAGE, after=after))
            yield page
            if (after := page.next) is None:
                return

    def register_agent(self, wanted: Mapping[str, Any]) -> schemas.AgentDetail:
        """Have an agent's reports taken. Where the answer is lost it is asked for again, under the same key."""
        request = Request("POST", AGENTS, body=wanted, headers={"Idempotency-Key": str(uuid4())})
        try:
            return self._changed(schemas.AgentDetail, request)
        except Lost:
            return self._changed(schemas.AgentDetail, request)

    def remove_agent(self, cluster: str) -> schemas.Agent:
        """Have them taken no more."""
        return self._changed(schemas.Agent, Request("DELETE", f"{AGENTS}/{quote(cluster, safe='')}"))

    # -- who may

    def tokens(self) -> schemas.TokenPage:
        """All tokens, newest first."""
        return self._get(schemas.TokenPage, "/api/v1/tokens")

    def create_token(self, name: str, role: str, expires_in_s: int | None) -> schemas.TokenCreated:
        """A new one, with its secret. None = it never expires."""
        body = {"name": name, "role": role, "expires_in_s": expires_in_s}
        try:
            return self._changed(schemas.TokenCreated, Request("POST", "/api/v1/tokens", body=body))
        except Lost as error:  # the service keeps no secret, so it could not say it again
            remedy = f"If `muster token list` has {name}, revoke it: nobody knows its secret. Then make it again."
            raise NotReachable(str(error), remedy) from None

    def revoke_token(self, token_id: str) -> schemas.Token:
        """It works no more."""
        return self._changed(schemas.Token, Request("DELETE", f"/api/v1/tokens/{quote(token_id, safe='')}"))

    def audit(self, limit: int, before: int | None, query: Query = ()) -> schemas.AuditPage:
        """Writes, newest first."""
        return self._get(schemas.AuditPage, "/api/v1/audit", [*query, *_given(limit=limit, before=before)])

    def login_code(self) -> schemas.SessionCode:
        """A one-time code that a browser exchanges for a session."""
        return self._changed(schemas.SessionCode, Request("POST", "/api/v1/session/code"))

    # -- telemetry

    def telemetry(self) -> schemas.Telemetry:
        """Whether anything leaves."""
        return self._get(schemas.Telemetry, TELEMETRY)

    def telemetry_terms(self) -> schemas.TelemetryTerms:
        """What somebody consents to."""
        return self._get(schemas.TelemetryTerms, f"{TELEMETRY}/terms")

    def telemetry_preview(self, stream: str, *, raw: bool) -> schemas.TelemetryPreview:
        """The next batch of a stream."""
        query = [("stream", stream), ("raw", "true" if raw else "false")]
        return self._get(schemas.TelemetryPreview, f"{TELEMETRY}/preview", query)

    def telemetry_on(self, wanted: Mapping[str, Any]) -> schemas.Telemetry:
        """Consent."""
        return self._changed(schemas.Telemetry, Request("PUT", TELEMETRY, body=wanted))

    def telemetry_off(self, streams: Sequence[str]) -> schemas.Telemetry:
        """Off, or only these streams. Where the answer is lost on the way it is asked for again."""
        query = [("interface", "cli"), *(("stream", stream) for stream in streams)]
        request = Request("DELETE", TELEMETRY, query)
        try:
            return self._changed(schemas.Telemetry, request)
        except Lost:
            return self._changed(schemas.Telemetry, request)

    def telemetry_forget(self) -> schemas.Telemetry:
        """Have the other side delete what it has, then off."""
        return self._changed(schemas.Telemetry, Request("POST", f"{TELEMETRY}/forget"))

    def telemetry_audit(self) -> schemas.TelemetryAudit:
        """Who switched what."""
        return self._get(schemas.TelemetryAudit, f"{TELEMETRY}/audit")

    def telemetry_export(self) -> bytes:
        """A file for the receiver."""
        answer = self.transport.ask(Request("POST", f"{TELEMETRY}/export"))
        if answer.status != 200 or answer.content_type != "application/x-ndjson":
            raise self._unexpected(answer)
        return answer.body

    # -- the service itself

    def log_level(self) -> schemas.LogLevel:
        """How much it logs."""
        return self._get(schemas.LogLevel, LOG_LEVEL)

    def set_log_level(self, level: str) -> schemas.LogLevel:
        """Change that until it ends."""
        return self._changed(schemas.LogLevel, Request("PUT", LOG_LEVEL, body={"level": level}))

    # -- how

    def _get(self, kind: type[M], path: str, query: Query = ()) -> M:
        answer = self.transport.ask(Request("GET", path, query))
        if answer.status != 200 or answer.content_type != "application/json":
            raise self._unexpected(answer)
        return self._read(kind, answer.body)

    def _changed(self, kind: type[M], request: Request) -> M:
        answer = self.transport.ask(request)
        if not 200 <= answer.status < 300 or answer.content_type != "application/json":
            raise self._unexpected(answer)
        return self._read(kind, answer.body)

    def _read(self, kind: type[M], body: bytes | str) -> M:
        try:
            return kind.model_validate_json(body)
        except ValidationError as error:
            fields = ", ".join(".".join(map(str, e["loc"])) for e in error.errors()[:3])
            raise NotReachable(
                f"the answer of {self.url} can't be read ({fields}): it is of another release of Muster"
            ) from None

    def _unexpected(self, answer: Answer) -> Exception:
        """What to raise for an answer that is not the one that was asked for."""
        if answer.content_type == "application/problem+json":
            return Refused(self._read(schemas.Problem, answer.body))
        if 300 <= answer.status < 400:
            elsewhere = answer.headers.get("Location", "elsewhere")
            return NotReachable(
                f"{self.url} redirects to {elsewhere[:200]}",
                "Redirects are not followed: the token is meant for this address. If that is the service, name it with"
                " --server.",
            )
        return NotReachable(
            f"what answers at {self.url} is not Muster: {answer.status} {answer.content_type or 'without a type'}"
        )


def _cluster(name: str) -> str:
    return f"/api/v1/clusters/{quote(name, safe='')}"


def _location(name: str) -> str:
    return f"{LOCATIONS}/{quote(name, safe='')}"


def _portions(names: Sequence[str]) -> Iterator[Sequence[str]]:
    for begin in range(0, len(names), ASSIGNED_AT_ONCE):
        yield names[begin : begin + ASSIGNED_AT_ONCE]


def _given(**parameters: object) -> Sequence[tuple[str, object]]:
    return [(name, value) for name, value in parameters.items() if value is not None]


def as_json(document: BaseModel) -> Any:
    """A document as plain data."""
    return json.loads(document.model_dump_json())
