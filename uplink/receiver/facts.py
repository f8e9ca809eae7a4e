"""What a batch says, for the support view; and whose it is, written over what it claims. Pure.

A hostile megabyte may hold half a million empty points: everything that is walked is counted first.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric, NumberDataPoint
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from uplink.wire import names
from uplink.wire.errors import TooLarge
from uplink.wire.otlp import Request
from validator.clean import clean_text

MAX_RESOURCES = 1000
"""In one batch: ours has one for the service, and perhaps one a cluster."""
MAX_ITEMS = 50_000
"""Scopes, metrics, points and records in one batch. A megabyte of honest ones has 10,000."""
MAX_ATTRIBUTES = 32
"""Of one cluster or record that are kept for the view; the batch itself keeps all."""
MAX_KEY_CHARS = 100
MAX_VALUE_CHARS = 300
MAX_BODY_CHARS = 2000
MAX_UID_CHARS = 100

BEHIND_S = 400 * 86_400.0
AHEAD_S = 86_400.0
"""A client's clock is taken for a moment between these; else it is when we received it."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Rows for the database, as it takes them."""

    clusters: list[dict[str, Any]] = field(default_factory=list)
    health: list[dict[str, Any]] = field(default_factory=list)
    logs: list[dict[str, Any]] = field(default_factory=list)
    items: int = 0
    """Points or records in the batch; 0 = it is empty."""


def stamp(request: Request, organisation: str, installation: UUID) -> None:
    """Write into every resource whose it is, in place of what it says. Raises `TooLarge`."""
    parts = _resources(request)
    if len(parts) > MAX_RESOURCES:
        raise TooLarge(f"the batch has more than {MAX_RESOURCES} resources")
    for resource in parts:
        others = [each for each in resource.attributes if each.key not in (names.ORGANISATION, names.INSTALLATION)]
        ours = (
            KeyValue(key=names.ORGANISATION, value=AnyValue(string_value=organisation)),
            KeyValue(key=names.INSTALLATION, value=AnyValue(string_value=str(installation))),
        )
        kept = Resource(attributes=[*others, *ours], dropped_attributes_count=resource.dropped_attributes_count)
        resource.CopyFrom(kept)


def read_facts(request: Request, now: float) -> Facts:
    """Clusters, their health, and log records. Raises `TooLarge`."""
    if isinstance(request, ExportMetricsServiceRequest):
        return _of_metrics(request, now)
    records: list[dict[str, Any]] = []
    count = 0
    for resource in request.resource_logs:
        for scope in resource.scope_logs:
            count = _counted(count, 1 + len(scope.log_records))
            records += [_log(record, now) for record in scope.log_records]
    return Facts(logs=records, items=len(records))


def _of_metrics(request: ExportMetricsServiceRequest, now: float) -> Facts:
    clusters: dict[str, dict[str, Any]] = {}
    health: dict[tuple[str, float], str] = {}
    count = points = 0
    for resource in request.resource_metrics:
        of_resource = _attributes(resource.resource.attributes)
        for scope in resource.scope_metrics:
            count = _counted(count, 1 + len(scope.metrics))
            for metric in scope.metrics:
                size = _size(metric)
                points += size
                count = _counted(count, size)
                if metric.name not in (names.CLUSTER_INFO, names.CLUSTER_HEALTH):
                    continue
                for point in metric.gauge.data_points:
                    attributes = _attributes(point.attributes)
                    uid = _cluster({**of_resource, **attributes})
                    if uid is None:
                        continue
                    if metric.name == names.CLUSTER_INFO:
                        clusters[uid] = attributes
                        continue
                    clusters.setdefault(uid, {})
                    if isinstance(word := attributes.get(names.HEALTH), str):
                        health[uid, _moment(point, now)] = word[:MAX_KEY_CHARS]
    return Facts(
        clusters=[{"uid": uid, "attributes": known} for uid, known in sorted(clusters.items())],
        health=[{"uid": uid, "at": at, "health": word} for (uid, at), word in sorted(health.items())],
        items=points,
    )


def _cluster(attributes: dict[str, Any]) -> str | None:
    """By Muster's number where there is one: the UID may be learnt later, and it is the same cluster before."""
    for name in (names.CLUSTER_ID, names.CLUSTER_UID):
        if isinstance(found := attributes.get(name), str) and found:
            return found[:MAX_UID_CHARS]
    return None


def _resources(request: Request) -> list[Resource]:
    if isinstance(request, ExportMetricsServiceRequest):
        return [each.resource for each in request.resource_metrics]
    return [each.resource for each in request.resource_logs]


def _counted(count: int, more: int) -> int:
    if count + more > MAX_ITEMS:
        raise TooLarge(f"the batch has more than {MAX_ITEMS} items")
    return count + more


def _size(metric: Metric) -> int:
    kind = metric.WhichOneof("data")
    return 0 if kind is None else len(getattr(metric, kind).data_points)


def _log(record: LogRecord, now: float) -> dict[str, Any]:
    body = _value(record.body)
    return {
        "at": _moment(record, now),
        "severity": clean_text(record.severity_text or f"{record.severity_number:d}", 20),
        "event": clean_text(record.event_name, MAX_KEY_CHARS),
        "body": "" if body is None else clean_text(str(body), MAX_BODY_CHARS),
        "attributes": _attributes(record.attributes),
    }


def _moment(of: NumberDataPoint | LogRecord, now: float) -> float:
    at = of.time_unix_nano / 1e9
    return at if now - BEHIND_S <= at <= now + AHEAD_S else now


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for pair in pairs:
        if len(found) == MAX_ATTRIBUTES:
            break
        value = _value(pair.value)
        if value is not None:
            found[clean_text(pair.key, MAX_KEY_CHARS)] = value
    return found


def _value(value: AnyValue) -> str | int | float | bool | None:
    """What is one value; lists, maps and bytes are not for the view. JSON has no NaN and no infinity."""
    kind = value.WhichOneof("value")
    if kind == "string_value":
        return clean_text(value.string_value, MAX_BODY_CHARS)[:MAX_BODY_CHARS]
    if kind == "int_value":
        return value.int_value
    if kind == "bool_value":
        return value.bool_value
    if kind == "double_value":
        return value.double_value if math.isfinite(value.double_value) else str(value.double_value)
    return None
