"""The steps of S3's write probe: put a small object, read it back, delete it with its version.

In a bucket with versions a deletion without a version id only hides the object and keeps it for ever.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from validator.net.failure import ProbeFailure
from validator.printable import printable
from validator.probes import aws_readings
from validator.probes.aws_asking import Refused, asked
from validator.probes.aws_refusals import quoted
from validator.reasons import Reason

_REFUSALS = {Reason.ROLE_MISSING, Reason.CONTAINER_NOT_FOUND, Reason.UNEXPECTED_STORAGE_ANSWER}
"""Reading works, so these are the write's own: KMS keys that may not be used, missing rights, unknown codes."""


async def write_and_read(client: Any, bucket: str, name: str, content: bytes) -> tuple[str | None, ProbeFailure | None]:
    """The version that was written, and what was wrong with reading it; the caller deletes it in either case.

    Raises `ProbeFailure` where nothing was written. Cancelled or out of time in between, it leaves its one object to
    the next ask: a deletion that outlives its deadline would be a task without an owner.
    """
    put = await _may("s3:PutObject", client.put_object(Bucket=bucket, Key=name, Body=content))
    version = put.get("VersionId")
    try:
        answer = await _may("s3:GetObject", client.get_object(Bucket=bucket, Key=name))
        read = await _whole(answer["Body"])
    except ProbeFailure as failure:
        return version, failure
    if read != content:
        text = f"wrote {len(content)} bytes to {bucket} and read {len(read)} others"
        return version, ProbeFailure(Reason.READ_BACK_MISMATCH, text)
    return version, None


async def delete_object(client: Any, bucket: str, name: str, version: str | None) -> None:
    """Delete exactly what was written. Raises `ProbeFailure`."""
    if version is None:
        await _may("s3:DeleteObject", client.delete_object(Bucket=bucket, Key=name))
    else:
        await _may("s3:DeleteObjectVersion", client.delete_object(Bucket=bucket, Key=name, VersionId=version))


async def _whole(body: Any) -> bytes:
    """Read on our own session, which has a bound; the SDK's reader has none."""
    from validator.net.sdk_session import ERRORS, transport_failure  # noqa: PLC0415 - imports aiohttp

    try:
        content: bytes = await body.raw_stream.read()
    except ERRORS as error:
        raise transport_failure(error, "S3") from error
    return content


async def _may(right: str, call: Awaitable[dict[str, Any]]) -> dict[str, Any]:
    try:
        return await asked(call)
    except Refused as refused:
        reason = aws_readings.s3_reason(refused.status, refused.code, refused.message)
        raise ProbeFailure(
            Reason.WRITE_REFUSED if reason in _REFUSALS else reason,
            f"the write probe's {right} is refused ({printable(refused.code)}): {quoted(refused.message)}",
            evidence={"http_status": refused.status, "error_code": printable(refused.code), "refused": right},
            retry_after_s=refused.retry_after_s,
        ) from None
