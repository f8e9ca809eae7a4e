"""The question "does this bucket of Cloud Storage work from here?", with the identity of the pod that asks.

One ask, in this order, under one deadline:
1. a token of the pod's identity (kept between asks), at the stage `identity`;
2. a list of one object: the right that a backup needs, and the answer that tells a missing bucket from a missing role;
3. the bucket itself, for its retention. roles/storage.objectUser does not contain that right, so that its lack is a
   finding about object lock and says nothing against the location;
4. the write probe, where the location asks for it and no retention would keep what it writes.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from validator.answer import Fact
from validator.doctor import gcp
from validator.locations import Location
from validator.model import Check, Outcome
from validator.net.failure import ProbeFailure
from validator.printable import printable
from validator.probes import gcs_readings
from validator.probes.gcs_clients import GcsClients
from validator.probes.location_ask import USUAL, AskSettings, LocationAsk, LocationProbe, refuse_unfit
from validator.reasons import Reason, Stage
from validator.scrub import scrub

if TYPE_CHECKING:
    from validator.probes.gcs_asking import Refused
    from validator.probes.gcs_fetch import GcpToken

MAX_QUOTED_CHARS = 250

BUCKET_FIELDS = "location,locationType,retentionPolicy,objectRetention,defaultEventBasedHold"

_WRITE_REFUSALS = {Reason.ROLE_MISSING, Reason.CONTAINER_NOT_FOUND, Reason.UNEXPECTED_STORAGE_ANSWER}


class GcsProbe(LocationProbe):
    """Asks about one bucket."""

    def __init__(
        self, location: Location, *, clients: GcsClients, asker: str, method: str, settings: AskSettings = USUAL
    ) -> None:
        super().__init__(location, asker, method, settings)
        self._clients = clients
        self._undeletable: ProbeFailure | None = None

    async def _questions(self, ask: LocationAsk) -> None:
        refuse_unfit(self._location)
        for last in (False, True):
            ask.stage, ask.doing = Stage.IDENTITY, "getting a token"
            token = await ask.timed("token_ms", self._clients.token())
            ask.seen["identity"] = token.identity
            ask.stage = Stage.STORAGE
            storage = await self._clients.storage()
            try:
                await self._list(ask, storage, token)
                break
            except ProbeFailure as failure:
                if failure.reason is not Reason.IDENTITY_REJECTED:
                    raise
                self._clients.forget(token)  # it may have been withdrawn before its time
                if last:
                    raise
        if not self._location.write_probe:
            ask.facts.append(Fact(Check.LOCATION, Outcome.PASS, evidence=dict(ask.seen)))
        lock = await self._lock(ask, storage, token)
        ask.facts.append(lock)
        if self._location.write_probe:
            ask.facts.append(await self._write(ask, storage, token, lock))

    async def _list(self, ask: LocationAsk, storage: Any, token: GcpToken) -> None:
        bucket = self._location.container
        ask.doing = f"listing {bucket}"
        call = storage.list_objects(
            bucket, params={"maxResults": "1", "fields": "kind,items(name)"}, timeout=self._timeout_s
        )
        found = await ask.timed("list_ms", self._asked(call, "the list", token))
        if not isinstance(found, dict) or not str(found.get("kind")).startswith("storage#"):
            raise ProbeFailure(Reason.UNEXPECTED_STORAGE_ANSWER, "200 to the list, but not as Cloud Storage answers")

    async def _lock(self, ask: LocationAsk, storage: Any, token: GcpToken) -> Fact:
        bucket = self._location.container
        ask.doing = f"reading the retention of {bucket}"
        call = storage.get_bucket_metadata(bucket, params={"fields": BUCKET_FIELDS}, timeout=self._timeout_s)
        try:
            found = await ask.timed("bucket_ms", self._asked(call, "reading the bucket", token))
        except ProbeFailure as failure:
            if failure.reason is not Reason.ROLE_MISSING:
                raise
            evidence = dict(failure.evidence) | {"fix": gcp.bucket_command(bucket, token.member, gcp.BUCKET_ROLE)}
            reason = Reason.OBJECT_LOCK_UNREADABLE
            return Fact(Check.OBJECT_LOCK, Outcome.FINDING, reason, Stage.STORAGE, failure.message, evidence)
        if not isinstance(found, dict):
            raise ProbeFailure(Reason.UNEXPECTED_STORAGE_ANSWER, "200 to the bucket, but not as Cloud Storage answers")
        if where := found.get("location"):
            ask.seen["bucket_region"] = printable(str(where))
        return Fact(Check.OBJECT_LOCK, Outcome.PASS, evidence=gcs_readings.lock_evidence(found))

    async def _write(self, ask: LocationAsk, storage: Any, token: GcpToken, lock: Fact) -> Fact:
        locked = lock.evidence.get("object_lock")
        if locked:
            text = "the bucket has a retention policy: the write probe's object could not be deleted again"
            reason = Reason.WRITE_PROBE_IMMUTABLE
            return Fact(Check.LOCATION, Outcome.FINDING, reason, Stage.STORAGE, text, dict(ask.seen))
        if locked is None:
            ask.seen["write_probe"] = "not done: whether there is a retention policy is not known"
            return Fact(Check.LOCATION, Outcome.PASS, evidence=dict(ask.seen))
        if self._undeletable is not None:
            raise self._undeletable
        ask.doing = f"the write probe of {self._location.container}"
        await ask.timed("write_ms", self._write_read_delete(storage, token))
        return Fact(Check.LOCATION, Outcome.PASS, evidence=dict(ask.seen))

    async def _write_read_delete(self, storage: Any, token: GcpToken) -> None:
        """Put, read back, delete exactly the generation that was written: without it, a deletion only hides.

        Cancelled or out of time in between, it leaves its one object to the next ask.
        """
        bucket, name, content = self._location.container, self._object, secrets.token_bytes(64)
        limit: dict[str, Any] = {"timeout": self._timeout_s}
        call = storage.upload(bucket, name, content, content_type="application/octet-stream", **limit)
        put = await self._may("storage.objects.create", call, token)
        failure: ProbeFailure | None = None
        try:
            read = await self._may("storage.objects.get", storage.download(bucket, name, **limit), token)
            if read != content:
                text = f"wrote {len(content)} bytes to {bucket} and read {len(read)} others"
                failure = ProbeFailure(Reason.READ_BACK_MISMATCH, text)
        except ProbeFailure as refused:
            failure = refused
        generation = put.get("generation") if isinstance(put, dict) else None
        limit["params"] = {"generation": str(generation)} if generation else {}
        try:
            await self._may("storage.objects.delete", storage.delete(bucket, name, **limit), token)
        except ProbeFailure as refused:
            if refused.reason is Reason.WRITE_REFUSED:
                self._undeletable = refused  # or every ask would leave one more behind
            raise
        if failure is not None:
            raise failure

    async def _may(self, right: str, call: Any, token: GcpToken) -> Any:
        try:
            return await self._asked(call, right, token)
        except ProbeFailure as failure:
            if failure.reason not in _WRITE_REFUSALS:
                raise
            evidence = dict(failure.evidence) | {"refused": right}
            raise ProbeFailure(Reason.WRITE_REFUSED, f"the write probe: {failure.message}", evidence=evidence) from None

    async def _asked(self, call: Any, what: str, token: GcpToken) -> Any:
        from validator.probes.gcs_asking import Refused, asked  # noqa: PLC0415 - imports aiohttp

        try:
            return await asked(call, self._clients.host)
        except Refused as refused:
            raise self._failure(refused, what, token) from None

    def _failure(self, refused: Refused, what: str, token: GcpToken) -> ProbeFailure:
        reason = gcs_readings.gcs_reason(refused.status, refused.code, refused.message)
        code = printable(refused.code)
        evidence: dict[str, str | int | float | bool] = {"http_status": refused.status, "error_code": code}
        if reason is Reason.ROLE_MISSING:
            evidence["fix"] = gcp.bucket_command(self._location.container, token.member)
        said = printable(scrub(refused.message), MAX_QUOTED_CHARS) or "no more is said"
        text = f"Cloud Storage answers {refused.status} to {what}{f' ({code})' if code else ''}: {said}"
        return ProbeFailure(reason, text, evidence=evidence, retry_after_s=refused.retry_after_s)

    @property
    def _timeout_s(self) -> int:
        """For the SDK, whose own limit of 10 s a request would cut in before ours."""
        return int(self._settings.timeout_s) + 1
