"""One simulated cluster while it runs: its facts, its behaviour, and who is connected."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from muster.demo.answers import ApiServer
from muster.demo.behaviours import Behaviour
from muster.demo.pki import Authority

if TYPE_CHECKING:
    from muster.demo.connection import Connection


@dataclass(frozen=True, slots=True)
class SimulatedCluster:
    """What a client of the cluster may know."""

    name: str
    address: str
    """IP address; 127.x.y.z, or ::1."""
    port: int
    ca_pem: str = field(repr=False)
    token: str = field(repr=False)
    """The bearer token in use."""
    next_token: str = field(repr=False)
    """The one that follows at the next rotation."""
    uid: str
    """UID of its kube-system namespace."""
    dns_name: str
    """A name that its certificate is good for; no name server knows it but the demo's or a test's own."""
    behaviour: Behaviour
    labels: Mapping[str, str]
    resources: Mapping[bytes, Callable[[float], bytes]] = field(default_factory=dict, repr=False)
    """What its API server has beside itself, as `ApiServer.resources`."""
    by_name: bool = False
    """Whether its clients go by the name and not by the address."""

    @property
    def host(self) -> str:
        """Its address or name as it stands in a URL."""
        if self.by_name:
            return self.dns_name
        return f"[{self.address}]" if ":" in self.address else self.address

    @property
    def server(self) -> str:
        """Its URL."""
        return f"https://{self.host}:{self.port}"


@dataclass(slots=True)
class Seen:
    """Counts since the start, for tests and benchmarks to compare with what a prober says it did."""

    connections: int = 0
    handshakes: int = 0
    requests: int = 0


class Site:
    """The mutable side of one cluster; owned by the fleet, read by its connections."""

    def __init__(self, cluster: SimulatedCluster, authority: Authority) -> None:
        self.cluster = cluster
        self.server = _api_server(cluster)
        self.authority = authority
        self.seen = Seen()
        self.connections: set[Connection] = set()
        self._context: ssl.SSLContext | None = None

    @property
    def behaviour(self) -> Behaviour:
        """How it answers now."""
        return self.cluster.behaviour

    def behave(self, behaviour: Behaviour) -> None:
        """Change it; connections that could not have come about under the new behaviour are reset."""
        before = self.cluster.behaviour
        self.cluster = replace(self.cluster, behaviour=behaviour)
        if not behaviour.same_connections(before):
            self._context = None
            self.reset_connections()

    def rotate(self, next_token: str) -> None:
        """The next token becomes the one in use."""
        self.cluster = replace(self.cluster, token=self.cluster.next_token, next_token=next_token)
        self.server = _api_server(self.cluster)

    def reset_connections(self) -> None:
        """As when the server's host restarts."""
        for connection in tuple(self.connections):
            connection.reset()

    def tls(self) -> ssl.SSLContext:
        """The server's TLS context: made at the first connection (0.6 ms, 21 KiB), kept until the behaviour changes."""
        if self._context is None:
            self._context = self._make_context()
        return self._context

    def _make_context(self) -> ssl.SSLContext:
        pair = self.authority.serving(self.behaviour.certificate, self.cluster.address, self.cluster.dns_name)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.num_tickets = 1  # as Go's server sends
        context.set_alpn_protocols(["http/1.1"])
        descriptor = os.memfd_create("simulated-cluster", os.MFD_CLOEXEC)  # `ssl` reads keys from a path only
        try:
            os.write(descriptor, pair.bundle)
            context.load_cert_chain(f"/proc/self/fd/{descriptor}")
        finally:
            os.close(descriptor)
        if self.behaviour.client_certificate:
            context.load_verify_locations(cadata=self.authority.pem)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


def _api_server(cluster: SimulatedCluster) -> ApiServer:
    return ApiServer(cluster.uid, cluster.token.encode(), cluster.next_token.encode(), cluster.resources)
