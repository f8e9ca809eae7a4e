"""OTLP/HTTP bodies: which path takes what, how they are packed, and the answers (OTLP 1.x, section "OTLP/HTTP")."""

from __future__ import annotations

import gzip
import zlib
from enum import IntEnum, StrEnum
from typing import TypeAlias

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # protobuf ships no types
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]  # the same
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)

from uplink.wire.bounds import MAX_RAW_BYTES
from uplink.wire.errors import TooLarge, WireError

CONTENT_TYPE = "application/x-protobuf"
ENCODING = "gzip"
"""OTLP names no other compression."""

LEVEL = 3
"""Of gzip: half the CPU of 6 for 8 % more bytes, measured on batches of metrics and inventory. The same everywhere, so
that the same batch is the same bytes."""

Request: TypeAlias = ExportMetricsServiceRequest | ExportLogsServiceRequest


class Signal(StrEnum):
    """What OTLP calls a signal; a stream of ours travels as one of them."""

    METRICS = "metrics"
    LOGS = "logs"

    @property
    def path(self) -> str:
        """Where it is posted to."""
        return f"/v1/{self.value}"

    def request(self) -> Request:
        """An empty one, which OTLP wants to succeed: the probe of a new certificate (G3)."""
        return ExportMetricsServiceRequest() if self is Signal.METRICS else ExportLogsServiceRequest()


class Code(IntEnum):
    """`google.rpc.Code`, as far as a receiver says it."""

    INVALID_ARGUMENT = 3
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    INTERNAL = 13
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16


def pack(raw: bytes) -> bytes:
    """Gzip without a time in its header."""
    return gzip.compress(raw, LEVEL, mtime=0)


def unpack(packed: bytes, limit: int = MAX_RAW_BYTES) -> bytes:
    """The one gzip member that `packed` is. Never holds more than `limit` + 1 bytes of it, whatever it claims to be.

    Raises `TooLarge`, or `WireError` for what is no gzip, cut off, or followed by something.
    """
    inflater = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        raw = inflater.decompress(packed, limit + 1)
    except zlib.error as error:
        raise WireError("the body is not gzip, as its Content-Encoding says") from error
    if len(raw) > limit:
        raise TooLarge(f"the body is longer than {limit} bytes when it is unpacked")
    if not inflater.eof:
        raise WireError("the gzip body is cut off")
    if inflater.unused_data:
        raise WireError("something follows the gzip body")
    return raw


def parse(signal: Signal, raw: bytes) -> Request:
    """Raises `WireError`."""
    request = signal.request()
    try:
        request.ParseFromString(raw)
    except DecodeError as error:
        raise WireError(f"the body is no Export{signal.value.capitalize()}ServiceRequest") from error
    return request


def accepted(signal: Signal, *, rejected: int = 0, message: str = "") -> bytes:
    """The body of a 200. Empty = all was taken; `rejected` = so many points or records were not, and never will be."""
    if signal is Signal.METRICS:
        metrics = ExportMetricsServiceResponse()
        if rejected or message:
            metrics.partial_success.rejected_data_points = rejected
            metrics.partial_success.error_message = message
        return bytes(metrics.SerializeToString())
    logs = ExportLogsServiceResponse()
    if rejected or message:
        logs.partial_success.rejected_log_records = rejected
        logs.partial_success.error_message = message
    return bytes(logs.SerializeToString())


def read_accepted(signal: Signal, body: bytes) -> tuple[int, str]:
    """How many a 200 says were rejected, and its message. Raises `WireError`: a 200 that can't be read is none."""
    try:
        if signal is Signal.METRICS:
            metrics = ExportMetricsServiceResponse.FromString(body).partial_success
            return max(0, metrics.rejected_data_points), metrics.error_message
        logs = ExportLogsServiceResponse.FromString(body).partial_success
        return max(0, logs.rejected_log_records), logs.error_message
    except DecodeError as error:
        raise WireError("the answer is no OTLP response") from error


def refusal(code: Code, message: str) -> bytes:
    """The body of a 4xx or 5xx: `google.rpc.Status`."""
    return bytes(Status(code=code, message=message).SerializeToString())


def read_refusal(body: bytes) -> tuple[int, str]:
    """Code and message; (0, "") where it can't be read: the HTTP status has decided already."""
    try:
        status = Status.FromString(body)
    except DecodeError:
        return 0, ""
    return int(status.code), str(status.message)
