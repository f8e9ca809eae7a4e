"""The documents between agent and hub (version 1), as the agent reads and writes them. Pure.

The hub is believed as little as it believes the agent: every field has a bound, what is wrong with one location stands
in the way of none of the others, and fields that this release does not know are ignored.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from validator.agent.fields import Fields, WireError, parsed
from validator.locations import MAX_TYPED_CHARS, Environment, Location, Provider
from validator.model import Verdict
from validator.net.failure import ProbeFailure
from validator.printable import printable
from validator.reasons import Reason, Stage

MAX_LOCATIONS = 1000
MAX_REQUESTS = 200
MAX_VERDICTS = 500
"""Of one report."""
MAX_SYNCS = 10
"""Of one report."""
MAX_REPORT_BYTES = 1024 * 1024
MAX_VERSION_CHARS = 64

AUTHORITIES = ("authority", "authority_host", "token_url", "sts_endpoint", "metadata_host")
"""Fields that no hub of ours sends: whoever names another place to exchange the pod's token at wants that token."""


class RequestKind(StrEnum):
    """What a person asks for through the hub."""

    VALIDATE = "validate"
    SYNC = "sync"


@dataclass(frozen=True, slots=True)
class Request:
    """One such wish; listed in every assignment until it is answered or withdrawn."""

    id: UUID
    kind: RequestKind
    location_id: UUID


@dataclass(frozen=True, slots=True)
class Refused:
    """A location that is not asked about, and what is reported in place of an answer."""

    id: UUID
    name: str
    why: ProbeFailure


@dataclass(frozen=True, slots=True)
class Pacing:
    """How often to ask and to report."""

    interval_s: float
    timeout_s: float
    heartbeat_s: float


@dataclass(frozen=True, slots=True)
class Assignment:
    """What this agent shall ask about. Replaces the one before as a whole."""

    version: str
    pacing: Pacing
    locations: tuple[Location | Refused, ...] = ()
    requests: tuple[Request, ...] = ()
    problems: tuple[str, ...] = ()
    """Entries that could not be used at all."""


class SyncState(StrEnum):
    """How far a sync has come."""

    IN_PROGRESS = "InProgress"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True)
class SyncReport:
    """The newest word on one sync."""

    request: UUID
    location_id: UUID
    state: SyncState
    reason: Reason | None = None
    message: str = ""
    listed: int = 0
    of: int | None = None
    """How many there are to list, where that is known."""
    inventory: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """The hub's answer to a report."""

    accepted: int
    refused: tuple[str, ...]
    """Why, of the first few."""
    duplicate: bool


# -- what comes


def read_assignment(body: bytes, cluster_id: UUID) -> Assignment:
    """Raises `WireError` where the document as a whole can't be used, or is another cluster's."""
    fields = parsed(body, "the assignment")
    if fields.inner("cluster").uuid("id") != cluster_id:
        raise fields.error("cluster.id", "is another cluster's")
    interval_s = fields.number("interval_s", 1, 86_400)
    pacing = Pacing(
        interval_s=interval_s,
        timeout_s=fields.number("timeout_s", 0.1, min(interval_s, 300)),
        heartbeat_s=fields.number("heartbeat_s", 0.1, 600),
    )
    problems: list[str] = []
    locations = dict[UUID, Location | Refused]()
    for number, entry in enumerate(fields.items("locations", MAX_LOCATIONS)):
        try:
            location = _location(Fields.of(entry, f"locations.{number}", f"locations.{number}."))
            locations[location.id] = location
        except WireError as error:
            problems.append(str(error))
    requests: list[Request] = []
    for number, entry in enumerate(fields.items("requests", MAX_REQUESTS)):
        try:
            requests.append(_request(Fields.of(entry, f"requests.{number}", f"requests.{number}.")))
        except WireError as error:
            problems.append(str(error))
    version = fields.text("version", MAX_VERSION_CHARS)
    return Assignment(version, pacing, tuple(locations.values()), tuple(requests), tuple(problems))


def _location(fields: Fields) -> Location | Refused:
    """The location, or why it is refused. Raises `WireError` where not even its id is known."""
    location_id, name = fields.uuid("id"), fields.text("name", MAX_TYPED_CHARS)
    for key in AUTHORITIES:
        if fields.has(key):
            text = f"the hub names an authority of its own ({key}); authorities are the agent's own; nothing was sent"
            return Refused(location_id, name, ProbeFailure(Reason.ENDPOINT_REFUSED, text))
    try:
        provider = fields.choice("provider", Provider)
    except WireError as error:
        return Refused(location_id, name, _unfit(error))
    try:
        environment = fields.choice("environment", Environment) if fields.has("environment") else None
    except WireError as error:
        text = f"{error}: it is not among the clouds of this agent; nothing was sent"
        return Refused(location_id, name, ProbeFailure(Reason.ENDPOINT_REFUSED, text))
    try:
        return Location(
            id=location_id,
            name=name,
            provider=provider,
            container=fields.text("container", MAX_TYPED_CHARS),
            account=fields.text_or_none("account", MAX_TYPED_CHARS),
            environment=environment,
            resource_group=fields.text_or_none("resource_group", MAX_TYPED_CHARS),
            subscription_id=fields.text_or_none("subscription_id", MAX_TYPED_CHARS),
            region=fields.text_or_none("region", MAX_TYPED_CHARS),
            endpoint=fields.text_or_none("endpoint", MAX_TYPED_CHARS),
            path_style=fields.flag("path_style"),
            write_probe=fields.flag("write_probe"),
        )
    except WireError as error:
        return Refused(location_id, name, _unfit(error))


def _unfit(error: WireError) -> ProbeFailure:
    return ProbeFailure(Reason.INVALID_LOCATION_NAME, f"{error}; a newer agent may know it", Stage.STORAGE)


def _request(fields: Fields) -> Request:
    return Request(fields.uuid("id"), fields.choice("kind", RequestKind), fields.uuid("location_id"))


def read_told(body: bytes) -> Told:
    """Tolerant: the status alone says what becomes of the report."""
    try:
        fields = parsed(body, "the answer")
        refused = [
            f"{entry.number('index', 0, MAX_VERDICTS):.0f}: {entry.text('why', MAX_TYPED_CHARS)}"
            for entry in (Fields.of(each, "refused") for each in fields.items("refused", MAX_VERDICTS)[:5])
        ]
        return Told(int(fields.number("accepted", 0, MAX_VERDICTS)), tuple(refused), fields.flag("duplicate"))
    except WireError as error:
        return Told(0, (printable(str(error)),), duplicate=False)


# -- what goes


def verdict_json(verdict: Verdict, *, age_s: float, sent_at: float, period_s: float, request: UUID | None) -> bytes:
    """One verdict. Cleaned where it was made; its age is of the moment of sending."""
    return encoded(
        {
            "location_id": None if verdict.location_id is None else str(verdict.location_id),
            "check": verdict.check,
            "outcome": verdict.outcome,
            "reason": verdict.reason,
            "stage": verdict.stage,
            "message": verdict.message,
            "evidence": dict(verdict.evidence),
            "observed_at": round(sent_at - age_s, 3),
            "age_s": round(age_s, 3),
            "duration_s": round(verdict.duration_s, 6),
            "lateness_s": round(verdict.lateness_s, 6),
            "period_s": round(period_s, 3),
            "skipped_ticks": verdict.skipped_ticks,
            "lane": verdict.lane,
            "request": None if request is None else str(request),
        }
    )


def sync_json(sync: SyncReport) -> bytes:
    """One word on a sync."""
    return encoded(
        {
            "request": str(sync.request),
            "location_id": str(sync.location_id),
            "state": sync.state,
            "reason": sync.reason,
            "message": sync.message,
            "listed": sync.listed,
            "of": sync.of,
            "inventory": sync.inventory,
        }
    )


def report_json(head: Mapping[str, Any], verdicts: Iterable[bytes], syncs: Iterable[bytes]) -> bytes:
    """The whole report, of parts that are encoded already: their sizes decide how many fit."""
    return b'%b,"verdicts":[%b],"syncs":[%b]}' % (encoded(head)[:-1], b",".join(verdicts), b",".join(syncs))


def encoded(value: Mapping[str, Any]) -> bytes:
    """JSON as it travels: no spaces, UTF-8. Raises ValueError for what is no JSON (NaN)."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "replace")
