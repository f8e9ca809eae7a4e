"""The API server of the cluster that this process runs in, asked as its pod's service account.

On the wire of the probes (`validator/net/`) and not on aiohttp: every byte of an answer is counted, nothing is followed
or unpacked, and dns, connect and tls fail with texts of their own; decision 10 has the rest. Not on the uplink's
`Transport`: that is for the vendor's endpoint, is cut with the consent, and may go through a proxy.

Nothing is kept between two acts, neither a connection nor a credential: they are hours apart, and the kubelet renews
token and CA.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from uplink.client.enrolment.secret_name import is_namespace
from validator.discovery.fields import FieldError
from validator.discovery.in_cluster import SERVICE_ACCOUNT, own_api_server
from validator.discovery.read_set import ReadSet
from validator.file_thread import FileThread
from validator.files import FileError
from validator.model import Endpoint
from validator.net.dialer import Dialer, StageDeadlines, Trace
from validator.net.failure import ProbeFailure
from validator.net.http1 import HttpAnswer, HttpConnection
from validator.net.resolver import CaresResolver, Resolver
from validator.net.tls import TlsContexts
from validator.probes.projected import read_token

FILES_S: Final = 2.0
"""For token, CA and namespace, which lie in memory."""
MAX_NAMESPACE_BYTES: Final = 1024
_MOUNT: Final = "Mount the pod's service account (automountServiceAccountToken), or do without telemetry_secret"


class Unanswered(Exception):  # noqa: N818 - what it is
    """The API server could not be asked, or gave no whole answer. The text quotes nothing of what was sent."""


class Names(Resolver, Protocol):
    """Asked where the API server has a name: Gardener and AKS put one in KUBERNETES_SERVICE_HOST."""

    async def close(self) -> None:
        """Let go of its sockets."""
        ...


@dataclass(frozen=True, slots=True)
class _Pod:
    endpoint: Endpoint
    namespace: str
    """Empty where it is not known."""
    token: str = field(default="", repr=False)


class OwnCluster:
    """Opens no connection and reads no file before `open`."""

    def __init__(
        self,
        base: Path = SERVICE_ACCOUNT,
        environ: Mapping[str, str] | None = None,
        names: Callable[[], Names] = CaresResolver,
    ) -> None:
        """`base` has `token`, `ca.crt` and `namespace`, as the kubelet mounts them."""
        self._base = base
        self._environ = os.environ if environ is None else environ
        self._names = names
        self._files = FileThread("own-cluster")

    @asynccontextmanager
    async def open(self, deadline_s: float) -> AsyncIterator[Talk]:
        """For one act; `deadline_s` is for all of it. Raises `Unanswered`, also out of the block when it is late."""
        names = _OnDemand(self._names)
        talk: Talk | None = None
        try:
            async with asyncio.timeout(deadline_s):
                until = asyncio.get_running_loop().time() + deadline_s
                talk = Talk(await self._pod(), Dialer(names, TlsContexts(1), StageDeadlines()), until)
                yield talk
        except TimeoutError:
            raise Unanswered(f"the cluster's API server did not answer within {deadline_s:g} s") from None
        finally:
            if talk is not None:
                talk.close()
            await names.close()

    async def _pod(self) -> _Pod:
        try:
            endpoint, namespace = await self._files.run(self._mounted, FILES_S)
            return _Pod(endpoint, namespace, await read_token(self._base / "token", self._files))
        except FieldError as error:
            raise Unanswered(f"{error.message}. {_MOUNT}") from error
        except ProbeFailure as failure:
            raise Unanswered(f"{failure.message}. {_MOUNT}") from failure
        except TimeoutError:
            raise Unanswered(f"reading the files in {self._base} hangs") from None

    def _mounted(self) -> tuple[Endpoint, str]:
        files = ReadSet()
        endpoint = own_api_server(self._environ, self._base, files)
        try:
            namespace = files.read(self._base / "namespace", MAX_NAMESPACE_BYTES).text.strip()
        except FileError:
            namespace = ""
        return endpoint, namespace if is_namespace(namespace) else ""


class _OnDemand:
    """Makes names once there is one: an address, which is the usual case, needs neither channel nor threads."""

    def __init__(self, make: Callable[[], Names]) -> None:
        self._make = make
        self._names: Names | None = None

    async def resolve(self, host: str, deadline_s: float) -> tuple[str, ...]:
        """See `Resolver`."""
        self._names = self._names or self._make()
        return await self._names.resolve(host, deadline_s)

    async def close(self) -> None:
        """All that was made."""
        if self._names is not None:
            await self._names.close()


class Talk:
    """Requests one after the other, on one connection where the server keeps it."""

    def __init__(self, pod: _Pod, dialer: Dialer, until: float) -> None:
        self.namespace = pod.namespace
        self._endpoint = pod.endpoint
        self._dialer = dialer
        self._until = until
        self._connection: HttpConnection | None = None
        self._head = (
            f"Host: {pod.endpoint.authority}\r\nUser-Agent: muster\r\nAccept: application/json\r\n"
            f"Authorization: Bearer {pod.token}\r\n"
        ).encode()

    @property
    def where(self) -> str:
        """For people."""
        return self._endpoint.authority

    async def ask(self, method: str, path: str, body: bytes = b"") -> HttpAnswer:
        """Whatever was answered, bounded by the wire (1 MiB). `path` needs no quoting. Raises `Unanswered`."""
        lines = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n".encode() if body else b""
        request = f"{method} {self._endpoint.path}{path} HTTP/1.1\r\n".encode() + self._head + lines + b"\r\n" + body
        try:
            return await (await self._connected()).exchange(request)
        except ProbeFailure as failure:
            raise Unanswered(f"the cluster's API server: {failure.message}") from failure

    def close(self) -> None:
        """At once."""
        if self._connection is not None:
            self._connection.abort()

    async def _connected(self) -> HttpConnection:
        if self._connection is None or not self._connection.usable:
            self._connection = (await self._dialer.dial(self._endpoint, None, Trace(), self._until)).connection
        return self._connection
