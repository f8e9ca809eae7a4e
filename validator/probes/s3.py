"""The question "does this bucket work from here?", with the role of the pod that asks.

One ask, in this order, under one deadline:
1. credentials of the pod's role (kept between asks), at the stage `identity`;
2. HeadBucket, whose refusals have no body but name the bucket's region, then a list of one key, whose refusals say why;
3. the object lock configuration;
4. the write probe, where the location asks for it and no lock would keep what it writes.
"""

from __future__ import annotations

import secrets
from typing import Any

from validator.answer import Fact
from validator.locations import Location
from validator.model import Check, Outcome
from validator.net.failure import ProbeFailure
from validator.printable import printable
from validator.probes import aws_readings, aws_refusals
from validator.probes.aws_asking import Refused, asked
from validator.probes.aws_clients import AwsClients
from validator.probes.aws_fetch import AwsCredentials
from validator.probes.location_ask import USUAL, AskSettings, LocationAsk, LocationProbe, refuse_unfit
from validator.probes.s3_write import delete_object, write_and_read
from validator.reasons import Reason, Stage

_A_LIST_SAYS_WHY = {Reason.ROLE_MISSING, Reason.CONTAINER_NOT_FOUND, Reason.UNEXPECTED_STORAGE_ANSWER}


class S3Probe(LocationProbe):
    """Asks about one bucket."""

    def __init__(
        self, location: Location, *, clients: AwsClients, asker: str, method: str, settings: AskSettings = USUAL
    ) -> None:
        super().__init__(location, asker, method, settings)
        self._clients = clients
        self._undeletable: ProbeFailure | None = None

    async def _questions(self, ask: LocationAsk) -> None:
        location, clients = self._location, self._clients
        refuse_unfit(location)
        region, endpoint = clients.region_of(location.region), clients.endpoint_of(location.endpoint)
        ask.seen["region"] = region
        for last in (False, True):
            ask.stage, ask.doing = Stage.IDENTITY, "getting credentials"
            credentials = await ask.timed("token_ms", clients.credentials(region))
            ask.seen["identity"] = credentials.caller_arn
            ask.stage = Stage.STORAGE
            client = await clients.s3(region, endpoint, path_style=location.path_style)
            try:
                await self._read(ask, client, credentials, region)
                break
            except ProbeFailure as failure:
                if failure.reason is not Reason.IDENTITY_REJECTED:
                    raise
                clients.forget(credentials)  # they may have been withdrawn before their time
                if last:
                    raise
        if not location.write_probe:
            ask.facts.append(Fact(Check.LOCATION, Outcome.PASS, evidence=dict(ask.seen)))
        lock = await self._lock(ask, client, credentials, region)
        ask.facts.append(lock)
        if location.write_probe:
            ask.facts.append(await self._write(ask, client, lock))

    async def _read(self, ask: LocationAsk, client: Any, credentials: AwsCredentials, region: str) -> None:
        bucket, caller = self._location.container, credentials.caller_arn
        ask.doing = f"HeadBucket of {bucket}"
        try:
            answer = await ask.timed("head_ms", asked(client.head_bucket(Bucket=bucket)))
            if there := answer.get("BucketRegion"):
                ask.seen["bucket_region"] = printable(str(there))
        except Refused as refused:
            failure = aws_refusals.of_bucket(refused, "s3:ListBucket", bucket, region, caller)
            if failure.reason not in _A_LIST_SAYS_WHY:
                raise failure from None
            ask.seen["head_status"] = refused.status
        ask.doing = f"ListObjectsV2 of {bucket}"
        try:
            found = await ask.timed("list_ms", asked(client.list_objects_v2(Bucket=bucket, MaxKeys=1)))
        except Refused as refused:
            raise aws_refusals.of_bucket(refused, "s3:ListBucket", bucket, region, caller) from None
        if "Name" not in found and "IsTruncated" not in found:  # the SDK takes any XML, a portal's page for example
            raise ProbeFailure(Reason.UNEXPECTED_STORAGE_ANSWER, f"200 to the list of {bucket}, but not as S3 answers")

    async def _lock(self, ask: LocationAsk, client: Any, credentials: AwsCredentials, region: str) -> Fact:
        bucket = self._location.container
        ask.doing = f"GetObjectLockConfiguration of {bucket}"
        try:
            answer = await ask.timed("lock_ms", asked(client.get_object_lock_configuration(Bucket=bucket)))
        except Refused as refused:
            if refused.code in aws_readings.NOT_LOCKED:
                return Fact(Check.OBJECT_LOCK, Outcome.PASS, evidence={"object_lock": False})
            failure = aws_refusals.of_object_lock(refused, bucket, region, credentials.caller_arn)
            outcome = Outcome.FINDING if failure.reason is Reason.OBJECT_LOCK_UNREADABLE else Outcome.UNKNOWN
            evidence = dict(failure.evidence)
            return Fact(Check.OBJECT_LOCK, outcome, failure.reason, failure.stage, failure.message, evidence)
        lock = aws_readings.lock_evidence(answer.get("ObjectLockConfiguration"))
        if lock["object_lock"] and "retention_days" not in lock:
            text = f"{bucket} has object lock, but no default retention: backups can be deleted"
            reason = Reason.OBJECT_LOCK_MISCONFIGURED
            return Fact(Check.OBJECT_LOCK, Outcome.FAIL, reason, Stage.STORAGE, text, lock)
        return Fact(Check.OBJECT_LOCK, Outcome.PASS, evidence=lock)

    async def _write(self, ask: LocationAsk, client: Any, lock: Fact) -> Fact:
        locked = lock.evidence.get("object_lock")
        if locked is not False:
            if locked:
                text = "the bucket has object lock: the write probe's object could not be deleted again"
                reason = Reason.WRITE_PROBE_IMMUTABLE
                return Fact(Check.LOCATION, Outcome.FINDING, reason, Stage.STORAGE, text, dict(ask.seen))
            ask.seen["write_probe"] = "not done: whether there is an object lock is not known"
            return Fact(Check.LOCATION, Outcome.PASS, evidence=dict(ask.seen))
        if self._undeletable is not None:
            raise self._undeletable
        ask.doing = f"the write probe of {self._location.container}"
        await ask.timed("write_ms", self._write_read_delete(client))
        return Fact(Check.LOCATION, Outcome.PASS, evidence=dict(ask.seen))

    async def _write_read_delete(self, client: Any) -> None:
        bucket, name, content = self._location.container, self._object, secrets.token_bytes(64)
        version, mismatch = await write_and_read(client, bucket, name, content)
        try:
            await delete_object(client, bucket, name, version)
        except ProbeFailure as failure:
            if failure.reason is Reason.WRITE_REFUSED:
                self._undeletable = failure  # or every ask would leave one more version behind
            raise
        if mismatch is not None:
            raise mismatch
