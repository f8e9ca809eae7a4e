"""The encoder's bytes against those that protobuf's own messages write: the same, whatever the items are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given as given_by
from hypothesis import settings
from hypothesis import strategies as st
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

from tests.support import telemetry
from tests.support.telemetry import NOW
from uplink.client.consent.dictionary import Field, Kind, Shape, Type, read_dictionary
from uplink.client.consent.record import Given, Scope
from uplink.client.consent.streams import Stream
from uplink.client.encoding.batch import Identity
from uplink.client.encoding.encode import LAST_S, Encoder
from uplink.client.encoding.items import Attributes, Event, Item, Point, Value
from uplink.client.encoding.protobuf import varint
from uplink.client.encoding.pseudonyms import Pseudonyms
from uplink.client.encoding.redact import redact
from uplink.client.encoding.values import MAX_NAME_CHARS, fits
from uplink.client.encoding.writers import MAX_REMEMBERED, Why
from uplink.wire import names

DICTIONARY = read_dictionary(
    files("uplink.client.consent").joinpath("dictionary.toml").read_text(encoding="utf-8")
    + """
[attribute."share"]
type = "double"
purpose = "No field is a double today."
classification = "operational"
example = "0.5"

[metric."made.up.share"]
stream = "metrics"
shape = "gauge"
type = "double"
unit = ""
attributes = ["share", "flapping", "collapsed"]
purpose = "The same of a metric."
classification = "operational"
example = "0.5"
"""
)


def given(*, plain: bool = False, text: bool = False) -> Given:
    """A consent to all of that dictionary."""
    consent = telemetry.given(plain=plain, text=text)
    scope = {
        stream: each.model_copy(update={"fields": DICTIONARY.digests(stream)}) for stream, each in consent.scope.items()
    }
    return consent.model_copy(update={"scope": scope})


def encoder(consent: Given, stream: Stream, *, limit: int = 1 << 20) -> Encoder:
    """By that dictionary."""
    names_of = Pseudonyms(bytes.fromhex(consent.pseudonym_key))
    identity, since = Identity.of(consent, "0.1.0"), consent.decided_at
    return Encoder(stream, identity, DICTIONARY, consent.scope[stream], names_of, since=since, limit=limit)


@dataclass
class Oracle:
    """One batch of all that is allowed, slowly: each value is checked each time, and protobuf writes it."""

    consent: Given
    stream: Stream
    drops: Counter[str] = field(default_factory=Counter)

    @property
    def scope(self) -> Scope:
        return self.consent.scope[self.stream]

    @property
    def pseudonyms(self) -> Pseudonyms:
        return Pseudonyms(bytes.fromhex(self.consent.pseudonym_key))

    def encode(self, items: Iterable[Item]) -> tuple[bytes, Counter[str]]:
        """Its bytes, empty where nothing is left, and what was refused."""
        self.drops.clear()
        allowed = [(kind, item) for item in items if (kind := self.kind_of(item)) is not None]
        resource = Resource(attributes=self.pairs(DICTIONARY.resource, self.said()))
        if self.stream is Stream.LOGS:
            records = [self.record(kind, item) for kind, item in allowed if isinstance(item, Event)]
            logs = ResourceLogs(resource=resource, scope_logs=[ScopeLogs(log_records=records)])
            request = ExportLogsServiceRequest(resource_logs=[logs] if records else [])
        else:
            metrics: dict[str, Metric] = {}
            for kind, item in allowed:
                assert isinstance(item, Point)
                self.point(kind, item, metrics)
            scope = ScopeMetrics(metrics=[metrics[name] for name in sorted(metrics)])
            whole = ResourceMetrics(resource=resource, scope_metrics=[scope])
            request = ExportMetricsServiceRequest(resource_metrics=[whole] if metrics else [])
        return request.SerializeToString(deterministic=True), self.drops

    def said(self) -> Attributes:
        return {
            "service.name": "muster",
            "service.version": "0.1.0",
            names.INSTALLATION: str(self.consent.installation_id),
            names.ORGANISATION: self.consent.organisation,
            names.CONSENT: str(self.consent.consent_id),
            names.DICTIONARY: DICTIONARY.version,
        }

    def may(self, of: Field) -> bool:
        return self.scope.fields.get(of.id) == of.digest

    def kind_of(self, item: Item) -> Kind | None:
        kind = DICTIONARY.kinds.get(item.name)
        why: Why | None = None
        if kind is None or kind.stream is not self.stream or (kind.shape is None) is not isinstance(item, Event):
            why = Why.NOT_IN_DICTIONARY
        elif not self.may(kind.field):
            why = Why.NOT_CONSENTED
        elif not 0 <= item.at < LAST_S:
            why = Why.WRONG_TYPE
        elif item.at < self.consent.decided_at:
            why = Why.BEFORE_CONSENT
        elif isinstance(item, Point) and not fits(kind.field, item.value):
            why = Why.WRONG_TYPE
        if why is None:
            return kind
        self.drops[why.value] += 1
        return None

    def pairs(self, fields: Mapping[str, Field], values: Attributes) -> list[KeyValue]:
        made = []
        for name, of in fields.items():
            if (value := values.get(name)) is None:
                continue
            if not self.may(of):
                self.drops[Why.NOT_CONSENTED.value] += 1
            elif not fits(of, value):
                self.drops[Why.WRONG_TYPE.value] += 1
            else:
                made.append(KeyValue(key=name, value=self.value(of, value)))
        if unknown := len(values.keys() - fields.keys()):
            self.drops[Why.NOT_IN_DICTIONARY.value] += unknown
        return made

    def value(self, of: Field, value: Value) -> AnyValue:
        if of.type is Type.NAME:
            name = str(value)
            plain = self.scope.plain_names
            return AnyValue(string_value=name[:MAX_NAME_CHARS] if plain else self.pseudonyms.name(of.kind, name))
        members = {Type.BOOL: "bool_value", Type.INT: "int_value", Type.DOUBLE: "double_value"}
        made = AnyValue()
        setattr(made, members.get(of.type, "string_value"), value)
        return made

    def record(self, kind: Kind, item: Event) -> LogRecord:
        record = LogRecord(
            time_unix_nano=nano(item.at),
            severity_number=max(0, min(24, item.severity)),  # type: ignore[arg-type]  # an enum on the wire
            attributes=self.pairs(kind.attributes, item.attributes),
            event_name=item.name,
        )
        if item.text and self.scope.free_text and kind.body is not None and self.may(kind.body):
            known = [str(item.attributes.get(n) or "") for n, f in kind.attributes.items() if f.type is Type.NAME]
            record.body.string_value = redact(item.text, self.pseudonyms, known)
        return record

    def point(self, kind: Kind, item: Point, metrics: dict[str, Metric]) -> None:
        metric = metrics.setdefault(kind.name, Metric(name=kind.name, unit=kind.field.unit))
        point = NumberDataPoint(time_unix_nano=nano(item.at), attributes=self.pairs(kind.attributes, item.attributes))
        if kind.field.type is Type.INT:
            point.as_int = int(item.value)
        else:
            point.as_double = item.value
        if kind.shape is Shape.DELTA:
            since = item.at if item.since is None else item.since
            point.start_time_unix_nano = nano(max(self.consent.decided_at, since))
            metric.sum.aggregation_temporality = AGGREGATION_TEMPORALITY_DELTA
            metric.sum.is_monotonic = True
            metric.sum.data_points.append(point)
        else:
            metric.gauge.data_points.append(point)


def nano(at: float) -> int:
    return round(at * 1e6) * 1000


# -- items of all kinds: few values, so that many come again, and equal ones of different types meet

VALUES: list[Value] = [
    "", "Healthy", "Unreachable", "apiserver", "pass", "ConnectTimeout", "kubeconfig", "v1.36.2", "1", "true",
    "customer-prod-1", "größe-東京", "n" * 300, "\ud800", "a\nb", "2c6cb0a5-35c4-4a43-8b6d-6f4f4ad2c0f1", "acme",
    0, 1, -1, 2**31, 2**63 - 1, -(2**63), 2**70, True, False, 0.0, 1.0, -0.0, 0.5, float("nan"), float("inf"),
]  # fmt: skip
NAMES = [*DICTIONARY.kinds, "made.up"]
KEYS = [*{name for kind in DICTIONARY.kinds.values() for name in kind.attributes}, "made.up"]
values = st.sampled_from(VALUES)
attributes = st.dictionaries(st.sampled_from(KEYS), st.none() | values, max_size=14)
moments = st.sampled_from([NOW, NOW + 0.5, NOW + 1 / 3, NOW - 1, 0.0, -1.0, 9.3e9, float("nan")]) | st.floats(NOW, 9e9)
numbers = st.sampled_from([value for value in VALUES if not isinstance(value, str)])
since = st.none() | st.floats(NOW - 100, NOW + 100)
points = st.builds(Point, st.sampled_from(NAMES), moments, numbers, attributes, since)
texts = st.sampled_from(["", "no answer from 10.0.0.1", "password=hunter2", "\ud800"])
severities = st.sampled_from([-1, 0, 9, 17, 24, 25])
event_names = st.just("muster.transition") | st.sampled_from(NAMES)
events = st.builds(Event, event_names, moments, severities, attributes, texts)
items = points | events


@st.composite
def consents(draw: Callable[..., Any]) -> Given:
    """Plain names or not, free text or not, and a few fields that nobody consented to."""
    whole = given(plain=draw(st.booleans()), text=draw(st.booleans()))
    missing = draw(
        st.sets(st.sampled_from([own for scope in whole.scope.values() for own in scope.fields]), max_size=9)
    )
    scope = {
        stream: scope.model_copy(update={"fields": {k: v for k, v in scope.fields.items() if k not in missing}})
        for stream, scope in whole.scope.items()
    }
    return whole.model_copy(update={"scope": scope, "decided_at": draw(st.sampled_from([NOW, 0.0]))})


@given_by(consent=consents(), stream=st.sampled_from(Stream), looks=st.lists(st.lists(items, max_size=6), max_size=3))
@settings(max_examples=300, deadline=None)
def test_the_bytes_and_the_drops_are_those_of_protobufs_own_messages(
    consent: Given, stream: Stream, looks: list[list[Item]]
) -> None:
    made, oracle = encoder(consent, stream), Oracle(consent, stream)
    for some in looks:
        encoded = made.encode(some, NOW)
        expected, drops = oracle.encode(some)
        resource_drops = Oracle(consent, stream)
        resource_drops.pairs(DICTIONARY.resource, resource_drops.said())
        assert b"".join(batch.raw for batch in encoded.batches) == expected
        assert encoded.drops == drops - resource_drops.drops


class Word(StrEnum):
    """A string that says something else when it is asked for its text."""

    SECRET = "Healthy"

    def __str__(self) -> str:
        return "hunter2"


def test_what_was_checked_is_what_is_written() -> None:
    point = Point("muster.fleet.clusters", NOW, 1, {"health": Word.SECRET})
    (batch,) = encoder(given(), Stream.METRICS).encode([point], NOW).batches
    assert b"hunter2" not in batch.raw
    assert b"Healthy" in batch.raw


def test_a_number_is_never_taken_for_an_equal_one_of_another_type() -> None:
    said: list[Attributes] = [
        {"collapsed": 1, "flapping": True},
        {"collapsed": True, "flapping": 1},
        {"collapsed": 1.0},
    ]
    made = encoder(given(), Stream.LOGS)
    for each in said * 2:
        encoded = made.encode([Event("muster.transition", NOW, 9, each)], NOW)
        refused = 0 if each is said[0] else len(each)
        assert encoded.drops == ({Why.WRONG_TYPE: refused} if refused else {})


def test_zeros_of_either_sign_stay_what_they_are() -> None:
    consent = given()
    made, oracle = encoder(consent, Stream.METRICS), Oracle(consent, Stream.METRICS)
    for zero in (0.0, -0.0, 0.0):
        item = Point("made.up.share", NOW, zero, {"share": zero})
        (batch,) = made.encode([item], NOW).batches
        assert batch.raw == oracle.encode([item])[0]


def test_more_values_than_are_remembered_are_written_all_the_same() -> None:
    consent = given()
    made, oracle = encoder(consent, Stream.INVENTORY, limit=8 << 20), Oracle(consent, Stream.INVENTORY)
    some: list[Item] = [
        Point("uplink.cluster.info", NOW, 1, {"muster.cluster.name": f"cluster-{number}"})
        for number in range(MAX_REMEMBERED + 10)
    ]
    for _ in range(2):
        (batch,) = made.encode(some, NOW).batches
        assert batch.raw == oracle.encode(some)[0]


@pytest.mark.parametrize("number", [0, 1, 127, 128, 16383, 16384, 2**31, 2**63 - 1, -1, -(2**63)])
def test_a_varint_is_protobufs(number: int) -> None:
    assert b"\x18" + varint(number) == AnyValue(int_value=number).SerializeToString()
