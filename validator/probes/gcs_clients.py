"""What all probes of Cloud Storage in one process share: one identity, its token, one client.

Importing this imports no SDK; the first use does, in a thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

from validator.clock import Clock
from validator.file_thread import FileThread
from validator.net.failure import ProbeFailure
from validator.net.policy import Destination
from validator.probes.gcs_identity import identity_from
from validator.probes.renewed import Renewed
from validator.reasons import Reason

if TYPE_CHECKING:
    from validator.net.sdk_session import SdkSessions
    from validator.probes.gcs_fetch import GcpToken

IMPORT_DEADLINE_S = 60.0
"""Of the SDK's import, about 0.3 s on a quiet machine."""


@dataclass(frozen=True, slots=True)
class GcpSettings:
    """What the asker's own settings say; nothing of it ever comes from the hub."""

    endpoint: str = "https://storage.googleapis.com"
    """Of Cloud Storage's JSON API; never from STORAGE_EMULATOR_HOST, which also turns tokens off."""
    metadata_host: str | None = None
    """Instead of metadata.google.internal."""
    expected_email: str | None = None
    """Who the asker has to be; None = anybody but the node's default account."""
    identity_timeout_s: float = 10.0
    """For all exchanges together, and for a metadata server that is not ready yet."""
    metadata_pause_s: float = 0.5
    """A metadata server that is not ready is asked again after so long, then after twice and four times as long."""
    plain_http: bool = False
    """Token services may be emulators (tests)."""


class GcsClients:
    """Gives the client, and the token behind it. `close` ends it; `sessions` belong to the caller."""

    def __init__(
        self,
        environ: Mapping[str, str],
        sessions: SdkSessions,
        settings: GcpSettings,
        *,
        clock: Clock,
        files: FileThread,
    ) -> None:
        self._environ = environ
        self._sessions = sessions
        self._settings = settings
        self._clock = clock
        self._files = files
        self._token: Renewed[GcpToken] | None = None
        self._storage: Any = None

    @property
    def host(self) -> str:
        """For messages."""
        return self._settings.endpoint.partition("://")[2]

    async def token(self) -> GcpToken:
        """A token of the identity, checked to be its own. Raises `ProbeFailure` with stage identity."""
        if self._token is None:
            settings = self._settings
            identity = await identity_from(
                self._environ, self._files, metadata_host=settings.metadata_host, plain_http=settings.plain_http
            )
            sdk = await self._sdk()
            fetch = sdk.TokenFetch(
                identity,
                self._sessions,
                expected_email=settings.expected_email,
                pause_s=settings.metadata_pause_s,
                clock=self._clock,
                files=self._files,
            )
            self._token = self._token or Renewed(
                "token of Google", fetch, clock=self._clock, deadline_s=settings.identity_timeout_s
            )
        return await self._token.get()

    def forget(self, token: GcpToken) -> None:
        """Storage refused it: the next question fetches another."""
        if self._token is not None:
            self._token.forget(token)

    async def storage(self) -> Any:
        """The client; it belongs to this object."""
        if self._storage is None:
            sdk = await self._sdk()
            self._storage = self._storage or sdk.open_storage(
                self._sessions.to(Destination.STORAGE), self._settings.endpoint, self.token
            )
        return self._storage

    async def close(self) -> None:
        """End a fetch that is under way; sessions are the caller's."""
        if self._token is not None:
            self._token.close()

    async def _sdk(self) -> ModuleType:
        try:
            return await self._files.run(_sdk, IMPORT_DEADLINE_S)
        except ImportError as error:
            text = "the Google SDK is not installed: `pip install 'muster[gcp]'`"
            raise ProbeFailure(Reason.IDENTITY_UNAVAILABLE, text) from error


def _sdk() -> ModuleType:
    from validator.probes import gcs_fetch  # noqa: PLC0415 - imported on first use

    return gcs_fetch
