"""The encoder: nothing but the dictionary's fields, and nothing that is not of their type."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from uuid import uuid4

import pytest
from google.protobuf.message import Message  # type: ignore[import-untyped]  # protobuf ships no types
from hypothesis import given as given_by
from hypothesis import settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Exemplar

from tests.support.telemetry import ALL, NOW, OFFER, change, cluster, encoder, facts, given, location
from uplink.client.consent.record import Given, Scope
from uplink.client.consent.streams import Stream
from uplink.client.encoding.batch import Batch
from uplink.client.encoding.facts import ChangeFact, ClusterFact, Facts, FleetFact, LocationFact, VerdictKey
from uplink.client.encoding.gather import Told, events, gather
from uplink.client.encoding.items import Event, Item, Point
from uplink.client.encoding.narrow import narrowed, still_allowed
from uplink.client.encoding.writers import Why
from uplink.wire.otlp import parse
from validator.model import Check
from validator.reasons import REASONS, Stage

CANARIES = (
    "AKIAIOSFODNN7EXAMPLE",
    "hunter2-canary",
    "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJl",
    "muster_" + "c" * 43,
    "https://svc:canary-password@proxy.internal:3128/",
    "sig=canary%2Bsignature%3D",
)


def items_of(stream: Stream, known: Facts, changes: list[ChangeFact]) -> list[Item]:
    if stream is Stream.LOGS:
        return events(changes, NOW)
    return gather(stream, known, Told(NOW, {}, {}, NOW))[0]


def encoded(
    consent: Given, stream: Stream, known: Facts, changes: list[ChangeFact]
) -> tuple[list[Batch], Counter[str]]:
    made = encoder(consent, stream).encode(items_of(stream, known, changes), NOW + 20)
    return list(made.batches), made.drops


def strings(message: Message) -> Iterator[str]:
    """Every text anywhere in a message."""
    for field, value in message.ListFields():
        for each in value if field.is_repeated else [value]:
            if isinstance(each, Message):
                yield from strings(each)
            elif isinstance(each, str):
                yield each


KNOWN_WORDS = frozenset(
    set(OFFER.dictionary.kinds)
    | {field.name for kind in OFFER.dictionary.kinds.values() for field in kind.fields()}
    | {value for kind in OFFER.dictionary.kinds.values() for field in kind.fields() for value in field.values}
    | {field.unit for kind in OFFER.dictionary.kinds.values() for field in kind.fields()}
    | set(OFFER.dictionary.resource)
    | {"muster", "acme", "0.1.0", OFFER.dictionary.version}
    | {check.value for check in Check}
    | {reason.value for reason in REASONS}
    | {stage.value for stage in Stage}
)
SHAPES = re.compile(
    r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"  # a UUID
    r"|(cluster|location|account|container)-[0-9a-f]{16}"  # a pseudonym
    r"|v?\d{1,6}(\.\d{1,6}){0,3}([+-][A-Za-z0-9.+-]{1,40})?"  # a version
)

texts = st.text(max_size=40) | st.sampled_from(CANARIES) | st.sampled_from(["Healthy", "apiserver", "pass", "static"])
maybe = st.none() | texts
numbers = st.integers(-(2**70), 2**70)
cluster_facts = st.builds(
    ClusterFact,
    id=st.uuids(),
    external_uid=maybe,
    name=texts,
    source=texts,
    lifecycle=texts,
    health=texts,
    reason=maybe,
    heard_at=st.none() | st.floats(),
    kubernetes_version=maybe,
)
location_facts = st.builds(
    LocationFact,
    id=st.uuids(),
    name=texts,
    provider=texts,
    account=maybe,
    container=texts,
    environment=maybe,
    clusters=numbers,
)
change_facts = st.builds(
    ChangeFact,
    id=numbers,
    at=st.floats() | st.floats(NOW, NOW + 100),
    cluster_id=st.uuids(),
    external_uid=maybe,
    cluster_name=texts,
    check=texts,
    from_health=texts,
    to_health=texts,
    reason=maybe,
    stage=maybe,
    flapping=st.booleans(),
    collapsed=numbers,
    location_id=st.none() | st.uuids(),
    location_name=maybe,
    message=texts,
)
any_facts = st.builds(
    Facts,
    at=st.floats(NOW, NOW + 1e6) | st.floats(),
    fleet=st.builds(
        FleetFact, st.dictionaries(texts, numbers, max_size=3), st.dictionaries(texts, numbers, max_size=3), numbers
    ),
    clusters=st.lists(cluster_facts, max_size=4),
    locations=st.lists(location_facts, max_size=3),
    verdicts=st.dictionaries(st.builds(VerdictKey, texts, texts, maybe), numbers, max_size=4),
    dropped=st.dictionaries(texts, numbers, max_size=3),
)


@given_by(known=any_facts, changes=st.lists(change_facts, max_size=4), stream=st.sampled_from(Stream))
@settings(max_examples=150, deadline=None)
def test_whatever_the_facts_are_only_words_of_the_dictionary_ids_and_hashes_leave(
    known: Facts, changes: list[ChangeFact], stream: Stream
) -> None:
    batches, _ = encoded(CONSENT, stream, known, changes)
    for batch in batches:
        request = parse(batch.signal, batch.raw)
        for text in strings(request):
            assert text in KNOWN_WORDS or SHAPES.fullmatch(text), text
        assert narrowed(request, OFFER.dictionary.of(stream), free_text=False) == request
        assert not any(canary.encode() in batch.raw for canary in CANARIES)


CONSENT = given()


@pytest.mark.parametrize("stream", Stream)
def test_real_facts_are_written_whole(stream: Stream) -> None:
    batches, drops = encoded(CONSENT, stream, facts(), [change()])
    assert drops == {}
    (batch,) = batches
    expected = {Stream.METRICS: 2 + 1 + 1 + 1 + 2, Stream.INVENTORY: 2 + 1, Stream.LOGS: 1}
    assert batch.records == expected[stream]
    found = set(strings(parse(batch.signal, batch.raw)))
    assert {"service.instance.id", str(CONSENT.installation_id), "uplink.org.id", "acme", "0.1.0"} <= found
    assert {"uplink.consent.id", str(CONSENT.consent_id), "uplink.dictionary.version"} <= found
    assert (batch.consent, batch.epoch) == (CONSENT.consent_id, CONSENT.epoch)


def test_names_are_hashed_unless_plain_ones_were_asked_for() -> None:
    for stream in (Stream.INVENTORY, Stream.LOGS):
        (hashed,), _ = encoded(CONSENT, stream, facts(), [change(location_name="velero-backups", location_id=uuid4())])
        (plain,), _ = encoded(given(plain=True), stream, facts(), [change()])
        assert b"customer-prod-1" not in hashed.raw
        assert b"velero" not in hashed.raw
        assert b"customer-prod-1" in plain.raw
    assert b"contosoprod" in encoded(given(plain=True), Stream.INVENTORY, facts(), [])[0][0].raw


def test_a_name_has_one_hash_under_one_consent_and_another_under_the_next() -> None:
    def hashes(consent: Given, stream: Stream) -> set[str]:
        (batch,), _ = encoded(consent, stream, facts(), [change()])
        return {text for text in strings(parse(batch.signal, batch.raw)) if re.fullmatch("cluster-[0-9a-f]{16}", text)}

    assert hashes(CONSENT, Stream.LOGS) <= hashes(CONSENT, Stream.INVENTORY)
    assert not hashes(CONSENT, Stream.INVENTORY) & hashes(given(), Stream.INVENTORY)


@pytest.mark.parametrize("canary", CANARIES)
def test_h27_no_canary_leaves_even_where_free_text_and_plain_names_were_asked_for(canary: str) -> None:
    messages = [
        f"401 for password={canary}",
        f"proxy said: Proxy-Authorization: Basic {canary}",
        f'{{"token": "{canary}", "a": 1}}',
        f"the secret is {canary} and more",
        f"GET https://storage.internal/c?sig={canary} failed",
        f"https://user:{canary}@proxy.internal/ refused",
    ]
    changes = [change(id=number, message=text) for number, text in enumerate(messages)]
    (batch,), _ = encoded(given(plain=True, text=True), Stream.LOGS, facts(), changes)
    assert canary.encode() not in batch.raw
    assert b"canary" not in batch.raw


def test_free_text_leaves_only_where_it_was_asked_for_and_without_names_and_addresses() -> None:
    message = (
        "10.1.2.3:6443: no answer from api.customer-prod-1.example.com, see /home/ann/.kube/config of ann@example.com; "
        "edge7 may not read nightly in ProdBackups"
    )
    told = change(message=message, names=("edge7", "nightly", "prodbackups"))
    (without,), _ = encoded(CONSENT, Stream.LOGS, facts(), [told])
    assert b"no answer" not in without.raw
    (batch,), _ = encoded(given(text=True), Stream.LOGS, facts(), [told])
    assert b"no answer" in batch.raw
    for secret in (b"10.1.2.3", b"customer-prod-1", b"example.com", b".kube", b"ann", b"edge7", b"night", b"rodBack"):
        assert secret not in batch.raw


def test_h9_nothing_from_before_the_consent_is_written() -> None:
    items: list[Item] = [
        Point("muster.fleet.flapping", NOW - 0.001, 1),
        Point("muster.fleet.flapping", NOW, 2),
        Point("muster.verdicts", NOW + 1, 3, since=NOW - 500),
    ]
    made = encoder(CONSENT, Stream.METRICS).encode(items, NOW)
    assert made.drops == {Why.BEFORE_CONSENT: 1}
    request = ExportMetricsServiceRequest.FromString(made.batches[0].raw)
    by_name = {metric.name: metric for metric in request.resource_metrics[0].scope_metrics[0].metrics}
    assert [point.as_int for point in by_name["muster.fleet.flapping"].gauge.data_points] == [2]
    assert by_name["muster.verdicts"].sum.data_points[0].start_time_unix_nano == int(NOW) * 10**9


@pytest.mark.parametrize(
    ("item", "why"),
    [
        (Point("made.up", NOW, 1), Why.NOT_IN_DICTIONARY),
        (Point("uplink.cluster.info", NOW, 1), Why.NOT_IN_DICTIONARY),  # of another stream
        (Event("muster.fleet.flapping", NOW, 9), Why.NOT_IN_DICTIONARY),
        (Event("muster.transition", NOW, 9), Why.NOT_IN_DICTIONARY),
        (Point("muster.fleet.flapping", NOW, 1.5), Why.WRONG_TYPE),
        (Point("muster.fleet.flapping", NOW, True), Why.WRONG_TYPE),
        (Point("muster.fleet.flapping", NOW, 2**63), Why.WRONG_TYPE),
        (Point("muster.fleet.flapping", float("nan"), 1), Why.WRONG_TYPE),
        (Point("muster.fleet.flapping", 1e300, 1), Why.WRONG_TYPE),
    ],
)
def test_what_is_not_in_the_dictionary_is_dropped_and_counted(item: Item, why: Why) -> None:
    made = encoder(CONSENT, Stream.METRICS).encode([item], NOW)
    assert (made.batches, made.drops) == ((), {why: 1})


def test_an_attribute_that_is_not_in_the_dictionary_is_dropped_and_counted_and_the_rest_is_sent() -> None:
    item = Point("muster.verdicts", NOW, 1, {"check": "apiserver", "reason": "hunter2", "endpoint": "10.0.0.1"})
    made = encoder(CONSENT, Stream.METRICS).encode([item], NOW)
    assert made.drops == {Why.NOT_IN_DICTIONARY: 1, Why.WRONG_TYPE: 1}
    assert b"apiserver" in made.batches[0].raw
    assert b"hunter2" not in made.batches[0].raw
    assert b"10.0.0.1" not in made.batches[0].raw


def test_a_field_that_nobody_consented_to_is_not_written_though_the_dictionary_has_it() -> None:
    scope = CONSENT.scope[Stream.METRICS]
    fields = {own: digest for own, digest in scope.fields.items() if own != "metric:uplink.cluster.health:reason"}
    narrower = CONSENT.model_copy(update={"scope": {Stream.METRICS: Scope(fields=fields)}})
    known = replace(facts(), clusters=[cluster(reason="ConnectTimeout")], verdicts={})
    batches, drops = encoded(narrower, Stream.METRICS, known, [])
    assert drops == {Why.NOT_CONSENTED: 1}
    assert b"ConnectTimeout" not in batches[0].raw


# -- batches


@pytest.mark.parametrize("stream", Stream)
@pytest.mark.parametrize("limit", [10_000, 60_000])
def test_batches_are_within_the_bound_and_nothing_is_lost_between_them(stream: Stream, limit: int) -> None:
    known = facts(400, verdicts={VerdictKey(check, "pass", None): 5 for check in Check})
    items = items_of(stream, known, [change(id=number) for number in range(400)])
    made = encoder(CONSENT, stream, limit=limit).encode(items, NOW)
    assert len(made.batches) > 1
    assert all(len(batch.raw) <= limit for batch in made.batches)
    assert sum(batch.records for batch in made.batches) == len(items)
    assert len({batch.id for batch in made.batches}) == len(made.batches)


@pytest.mark.parametrize("stream", Stream)
def test_the_same_facts_make_the_same_bytes_in_another_process_too(stream: Stream) -> None:
    one, other = (encoded(CONSENT, stream, facts(), [change()])[0][0] for _ in range(2))
    assert one.raw == other.raw
    assert one.digest == other.digest
    assert one.id != other.id


def test_the_longest_values_fit_one_batch() -> None:
    long = "n" * 100_000
    known = replace(facts(0), locations=[location(name=long, account=long, container=long)])
    (batch,), _ = encoded(given(plain=True), Stream.INVENTORY, known, [])
    assert len(batch.raw) < 4096


# -- what waited


def test_h10_a_batch_of_a_stream_that_was_taken_out_is_not_sent() -> None:
    (batch,), _ = encoded(CONSENT, Stream.LOGS, facts(), [change()])
    assert still_allowed(batch, CONSENT, OFFER.dictionary) is batch
    left = CONSENT.model_copy(update={"scope": {Stream.METRICS: CONSENT.scope[Stream.METRICS]}})
    assert still_allowed(batch, left, OFFER.dictionary) is None


def test_h10_fields_that_are_consented_to_no_more_are_taken_out_of_what_waited() -> None:
    (batch,), _ = encoded(given(text=True), Stream.LOGS, facts(), [change(message="hello there")])
    consent = CONSENT.model_copy(update={"consent_id": batch.consent})
    left = still_allowed(batch, consent, OFFER.dictionary)
    assert left is not None
    assert b"hello there" in batch.raw
    assert b"hello there" not in left.raw
    assert (left.id, left.records) == (batch.id, 1)


def test_h8_a_batch_of_another_consent_is_never_relabelled() -> None:
    (batch,), _ = encoded(CONSENT, Stream.METRICS, facts(), [])
    assert still_allowed(batch, given(), OFFER.dictionary) is None


def test_what_otlp_has_besides_is_left_behind() -> None:
    (batch,), _ = encoded(CONSENT, Stream.METRICS, facts(), [])
    request = ExportMetricsServiceRequest.FromString(batch.raw)
    clean = request.SerializeToString(deterministic=True)
    scope = request.resource_metrics[0].scope_metrics[0]
    scope.scope.name = "canary"
    scope.schema_url = "canary"
    scope.metrics[0].description = "canary"
    scope.metrics[0].gauge.data_points[0].exemplars.append(Exemplar(span_id=b"canary"))
    scope.metrics.add(name="made.up").gauge.data_points.add(as_int=1)
    scope.metrics[0].gauge.data_points[0].attributes.add(key="canary").value.string_value = "canary"
    request.resource_metrics[0].resource.attributes.add(key="host.name").value.string_value = "canary"
    left = narrowed(request, OFFER.dictionary.of(Stream.METRICS), free_text=True)
    assert left.SerializeToString(deterministic=True) == clean
    log = ExportLogsServiceRequest()
    record = log.resource_logs.add().scope_logs.add().log_records.add(event_name="muster.transition")
    record.body.string_value = record.severity_text = "canary"
    record.trace_id = b"canary"
    record.attributes.add(key="check").value.int_value = 7
    assert b"canary" not in narrowed(log, OFFER.dictionary.of(Stream.LOGS), free_text=False).SerializeToString()


def test_every_stream_has_a_consent_here() -> None:
    assert set(CONSENT.scope) == ALL
