"""The objects of one bucket of S3, with the pod's role. Imports no SDK: the first use does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from validator.backups.objects import PAGE_OBJECTS, Listed, Page
from validator.locations import Location
from validator.net.failure import ProbeFailure
from validator.probes import aws_refusals
from validator.probes.aws_asking import Refused, asked
from validator.probes.aws_clients import AwsClients
from validator.reasons import Reason


class S3Objects:
    """Of one location. Raises `ProbeFailure` where its endpoint is not allowed."""

    def __init__(self, location: Location, *, clients: AwsClients) -> None:
        self._location = location
        self._clients = clients
        self._region = clients.region_of(location.region)
        self._endpoint = clients.endpoint_of(location.endpoint)

    async def page(self, prefix: str, after: str | None, *, folders: bool) -> Page:
        options: dict[str, Any] = {"Bucket": self._location.container, "MaxKeys": PAGE_OBJECTS, "Prefix": prefix}
        options |= {"ContinuationToken": after} if after is not None else {}
        options |= {"Delimiter": "/"} if folders else {}
        found = await self._asked("s3:ListBucket", lambda client: client.list_objects_v2(**options))
        if "Name" not in found and "IsTruncated" not in found:
            text = f"200 to the list of {self._location.container}, but not as S3 answers"
            raise ProbeFailure(Reason.UNEXPECTED_STORAGE_ANSWER, text)
        try:
            objects = [
                Listed(each["Key"], int(each.get("Size") or 0), each["LastModified"].timestamp())
                for each in found.get("Contents") or ()
            ]
            below = [each["Prefix"] for each in found.get("CommonPrefixes") or ()]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            text = f"the list of {self._location.container} is not as S3 answers"
            raise ProbeFailure(Reason.UNEXPECTED_STORAGE_ANSWER, text) from error
        return Page(objects, below, found.get("NextContinuationToken") if found.get("IsTruncated") else None)

    async def read(self, name: str, most_bytes: int) -> bytes:
        from validator.net.sdk_session import ERRORS, transport_failure  # noqa: PLC0415 - imports aiohttp

        wanted = {"Bucket": self._location.container, "Key": name, "Range": f"bytes=0-{most_bytes - 1}"}
        answer = await self._asked("s3:GetObject", lambda client: client.get_object(**wanted))
        try:
            content: bytes = await answer["Body"].raw_stream.read()  # on our own session, which has a bound
        except ERRORS as error:
            raise transport_failure(error, "S3") from error
        return content[:most_bytes]

    async def _asked(self, what: str, question: Callable[[Any], Any]) -> dict[str, Any]:
        credentials = await self._clients.credentials(self._region)
        client = await self._clients.s3(self._region, self._endpoint, path_style=self._location.path_style)
        try:
            return await asked(question(client))
        except Refused as refused:
            bucket, caller = self._location.container, credentials.caller_arn
            failure = aws_refusals.of_bucket(refused, what, bucket, self._region, caller)
            if failure.reason is Reason.IDENTITY_REJECTED:
                self._clients.forget(credentials)
            raise failure from None
