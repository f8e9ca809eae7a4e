"""The hostile servers of the tests (the simulated fleet), and a plain client that shares no code with the probe."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from muster.demo.fleet import SimulatedFleet
from muster.demo.pki import Pair
from muster.demo.site import SimulatedCluster
from tests.support.need import need
from validator.credentials import Credential, StaticCredential
from validator.model import Endpoint

CONNECT, TLS, HTTP, DONE = "connect", "tls", "http", "done"


@pytest.fixture
async def fleet() -> AsyncIterator[SimulatedFleet]:
    """An empty fleet; `await fleet.add("name", "expired")` opens a cluster that lasts until the test's end."""
    async with SimulatedFleet(seed=1) as running:
        yield running


def endpoint_of(cluster: SimulatedCluster, host: str | None = None) -> Endpoint:
    """The cluster as the probe is told of it; by another name where `host` is given."""
    return Endpoint(host or cluster.address, cluster.port, cluster.ca_pem)


def credential_of(cluster: SimulatedCluster) -> StaticCredential:
    """Its bearer token."""
    return StaticCredential(Credential(cluster.token))


def need_ipv6() -> None:
    """Skip where this machine has no ::1."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
            sock.bind(("::1", 0))
    except OSError:
        need(False, "IPv6 loopback (::1)")


@dataclass(slots=True)
class Asked:
    """How far a request came, and what it brought."""

    stage: str = CONNECT
    """The stage that failed, or DONE."""
    error: Exception | None = None
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    """Names in lower case."""
    body: bytes = b""
    took_s: float = 0.0
    certificate: dict[str, object] = field(default_factory=dict)


@dataclass(slots=True)
class Client:
    """One connection to a cluster, kept between requests."""

    cluster: SimulatedCluster
    certificate: Pair | None = None
    host: str | None = None
    """Name to verify instead of the address."""
    max_body_bytes: int = 1_000_000
    _reader: asyncio.StreamReader | None = None
    _writer: asyncio.StreamWriter | None = None

    async def ask(self, path: str, *, token: str | None = None, timeout_s: float = 5.0) -> Asked:
        """GET `path` on the kept connection, or a new one. Never raises for what the server does."""
        asked, started = Asked(), time.perf_counter()
        try:
            async with asyncio.timeout(timeout_s):
                if self._writer is None:
                    await self._connect(asked)
                asked.stage = HTTP
                await self._exchange(asked, path, token)
                asked.stage = DONE
        except (OSError, TimeoutError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
            asked.error = error
            self.close()
        asked.took_s = time.perf_counter() - started
        return asked

    def close(self) -> None:
        if self._writer is not None:
            self._writer.transport.abort()
        self._reader = self._writer = None

    async def _connect(self, asked: Asked) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=self.cluster.ca_pem)
        context.verify_flags |= ssl.VERIFY_X509_STRICT  # as Python 3.13's default context has it
        if self.certificate is not None:
            _load(context, self.certificate)
        loop = asyncio.get_running_loop()
        sock = socket.socket(socket.AF_INET6 if ":" in self.cluster.address else socket.AF_INET, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            await loop.sock_connect(sock, (self.cluster.address, self.cluster.port))
            asked.stage = TLS
            self._reader, self._writer = await asyncio.open_connection(
                sock=sock, ssl=context, server_hostname=self.host or self.cluster.address
            )
        except BaseException:
            sock.close()
            raise
        asked.certificate = self._writer.get_extra_info("peercert")

    async def _exchange(self, asked: Asked, path: str, token: str | None) -> None:
        assert self._reader is not None
        assert self._writer is not None
        authorization = f"Authorization: Bearer {token}\r\n" if token else ""
        self._writer.write(f"GET {path} HTTP/1.1\r\nHost: {self.cluster.address}\r\n{authorization}\r\n".encode())
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status, *lines = head.strip().split("\r\n")
        if not status.startswith("HTTP/1.1 "):
            raise ValueError(f"not HTTP: {status!r}")
        asked.status = int(status.split()[1])
        asked.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if "content-length" in asked.headers:
            asked.body = await self._reader.readexactly(int(asked.headers["content-length"]))
        else:
            while len(asked.body) < self.max_body_bytes and (more := await self._reader.read(65_536)):
                asked.body += more


async def ask(
    cluster: SimulatedCluster, path: str = "/readyz", *, timeout_s: float = 5.0, as_client: bool = True
) -> Asked:
    """One request on a connection of its own, with the cluster's token unless `as_client` is False."""
    client = Client(cluster)
    try:
        return await client.ask(path, token=cluster.token if as_client else None, timeout_s=timeout_s)
    finally:
        client.close()


def _load(context: ssl.SSLContext, pair: Pair) -> None:
    descriptor = os.memfd_create("client")
    try:
        os.write(descriptor, pair.bundle)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
