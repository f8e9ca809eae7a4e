"""Sends metrics to the operator's own OpenTelemetry collector, once a minute.

The SDK encodes, aiohttp sends. The SDK's own exporter is a synchronous client in a thread: it resolves names without a
deadline and can't be cancelled, so that with a dead name server the service would not be gone 5 s after SIGTERM.

A failed export is not repeated: counts are cumulative, so the next one, a minute later, says it all again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum
from typing import NoReturn

import aiohttp
import structlog
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # protobuf ships no types
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from yarl import URL

_log = structlog.get_logger(__name__)

EVERY_S = 60.0
"""The default of OTEL_METRIC_EXPORT_INTERVAL."""

TIMEOUT_S = 10.0
"""The default of OTEL_EXPORTER_OTLP_TIMEOUT: for the whole exchange, name resolution included."""

MAX_ANSWER_BYTES = 64 * 1024
"""More of an answer is not read."""

PATH = "v1/metrics"


class Export(StrEnum):
    """What became of one export."""

    SENT = "sent"
    REJECTED = "rejected"
    """The collector took the export, and says that it dropped some points of it."""
    FAILED = "failed"


class OtlpSender:
    """`endpoint` is the collector's base URL, e.g. `http://collector:4318`; raises ValueError if it is none."""

    def __init__(self, endpoint: str, headers: Mapping[str, str], every_s: float = EVERY_S) -> None:
        base = URL(endpoint)
        if base.scheme not in {"http", "https"} or not base.host:
            raise ValueError("the OTLP endpoint has to be the collector's base URL, such as http://collector:4318")
        self._url = base / PATH
        self._where = str(base.origin())
        self._headers = {**headers, "content-type": "application/x-protobuf", "content-encoding": "gzip"}
        self._every_s = every_s
        self._last = Export.SENT

    async def run(self, collect: Callable[[], Awaitable[bytes]], count: Callable[[Export], None]) -> NoReturn:
        """Export until cancelled, the first time after one period; `collect` gives the body."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as session:
            while True:
                await asyncio.sleep(self._every_s)
                result, why = await self._export(session, collect)
                count(result)
                if result is not self._last:
                    say = _log.info if result is Export.SENT else _log.warning
                    say("metrics export", result=result, endpoint=self._where, why=why)
                self._last = result

    async def _export(
        self, session: aiohttp.ClientSession, collect: Callable[[], Awaitable[bytes]]
    ) -> tuple[Export, str]:
        try:
            body = await collect()
        except Exception as defect:  # noqa: BLE001 - telemetry of itself must not end the service
            return Export.FAILED, f"{type(defect).__name__} while collecting"
        return await self._send(session, body)

    async def _send(self, session: aiohttp.ClientSession, body: bytes) -> tuple[Export, str]:
        try:
            async with session.post(self._url, data=body, headers=self._headers, allow_redirects=False) as response:
                answer = await response.content.read(MAX_ANSWER_BYTES)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return Export.FAILED, type(error).__name__
        if not 200 <= response.status < 300:
            return Export.FAILED, f"HTTP {response.status}"
        return _judge(answer)


def _judge(answer: bytes) -> tuple[Export, str]:
    try:
        partial = ExportMetricsServiceResponse.FromString(answer).partial_success
    except DecodeError:  # said 200 and something else: some proxies do
        return Export.SENT, ""
    if partial.rejected_data_points:
        return Export.REJECTED, f"{partial.rejected_data_points} points: {partial.error_message[:200]}"
    return Export.SENT, ""
