"""Items become OTLP: the one place where anything becomes bytes that may leave, and so the place of every rule.

Only fields of the dictionary that the consent names are written, with values of their type, of moments after the
consent. Names are hashed here and text is redacted here, so that no gatherer can forget it. What is refused is counted
by why, and nothing is refused silently.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias, TypeVar
from uuid import UUID, uuid4

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AGGREGATION_TEMPORALITY_DELTA,
    Metric,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from uplink.client.batch import Batch, Identity
from uplink.client.dictionary import Dictionary, Field, Kind, Shape, Type
from uplink.client.items import Attributes, Event, Item, Point, Value
from uplink.client.pseudonyms import Pseudonyms
from uplink.client.record import Scope
from uplink.client.redact import redact
from uplink.client.streams import Stream
from uplink.client.values import MAX_NAME_CHARS, fits
from uplink.wire import names
from uplink.wire.bounds import MAX_RAW_BYTES

MAX_REMEMBERED = 20_000
"""Attributes that are kept encoded. Those of ten thousand clusters; when there are more, it begins anew."""

FRAME_BYTES = 5
"""Most that a point or record costs besides itself: a tag, and a length below 2^28."""

HEAD_BYTES = 8192
"""Kept free for the resource, for the names of all metrics, and for what frames everything."""

LAST_S = 9.2e9
"""Nanoseconds since the epoch fit into 64 bits up to here, the year 2261."""

SERVICE = "muster"


class Why(StrEnum):
    """Why something was not written."""

    NOT_IN_DICTIONARY = "not-in-dictionary"
    NOT_CONSENTED = "not-consented"
    WRONG_TYPE = "wrong-type"
    BEFORE_CONSENT = "before-consent"


Drops: TypeAlias = "Counter[str]"


@dataclass(frozen=True, slots=True)
class Encoded:
    """What some items have become."""

    batches: tuple[Batch, ...]
    drops: Drops


class Encoder:
    """Of one stream under one consent. Not kept beyond it."""

    def __init__(
        self,
        stream: Stream,
        identity: Identity,
        dictionary: Dictionary,
        scope: Scope,
        pseudonyms: Pseudonyms,
        *,
        since: float,
        new_id: Callable[[], UUID] = uuid4,
        limit: int = MAX_RAW_BYTES,
    ) -> None:
        """`since` is the moment of the consent; `limit` in bytes, of a whole batch before compression."""
        self._stream = stream
        self._identity = identity
        self._dictionary = dictionary
        self._scope = scope
        self._pseudonyms = pseudonyms
        self._since = since
        self._new_id = new_id
        self._room = limit - HEAD_BYTES
        self._remembered: dict[tuple[str, type, Value], KeyValue] = {}
        self._granted = frozenset(
            field.id for field in dictionary.of(stream) if scope.fields.get(field.id) == field.digest
        )
        self._drops: Drops = Counter()
        self._resource = self._make_resource()

    def encode(self, items: Iterable[Item], now: float) -> Encoded:
        """All of it, in as many batches as it takes, each within the bound. The same items make the same bytes."""
        self._drops = Counter()
        if self._stream is Stream.LOGS:
            records = [record for item in items if (record := self._record(item)) is not None]
            sized = [(record, record.ByteSize()) for record in records]
            batches = [self._log_batch(some, now) for some in _portions(sized, self._room)]
        else:
            points = [point for item in items if (point := self._point(item)) is not None]
            sized_points = [(point, point[1].ByteSize()) for point in points]
            batches = [self._metric_batch(some, now) for some in _portions(sized_points, self._room)]
        return Encoded(tuple(batches), self._drops)

    # -- resource

    def _make_resource(self) -> Resource:
        said: Mapping[str, Value] = {
            "service.name": SERVICE,
            "service.version": self._identity.service_version,
            names.INSTALLATION: str(self._identity.installation),
            names.ORGANISATION: self._identity.organisation,
            names.CONSENT: str(self._identity.consent),
            names.DICTIONARY: self._dictionary.version,
        }
        return Resource(attributes=self._attributes(self._dictionary.resource, said))

    # -- logs

    def _record(self, item: Item) -> LogRecord | None:
        kind = self._known(item)
        if kind is None or not isinstance(item, Event):
            return None
        record = LogRecord(
            time_unix_nano=_nano(item.at),
            severity_number=max(0, min(24, item.severity)),  # type: ignore[arg-type]  # an enum on the wire
            attributes=self._attributes(kind.attributes, item.attributes),
            event_name=item.name,
        )
        if item.text and self._scope.free_text and kind.body is not None and self._may(kind.body):
            record.body.string_value = redact(item.text, self._pseudonyms, _names_of(kind, item.attributes))
        return record

    def _log_batch(self, records: Sequence[LogRecord], now: float) -> Batch:
        scope = ScopeLogs(log_records=records)
        request = ExportLogsServiceRequest(resource_logs=[ResourceLogs(resource=self._resource, scope_logs=[scope])])
        return self._batch(request.SerializeToString(deterministic=True), len(records), now)

    # -- metrics

    def _point(self, item: Item) -> tuple[str, NumberDataPoint] | None:
        kind = self._known(item)
        if kind is None or not isinstance(item, Point):
            return None
        if not fits(kind.field, item.value):
            self._drop(Why.WRONG_TYPE)
            return None
        point = NumberDataPoint(
            time_unix_nano=_nano(item.at), attributes=self._attributes(kind.attributes, item.attributes)
        )
        if kind.field.type is Type.INT:
            point.as_int = int(item.value)
        else:
            point.as_double = item.value
        if kind.shape is Shape.DELTA:
            point.start_time_unix_nano = _nano(max(self._since, item.at if item.since is None else item.since))
        return item.name, point

    def _metric_batch(self, points: Sequence[tuple[str, NumberDataPoint]], now: float) -> Batch:
        by_name: dict[str, list[NumberDataPoint]] = {}
        for name, point in points:
            by_name.setdefault(name, []).append(point)
        metrics = [_metric(self._dictionary.kinds[name], by_name[name]) for name in sorted(by_name)]
        scope = ScopeMetrics(metrics=metrics)
        resource = ResourceMetrics(resource=self._resource, scope_metrics=[scope])
        request = ExportMetricsServiceRequest(resource_metrics=[resource])
        return self._batch(request.SerializeToString(deterministic=True), len(points), now)

    # -- the rules

    def _known(self, item: Item) -> Kind | None:
        """What the dictionary says of it; None: it is refused as a whole."""
        kind = self._dictionary.kinds.get(item.name)
        if kind is None or kind.stream is not self._stream or (kind.shape is None) is not isinstance(item, Event):
            self._drop(Why.NOT_IN_DICTIONARY)
        elif not self._may(kind.field):
            self._drop(Why.NOT_CONSENTED)
        elif not 0 <= item.at < LAST_S:
            self._drop(Why.WRONG_TYPE)
        elif item.at < self._since:
            self._drop(Why.BEFORE_CONSENT)
        else:
            return kind
        return None

    def _attributes(self, fields: Mapping[str, Field], values: Attributes) -> list[KeyValue]:
        """In the dictionary's order, whatever order they came in."""
        made: list[KeyValue] = []
        for name, field in fields.items():
            if (value := values.get(name)) is not None and (pair := self._attribute(field, value)) is not None:
                made.append(pair)
        if not values.keys() <= fields.keys():
            self._drop(Why.NOT_IN_DICTIONARY, len(values.keys() - fields.keys()))
        return made

    def _attribute(self, field: Field, value: Value) -> KeyValue | None:
        if not self._may(field):
            self._drop(Why.NOT_CONSENTED)
            return None
        key = (field.name, type(value), value)
        if (known := self._remembered.get(key)) is not None:
            return known
        if not fits(field, value):
            self._drop(Why.WRONG_TYPE)
            return None
        made = KeyValue(key=field.name, value=self._value(field, value))
        if len(self._remembered) >= MAX_REMEMBERED:
            self._remembered.clear()
        self._remembered[key] = made
        return made

    def _value(self, field: Field, value: Value) -> AnyValue:
        if field.type is Type.NAME:
            plain = str(value)[:MAX_NAME_CHARS]
            return AnyValue(
                string_value=plain if self._scope.plain_names else self._pseudonyms.name(field.kind, str(value))
            )
        if field.type is Type.BOOL:
            return AnyValue(bool_value=bool(value))
        if field.type is Type.INT:
            return AnyValue(int_value=int(value))
        if field.type is Type.DOUBLE:
            return AnyValue(double_value=float(value))
        return AnyValue(string_value=str(value))

    def _may(self, field: Field) -> bool:
        return field.id in self._granted

    def _drop(self, why: Why, count: int = 1) -> None:
        self._drops[why.value] += count

    def _batch(self, raw: bytes, records: int, now: float) -> Batch:
        return Batch(
            id=self._new_id(),
            stream=self._stream,
            raw=raw,
            records=records,
            consent=self._identity.consent,
            epoch=self._identity.epoch,
            dictionary=self._dictionary.version,
            made_at=now,
        )


T = TypeVar("T")


def _portions(sized: Iterable[tuple[T, int]], room: int) -> Iterator[list[T]]:
    """As many together as there is room for. One alone always fits: every field is bounded."""
    some: list[T] = []
    used = 0
    for each, size in sized:
        if some and used + size + FRAME_BYTES > room:
            yield some
            some, used = [], 0
        some.append(each)
        used += size + FRAME_BYTES
    if some:
        yield some


def _metric(kind: Kind, points: Sequence[NumberDataPoint]) -> Metric:
    metric = Metric(name=kind.name, unit=kind.field.unit)
    if kind.shape is Shape.DELTA:
        metric.sum.aggregation_temporality = AGGREGATION_TEMPORALITY_DELTA
        metric.sum.is_monotonic = True
        metric.sum.data_points.extend(points)
    else:
        metric.gauge.data_points.extend(points)
    return metric


def _names_of(kind: Kind, values: Attributes) -> list[str]:
    """What a text may call the things that it is about."""
    return [str(values[n]) for n, field in kind.attributes.items() if field.type is Type.NAME and values.get(n)]


def _nano(at: float) -> int:
    """Whole microseconds: a double has no more of this century, and the rest would be noise."""
    return round(at * 1e6) * 1000
