"""The instruments on the OpenTelemetry SDK, and the two ways to read them: Prometheus text and OTLP.

Everything that the service counts or knows anyway is an observable instrument, read from one `Measured` at each
collection (`collector/observed.py`); only histograms are recorded as things happen.

Clusters have a provider of their own. The SDK keeps every attribute set that an observable instrument ever reported,
and a cluster has a new one with each new health: in a fleet that changes, that grows for ever. So the readers of this
provider are replaced from time to time. What must not start again from zero is on the other one.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator

from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.sdk.metrics import AlwaysOffExemplarFilter, MeterProvider, ObservableGauge
from opentelemetry.sdk.metrics.export import CardinalityLimits, InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import generate_latest

from collector.measured import Measured
from collector.observed import CLUSTERS, HUB, PAIRS, Kind, Observed

BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0)
"""From a kept connection on the same host to twice the default interval: worse than that is all the same."""

RENEW_EVERY = 100
"""Renderings after which the clusters' reader is replaced; the next one costs 40 % more CPU."""

LIMITS: CardinalityLimits = {ObservableGauge: 1_000_000}
"""Attribute sets of one gauge. The SDK's default of 2,000 would fold the rest of the fleet into one series named
`otel_metric_overflow`. What bounds memory is the fleet, and RENEW_EVERY."""


class Instruments:
    """Everything that is measured.

    `lateness` and `stages` are recorded by the loop. `text` and `otlp` are for one thread beside it: they take about
    35 µs a cluster.
    """

    def __init__(self, version: str, *, otlp: bool) -> None:
        self._measured: Measured | None = None
        self._renderings = 0
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        resource = Resource.create({"service.name": "muster", "service.version": version})
        self._hub, self._clusters = (
            MeterProvider(resource=resource, exemplar_filter=AlwaysOffExemplarFilter(), shutdown_on_exit=False)
            for _ in range(2)
        )
        self._hub.add_metric_reader(self._prometheus())
        self._otlp = InMemoryMetricReader() if otlp else None
        if self._otlp is not None:
            self._hub.add_metric_reader(self._otlp)
        self._clusters_reader = self._prometheus()
        self._clusters.add_metric_reader(self._clusters_reader)

        meter = self._hub.get_meter("muster", version)
        self.lateness = meter.create_histogram(
            "muster_probe_lateness_seconds",
            "s",
            "From the moment a probe was due to its answer. A skipped tick counts as a late one.",
            explicit_bucket_boundaries_advisory=BUCKETS_S,
        )
        self.stages = meter.create_histogram(
            "muster_probe_stage_duration_seconds",
            "s",
            "Time that one stage of a probe took: dns, connect, tls, http or read.",
            explicit_bucket_boundaries_advisory=BUCKETS_S,
        )
        self._observe(meter, HUB)
        self._observe(self._clusters.get_meter("muster.clusters", version), (*CLUSTERS, *PAIRS))

    def text(self, measured: Measured) -> bytes:
        """Everything in the Prometheus text format, version 0.0.4."""
        self._measured = measured
        if self._renderings == RENEW_EVERY:
            self._renderings = 0
            self._clusters.remove_metric_reader(self._clusters_reader)
            self._clusters_reader = self._prometheus()
            self._clusters.add_metric_reader(self._clusters_reader)
        self._renderings += 1
        return generate_latest(self._registry)

    def otlp(self, measured: Measured) -> bytes:
        """Everything as the body of an OTLP export, gzipped; only where `otlp` was asked for."""
        assert self._otlp is not None
        self._measured = measured
        clusters = InMemoryMetricReader(cardinality_limits=LIMITS)
        self._clusters.add_metric_reader(clusters)
        collected = (self._otlp.get_metrics_data(), clusters.get_metrics_data())
        self._clusters.remove_metric_reader(clusters)
        request = ExportMetricsServiceRequest()
        for data in collected:
            if data is not None:
                request.MergeFrom(encode_metrics(data))
        return gzip.compress(request.SerializeToString(), compresslevel=5)

    def _prometheus(self) -> PrometheusMetricReader:
        return PrometheusMetricReader(
            disable_target_info=True, scope_info_enabled=False, registry=self._registry, cardinality_limits=LIMITS
        )

    def _observe(self, meter: Meter, table: Iterable[Observed]) -> None:
        create = {Kind.GAUGE: meter.create_observable_gauge, Kind.COUNTER: meter.create_observable_counter}
        for observed in table:

            def read(_: CallbackOptions, observed: Observed = observed) -> Iterator[Observation]:
                assert self._measured is not None
                for value, labels in observed.rows(self._measured):
                    yield Observation(value, labels)

            create[observed.kind](observed.name, [read], description=observed.text)
