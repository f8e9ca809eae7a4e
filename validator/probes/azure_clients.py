"""What all probes of Azure locations in one process share: the session, tokens by identity, clients by account.

Importing this imports the SDK (0.2 s and 29 MB with warm files, over a second with cold ones): it belongs before the
loop, or into a thread, and only where there is a location of Azure.

`WorkloadIdentityCredential` itself is not used, but the class that it is made of: it reads the token file on the loop,
and keeps what it read for ten minutes, in which a rotated or revoked file is shown to Entra again and again.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Self

import aiohttp
from azure.core.credentials import AccessToken
from azure.core.exceptions import AzureError
from azure.core.pipeline.transport import AioHttpTransport
from azure.identity.aio import ClientAssertionCredential
from azure.storage.blob.aio import BlobServiceClient, ContainerClient

from validator.clock import Clock
from validator.file_thread import FileThread
from validator.locations import Environment, Location
from validator.net.failure import ProbeFailure
from validator.net.policy import Destination
from validator.net.sdk_session import ERRORS, SdkSessions
from validator.probes.azure_clouds import CLOUDS, STORAGE_SCOPE, AzureCloud
from validator.probes.azure_failures import entra_failure
from validator.probes.azure_fixes import identity_fix
from validator.probes.azure_identity import AzureIdentity
from validator.probes.projected import claims_of, read_token
from validator.probes.renewed import Renewed

MAX_TOKENS = 64
"""Identities times scopes; a process has one identity, a hub with its own locations a few."""

MAX_CLIENTS = 1024
"""Accounts times identities, 76 KB and 0.55 ms each."""

TOKEN_DEADLINE_S = 10.0
"""Of one exchange, for everybody who waits for it."""

_NO_SURPRISES: Mapping[str, Any] = {"retry_total": 0, "permit_redirects": False}
"""The engine asks again, in time of its own; and a redirect would take the token along."""


class AzureClients:
    """Made once a process. `close` it after the engine has ended, and the sessions after it."""

    def __init__(
        self,
        *,
        sessions: SdkSessions,
        clock: Clock,
        files: FileThread,
        clouds: Mapping[Environment, AzureCloud] = CLOUDS,
    ) -> None:
        self._sessions = sessions
        self._clock = clock
        self._files = files
        self.clouds = clouds
        self._tokens: OrderedDict[tuple[AzureIdentity, str, str], Renewed[str]] = OrderedDict()
        self._services: OrderedDict[tuple[AzureIdentity, str], BlobServiceClient] = OrderedDict()

    @property
    def session(self) -> aiohttp.ClientSession:
        """For questions that need no SDK; the same policy holds."""
        return self._sessions.to(Destination.STORAGE)

    async def token(self, identity: AzureIdentity, cloud: AzureCloud, scope: str) -> str:
        """A token that is good for a while. Raises `ProbeFailure` at the stage `identity`."""
        return await self._renewed(identity, cloud, scope).get()

    def forget(self, identity: AzureIdentity, cloud: AzureCloud, token: str) -> None:
        """Storage refused this token: the next ask gets another one."""
        self._renewed(identity, cloud, STORAGE_SCOPE).forget(token)

    def container(self, identity: AzureIdentity, cloud: AzureCloud, location: Location) -> ContainerClient:
        """A client of the container; all containers of an account share what is dear."""
        url = cloud.account_url(location.account or "")
        key = (identity, url)
        service = self._services.pop(key, None)
        if service is None:
            service = BlobServiceClient(
                url,
                credential=_StorageToken(self, identity, cloud),
                transport=_transport(self.session),
                **_NO_SURPRISES,
            )
            if len(self._services) >= MAX_CLIENTS:
                self._services.popitem(last=False)
        self._services[key] = service
        return service.get_container_client(location.container)

    def close(self) -> None:
        """End all fetches. The sessions are their owner's."""
        for renewed in self._tokens.values():
            renewed.close()
        self._tokens.clear()
        self._services.clear()

    def _renewed(self, identity: AzureIdentity, cloud: AzureCloud, scope: str) -> Renewed[str]:
        key = (identity, cloud.authority, scope)
        renewed = self._tokens.pop(key, None)
        if renewed is None:

            async def fetch() -> tuple[str, float]:
                return await self._exchange(identity, cloud, scope)

            renewed = Renewed("token of Entra", fetch, clock=self._clock, deadline_s=TOKEN_DEADLINE_S)
            if len(self._tokens) >= MAX_TOKENS:
                self._tokens.popitem(last=False)[1].close()
        self._tokens[key] = renewed
        return renewed

    async def _exchange(self, identity: AzureIdentity, cloud: AzureCloud, scope: str) -> tuple[str, float]:
        assertion = await read_token(identity.token_file, self._files)
        credential = ClientAssertionCredential(
            identity.tenant_id,
            identity.client_id,
            lambda: assertion,
            authority=cloud.authority,
            transport=_transport(self._sessions.to(Destination.TOKENS)),
            **_NO_SURPRISES,
        )
        host = cloud.authority.partition("://")[2]
        try:
            token = await credential.get_token(scope)
        except (*ERRORS, AzureError, TypeError, LookupError, AttributeError) as error:
            raise self._explained(entra_failure(error, host), identity, cloud, assertion) from error
        return token.token, self._clock.now() + max(0.0, token.expires_on - time.time())

    def _explained(
        self, failure: ProbeFailure, identity: AzureIdentity, cloud: AzureCloud, assertion: str
    ) -> ProbeFailure:
        """With what the refused token says of itself: most refusals are a difference to what Entra expects."""
        claims = claims_of(assertion)
        evidence = dict(failure.evidence)
        if claims.issuer and "aadsts" in evidence:
            evidence |= {"issuer": claims.issuer, "subject": claims.subject, "audience": ", ".join(claims.audiences)}
        fix = identity_fix(failure.reason, identity.client_id, claims, cloud)
        failure.evidence = evidence | ({"fix": fix} if fix else {})
        return failure


def _transport(session: aiohttp.ClientSession) -> AioHttpTransport:
    return AioHttpTransport(session=session, session_owner=False)


class _StorageToken:
    """A credential for the SDK's clients that gives one token, whatever is asked for.

    The SDK would follow a 401's challenge and ask for a token of the tenant and the resource that the *server* names:
    an answer could choose what it is shown.
    """

    def __init__(self, clients: AzureClients, identity: AzureIdentity, cloud: AzureCloud) -> None:
        self._clients, self._identity, self._cloud = clients, identity, cloud

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        token = await self._clients.token(self._identity, self._cloud, STORAGE_SCOPE)
        return AccessToken(token, int(time.time()))  # expired at once: the SDK shall not keep it, `Renewed` does

    async def close(self) -> None:
        """Nothing is held here."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        """Nothing is held here."""
