"""What a batch says, and how much of it is believed."""

from __future__ import annotations

from uuid import uuid4

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from tests.support.receiving import logs, metrics
from uplink.receiver.facts import MAX_ITEMS, MAX_RESOURCES, read_facts, stamp
from uplink.receiver.limits import MAX_KEYS, Buckets
from uplink.wire import names
from uplink.wire.errors import TooLarge

NOW = 1_800_000_000.0


def test_clusters_and_their_health_are_found_by_musters_number_or_by_their_uid() -> None:
    request = metrics({"uid-1": "Healthy"}, at=NOW)
    for metric in request.resource_metrics[0].scope_metrics[0].metrics:
        point = metric.gauge.data_points.add(time_unix_nano=int(NOW * 1e9))
        point.attributes.add(key=names.CLUSTER_ID).value.string_value = "id-2"
        point.attributes.add(key=names.HEALTH).value.string_value = "Unknown"
        metric.gauge.data_points.add().attributes.add(key="nobody").value.string_value = "x"
    facts = read_facts(request, NOW)
    assert [each["uid"] for each in facts.clusters] == ["id-2", "uid-1"]
    assert {(each["uid"], each["health"], each["at"]) for each in facts.health} == {
        ("uid-1", "Healthy", NOW),
        ("id-2", "Unknown", NOW),
    }
    assert facts.items == 6


@pytest.mark.parametrize("at", [1.0, NOW - 500 * 86_400, NOW + 10 * 86_400, 18e9])
def test_a_clock_that_makes_no_sense_is_replaced_by_ours(at: float) -> None:
    assert [each["at"] for each in read_facts(metrics({"u": "Healthy"}, at=at), NOW).health] == [NOW]


def test_what_json_and_terminals_cant_take_is_made_harmless() -> None:
    request = logs("a\x1b]0;x\x07b\x00c" + "y" * 10_000)
    record = request.resource_logs[0].scope_logs[0].log_records[0]
    for number, value in enumerate((float("nan"), float("inf"), -1.5)):
        record.attributes.add(key=f"k{number}").value.double_value = value
    record.attributes.add(key="list").value.array_value.values.add().string_value = "x"
    for number in range(100):
        record.attributes.add(key=f"more{number}").value.int_value = 2**63 - 1
    (log,) = read_facts(request, NOW).logs
    assert log["body"].isprintable()
    assert len(log["body"]) <= 2000
    assert (log["attributes"]["k0"], log["attributes"]["k1"], log["attributes"]["k2"]) == ("nan", "inf", -1.5)
    assert "list" not in log["attributes"]
    assert len(log["attributes"]) == 32


def test_whose_it_is_is_written_over_what_it_says() -> None:
    request, installation = metrics({"u": "Healthy"}, organisation="liar"), uuid4()
    resource = request.resource_metrics[0].resource
    resource.attributes.add(key=names.ORGANISATION).value.int_value = 7
    request.resource_metrics.add()
    stamp(request, "acme", installation)
    for each in request.resource_metrics:
        said = {(a.key, a.value.string_value) for a in each.resource.attributes}
        assert {(names.ORGANISATION, "acme"), (names.INSTALLATION, str(installation))} <= said
        assert sum(a.key == names.ORGANISATION for a in each.resource.attributes) == 1


def test_half_a_million_of_anything_is_too_many() -> None:
    points = ExportMetricsServiceRequest()
    gauge = points.resource_metrics.add().scope_metrics.add().metrics.add().gauge
    for _ in range(MAX_ITEMS + 1):
        gauge.data_points.add()
    scopes = ExportMetricsServiceRequest()
    inner = scopes.resource_metrics.add()
    for _ in range(MAX_ITEMS + 1):
        inner.scope_metrics.add()
    records = ExportLogsServiceRequest()
    scope = records.resource_logs.add().scope_logs.add()
    for _ in range(MAX_ITEMS + 1):
        scope.log_records.add()
    for request in (points, scopes, records):
        with pytest.raises(TooLarge):
            read_facts(request, NOW)
    resources = ExportMetricsServiceRequest()
    for _ in range(MAX_RESOURCES + 1):
        resources.resource_metrics.add()
    with pytest.raises(TooLarge):
        stamp(resources, "acme", uuid4())


def test_a_bucket_fills_again_and_forgets_who_was_seen_longest_ago() -> None:
    buckets = Buckets(2, 10.0)
    assert [buckets.wait_s("a", 0.0) for _ in range(3)] == [0.0, 0.0, 10.0]
    assert buckets.wait_s("b", 0.0) == 0.0
    assert buckets.wait_s("a", 5.0) == 5.0
    assert buckets.wait_s("a", 10.0) == 0.0
    assert buckets.wait_s("a", 0.0) > 0, "a clock that went back gives nothing away"
    for number in range(MAX_KEYS):
        buckets.wait_s(str(number), 20.0)
    assert buckets.wait_s("b", 20.0) == 0.0
