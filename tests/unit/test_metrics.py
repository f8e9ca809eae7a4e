"""The metrics: what is counted, what is shown, and that showing it to a scraper holds nobody up."""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any, cast
from uuid import UUID

import pytest
import structlog
from aiohttp import web
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from prometheus_client.parser import text_string_to_metric_families

from collector.agents import Agents
from collector.availability import Availability
from collector.cluster import Cluster
from collector.history import History
from collector.instruments import RENEW_EVERY
from collector.inventory import Inventory
from collector.location import Assignment
from collector.location_store import LocationStore
from collector.locations import Locations
from collector.metrics import MAX_LATE_TICKS, FleetMetrics
from collector.otlp import Export
from collector.pairs import Pairs
from collector.pauses import Pauses
from collector.recorder import Recorder
from collector.requests import Requests
from muster.hub import Hub, Leading, Role
from store.pool import Database
from tests.support.locations import new_location
from tests.support.syncs import made_up_syncs
from tests.support.validating import made_up_validations
from validator.clock import HubClock
from validator.engine import Engine
from validator.guard import Guard
from validator.health import HealthSettings
from validator.model import NO_EVIDENCE, Check, Evidence, Lifecycle, Outcome, Verdict
from validator.reasons import Health, Reason
from validator.schedule import Lane, ScheduleSettings

ALLOWANCE_S = 73.0
SOME_CLUSTER = UUID(int=1)
NO_DATABASE = cast("Database", None)  # nothing here reads or writes


class Service:
    """A leading instance that knows clusters and verdicts, without a database and without asking anybody."""

    def __init__(self) -> None:
        self.monotonic_s = 0.0
        self.clock = HubClock(monotonic=lambda: self.monotonic_s)
        self.hub = Hub(self.clock, "1.2.3")
        self.inventory = Inventory(NO_DATABASE, {}, self.clock, ["kubeconfig"])
        self.recorder = Recorder(
            NO_DATABASE, {}, self.clock, HealthSettings(fail_after=1), names=str, publish=lambda _: None
        )
        self.engine = Engine(ScheduleSettings(), self.recorder.record, self.clock)
        self.locations = locations = Locations(LocationStore(NO_DATABASE, {}), self.clock)
        self.hub.leading = Leading(
            inventory=self.inventory,
            recorder=self.recorder,
            engine=self.engine,
            history=History(NO_DATABASE, {}),
            pauses=Pauses(NO_DATABASE, {}, self.clock),
            availability=Availability(NO_DATABASE, {}, retention_days=lambda: 90),
            locations=locations,
            pair_engine=Engine(ScheduleSettings(), self.recorder.record, self.clock),
            pairs=Pairs(self.inventory, locations, self.recorder, self.clock),
            validations=made_up_validations(locations, self.clock),
            syncs=made_up_syncs(locations, self.clock),
            agents=Agents(NO_DATABASE, {}, self.clock),
            requests=Requests(),
        )
        self.hub.role = Role.LEADING

    def cluster(self, number: int, name: str | None = None) -> UUID:
        cluster_id = UUID(int=number)
        self.inventory.clusters[cluster_id] = Cluster(
            cluster_id, name or f"c{number}", "kubeconfig", "https://c", None, {}, Lifecycle.ACTIVE, self.clock.now()
        )
        return cluster_id

    def heard(self, cluster_id: UUID, reason: Reason | None = None) -> Verdict:
        self.monotonic_s += 1
        heard = self.verdict(cluster_id=cluster_id, reason=reason)
        self.recorder.record([heard])
        return heard

    def verdict(
        self,
        *,
        cluster_id: UUID = UUID(int=1),  # noqa: B008 - immutable
        check: Check = Check.APISERVER,
        reason: Reason | None = None,
        lateness_s: float = 0.0,
        skipped_ticks: int = 0,
        lane: Lane = Lane.LIVE,
        evidence: Evidence = NO_EVIDENCE,
    ) -> Verdict:
        now = self.clock.now()
        outcome = Outcome.FAIL if reason else Outcome.PASS
        return Verdict(
            check, cluster_id, outcome, now, now, 0.01, lateness_s, ALLOWANCE_S, lane, skipped_ticks, reason,
            evidence=evidence,
        )  # fmt: skip


@pytest.fixture
async def service() -> Service:
    return Service()


@pytest.fixture
async def metrics(service: Service) -> AsyncIterator[FleetMetrics]:
    built = FleetMetrics(service.hub, interval_s=30.0)
    yield built
    built.close()


Series = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def parsed(page: bytes) -> Series:
    """Every series of a page, through Prometheus' own parser."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


async def scraped(metrics: FleetMetrics) -> Series:
    return parsed(await metrics.render())


def values(series: Series, name: str) -> dict[str, float]:
    """The series of one metric, by the values of their labels."""
    return {" ".join(value for _, value in labels): v for (n, labels), v in series.items() if n == name}


class TestVerdicts:
    async def test_are_counted_by_check_outcome_and_reason(self, service: Service, metrics: FleetMetrics) -> None:
        bad = service.verdict(reason=Reason.CONNECT_TIMEOUT)
        metrics.observe([service.verdict(), service.verdict(), bad, service.verdict(check=Check.CREDENTIAL)])
        assert values(await scraped(metrics), "muster_verdicts_total") == {
            "apiserver pass ": 2,
            "apiserver fail ConnectTimeout": 1,
            "credential pass ": 1,
        }

    async def test_each_skipped_tick_is_a_lateness_of_its_own(self, service: Service, metrics: FleetMetrics) -> None:
        metrics.observe([service.verdict(lateness_s=65.0, skipped_ticks=2, lane=Lane.DEAD)])
        series = await scraped(metrics)
        assert values(series, "muster_probe_lateness_seconds_sum") == {"dead": 65 + 35 + 5}
        assert values(series, "muster_probe_skipped_ticks_total") == {"dead": 2, "live": 0}
        buckets = values(series, "muster_probe_lateness_seconds_bucket")
        assert [buckets[f"dead {le}"] for le in ("2.5", "5.0", "30.0", "60.0", "+Inf")] == [0, 1, 1, 2, 3]

    async def test_an_hour_of_skipped_ticks_costs_little_and_is_counted(
        self, service: Service, metrics: FleetMetrics
    ) -> None:
        metrics.observe([service.verdict(lateness_s=3600.0, skipped_ticks=119)])
        series = await scraped(metrics)
        assert values(series, "muster_probe_lateness_seconds_count") == {"live": 1 + MAX_LATE_TICKS}
        assert values(series, "muster_probe_skipped_ticks_total")["live"] == 119

    async def test_a_probe_with_two_facts_is_late_once(self, service: Service, metrics: FleetMetrics) -> None:
        metrics.observe([service.verdict(), service.verdict(check=Check.CREDENTIAL)])
        assert values(await scraped(metrics), "muster_probe_lateness_seconds_count") == {"live": 1}

    async def test_stages_are_shown_in_seconds(self, service: Service, metrics: FleetMetrics) -> None:
        metrics.observe([service.verdict(evidence={"http_ms": 20.0, "tls_ms": 3, "address": "192.0.2.1"})])
        metrics.observe([service.verdict(evidence={"http_ms": 40.0, "dns_ms": "hostile"})])
        series = await scraped(metrics)
        assert values(series, "muster_probe_stage_duration_seconds_sum") == {"http": 0.06, "tls": 0.003}
        assert values(series, "muster_probe_stage_duration_seconds_count") == {"http": 2, "tls": 1}

    async def test_cost_little(self, service: Service, metrics: FleetMetrics) -> None:
        """9 µs each; the bound is lax, because machines differ, and catches what would matter."""
        answer = [service.verdict(lateness_s=0.012, evidence={"http_ms": 2.3, "reused": True})]
        costs_s = []
        for _ in range(5):
            started = time.process_time()
            for _ in range(200):
                metrics.observe(answer)
            costs_s.append((time.process_time() - started) / 200)
        assert min(costs_s) < 60e-6


class TestClusters:
    async def test_have_one_series_for_the_health_that_they_have(self, service: Service, metrics: FleetMetrics) -> None:
        good, bad, new = service.cluster(1), service.cluster(2), service.cluster(3)
        service.heard(good)
        service.heard(bad)
        first = await scraped(metrics)
        service.heard(bad, Reason.CONNECT_TIMEOUT)
        service.heard(good)
        second = await scraped(metrics)

        def healths(series: Series) -> dict[str, float]:
            return values(series, "muster_cluster_health")

        assert healths(first) == {
            f"c1 {good} Healthy kubeconfig": 1,
            f"c2 {bad} Healthy kubeconfig": 1,
            f"c3 {new} Unknown kubeconfig": 1,
        }
        assert set(healths(first)) - set(healths(second)) == {f"c2 {bad} Healthy kubeconfig"}
        assert set(healths(second)) - set(healths(first)) == {f"c2 {bad} Unreachable kubeconfig"}
        counts = values(second, "muster_clusters")
        present = {"Healthy": 1, "Unreachable": 1, "Unknown": 1}
        assert counts == {str(health): present.get(health, 0) for health in Health}

    async def test_show_when_they_last_answered(self, service: Service, metrics: FleetMetrics) -> None:
        good, never = service.cluster(1), service.cluster(2)
        heard_at = service.heard(good).received_at
        service.heard(never, Reason.CONNECT_TIMEOUT)
        shown = values(await scraped(metrics), "muster_cluster_last_success_timestamp_seconds")
        assert shown == {f"c1 {good}": pytest.approx(heard_at)}

    async def test_series_vanish_with_their_cluster(self, service: Service, metrics: FleetMetrics) -> None:
        kept, gone = service.cluster(1), service.cluster(2)
        service.heard(kept)
        service.heard(gone)
        before = await metrics.render()
        del service.inventory.clusters[gone]
        service.recorder.forget(gone)
        after = await metrics.render()
        assert str(gone).encode() in before
        assert str(gone).encode() not in after
        assert str(kept).encode() in after

    async def test_each_pair_has_a_series_until_its_assignment_ends(
        self, service: Service, metrics: FleetMetrics
    ) -> None:
        good, silent = service.cluster(1), service.cluster(2)
        now = service.clock.now()
        made = new_location("daily")
        users = {each: Assignment(each, now, "ann") for each in (good, silent)}
        location = service.locations._remember(replace(made, assignments=users))
        heard = service.verdict(cluster_id=good, check=Check.LOCATION)
        service.recorder.record([replace(heard, location_id=location.id)])
        before = await scraped(metrics)
        who = f"{location.id} {location.where.provider.value}"
        assert values(before, "muster_pair_health") == {
            f"c1 {good} Healthy daily {who}": 1,
            f"c2 {silent} Unknown daily {who}": 1,
        }
        assert values(before, "muster_pair_last_success_timestamp_seconds") == {
            f"c1 {good} daily {who}": pytest.approx(heard.received_at)
        }
        assert {health: n for health, n in values(before, "muster_pairs").items() if n} == {"Healthy": 1, "Unknown": 1}
        service.locations._remember(replace(location, assignments={}, version=2))
        after = await scraped(metrics)
        assert values(after, "muster_pair_health") == {}
        assert not any(values(after, "muster_pairs").values())

    async def test_a_fact_that_outlived_its_allowance_is_not_shown_as_healthy(
        self, service: Service, metrics: FleetMetrics
    ) -> None:
        cluster = service.cluster(1)
        service.heard(cluster)
        service.monotonic_s += ALLOWANCE_S + 1
        assert values(await scraped(metrics), "muster_cluster_health") == {f"c1 {cluster} Unknown kubeconfig": 1}

    @pytest.mark.parametrize(
        "name", ['a "quoted" name', "two\nlines", "back\\slash\\n", 'all "\\\n of it', "größe", ""]
    )
    async def test_any_name_can_be_read_back(self, service: Service, metrics: FleetMetrics, name: str) -> None:
        service.inventory.clusters[service.cluster(1)] = Cluster(
            UUID(int=1), name, "kubeconfig", "https://c", None, {}, Lifecycle.ACTIVE, 0.0
        )
        labels = [dict(labels) for n, labels in await scraped(metrics) if n == "muster_cluster_health"]
        assert [each.get("cluster", "") for each in labels] == [name]

    async def test_a_name_that_is_no_text_does_not_fail_the_page(self, service: Service, metrics: FleetMetrics) -> None:
        service.cluster(1, "\ud800 from a YAML escape")
        service.cluster(2)
        names = {dict(labels)["cluster"] for n, labels in await scraped(metrics) if n == "muster_cluster_health"}
        assert names == {"? from a YAML escape", "c2"}

    async def test_that_come_and_go_do_not_fill_the_memory(self, service: Service, metrics: FleetMetrics) -> None:
        """The SDK keeps every attribute set; ours are thrown away with their reader."""
        for number in range(2 * RENEW_EVERY + 10):
            service.inventory.clusters.clear()
            service.cluster(number)
            await metrics.render()
        gc.collect()
        kept = sum(type(each).__name__ == "_LastValueAggregation" for each in gc.get_objects())
        assert kept < RENEW_EVERY

    async def test_are_not_shown_by_an_instance_that_does_not_lead(
        self, service: Service, metrics: FleetMetrics
    ) -> None:
        service.cluster(1)
        service.hub.leading, service.hub.role = None, Role.STANDBY
        series = await scraped(metrics)
        assert values(series, "muster_hub_info") == {"standby 1.2.3": 1}
        assert not [name for name, _ in series if name.startswith(("muster_cluster", "muster_lane", "muster_store"))]


async def test_the_instance_shows_its_lanes_store_guard_and_sources(service: Service, metrics: FleetMetrics) -> None:
    assert service.hub.leading is not None
    service.hub.leading.guard = Guard(holding=True, since=1.0)
    service.recorder.degraded_since = 1.0
    stats = service.recorder.stats
    stats.flush_s, stats.committed, stats.collapsed, stats.conflicts = 0.25, 7, 3, 1
    live = service.engine.lanes[Lane.LIVE]
    live.slots = 1
    live.offer(cast("Any", "asked"))
    live.offer(cast("Any", "waiting"))
    live.admit()
    series = await scraped(metrics)
    assert {name: v for (name, labels), v in series.items() if not labels and name.startswith("muster_")} == {
        "muster_guard_holding": 1,
        "muster_source_problems": 0,
        "muster_store_degraded": 1,
        "muster_store_flush_seconds": 0.25,
        "muster_store_conflicts_total": 1,
        "muster_transitions_committed_total": 7,
        "muster_transitions_collapsed_total": 3,
    }
    lanes = {name: values(series, f"muster_lane_{name}")["live"] for name in ("slots", "busy", "waiting")}
    assert lanes == {"slots": 1, "busy": 1, "waiting": 1}
    assert ("process_open_fds", ()) in series


class TestRendering:
    @pytest.fixture(autouse=True)
    def _as_the_service_runs(self) -> Iterator[None]:
        """The two settings of the interpreter without which a rendering holds the loop for 5 ms at a time, and each
        full pass of the garbage collector for 100 ms."""
        interval_s, thresholds = sys.getswitchinterval(), gc.get_threshold()
        sys.setswitchinterval(0.0005)
        gc.set_threshold(50_000, 20, 100)
        yield
        sys.setswitchinterval(interval_s)
        gc.set_threshold(*thresholds)

    async def test_10_000_clusters_are_all_there_and_hold_nobody_up(
        self, service: Service, metrics: FleetMetrics
    ) -> None:
        for number in range(10_000):
            service.recorder.record([service.verdict(cluster_id=service.cluster(number))])
        gaps_s: list[float] = []

        async def heart() -> None:
            while True:
                started = time.perf_counter()
                await asyncio.sleep(0.001)
                gaps_s.append(time.perf_counter() - started)

        beating = asyncio.create_task(heart(), name="heart")
        started = time.perf_counter()
        page = await metrics.render()
        took_s = time.perf_counter() - started
        beating.cancel()

        assert page.count(b"\nmuster_cluster_health{") == 10_000
        assert page.count(b"\nmuster_cluster_last_success_timestamp_seconds{") == 10_000
        assert b"overflow" not in page
        assert len(gaps_s) > 20
        assert max(gaps_s) < took_s / 3

    async def test_scrapes_at_the_same_time_share_one_rendering(self, service: Service, metrics: FleetMetrics) -> None:
        service.cluster(1)
        pages = await asyncio.gather(*(metrics.render() for _ in range(5)))
        assert len({id(page) for page in pages}) == 1
        assert await metrics.render() is not pages[0]

    async def test_a_scraper_that_hangs_up_takes_nobody_elses_answer(
        self, service: Service, metrics: FleetMetrics
    ) -> None:
        service.cluster(1)
        impatient, patient = (asyncio.create_task(metrics.render(), name=f"scraper:{n}") for n in range(2))
        await asyncio.sleep(0)
        impatient.cancel()
        assert b"muster_cluster_health" in await patient
        assert impatient.cancelled()

    async def test_clusters_may_come_and_go_meanwhile(self, service: Service, metrics: FleetMetrics) -> None:
        for number in range(1000):
            service.cluster(number)
        rendering = asyncio.create_task(metrics.render(), name="scraper")
        for number in range(1000):
            await asyncio.sleep(0)
            service.inventory.clusters.pop(UUID(int=number))
            service.cluster(1000 + number)
        assert b"muster_cluster_health" in await rendering

    async def test_leaves_the_default_executor_alone(self, metrics: FleetMetrics) -> None:
        await metrics.render()
        assert cast("Any", asyncio.get_running_loop())._default_executor is None


Answer = Callable[[web.Request], web.StreamResponse]


class Collector:
    """An OpenTelemetry collector's receiving side."""

    def __init__(self) -> None:
        self.requests: list[web.Request] = []
        self.exports: asyncio.Queue[ExportMetricsServiceRequest] = asyncio.Queue()
        self.answers: list[web.Response] = []
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        self.requests.append(request)
        assert request.headers["Content-Encoding"] == "gzip"
        self.exports.put_nowait(ExportMetricsServiceRequest.FromString(await request.read()))
        return self.answers.pop(0) if self.answers else web.Response()

    def values(self, export: ExportMetricsServiceRequest, name: str) -> dict[str, float]:
        return {
            " ".join(a.value.string_value for a in sorted(point.attributes, key=lambda a: a.key)): (
                point.as_int or point.as_double
            )
            for scope in (s for r in export.resource_metrics for s in r.scope_metrics)
            for metric in scope.metrics
            if metric.name == name
            for point in getattr(metric, str(metric.WhichOneof("data"))).data_points
        }


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    built = Collector()
    app = web.Application()
    app.router.add_post("/v1/metrics", built.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    built.url = f"http://{host}:{port}"
    yield built
    await runner.cleanup()


@asynccontextmanager
async def exporting(service: Service, endpoint: str, **settings: Any) -> AsyncIterator[FleetMetrics]:
    metrics = FleetMetrics(service.hub, otlp_endpoint=endpoint, otlp_every_s=0.02, **settings)
    task = asyncio.create_task(metrics.run(), name="otlp")
    try:
        yield metrics
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.wait_for(task, 1.0)
        metrics.close()


@pytest.mark.timeout(10)
class TestOtlp:
    async def test_sends_what_the_page_shows(self, service: Service, collector: Collector) -> None:
        cluster = service.cluster(1)
        heard = service.heard(cluster)
        async with exporting(service, collector.url, otlp_headers={"Authorization": "Bearer of-the-collector"}) as m:
            m.observe([heard, service.verdict(lateness_s=0.5)])
            export = await collector.exports.get()
        resource = {a.key: a.value.string_value for a in export.resource_metrics[0].resource.attributes}
        assert (resource["service.name"], resource["service.version"]) == ("muster", "1.2.3")
        assert collector.requests[0].headers["Authorization"] == "Bearer of-the-collector"
        assert collector.values(export, "muster_verdicts_total") == {"apiserver pass ": 2}
        assert collector.values(export, "muster_cluster_health") == {f"c1 {cluster} Healthy kubeconfig": 1}
        assert collector.values(export, "muster_cluster_last_success_timestamp_seconds") == {
            f"c1 {cluster}": pytest.approx(heard.received_at)
        }
        (lateness,) = (
            metric.histogram.data_points[0]
            for resource_metrics in export.resource_metrics
            for scope in resource_metrics.scope_metrics
            for metric in scope.metrics
            if metric.name == "muster_probe_lateness_seconds"
        )
        assert (lateness.count, lateness.sum) == (2, 0.5)

    async def test_forgets_a_cluster_that_is_gone(self, service: Service, collector: Collector) -> None:
        gone = service.cluster(1)
        async with exporting(service, collector.url):
            assert collector.values(await collector.exports.get(), "muster_cluster_health")
            del service.inventory.clusters[gone]
            await collector.exports.get()  # may have been collected before
            assert not collector.values(await collector.exports.get(), "muster_cluster_health")

    async def test_counts_every_result_and_logs_only_changes(self, service: Service, collector: Collector) -> None:
        dropped = ExportMetricsServiceResponse()
        dropped.partial_success.rejected_data_points = 5
        dropped.partial_success.error_message = "too old"
        collector.answers = [
            web.Response(),
            web.Response(status=503),
            web.Response(status=503),
            web.Response(status=307, headers={"Location": "http://127.0.0.1:1/elsewhere"}),
            web.Response(body=dropped.SerializeToString()),
            web.Response(text="<html>from a proxy</html>"),
        ]
        with structlog.testing.capture_logs() as logs:
            async with exporting(service, collector.url) as metrics:
                for _ in range(8):
                    await collector.exports.get()
                counts = values(await scraped(metrics), "muster_otlp_exports_total")
        assert counts.pop("sent") >= 2
        assert counts == {"failed": 3, "rejected": 1}
        assert [(log["result"], log["why"]) for log in logs if log["event"] == "metrics export"] == [
            (Export.FAILED, "HTTP 503"),
            (Export.REJECTED, "5 points: too old"),
            (Export.SENT, ""),
        ]

    async def test_a_collector_that_is_away_is_no_trouble(self, service: Service, unused_tcp_port: int) -> None:
        with structlog.testing.capture_logs() as logs:
            async with exporting(service, f"http://someone:hunter2@127.0.0.1:{unused_tcp_port}") as metrics:
                while not (counts := values(await scraped(metrics), "muster_otlp_exports_total")):  # noqa: ASYNC110 - HTTP
                    await asyncio.sleep(0.01)
        assert set(counts) == {"failed"}
        assert "hunter2" not in str(logs)
        assert f"http://127.0.0.1:{unused_tcp_port}" in str(logs)

    async def test_stops_at_once_in_the_middle_of_an_export(self, service: Service) -> None:
        asked = asyncio.Event()

        async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked.set()
            with suppress(ConnectionError):
                await reader.read()
            writer.close()

        server = await asyncio.start_server(hang, "127.0.0.1", 0)
        async with server:
            host, port = server.sockets[0].getsockname()
            async with exporting(service, f"http://{host}:{port}"):
                await asked.wait()
                started = time.perf_counter()
            assert time.perf_counter() - started < 0.5

    async def test_without_an_endpoint_there_is_nothing_to_run(self, metrics: FleetMetrics) -> None:
        await asyncio.wait_for(metrics.run(), 1.0)

    @pytest.mark.parametrize("endpoint", ["collector:4318", "grpc://collector:4317", "/v1/metrics", "http://"])
    async def test_an_endpoint_that_is_no_url_is_refused_with_an_example(self, service: Service, endpoint: str) -> None:
        with pytest.raises(ValueError, match="http://collector:4318"):
            FleetMetrics(service.hub, otlp_endpoint=endpoint)
