"""OTLP's messages as bytes: what stands where, and nothing about what may. Fields go in the order of their numbers.

So the bytes are those that protobuf's own serialisation writes; what it leaves out (zeros and empty strings outside of
a oneof) is left out here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import cast

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AGGREGATION_TEMPORALITY_DELTA,
    Gauge,
    Metric,
    NumberDataPoint,
    ScopeMetrics,
    Sum,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from uplink.client.consent.dictionary import Field, Shape, Type
from uplink.client.encoding.items import Value
from uplink.client.encoding.protobuf import (
    FIXED64,
    LENGTH,
    VARINT,
    delimited,
    double,
    enclosed,
    signed,
    tag,
    unsigned,
    varint,
)

OF_POINT = NumberDataPoint.ATTRIBUTES_FIELD_NUMBER
OF_RECORD = LogRecord.ATTRIBUTES_FIELD_NUMBER
OF_RESOURCE = Resource.ATTRIBUTES_FIELD_NUMBER
"""Where the attributes of each stand."""

_POINT = tag(Gauge.DATA_POINTS_FIELD_NUMBER, LENGTH)  # of a Sum as well
_POINT_BEGAN = tag(NumberDataPoint.START_TIME_UNIX_NANO_FIELD_NUMBER, FIXED64)
_POINT_AT = tag(NumberDataPoint.TIME_UNIX_NANO_FIELD_NUMBER, FIXED64)
_POINT_INT = tag(NumberDataPoint.AS_INT_FIELD_NUMBER, FIXED64)
_POINT_DOUBLE = tag(NumberDataPoint.AS_DOUBLE_FIELD_NUMBER, FIXED64)
_RECORD = tag(ScopeLogs.LOG_RECORDS_FIELD_NUMBER, LENGTH)
_RECORD_AT = tag(LogRecord.TIME_UNIX_NANO_FIELD_NUMBER, FIXED64)
_RECORD_SEVERITY = tag(LogRecord.SEVERITY_NUMBER_FIELD_NUMBER, VARINT)
_DELTA = (
    tag(Sum.AGGREGATION_TEMPORALITY_FIELD_NUMBER, VARINT)
    + varint(AGGREGATION_TEMPORALITY_DELTA)
    + tag(Sum.IS_MONOTONIC_FIELD_NUMBER, VARINT)
    + varint(1)
)


def any_value(field: Field, value: Value) -> bytes:
    """An `AnyValue`. The value fits the field."""
    if field.type is Type.BOOL:
        return tag(AnyValue.BOOL_VALUE_FIELD_NUMBER, VARINT) + varint(int(value))
    if field.type is Type.INT:
        return tag(AnyValue.INT_VALUE_FIELD_NUMBER, VARINT) + varint(int(value))
    if field.type is Type.DOUBLE:
        return tag(AnyValue.DOUBLE_VALUE_FIELD_NUMBER, FIXED64) + double(value)
    return text_value(cast("str", value))  # all other types fit strings only


def text_value(text: str) -> bytes:
    """An `AnyValue` that is a string."""
    return delimited(AnyValue.STRING_VALUE_FIELD_NUMBER, text.encode())


def attribute(number: int, name: str, value: bytes) -> bytes:
    """A `KeyValue` with its `AnyValue`, as the field `number` of what has it."""
    key = delimited(KeyValue.KEY_FIELD_NUMBER, name.encode())
    return delimited(number, key + delimited(KeyValue.VALUE_FIELD_NUMBER, value))


def number_value(field: Field, value: Value) -> bytes:
    """The value of a data point. It fits the field."""
    if field.type is Type.INT:
        return _POINT_INT + signed(int(value))
    return _POINT_DOUBLE + double(value)


def data_point(began: float | None, at: float, value: bytes, attributes: Iterable[bytes]) -> bytes:
    """A `NumberDataPoint`, as a field of its metric. Times in seconds since the epoch."""
    start = b"" if began is None else _shared_moment(_POINT_BEGAN, began)
    point = b"".join((start, _shared_moment(_POINT_AT, at), value, *attributes))
    return _POINT + varint(len(point)) + point


def log_record(at: float, severity: int, text: bytes | None, attributes: Iterable[bytes], name: bytes) -> bytes:
    """A `LogRecord`, as a field of its scope. `text` is an `AnyValue`, `name` the whole field."""
    body = b"" if text is None else delimited(LogRecord.BODY_FIELD_NUMBER, text)
    severe = _RECORD_SEVERITY + varint(severity) if severity else b""
    record = b"".join((_moment(_RECORD_AT, at), severe, body, *attributes, name))
    return _RECORD + varint(len(record)) + record


def event_name(name: str) -> bytes:
    """As the field of a log record."""
    return delimited(LogRecord.EVENT_NAME_FIELD_NUMBER, name.encode())


def metric(field: Field, shape: Shape | None, points: Sequence[bytes]) -> list[bytes]:
    """A `Metric` with its points, as a field of its scope, in pieces."""
    named = delimited(Metric.NAME_FIELD_NUMBER, field.name.encode())
    unit = delimited(Metric.UNIT_FIELD_NUMBER, field.unit.encode()) if field.unit else b""
    if shape is Shape.DELTA:
        data = enclosed(Metric.SUM_FIELD_NUMBER, [*points, _DELTA])
    else:
        data = enclosed(Metric.GAUGE_FIELD_NUMBER, points)
    return enclosed(ScopeMetrics.METRICS_FIELD_NUMBER, [named, unit, *data])


def request(resource: bytes, scoped: Sequence[bytes]) -> bytes:
    """An export request of one resource and one scope. Those of logs and of metrics have the same numbers."""
    scope = enclosed(ResourceLogs.SCOPE_LOGS_FIELD_NUMBER, scoped)
    whole = [delimited(ResourceLogs.RESOURCE_FIELD_NUMBER, resource), *scope]
    return b"".join(enclosed(ExportLogsServiceRequest.RESOURCE_LOGS_FIELD_NUMBER, whole))


def _moment(before: bytes, at: float) -> bytes:
    """Whole microseconds: a double has no more of this century, and the rest would be noise."""
    nano = round(at * 1e6) * 1000
    return before + unsigned(nano) if nano else b""


_shared_moment = lru_cache(maxsize=64)(_moment)
"""Points that are gathered together have one time."""
