"""The write probe of an Azure location: put a small blob, read it back, delete it with its version.

Opt-in, and never where immutability would keep the blob.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

import aiohttp
from azure.storage.blob.aio import BlobClient, ContainerClient

from validator.net.failure import ProbeFailure
from validator.probes.azure_failures import asked
from validator.probes.azure_readings import storage_reason
from validator.reasons import Reason

T = TypeVar("T")

_REFUSALS = {Reason.ROLE_MISSING, Reason.CONTAINER_NOT_FOUND, Reason.UNEXPECTED_STORAGE_ANSWER}
"""A lock of the resource group (409 ScopeLocked), a missing blob (404) and unknown codes are refusals of the write."""

API_VERSION = "2021-12-02"
"""Of the read: old enough for every stamp and emulator."""


async def write_read_delete(
    container: ContainerClient, session: aiohttp.ClientSession, token: str, name: str, content: bytes, host: str
) -> None:
    """Raises `ProbeFailure`: WRITE_REFUSED, READ_BACK_MISMATCH, or whatever else stood in the way.

    Cancelled or out of time in the middle, it leaves its one blob to the next ask: a deletion that outlives its
    deadline would be a task without an owner.
    """
    blob = container.get_blob_client(name)
    put = await _may("writing", asked(blob.upload_blob(content, overwrite=True), "a write", host))
    try:
        read = await _read(session, blob, token, len(content), host)
    except ProbeFailure:
        await _delete(blob, put.get("version_id"), host)
        raise
    await _delete(blob, put.get("version_id"), host)
    if read != content:
        raise ProbeFailure(Reason.READ_BACK_MISMATCH, f"{host}: wrote {len(content)} bytes and read {len(read)} others")


async def _delete(blob: BlobClient, version: object, host: str) -> None:
    """The blob, and the version that a deletion leaves behind where versioning is on."""
    await _may("deleting", asked(blob.delete_blob(), "a deletion", host))
    if isinstance(version, str):
        await _may("deleting a version", asked(blob.delete_blob(version_id=version), "a deletion", host))


async def _read(session: aiohttp.ClientSession, blob: BlobClient, token: str, size: int, host: str) -> bytes:
    """Read by hand: the SDK's download reads however much the server sends."""
    headers = {"Authorization": f"Bearer {token}", "x-ms-version": API_VERSION}

    async def get() -> bytes:
        async with session.get(blob.url, headers=headers, allow_redirects=False) as response:
            if response.status != 200:
                code = response.headers.get("x-ms-error-code", "")[:100]
                text = f"{host}: reading back is answered with {response.status} {code}"
                raise ProbeFailure(storage_reason(response.status, code), text.rstrip())
            return await response.content.read(size + 1)

    return await _may("reading back", asked(get(), "reading back", host))


async def _may(doing: str, question: Awaitable[T]) -> T:
    """The same answer; a refusal says that it was the write probe's, since reading works."""
    try:
        return await question
    except ProbeFailure as failure:
        if failure.reason in _REFUSALS:
            evidence = dict(failure.evidence) | {"refused": doing}
            raise ProbeFailure(Reason.WRITE_REFUSED, failure.message, evidence=evidence) from failure
        raise
