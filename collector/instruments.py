"""The instruments: every metric's name, unit and meaning, on the OpenTelemetry SDK.

Names are Prometheus names, so that a metric is called the same at `/metrics` and by OTLP. Everything that the service
counts or knows anyway is an observable instrument, read from one `Measured` at each collection; only histograms are
recorded as things happen.

Clusters have a provider of their own, because the SDK keeps every attribute set that an observable instrument ever
reported, and one cluster has a new one with every change of its health: in a fleet that changes it would grow for ever
and run into the cardinality limit. So this provider's readers are replaced from time to time; the counts and
histograms, which must not start again from zero, are on the other one.

Nothing here is for the loop: `text` and `otlp` take about 35 µs a cluster and belong into a thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import Meter, Observation
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.sdk.metrics import AlwaysOffExemplarFilter, MeterProvider, ObservableGauge
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import generate_latest

from collector.measured import ClusterRow, Fleet, Measured

BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0)
"""From a kept connection on the same host to twice the default interval, which is lateness that nobody accepts."""

RENEW_EVERY = 100
"""Renderings after which the clusters' reader is replaced. A fresh one costs 40 % more CPU once."""

CARDINALITY = 1_000_000
"""Attribute sets of one observable gauge. The SDK's own limit of 2,000 would fold the rest of the fleet into one series
named `otel_metric_overflow`; what bounds this is the fleet, and RENEW_EVERY."""

_LIMITS: dict[type, int] = {ObservableGauge: CARDINALITY}


class Instruments:
    """Everything that is measured. `lateness` and `stages` may be recorded from anywhere; the rest is for one thread."""

    def __init__(self, version: str, *, otlp: bool) -> None:
        self._measured: Measured | None = None
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._hub_reader = InMemoryMetricReader() if otlp else None
        resource = Resource.create({"service.name": "muster", "service.version": version})
        self._hub, self._clusters = (
            MeterProvider(resource=resource, exemplar_filter=AlwaysOffExemplarFilter(), shutdown_on_exit=False)
            for _ in range(2)
        )
        self._hub.add_metric_reader(self._prometheus())
        if self._hub_reader:
            self._hub.add_metric_reader(self._hub_reader)
        self._clusters_reader = self._prometheus()
        self._clusters.add_metric_reader(self._clusters_reader)
        self._renderings = 0
        hub = self._hub.get_meter("muster", version)
        self.lateness = hub.create_histogram(
            "muster_probe_lateness_seconds",
            "s",
            "From the moment a probe was due to its answer; a skipped tick counts as a late one.",
            explicit_bucket_boundaries_advisory=BUCKETS_S,
        )
        self.stages = hub.create_histogram(
            "muster_probe_stage_duration_seconds",
            "s",
            "Time spent in one stage of a probe: dns, connect, tls, http, read.",
            explicit_bucket_boundaries_advisory=BUCKETS_S,
        )
        self._observe_hub(hub)
        self._observe_clusters(self._clusters.get_meter("muster.clusters", version))

    def text(self, measured: Measured) -> bytes:
        """Everything in the Prometheus text format."""
        self._measured = measured
        self._renderings += 1
        if self._renderings % RENEW_EVERY == 0:
            self._clusters.remove_metric_reader(self._clusters_reader)
            self._clusters_reader = self._prometheus()
            self._clusters.add_metric_reader(self._clusters_reader)
        return generate_latest(self._registry)

    def otlp(self, measured: Measured) -> bytes:
        """Everything as the body of an OTLP request; only where `otlp` was asked for."""
        assert self._hub_reader is not None
        self._measured = measured
        clusters_reader = InMemoryMetricReader(cardinality_limits=_LIMITS)
        self._clusters.add_metric_reader(clusters_reader)
        collected = self._hub_reader.get_metrics_data(), clusters_reader.get_metrics_data()
        self._clusters.remove_metric_reader(clusters_reader)
        request = ExportMetricsServiceRequest()
        for data in collected:
            if data is not None:
                request.MergeFrom(encode_metrics(data))
        return request.SerializeToString()

    def _prometheus(self) -> PrometheusMetricReader:
        return PrometheusMetricReader(
            disable_target_info=True, scope_info_enabled=False, registry=self._registry, cardinality_limits=_LIMITS
        )

    # -- what is observed

    def _observe_hub(self, meter: Meter) -> None:
        gauge, counter = _Observer(meter.create_observable_gauge), _Observer(meter.create_observable_counter)

    def _observe_clusters(self, meter: Meter) -> None: ...
