"""What an agent sends, read and judged: pure, and hostile input from the first byte to the last.

A report as a whole can make no sense (`BadReport`: its sender need not send it again). A verdict or a sync in it that
makes none is refused by its index, and the others stand: an agent of a newer release knows checks and reasons that this
one does not.

Read by hand and not by pydantic: each item has to fail alone, with a sentence of its own, and texts have to be cleaned
anyway. Measured (decision 0011): 12 µs for a pass and 32 for a failure with its message, either way; 20 are scrubbing.

What is claimed can make a fact older, never younger: `age_s` is taken off the moment when the report arrived, and is
not below 0. `observed_at`, by the agent's clock, is shown and decides nothing.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NoReturn, TypeVar
from uuid import UUID

from collector.requests import ReportedSync, Request, RequestKind, SyncState
from validator.clean import MAX_EVIDENCE_CHARS, MAX_EVIDENCE_ITEMS, clean_evidence, clean_text
from validator.model import MAX_MESSAGE_CHARS, Check, Evidence, Outcome, Verdict
from validator.printable import printable
from validator.reasons import REASONS, Reason, Stage
from validator.schedule import Lane
from validator.scrub import scrub

MAX_REPORT_BYTES = 1024 * 1024
MAX_VERDICTS = 500
MAX_SYNCS = 10

MAX_AGE_S = 3600.0
"""An older fact is dropped: there has been time to ask again."""

MAX_PERIOD_S = 3600.0
"""Of what an agent says of its own period: a fact stands for some two hours at most."""

MAX_VERSION_CHARS = 64
METHOD = "agent"

OF_CLUSTER = frozenset({Check.WORKLOAD_IDENTITY})
"""What an agent may say of its cluster. What the hub sees for itself (how the API server answers, what Velero and Stork
say, whether the agent reports) it is not told: two who say different things would end each other's streaks. Which
cluster it is, is nothing that a cluster could vouch for."""

OF_UNREACHABLE = OF_CLUSTER | {Check.APISERVER, Check.VELERO, Check.STORK}
"""The same, of a cluster that the hub can't reach."""

OF_PAIR = frozenset({Check.LOCATION, Check.OBJECT_LOCK, Check.BACKUPS, Check.MISSING_FILES})

_PLAIN = re.compile(r"[A-Za-z0-9._/-]{0,19}").fullmatch
"""Too short and too plain for a secret; nearly all of the evidence is, and scrubbing takes ten times as long."""

E = TypeVar("E", bound=StrEnum)


class BadReport(ValueError):  # noqa: N818 - what it is, not what it does
    """The report as a whole makes no sense."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class Refused(Exception):  # noqa: N818 - an answer, not an error
    """One item is not taken."""


@dataclass(frozen=True, slots=True)
class Report:
    """The envelope; its items are not looked at yet."""

    boot: UUID
    sequence: int
    sent_at: float
    """The agent's clock."""
    version: str
    dropped: int
    verdicts: Sequence[Any]
    syncs: Sequence[Any]


@dataclass(frozen=True, slots=True)
class Arrival:
    """What the hub itself knows when a report comes."""

    cluster_id: UUID
    at: float
    """Hub clock: when its first byte came. What the body took to come makes its facts older."""
    spare_s: float
    """Of an allowance, beside the period: the agent's timeout and its heartbeat."""
    of_cluster: frozenset[Check]
    is_assigned: Callable[[UUID], bool]
    """Whether the cluster uses this location."""
    request: Callable[[UUID | None], Request | None]


@dataclass(frozen=True, slots=True)
class Taken:
    """What of a report is believed."""

    verdicts: tuple[tuple[Verdict, Request | None], ...]
    """With the request that each answers."""
    syncs: tuple[tuple[Request, ReportedSync], ...]
    refused: tuple[tuple[int, str], ...]
    """Index and reason; of syncs the index goes on after the last verdict's."""


Judging = Generator[None, None, Taken]


def read_report(raw: bytes) -> Report:
    """The envelope. Raises `BadReport`."""
    try:
        body = json.loads(raw.decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise BadReport("body", "no JSON in UTF-8 that could be read") from None
    if not isinstance(body, dict):
        raise BadReport("body", "no JSON object")
    agent = body.get("agent", {})
    version = agent.get("version", "") if isinstance(agent, dict) else ""
    return Report(
        boot=_of_report(body, "boot", _uuid),
        sequence=_of_report(body, "sequence", lambda value: _whole(value, 1, 2**53)),
        sent_at=_of_report(body, "sent_at", lambda value: _number(value, 0.0, 1e11)),
        version=_text(version, MAX_VERSION_CHARS),
        dropped=_of_report({"dropped": 0, **body}, "dropped", lambda value: _whole(value, 0, 2**53)),
        verdicts=_list(body, "verdicts", MAX_VERDICTS),
        syncs=_list(body, "syncs", MAX_SYNCS),
    )


def judge(report: Report, arrival: Arrival) -> Taken:
    """Take what can be believed. 12 to 32 µs a verdict."""
    steps = judging(report, arrival)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            taken: Taken = end.value
            return taken


def judging(report: Report, arrival: Arrival) -> Judging:
    """The same in steps of one item each: one that is made to be costly takes some ms, and a report has 510."""
    verdicts: list[tuple[Verdict, Request | None]] = []
    syncs: list[tuple[Request, ReportedSync]] = []
    refused: list[tuple[int, str]] = []
    for index, item in enumerate(report.verdicts):
        try:
            verdicts.append(_verdict(item, arrival))
        except Refused as why:
            refused.append((index, str(why)))
        yield
    for index, item in enumerate(report.syncs, len(report.verdicts)):
        try:
            syncs.append(_sync(item, arrival))
        except Refused as why:
            refused.append((index, str(why)))
        yield
    return Taken(tuple(verdicts), tuple(syncs), tuple(refused))


def _verdict(item: object, arrival: Arrival) -> tuple[Verdict, Request | None]:
    if not isinstance(item, dict):
        raise Refused("no JSON object")
    given = item.get
    check, outcome = _one_of(Check, item, "check"), _one_of(Outcome, item, "outcome")
    location_id = None if given("location_id") is None else _field(item, "location_id", _uuid)
    if location_id is not None and not arrival.is_assigned(location_id):
        raise Refused("not assigned: this cluster does not use the location")
    if check not in (arrival.of_cluster if location_id is None else OF_PAIR):
        raise Refused(f"check: {check} is nothing that an agent may say of its {'pair' if location_id else 'cluster'}")
    reason = None if given("reason") is None else _one_of(Reason, item, "reason")
    if (reason is None) != (outcome is Outcome.PASS):
        raise Refused("reason: a pass has none, and everything else has one")
    age_s = _field(item, "age_s", lambda value: _number(value, 0.0, math.inf))
    if age_s > MAX_AGE_S:
        raise Refused(f"age_s: older than {MAX_AGE_S:g} s, and dropped")
    received_at = arrival.at - age_s
    period_s = _field(item, "period_s", lambda value: _number(value, 0.0, math.inf))
    verdict = Verdict(
        check=check,
        cluster_id=arrival.cluster_id,
        outcome=outcome,
        observed_at=min(received_at, _field(item, "observed_at", lambda value: _number(value, 0.0, 1e11))),
        received_at=received_at,
        duration_s=_span(item, "duration_s"),
        lateness_s=_span(item, "lateness_s"),
        allowance_s=2.1 * min(max(period_s, 1.0), MAX_PERIOD_S) + arrival.spare_s,
        lane=Lane.DEAD if given("lane") == Lane.DEAD else Lane.LIVE,
        skipped_ticks=_field({"skipped_ticks": 0, **item}, "skipped_ticks", lambda value: _whole(value, 0, 2**31)),
        reason=reason,
        stage=_stage(item, reason),
        message=_text(given("message"), MAX_MESSAGE_CHARS),
        evidence=_evidence(given("evidence")),
        location_id=location_id,
    )
    request = arrival.request(_maybe_uuid(given("request")))
    answers = request is not None and (request.cluster_id, request.location_id, request.kind) == (
        arrival.cluster_id,
        location_id,
        RequestKind.VALIDATE,
    )
    return verdict, request if answers else None


def _sync(item: object, arrival: Arrival) -> tuple[Request, ReportedSync]:
    if not isinstance(item, dict):
        raise Refused("no JSON object")
    request = arrival.request(_maybe_uuid(item.get("request")))
    if request is None or request.kind is not RequestKind.SYNC or request.cluster_id != arrival.cluster_id:
        raise Refused("request: nobody waits for this sync of this cluster")
    if request.location_id != _maybe_uuid(item.get("location_id")) or not arrival.is_assigned(request.location_id):
        raise Refused("not assigned: this cluster does not use the location")
    inventory, of = item.get("inventory"), item.get("of")
    if inventory is not None and not isinstance(inventory, dict):
        raise Refused("inventory: no JSON object")
    return request, ReportedSync(
        state=_one_of(SyncState, item, "state"),
        reason=None if item.get("reason") is None else _one_of(Reason, item, "reason"),
        message=_text(item.get("message"), MAX_MESSAGE_CHARS),
        listed=_field({"listed": 0, **item}, "listed", lambda value: _whole(value, 0, 2**53)),
        of=None if of is None else _field(item, "of", lambda value: _whole(value, 0, 2**53)),
        inventory=inventory,
    )


# -- fields


def _of_report(body: Mapping[str, Any], name: str, read: Callable[[object], Any]) -> Any:
    try:
        return read(body.get(name))
    except Refused as why:
        raise BadReport(name, str(why)) from None


def _field(item: Mapping[str, Any], name: str, read: Callable[[object], Any]) -> Any:
    try:
        return read(item.get(name))
    except Refused as why:
        raise Refused(f"{name}: {why}") from None


def _list(body: Mapping[str, Any], name: str, most: int) -> Sequence[Any]:
    found = body.get(name, [])
    if not isinstance(found, list):
        raise BadReport(name, "no list")
    if len(found) > most:
        raise BadReport(name, f"{len(found)} items, and {most} are taken; send the rest in another report")
    return found


def _one_of(kind: type[E], item: Mapping[str, Any], name: str) -> E:
    value = item.get(name)
    try:
        return kind(str(value))
    except ValueError:
        shown = repr(printable(value, 64)) if isinstance(value, str) else "what is there"
        raise Refused(f"{name}: {shown} is none that this hub knows") from None


def _uuid(value: object) -> UUID:
    if (found := _maybe_uuid(value)) is None:
        raise Refused("no UUID")
    return found


def _maybe_uuid(value: object) -> UUID | None:
    try:
        return UUID(value) if isinstance(value, str) and len(value) == 36 else None
    except ValueError:
        return None


def _number(value: object, least: float, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise Refused(f"no number of at least {least:g}" + ("" if math.isinf(most) else f" and at most {most:g}"))
    return float(min(value, 1e300))


def _whole(value: object, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise Refused(f"no whole number from {least} to {most}")
    return value


def _span(item: Mapping[str, Any], name: str) -> float:
    """A duration that is shown: bounded by a day, 0 where it is not given."""
    value: float = _field({name: 0.0, **item}, name, lambda given: _number(given, 0.0, math.inf))
    return min(value, 86_400.0)


def _stage(item: Mapping[str, Any], reason: Reason | None) -> Stage | None:
    """As told, where it is one; else the reason's own."""
    if reason is None:
        return None
    try:
        return Stage(str(item.get("stage")))
    except ValueError:
        return REASONS[reason].stage


def _text(value: object, limit: int) -> str:
    """Bounded before anything looks at it: a pattern over a megabyte is not cheap."""
    return clean_text(scrub(value[: 4 * limit]), limit) if isinstance(value, str) and value else ""


def _evidence(value: object) -> Evidence:
    """Flat, clean, and with the method that is ours to say."""
    kept: dict[str, str | int | float | bool] = {"method": METHOD}
    if isinstance(value, dict):
        for key, each in list(value.items())[:MAX_EVIDENCE_ITEMS]:
            if isinstance(each, str):
                kept[key] = each if _PLAIN(each) else scrub(each[: 2 * MAX_EVIDENCE_CHARS])
            elif isinstance(each, int | float):
                kept[key] = each
        kept["method"] = METHOD
    return clean_evidence(kept)


def _no_constant(text: str) -> NoReturn:
    raise ValueError(text)
