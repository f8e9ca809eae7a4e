"""The listening sockets of a simulated fleet.

Two ways, because of descriptors. With a socket for each address every behaviour is possible, also "nothing listens".
10,000 such sockets and 10,000 kept connections would need more than 20,000 descriptors, so large fleets have one
socket for all of 127.0.0.0/8: bound to 0.0.0.0 and, by SO_BINDTODEVICE, to the loopback interface (allowed to every
user since Linux 5.7), so that the kernel refuses what comes from outside. The accepted connection's local address says
which cluster is meant. There, an address can't refuse a SYN: the shared socket answers it.

Rejected: a raised RLIMIT_NOFILE (the hard limit is not ours), a second process that holds the sockets (more to kill),
`ip route add local` (needs root, and 127.0.0.0/8 is local anyway).
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from muster.demo.behaviours import Door

_BACKLOG = 4096
"""The kernel's own default limit (net.core.somaxconn): 10,000 clients that connect at once find room soon enough."""


class Doors:
    """Opens, shuts and jams the addresses of one fleet, all on one port."""

    def __init__(self, factory: Callable[[], asyncio.Protocol], *, port: int = 0, shared: bool = False) -> None:
        self._factory = factory
        self._shared = shared
        self._all: asyncio.Server | None = None
        self._open: dict[str, asyncio.Server] = {}
        self._full: dict[str, socket.socket] = {}
        self.port = port
        """0 until the first address is opened, if the kernel is to choose it."""

    async def set(self, address: str, door: Door) -> None:
        """Make `address` do as `door` says. Raises OSError; ValueError for what a shared listener can't do."""
        if self._shared and (door is Door.REFUSE or ":" in address):
            raise ValueError("a shared listener can't refuse connections, and has no IPv6: use a socket an address")
        if self._shared and self._all is None:
            self._all = await self._serve(self._bound("0.0.0.0"))  # noqa: S104 - bound to the loopback interface
        if door is not Door.FULL:
            self._shut_full(address)
        if door is not Door.OPEN:
            self._shut_open(address)
        if door is Door.OPEN and not self._shared and address not in self._open:
            self._open[address] = await self._serve(self._bound(address))
        elif door is Door.FULL and address not in self._full:
            self._full[address] = self._jammed(address)
        elif door is Door.REFUSE and self.port == 0:
            self._bound(address).close()  # finds the port

    def drop(self, address: str) -> None:
        """Let go of an address."""
        self._shut_full(address)
        self._shut_open(address)

    def close(self) -> None:
        """Let go of all of them; accepted connections go on."""
        for address in [*self._full, *self._open]:
            self.drop(address)
        if self._all is not None:
            self._all.close()
            self._all = None

    def _shut_full(self, address: str) -> None:
        if jammed := self._full.pop(address, None):
            jammed.close()

    def _shut_open(self, address: str) -> None:
        if server := self._open.pop(address, None):
            server.close()

    async def _serve(self, sock: socket.socket) -> asyncio.Server:
        return await asyncio.get_running_loop().create_server(self._factory, sock=sock, backlog=_BACKLOG)

    def _bound(self, address: str) -> socket.socket:
        """A socket on `address` and the fleet's port; the first one finds the port."""
        sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if self._shared:
                _only_loopback(sock)
                # Lets an address have a socket of its own beside the shared one; the kernel prefers the closer match.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.bind((address, self.port))
        except OSError:
            sock.close()
            raise
        self.port = sock.getsockname()[1]
        return sock

    def _jammed(self, address: str) -> socket.socket:
        """A listener that never accepts, with its backlog full: from then on Linux drops every SYN to it.

        A backlog of 1 holds two connections (the kernel counts from 0). They stay in it after their clients have gone,
        so that a dead address costs one descriptor.
        """
        sock = self._bound(address)
        sock.listen(1)
        for _ in range(2):
            with socket.socket(sock.family, socket.SOCK_STREAM) as filler:
                filler.settimeout(1.0)
                filler.connect((address, self.port))
        return sock


def _only_loopback(sock: socket.socket) -> None:
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
    except PermissionError as error:
        raise PermissionError(
            error.errno, "a shared listener needs Linux 5.7 or CAP_NET_RAW; a smaller fleet does without one"
        ) from error
