"""aiobotocore, kept on a short lead: clients and credentials for the S3 probes of one process.

One `AwsClients` has one identity (a process has one environment), one fetch of its credentials for everybody, and one
client per region, endpoint and style: the first costs 130 ms and 15 MB, each further one 8 ms and 0.35 MB. The SDK is
imported with the first use.

What the SDK would do by itself and here does not: read profiles and static keys, ask the node's metadata, take
endpoints from the environment, retry, follow redirects and go on in another region (`aws_sdk.py`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

from validator.clock import Clock
from validator.file_thread import FileThread
from validator.net.failure import ProbeFailure
from validator.net.policy import Destination
from validator.probes.aws_fetch import AwsCredentials, CredentialFetch
from validator.probes.aws_identity import identity_from, region_from
from validator.probes.renewed import Renewed
from validator.reasons import Reason

if TYPE_CHECKING:
    from validator.net.sdk_session import SdkSessions

_AMAZON = re.compile(r"https://s3(-fips)?(\.dualstack)?([.-][a-z0-9-]+)?\.amazonaws\.com(\.cn)?/?")
"""Amazon's own, spelt out; the SDK finds them by region. Deliberately not all of amazonaws.com: the names of any
customer's machines and load balancers end so too."""

IMPORT_DEADLINE_S = 60.0
"""Of the SDK's import, about 0.5 s on a quiet machine; it is done in a thread, so that no probe is late for it."""

DEFAULT_REGION = "us-east-1"
"""Where neither the location nor the environment names one: S3 answers there for every bucket, with its region."""


@dataclass(frozen=True, slots=True)
class AwsSettings:
    """What the asker's own settings say; nothing of it ever comes from the hub."""

    endpoint: str | None = None
    """Instead of Amazon's S3, for locations that name none."""
    sts_endpoint: str | None = None
    """Instead of Amazon's STS."""
    allowed_endpoints: frozenset[str] = frozenset()
    """S3-compatible stores that a location may name. Others would be shown the session token."""
    expected_role_arn: str | None = None
    """Who the asker has to be; None = `AWS_ROLE_ARN`, or with Pod Identity anybody but the node."""
    identity_timeout_s: float = 6.0
    """For the token file, STS and who-am-I together."""
    loopback: bool = False
    """The Pod Identity agent may be on this machine (emulators, tests)."""


class AwsClients:
    """Gives clients, and the credentials behind them. `close` ends it; `sessions` belong to the caller."""

    def __init__(
        self,
        environ: Mapping[str, str],
        sessions: SdkSessions,
        settings: AwsSettings,
        *,
        clock: Clock,
        files: FileThread,
    ) -> None:
        self._environ = environ
        self._sessions = sessions
        self._settings = settings
        self._clock = clock
        self._files = files
        self._session: Any = None
        self._credentials: Renewed[AwsCredentials] | None = None
        self._clients: dict[tuple[str, str | None, bool], Any] = {}

    def region_of(self, wanted: str | None) -> str:
        """The region to ask in for a location that names `wanted`."""
        return wanted or region_from(self._environ) or DEFAULT_REGION

    def endpoint_of(self, wanted: str | None) -> str | None:
        """The endpoint to ask for a location that names `wanted`; None = Amazon's.

        Raises `ProbeFailure(ENDPOINT_REFUSED)` where the asker's settings do not allow it.
        """
        if wanted is None or _AMAZON.fullmatch(wanted):
            return self._settings.endpoint
        endpoint = wanted.rstrip("/")
        if endpoint not in {
            one.rstrip("/") for one in (*self._settings.allowed_endpoints, self._settings.endpoint or "")
        }:
            text = f"{endpoint} is not on the asker's list of allowed S3 endpoints; no token was sent"
            raise ProbeFailure(Reason.ENDPOINT_REFUSED, text)
        return endpoint

    async def credentials(self, region: str) -> AwsCredentials:
        """Credentials of the identity, checked to be its own. Raises `ProbeFailure` with stage identity."""
        if self._credentials is None:
            identity = identity_from(self._environ, loopback=self._settings.loopback)
            session = await self._loaded()
            sts_region = region_from(self._environ) or region
            http, endpoint = self._sessions.to(Destination.TOKENS), self._settings.sts_endpoint
            fetch = CredentialFetch(
                identity,
                lambda signed: _sdk().sts_client(session, http, sts_region, endpoint, signed),
                self._sessions.to(Destination.METADATA),
                expected_role_arn=self._settings.expected_role_arn,
                clock=self._clock,
                files=self._files,
            )
            self._credentials = self._credentials or Renewed(
                "AWS credentials", fetch, clock=self._clock, deadline_s=self._settings.identity_timeout_s
            )
        return await self._credentials.get()

    def forget(self, credentials: AwsCredentials) -> None:
        """S3 refused them: the next question fetches others."""
        if self._credentials is not None:
            self._credentials.forget(credentials)

    async def s3(self, region: str, endpoint: str | None, *, path_style: bool) -> Any:
        """The client for these, made with the first call. It belongs to this object."""
        key = (region, endpoint, path_style)
        if key not in self._clients:
            session, http = await self._loaded(), self._sessions.to(Destination.STORAGE)
            client = await _sdk().s3_client(session, http, region, endpoint, path_style=path_style)
            self._clients.setdefault(key, client)
        return self._clients[key]

    async def close(self) -> None:
        """Let go of all clients."""
        if self._credentials is not None:
            self._credentials.close()
        clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            await client.close()

    async def _loaded(self) -> Any:
        if self._session is None:
            try:
                sdk = await self._files.run(_sdk, IMPORT_DEADLINE_S)
            except ImportError as error:
                text = "the AWS SDK is not installed: `pip install 'muster[aws]'`"
                raise ProbeFailure(Reason.IDENTITY_UNAVAILABLE, text) from error
            self._session = self._session or sdk.new_session(self._newest)
        return self._session

    async def _newest(self) -> tuple[str, str, str]:
        found = await self.credentials(DEFAULT_REGION)  # whoever asks has fetched them before, in its own region
        return found.access_key, found.secret_key, found.token


def _sdk() -> ModuleType:
    from validator.probes import aws_sdk  # noqa: PLC0415 - imported on first use

    return aws_sdk
