"""The question "does this Azure location work from here?", with the identity of the pod that asks.

One ask, in this order, under one deadline (`LocationAsk`):
1. the pod's identity and a token for storage (kept between asks), at the stage `identity`;
2. the container's properties (does it exist, is it immutable) and one page of one entry (may data be read: a role that
   shows properties need not show blobs);
3. the write probe, where the location asks for it and nothing would keep what it writes;
4. the retention from the Resource Manager, where the container is immutable.
What fails in 1-3 is the fact `location`; 4 is the fact `object-lock`, which a location that does not answer has not.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from azure.storage.blob.aio import ContainerClient

from validator.answer import Fact
from validator.locations import Environment, Location
from validator.model import Check, Outcome
from validator.net.failure import ProbeFailure
from validator.printable import printable
from validator.probes.azure_clients import AzureClients
from validator.probes.azure_clouds import STORAGE_SCOPE, AzureCloud
from validator.probes.azure_failures import asked
from validator.probes.azure_fixes import storage_fix
from validator.probes.azure_identity import AzureIdentity, identity_from
from validator.probes.azure_lock import LockFlags, read_retention, settings_wrong, with_retention, without_arm
from validator.probes.azure_write import write_read_delete
from validator.probes.location_ask import USUAL, AskSettings, LocationAsk, LocationProbe, refuse_unfit
from validator.reasons import Reason, Stage


class AzureBlobProbe(LocationProbe):
    """Asks about one container."""

    def __init__(
        self,
        location: Location,
        *,
        clients: AzureClients,
        environ: Mapping[str, str],
        asker: str,
        method: str,
        settings: AskSettings = USUAL,
    ) -> None:
        super().__init__(location, asker, method, settings)
        self._clients = clients
        self._environ = environ
        self._seen["account"] = printable(location.account or "")

    async def _questions(self, ask: LocationAsk) -> None:
        """Raises `ProbeFailure` with the command that mends it, where there is one."""
        refuse_unfit(self._location)
        identity = identity_from(self._environ)
        ask.seen["identity"] = identity.client_id
        try:
            await self._ask(ask, identity)
        except ProbeFailure as failure:
            fix = storage_fix(failure.reason, self._location, identity.client_id)
            if fix is not None:
                failure.evidence = {"fix": fix, **failure.evidence}
            raise

    async def _ask(self, ask: LocationAsk, identity: AzureIdentity) -> None:
        location, clients = self._location, self._clients
        cloud = clients.clouds.get(location.environment or Environment.PUBLIC)
        if cloud is None:
            raise ProbeFailure(Reason.ENDPOINT_REFUSED, f"{location.environment} is not among the clouds of this asker")
        token = await ask.timed("token_ms", clients.token(identity, cloud, STORAGE_SCOPE))
        ask.stage = Stage.STORAGE
        container = clients.container(identity, cloud, location)
        try:
            flags = await self._read(ask, container)
            if location.write_probe and not flags.locked:
                await self._write(ask, container, token)
        except ProbeFailure as failure:
            if failure.reason is Reason.IDENTITY_REJECTED:
                clients.forget(identity, cloud, token)
            raise
        ask.facts.append(self._answers(ask, flags))
        ask.facts.append(await self._lock(ask, identity, cloud, flags))

    async def _read(self, ask: LocationAsk, container: ContainerClient) -> LockFlags:
        host = container.primary_hostname
        ask.doing = f"{host}: reading the container's properties"
        question = asked(container.get_container_properties(), "reading the container's properties", host)
        properties = await ask.timed("properties_ms", question)
        if properties.etag is None or properties.last_modified is None:
            raise ProbeFailure(Reason.UNEXPECTED_STORAGE_ANSWER, f"{host} answers 200, but not as Azure's storage does")
        ask.doing = f"{host}: listing the container"
        pages = container.list_blobs(results_per_page=1).by_page()
        await ask.timed("list_ms", asked(anext(pages), "listing the container", host))
        return LockFlags(
            policy=bool(properties.has_immutability_policy),
            legal_hold=bool(properties.has_legal_hold),
            versions=bool(properties.immutable_storage_with_versioning_enabled),
        )

    async def _write(self, ask: LocationAsk, container: ContainerClient, token: str) -> None:
        host = container.primary_hostname
        ask.doing = f"{host}: the write probe"
        content = secrets.token_bytes(64)
        question = write_read_delete(container, self._clients.session, token, self._object, content, host)
        await ask.timed("write_ms", question)

    def _answers(self, ask: LocationAsk, flags: LockFlags) -> Fact:
        if self._location.write_probe and flags.locked:
            text = f"{self._location.container} is immutable: the write probe's blob could not be deleted again"
            reason = Reason.WRITE_PROBE_IMMUTABLE
            return Fact(Check.LOCATION, Outcome.FINDING, reason, Stage.STORAGE, text, dict(ask.seen))
        return Fact(Check.LOCATION, Outcome.PASS, evidence=dict(ask.seen))

    async def _lock(self, ask: LocationAsk, identity: AzureIdentity, cloud: AzureCloud, flags: LockFlags) -> Fact:
        fact = without_arm(flags, self._location)
        if fact is not None:
            return fact
        ask.doing = "reading the retention from the Resource Manager"
        try:
            token = await self._clients.token(identity, cloud, cloud.management_scope)
            question = read_retention(self._clients.session, cloud.management, token, self._location)
            retention, account_days = await ask.timed("retention_ms", question)
        except ProbeFailure as failure:
            failure.evidence = {"object_lock": True, **flags.evidence, **failure.evidence}
            if failure.reason is Reason.OBJECT_LOCK_SETTINGS_MISSING:
                return settings_wrong(failure)
            raise
        return with_retention(flags, retention, account_days, self._location)
