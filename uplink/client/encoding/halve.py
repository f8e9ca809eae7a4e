"""A batch made smaller: in two, for a receiver that finds it too large, or to what is allowed by now. Pure.

A smaller batch has another id, since a receiver refuses the same id with other bytes (409). It is made of the id before
and of the bytes, so that a crash in between, or an export beside, makes no third.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from uuid import uuid5

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from uplink.client.consent.dictionary import Dictionary
from uplink.client.consent.record import Given
from uplink.client.encoding.batch import Batch
from uplink.client.encoding.narrow import still_allowed
from uplink.wire.otlp import Request, parse


def halved(batch: Batch) -> tuple[Batch, Batch] | None:
    """Its first and its second half, in order; None where it has but one record. Raises `WireError`.

    Points of one metric may be parted: they are whole by themselves.
    """
    if batch.records < 2:
        return None
    middle = batch.records // 2
    first, second = parse(batch.signal, batch.raw), parse(batch.signal, batch.raw)
    _keep(first, 0, middle)
    _keep(second, middle, batch.records)
    return (
        _part(batch, first, middle),
        _part(batch, second, batch.records - middle),
    )


def allowed(batch: Batch, given: Given, dictionary: Dictionary) -> Batch | None:
    """The batch as a consent allows it; None where nothing is left. Raises `WireError` where it can't be read."""
    left = still_allowed(batch, given, dictionary)
    return left if left is None or left is batch else replace(left, id=uuid5(batch.id, left.digest))


def _part(batch: Batch, request: Request, records: int) -> Batch:
    part = replace(batch, raw=request.SerializeToString(deterministic=True), records=records)
    return replace(part, id=uuid5(batch.id, part.digest))


def _keep(request: Request, begin: int, end: int) -> None:
    """Of all records, counted through, those from `begin` to before `end`."""
    at = 0
    for records in _lists(request):
        length = len(records)
        del records[max(0, min(length, end - at)) :]
        del records[: max(0, min(length, begin - at))]
        at += length
    if isinstance(request, ExportMetricsServiceRequest):
        for resource in request.resource_metrics:
            for scope in resource.scope_metrics:
                empty = [n for n, m in enumerate(scope.metrics) if not (m.gauge.data_points or m.sum.data_points)]
                for number in reversed(empty):
                    del scope.metrics[number]


def _lists(request: Request) -> Iterator[list[object]]:
    if isinstance(request, ExportLogsServiceRequest):
        for logs in request.resource_logs:
            for of_scope in logs.scope_logs:
                yield of_scope.log_records
        return
    for resource in request.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                points = metric.gauge.data_points if metric.HasField("gauge") else metric.sum.data_points
                yield points
