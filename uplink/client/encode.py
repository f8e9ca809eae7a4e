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
from typing import TypeAlias
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

FRAME_BYTES = 8
"""Most that a message within a message costs besides itself: a tag, and a length below 2^28."""

HEAD_BYTES = 2048
"""Kept free for the resource, and for what frames everything."""

SERVICE = "muster"


class Why(StrEnum):
    """Why something was not written."""

    NOT_IN_DICTIONARY = "not-in-dictionary"
    NOT_CONSENTED = "not-consented"
    WRONG_TYPE = "wrong-type"
    BEFORE_CONSENT = "before-consent"
    TOO_LARGE = "too-large"


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
        self._remembered: dict[tuple[str, Value], KeyValue | None] = {}
        self._granted = frozenset(
            field.id for field in dictionary.of(stream) if scope.fields.get(field.id) == field.digest
        )
        self._drops: Drops = Counter()
        self._resource = self._make_resource()

    def encode(self, items: Iterable[Item], now: float) -> Encoded:
        """All of it, in as many batches as it takes, each within the bound. The same items make the same bytes."""
        self._drops = Counter()
        logs = self._stream is Stream.LOGS
        if logs:
            made = [self._record(item) for item in items]
            batches = [self._log_batch(some, now) for some in _portions([r for r in made if r is not None], self._room)]
        else:
            points = [self._point(item) for item in items]
            batches = [
                self._metric_batch(some, now)
                for some in _portions([p for p in points if p is not None], self._room, self._cost)
            ]
        return Encoded(tuple(batches), self._drops)

    # -- resource

    def _make_resource(self) -> Resource:
        said: Mapping[str, Value] = {
            "service.name": SERVICE,
            "service.version": self._identity.service_version,
            names.INSTALLATION: str(self._identity.installation),
            names.ORGANISATION: self._identity.organisation,
            names.CONSENT: str(self._identity.consent),
            names.DICTIONARY: f"v{self._dictionary.version}",
        }
        return Resource(attributes=self._attributes(self._dictionary.resource, said))

    # -- logs

    def _record(self, item: Item) -> LogRecord | None:
        kind = self._known(item, event=True)
        if kind is None or not isinstance(item, Event):
            return None
        record = LogRecord(
            time_unix_nano=_nano(item.at),
            severity_number=max(0, min(24, item.severity)),  # type: ignore[arg-type]  # an enum on the wire
            attributes=self._attributes(kind.attributes, item.attributes),
            event_name=item.name,
        )
        if item.text and self._scope.free_text and kind.body is not None and self._may(kind.body):
            known = [str(item.attributes[f.name]) for f in kind.attributes.values() if _is_name(f, item.attributes)]
            record.body.string_value = redact(item.text, self._pseudonyms, known)
        return self._fitting(record)

    def _log_batch(self, records: Sequence[LogRecord], now: float) -> Batch:
        scope = ScopeLogs(log_records=records)
        request = ExportLogsServiceRequest(resource_logs=[ResourceLogs(resource=self._resource, scope_logs=[scope])])
        return self._batch(request.SerializeToString(deterministic=True), len(records), now)

    # -- metrics

    def _point(self, item: Item) -> tuple[str, NumberDataPoint] | None:
        kind = self._known(item, event=False)
        if kind is None or not isinstance(item, Point):
            return None
        if not fits(kind.field, item.value):
            return self._drop(Why.WRONG_TYPE)
        whole = kind.field.type is Type.INT
        point = NumberDataPoint(
            time_unix_nano=_nano(item.at),
            attributes=self._attributes(kind.attributes, item.attributes),
            **({"as_int": item.value} if whole else {"as_double": item.value}),  # type: ignore[arg-type]  # one or the other
        )
        if kind.shape is Shape.DELTA:
            point.start_time_unix_nano = _nano(max(self._since, item.at if item.since is None else item.since))
        return None if self._fitting(point) is None else (item.name, point)

    def _cost(self, point: tuple[str, NumberDataPoint]) -> int:
        """Of a point, with its metric's name as if it were the only one of it."""
        return point[1].ByteSize() + FRAME_BYTES + len(point[0]) + 64

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

    def _known(self, item: Item, *, event: bool) -> Kind | None:
        kind = self._dictionary.kinds.get(item.name)
        if kind is None or kind.stream is not self._stream or (kind.shape is None) is not event:
            return self._drop(Why.NOT_IN_DICTIONARY)
        if isinstance(item, Event) is not event:
            return self._drop(Why.NOT_IN_DICTIONARY)
        if not self._may(kind.field):
            return self._drop(Why.NOT_CONSENTED)
        if not self._since <= item.at < _LAST:
            return self._drop(Why.BEFORE_CONSENT)
        return kind

    def _attributes(self, fields: Mapping[str, Field], values: Attributes) -> list[KeyValue]:
        """In the dictionary's order, whatever order they came in."""
        for name in values:
            if name not in fields:
                self._drop(Why.NOT_IN_DICTIONARY)
        made = [
            self._attribute(field, value) for name, field in fields.items() if (value := values.get(name)) is not None
        ]
        return [each for each in made if each is not None]

    def _attribute(self, field: Field, value: Value) -> KeyValue | None:
        if not self._may(field):
            return self._drop(Why.NOT_CONSENTED)
        key = (field.name, value) if not isinstance(value, bool) else (field.name, str(value))
        known = self._remembered.get(key)
        if known is not None:
            return known
        if field.type is Type.NAME and isinstance(value, str):
            value = value if self._scope.plain_names else self._pseudonyms.name(field.kind, value)
            value = value[:MAX_NAME_CHARS]
        if field.type is Type.TEXT or not fits(field, value):
            return self._drop(Why.WRONG_TYPE)
        made = KeyValue(key=field.name, value=_any(field.type, value))
        if len(self._remembered) >= MAX_REMEMBERED:
            self._remembered.clear()
        self._remembered[key] = made
        return made

    def _may(self, field: Field) -> bool:
        return field.id in self._granted

    def _fitting(self, message: LogRecord | NumberDataPoint) -> LogRecord | NumberDataPoint | None:
        return message if message.ByteSize() + FRAME_BYTES <= self._room else self._drop(Why.TOO_LARGE)

    def _drop(self, why: Why) -> None:
        self._drops[why.value] += 1

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
