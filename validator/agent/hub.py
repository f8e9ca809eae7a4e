"""The way to the hub: HTTPS requests with the pod's projected token. Outbound only.

The token is read anew for each request, because the kubelet renews the file; it is shown to the hub's URL and nobody
else: no redirects, no proxies of the environment, and only certificates that the CA file (or the system) vouches for.
That file is read with each session, and a session whose handshake fails is dropped: a CA that was replaced is taken up
without a restart.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

from validator.file_thread import FileThread
from validator.files import FileError, read_file
from validator.model import Endpoint
from validator.net.failure import ProbeFailure
from validator.net.resolver import Resolver
from validator.net.sdk_session import ERRORS, Session, open_session, transport_failure
from validator.net.tls import TlsContexts
from validator.printable import printable
from validator.probes.projected import READ_DEADLINE_S, read_token
from validator.probes.retry_after import retry_after_s
from validator.reasons import Reason
from validator.scrub import scrub

MAX_CA_BYTES = 1024 * 1024
KEEP_ALIVE_S = 90.0
"""Longer than any sane heartbeat: a report every 30 s should not cost both sides a handshake each."""
MAX_QUOTED_CHARS = 300


class HubError(Exception):
    """No answer of the hub: it is away, hangs, is somebody else, or we have no token. Holds no secret."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, whatever it says."""

    status: int
    body: bytes
    retry_after_s: float | None

    @property
    def problem(self) -> str:
        """What a refusal says, for a log."""
        text = printable(scrub(self.body[:2000].decode("utf-8", "replace")), MAX_QUOTED_CHARS)
        return f"the hub answers {self.status}: {text or 'no more is said'}"


class HubLink:
    """One session for everything. `close` it at the end."""

    def __init__(
        self,
        url: str,
        cluster_id: UUID,
        *,
        token_file: Path,
        ca_file: Path | None,
        resolver: Resolver,
        files: FileThread,
    ) -> None:
        self._url = url.rstrip("/")
        parts = urlsplit(url)
        self.host = parts.hostname or ""
        self._port = parts.port or 443
        self._cluster_id = cluster_id
        self._token_file = token_file
        self._ca_file = ca_file
        self._resolver = resolver
        self._files = files
        self._session: Session | None = None

    async def get(self, path: str, query: Mapping[str, str], deadline_s: float) -> Reply:
        """Ask. Raises `HubError`."""
        return await self._asked("GET", path, deadline_s, query=query)

    async def post(self, path: str, body: bytes, deadline_s: float) -> Reply:
        """Send JSON. Raises `HubError`."""
        return await self._asked("POST", path, deadline_s, body=body)

    async def close(self) -> None:
        """Drop the connections; the next request opens others."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _asked(
        self,
        method: str,
        path: str,
        deadline_s: float,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Reply:
        try:
            async with asyncio.timeout(deadline_s):
                headers = {
                    "Authorization": f"Bearer {await read_token(self._token_file, self._files)}",
                    "Muster-Cluster": str(self._cluster_id),
                    "Accept-Encoding": "identity",
                }
                if body is not None:
                    headers["Content-Type"] = "application/json"
                session = await self._opened()
                async with session.request(
                    method, self._url + path, params=query, data=body, headers=headers, allow_redirects=False
                ) as answer:
                    retry = retry_after_s(answer.headers.get("Retry-After"))
                    return Reply(answer.status, await answer.read(), retry)
        except TimeoutError:
            raise HubError(f"{self.host} did not answer within {deadline_s:g} s") from None
        except ERRORS as error:
            failure = transport_failure(error, self.host)
            if failure.reason is Reason.STORAGE_TLS_FAILED:
                await self.close()
            raise HubError(failure.message) from None  # the cause may hold the headers

    async def _opened(self) -> Session:
        if self._session is None:
            pem = await self._ca_pem()
            if self._session is None:  # somebody else may have been quicker
                tls = TlsContexts(1).get(Endpoint(self.host, self._port, pem), None)
                self._session = open_session(self._resolver, _any_address, tls, keep_alive_s=KEEP_ALIVE_S)
        return self._session

    async def _ca_pem(self) -> str | None:
        path = self._ca_file
        if path is None:
            return None
        try:
            content = await self._files.run(lambda: read_file(path, MAX_CA_BYTES), READ_DEADLINE_S)
        except FileError as error:
            text = f"the CA file of the hub can't be used: {error.message}"
            raise ProbeFailure(Reason.IDENTITY_UNAVAILABLE, text) from error
        return content.text


def _any_address(host: str, address: str) -> None:
    """The hub is where the operator of this cluster says, on loopback as well."""
