"""The objects of one bucket of Cloud Storage, with the pod's identity. Imports no SDK: the first use does."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from validator.backups.objects import PAGE_OBJECTS, Listed, Page
from validator.locations import Location
from validator.net.failure import ProbeFailure
from validator.printable import printable
from validator.probes import gcs_readings
from validator.probes.gcs_clients import GcsClients
from validator.reasons import Reason
from validator.scrub import scrub

_FIELDS = "kind,nextPageToken,prefixes,items(name,size,updated)"

_SDK_TIMEOUT_S = 60
"""For the SDK, whose own limit of 10 s a request would cut in before the caller's."""

_MAX_QUOTED_CHARS = 250


class GcsObjects:
    """Of one location."""

    def __init__(self, location: Location, *, clients: GcsClients) -> None:
        self._bucket = location.container
        self._clients = clients

    async def page(self, prefix: str, after: str | None, *, folders: bool) -> Page:
        params = {
            "maxResults": str(PAGE_OBJECTS),
            "fields": _FIELDS,
            "prefix": prefix,
            "delimiter": "/",
            "pageToken": after,
        }
        if not folders:
            del params["delimiter"]
        wanted = {key: value for key, value in params.items() if value}
        found = await self._asked(
            "the list", lambda storage: storage.list_objects(self._bucket, params=wanted, timeout=_SDK_TIMEOUT_S)
        )
        if not isinstance(found, dict) or not str(found.get("kind")).startswith("storage#"):
            raise ProbeFailure(Reason.UNEXPECTED_STORAGE_ANSWER, "200 to the list, but not as Cloud Storage answers")
        try:
            objects = [
                Listed(str(each["name"]), int(each["size"]), datetime.fromisoformat(each["updated"]).timestamp())
                for each in found.get("items") or ()
            ]
            below = [str(each) for each in found.get("prefixes") or ()]
        except (KeyError, TypeError, ValueError) as error:
            text = "the list is not as Cloud Storage answers"
            raise ProbeFailure(Reason.UNEXPECTED_STORAGE_ANSWER, text) from error
        return Page(objects, below, found.get("nextPageToken") or None)

    async def read(self, name: str, most_bytes: int) -> bytes:
        headers = {"Range": f"bytes=0-{most_bytes - 1}", "Accept-Encoding": "identity"}
        found = await self._asked(
            "reading metadata",
            lambda storage: storage.download(self._bucket, name, headers=headers, timeout=_SDK_TIMEOUT_S),
        )
        return bytes(found)[:most_bytes] if isinstance(found, bytes) else b""

    async def _asked(self, what: str, question: Callable[[Any], Any]) -> Any:
        from validator.probes.gcs_asking import Refused, asked  # noqa: PLC0415 - imports aiohttp

        token = await self._clients.token()
        storage = await self._clients.storage()
        try:
            return await asked(question(storage), self._clients.host)
        except Refused as refused:
            reason = gcs_readings.gcs_reason(refused.status, refused.code, refused.message)
            if reason is Reason.IDENTITY_REJECTED:
                self._clients.forget(token)
            said = printable(scrub(refused.message), _MAX_QUOTED_CHARS) or "no more is said"
            text = f"Cloud Storage answers {refused.status} to {what}: {said}"
            raise ProbeFailure(reason, text, retry_after_s=refused.retry_after_s) from None
