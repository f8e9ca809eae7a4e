"""The blobs of one container, with the pod's identity. Importing this imports the SDK (see `azure_clients`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from azure.storage.blob.aio import BlobPrefix, ContainerClient

from validator.backups.objects import PAGE_OBJECTS, Listed, Page
from validator.locations import Environment, Location
from validator.net.failure import ProbeFailure
from validator.probes.azure_clients import AzureClients
from validator.probes.azure_clouds import STORAGE_SCOPE, AzureCloud
from validator.probes.azure_failures import asked
from validator.probes.azure_identity import AzureIdentity, identity_from
from validator.probes.azure_readings import storage_reason
from validator.probes.azure_write import API_VERSION
from validator.probes.retry_after import retry_after_s
from validator.reasons import Reason


class AzureObjects:
    """Of one location. Raises `ProbeFailure` where the pod has no identity."""

    def __init__(self, location: Location, *, clients: AzureClients, environ: Mapping[str, str]) -> None:
        cloud = clients.clouds.get(location.environment or Environment.PUBLIC)
        if cloud is None:
            raise ProbeFailure(Reason.ENDPOINT_REFUSED, f"{location.environment} is not among the clouds of this asker")
        self._location = location
        self._clients = clients
        self._cloud: AzureCloud = cloud
        self._identity: AzureIdentity = identity_from(environ)

    async def page(self, prefix: str, after: str | None, *, folders: bool) -> Page:
        container, token = await self._container()
        options: dict[str, Any] = {"name_starts_with": prefix or None, "results_per_page": PAGE_OBJECTS}
        found = container.walk_blobs(delimiter="/", **options) if folders else container.list_blobs(**options)
        pages: Any = found.by_page(continuation_token=after)

        async def listed() -> Page:
            objects: list[Listed] = []
            below: list[str] = []
            async for item in await anext(pages):
                if isinstance(item, BlobPrefix):
                    below.append(item.name)
                else:
                    at = item.last_modified
                    objects.append(Listed(item.name, item.size or 0, 0.0 if at is None else at.timestamp()))
            return Page(objects, below, pages.continuation_token or None)

        try:
            return await asked(listed(), "listing the container", container.primary_hostname)
        except ProbeFailure as failure:
            self._let_go(failure, token)
            raise

    async def read(self, name: str, most_bytes: int) -> bytes:
        container, token = await self._container()
        blob, host = container.get_blob_client(name), container.primary_hostname
        headers = {
            "Authorization": f"Bearer {token}",
            "x-ms-version": API_VERSION,
            "Range": f"bytes=0-{most_bytes - 1}",
        }

        async def get() -> bytes:  # by hand: the SDK's download reads however much the server sends
            async with self._clients.session.get(blob.url, headers=headers, allow_redirects=False) as response:
                if response.status not in (200, 206):
                    code = response.headers.get("x-ms-error-code", "")[:100]
                    text = f"{host}: reading metadata is answered with {response.status} {code}".rstrip()
                    wait_s = retry_after_s(response.headers.get("retry-after"))
                    raise ProbeFailure(storage_reason(response.status, code), text, retry_after_s=wait_s)
                return await _first(response.content, most_bytes)

        try:
            return await asked(get(), "reading metadata", host)
        except ProbeFailure as failure:
            self._let_go(failure, token)
            raise

    async def _container(self) -> tuple[ContainerClient, str]:
        token = await self._clients.token(self._identity, self._cloud, STORAGE_SCOPE)
        return self._clients.container(self._identity, self._cloud, self._location), token

    def _let_go(self, failure: ProbeFailure, token: str) -> None:
        if failure.reason is Reason.IDENTITY_REJECTED:
            self._clients.forget(self._identity, self._cloud, token)


async def _first(content: Any, most_bytes: int) -> bytes:
    """As much as was asked for, even where the server sends more."""
    found = bytearray()
    while len(found) < most_bytes and (part := await content.read(most_bytes - len(found))):
        found += part
    return bytes(found)
