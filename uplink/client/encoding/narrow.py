"""The dictionary applied to bytes that are there already: a batch that waited is filtered again before it is sent.

Denies by default: what is allowed is copied into a new request, so that whatever OTLP has besides (exemplars,
histograms, scopes, trace ids, fields of a later version) stays behind without being named. It shares no rule with the
encoder but the dictionary, and so tells on it in tests.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric, NumberDataPoint

from uplink.client.consent.dictionary import Dictionary, Field, Type
from uplink.client.consent.record import Given
from uplink.client.encoding.batch import Batch
from uplink.client.encoding.items import Value
from uplink.client.encoding.values import fits
from uplink.wire.otlp import Request, parse

_KINDS = {Type.BOOL: "bool_value", Type.INT: "int_value", Type.DOUBLE: "double_value"}


def still_allowed(batch: Batch, given: Given, dictionary: Dictionary) -> Batch | None:
    """The batch as this consent allows it: itself, a smaller one, or None where nothing is left.

    A batch of another consent is never allowed: it would be relabelled. Raises `WireError` where it can't be read.
    """
    scope = given.scope.get(batch.stream)
    if scope is None or batch.consent != given.consent_id:
        return None
    fields = {each.id: each for each in dictionary.of(batch.stream) if scope.fields.get(each.id) == each.digest}
    request = parse(batch.signal, batch.raw)
    left = narrowed(request, fields.values(), free_text=scope.free_text)
    if left == request:
        return batch
    records = _size(left)
    raw = left.SerializeToString(deterministic=True)
    return replace(batch, raw=raw, records=records) if records else None


def narrowed(request: Request, fields: Iterable[Field], *, free_text: bool) -> Request:
    """A new request with these fields, and nothing else."""
    known = {field.id: field for field in fields if free_text or field.type is not Type.TEXT}
    if isinstance(request, ExportMetricsServiceRequest):
        return _metrics(request, known)
    return _logs(request, known)


def _metrics(request: ExportMetricsServiceRequest, known: dict[str, Field]) -> ExportMetricsServiceRequest:
    left = ExportMetricsServiceRequest()
    for resource in request.resource_metrics:
        made = left.resource_metrics.add()
        made.resource.attributes.extend(_allowed("resource", resource.resource.attributes, known))
        for scope in resource.scope_metrics:
            metrics = [m for metric in scope.metrics if (m := _metric(metric, known)) is not None]
            made.scope_metrics.add().metrics.extend(metrics)
    return left


def _metric(metric: Metric, known: dict[str, Field]) -> Metric | None:
    own = f"metric:{metric.name}"
    if own not in known:
        return None
    left = Metric(name=metric.name, unit=known[own].unit)
    if metric.HasField("sum"):
        left.sum.aggregation_temporality = metric.sum.aggregation_temporality
        left.sum.is_monotonic = metric.sum.is_monotonic
        left.sum.data_points.extend(_point(own, point, known) for point in metric.sum.data_points)
    elif metric.HasField("gauge"):
        left.gauge.data_points.extend(_point(own, point, known) for point in metric.gauge.data_points)
    return left


def _point(own: str, point: NumberDataPoint, known: dict[str, Field]) -> NumberDataPoint:
    left = NumberDataPoint(
        time_unix_nano=point.time_unix_nano,
        start_time_unix_nano=point.start_time_unix_nano,
        attributes=_allowed(own, point.attributes, known),
    )
    if known[own].type is Type.INT:
        left.as_int = point.as_int
    else:
        left.as_double = point.as_double
    return left


def _logs(request: ExportLogsServiceRequest, known: dict[str, Field]) -> ExportLogsServiceRequest:
    left = ExportLogsServiceRequest()
    for resource in request.resource_logs:
        made = left.resource_logs.add()
        made.resource.attributes.extend(_allowed("resource", resource.resource.attributes, known))
        for scope in resource.scope_logs:
            records = [_record(record, known) for record in scope.log_records if f"event:{record.event_name}" in known]
            made.scope_logs.add().log_records.extend(records)
    return left


def _record(record: LogRecord, known: dict[str, Field]) -> LogRecord:
    own = f"event:{record.event_name}"
    left = LogRecord(
        time_unix_nano=record.time_unix_nano,
        severity_number=record.severity_number,
        attributes=_allowed(own, record.attributes, known),
        event_name=record.event_name,
    )
    if f"{own}:body" in known and record.body.string_value:
        left.body.string_value = record.body.string_value
    return left


def _allowed(own: str, pairs: Iterable[KeyValue], known: dict[str, Field]) -> list[KeyValue]:
    left: list[KeyValue] = []
    for pair in pairs:
        field = known.get(f"{own}:{pair.key}")
        if field is not None and (value := _read(field, pair.value)) is not None and fits(field, value):
            left.append(KeyValue(key=pair.key, value=AnyValue(**{_member(field): value})))  # type: ignore[arg-type]  # it fits
    return left


def _read(field: Field, value: AnyValue) -> Value | None:
    member = _member(field)
    found: Value | None = getattr(value, member) if value.WhichOneof("value") == member else None
    return found


def _member(field: Field) -> str:
    return _KINDS.get(field.type, "string_value")


def _size(request: Request) -> int:
    if isinstance(request, ExportMetricsServiceRequest):
        metrics = [m for r in request.resource_metrics for s in r.scope_metrics for m in s.metrics]
        return sum(len(m.gauge.data_points) + len(m.sum.data_points) for m in metrics)
    return sum(len(s.log_records) for r in request.resource_logs for s in r.scope_logs)
