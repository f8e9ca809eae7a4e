"""The two that are measured: Muster's uplink, and OpenTelemetry for Python's own exporters with the same records.

Each is as its users have it. Muster: uvloop, and all the keeping that it does for safety. The peer: its exporters are
handed whole lists, which spares it the SDK's locks and queues, and both metrics go in one request. Both processes are
prepared alike (`prepare_process`: thresholds of the garbage collector). Facts are made while nobody counts.
"""

from __future__ import annotations

import time
from pathlib import Path

from benchmarks.uplink_client import Spec, client
from benchmarks.uplink_fleet import MadeFleet
from muster.process import prepare_process
from validator.clock import HubClock

CLUSTERS = 2000
CHANGES = 2000


async def muster(spec: Spec) -> tuple[float, int]:
    """CPU seconds and records, after one round that is not counted."""
    prepare_process()
    fleet, cpu_s, sent = MadeFleet(CLUSTERS, CHANGES), 0.0, 0
    async with client(spec, fleet, HubClock()) as own:
        for number in range(spec.rounds + 1):
            fleet.go_on()
            began, before = time.process_time(), own.sender.state.sent_records
            await own.filler.fill(own.standing, now_all=True)
            while (wait_s := await own.sender.step()) is not None:
                if wait_s:
                    raise SystemExit(f"not sent: {own.sender.state}")
            if number:
                cpu_s += time.process_time() - began
                sent += own.sender.state.sent_records - before
    return cpu_s, sent


def opentelemetry(spec: Spec) -> tuple[float, int]:
    """The same of the peer."""
    from opentelemetry._logs import LogRecord, SeverityNumber  # noqa: PLC0415 - the other side does not load it
    from opentelemetry.exporter.otlp.proto.http import Compression  # noqa: PLC0415
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter  # noqa: PLC0415
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter  # noqa: PLC0415
    from opentelemetry.sdk._logs import ReadableLogRecord  # noqa: PLC0415
    from opentelemetry.sdk.metrics import export as sdk  # noqa: PLC0415
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope  # noqa: PLC0415

    prepare_process()
    directory = Path(spec.directory)
    files = {name: str(directory / f"{name}.pem") for name in ("anchors", "chain", "key")}
    for name, path in files.items():
        Path(path).write_text(getattr(spec, name))
    anchors, chain, key = files["anchors"], files["chain"], files["key"]
    metrics = OTLPMetricExporter(f"{spec.receiver}/v1/metrics", anchors, key, chain, compression=Compression.Gzip)
    logs = OTLPLogExporter(f"{spec.receiver}/v1/logs", anchors, key, chain, compression=Compression.Gzip)
    resource = Resource(
        {"service.name": "muster", "service.version": "0.1.0", "service.instance.id": "i", "uplink.org.id": "acme"}
    )
    scope, fleet = InstrumentationScope("muster"), MadeFleet(CLUSTERS, CHANGES)

    def health(at: int) -> list[sdk.NumberDataPoint]:
        points = []
        for c in fleet.now[0].clusters:
            said = {"k8s.cluster.uid": c.external_uid, "muster.cluster.id": str(c.id), "health": c.health}
            if c.reason is not None:
                said["reason"] = c.reason
            points.append(sdk.NumberDataPoint(said, 0, at, 1))
        return points

    def info(at: int) -> list[sdk.NumberDataPoint]:
        return [
            sdk.NumberDataPoint(
                {
                    "k8s.cluster.uid": c.external_uid,
                    "muster.cluster.id": str(c.id),
                    "muster.cluster.name": c.name,
                    "muster.cluster.source": c.source,
                    "muster.cluster.lifecycle": c.lifecycle,
                    "k8s.cluster.version": c.kubernetes_version,
                },
                0,
                at,
                1,
            )
            for c in fleet.now[0].clusters
        ]

    def records() -> list[ReadableLogRecord]:
        return [
            ReadableLogRecord(
                LogRecord(
                    timestamp=int(c.at * 1e9),
                    severity_number=SeverityNumber.ERROR,
                    event_name="muster.transition",
                    attributes={
                        "k8s.cluster.uid": c.external_uid or "",
                        "muster.cluster.id": str(c.cluster_id),
                        "muster.cluster.name": c.cluster_name,
                        "check": c.check,
                        "from": c.from_health,
                        "to": c.to_health,
                        "reason": c.reason or "",
                        "stage": c.stage or "",
                        "flapping": c.flapping,
                        "collapsed": c.collapsed,
                    },
                ),
                resource,
                scope,
            )
            for c in fleet.now[1]
        ]

    cpu_s = 0.0
    for number in range(spec.rounds + 1):
        fleet.go_on()
        began = time.process_time()
        at = int(fleet.now[0].at * 1e9)
        told = [
            sdk.Metric("uplink.cluster.health", "", "1", sdk.Gauge(health(at))),
            sdk.Metric("uplink.cluster.info", "", "1", sdk.Gauge(info(at))),
        ]
        data = sdk.MetricsData([sdk.ResourceMetrics(resource, [sdk.ScopeMetrics(scope, told, "")], "")])
        for answer in (metrics.export(data), logs.export(records())):
            if answer.name != "SUCCESS":
                raise SystemExit(f"not sent: {answer}")
        if number:
            cpu_s += time.process_time() - began
    metrics.shutdown()
    logs.shutdown()  # type: ignore[no-untyped-call]  # theirs
    return cpu_s, fleet.records * spec.rounds
