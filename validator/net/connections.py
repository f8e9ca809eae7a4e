"""Connections that others open to a server of ours: how many there may be, and how long one may keep us waiting.

asyncio takes as many as there are descriptors, aiohttp waits an hour for a request, and a reader who stops reading
holds its answer for ever. Opening a connection takes no token and no certificate, and descriptors that clients have
taken are missing where something is to be asked or stored.

What is spoken on a connection is not known here: its protocol says when it begins, is busy, and ends.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Any, Protocol, cast

from validator.net.tls_listener import TlsListener

HEAD_S = 10.0
"""For a handshake, and then for the first request's head; an honest client needs milliseconds for either."""

UNREAD_MS = 30_000
"""For the kernel at the other end to take any of an answer; then ours ends the connection (RFC 5482)."""


class Listener(Protocol):
    """What takes connections."""

    @property
    def sockets(self) -> tuple[Any, ...]:
        """Where it listens."""
        ...

    def close(self) -> None:
        """Take no more."""
        ...


class Connection(Protocol):
    """The protocol of one connection."""

    @property
    def transport(self) -> asyncio.Transport | None:
        """None once it is closed."""
        ...


class Connections:
    """All connections of one server. When there is no room for one more, the one that is idle for longest goes."""

    def __init__(self, *, most: int, idle_s: float, head_s: float = HEAD_S) -> None:
        """`idle_s` is from one answer to the end of the next request's head; `head_s` is a seam: tests have less."""
        self._most = most
        self._idle_s = idle_s
        self._head_s = head_s
        self._open = 0
        self._idle: dict[Connection, asyncio.TimerHandle] = {}
        """Idle for longest first."""

    async def listen(
        self, new: Callable[[], asyncio.BaseProtocol], host: str, port: int, tls: ssl.SSLContext | None, backlog: int
    ) -> Listener:
        """Take connections; `new` makes the protocol of each. Of handshakes half as many at once. Raises `OSError`."""

        def taken() -> asyncio.BaseProtocol:
            return _Refused() if self._open >= self._most and not self._make_room() else new()

        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family, backlog=backlog)
        listening.setblocking(False)
        # What is accepted from it inherits the option.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_MS)
        if tls is None:
            return await asyncio.get_running_loop().create_server(taken, sock=listening, backlog=backlog)
        return TlsListener((listening,), taken, tls, within_s=self._head_s, most=max(1, self._most // 2))

    def opened(self, connection: Connection) -> None:
        """It has `head_s` to ask for something."""
        self._open += 1
        self._wait(connection, self._head_s)

    def busy(self, connection: Connection) -> None:
        """Its request is handled."""
        if (timer := self._idle.pop(connection, None)) is not None:
            timer.cancel()

    def done(self, connection: Connection) -> None:
        """It has its answer, and `idle_s` to ask for more."""
        if connection.transport is not None:
            self._wait(connection, self._idle_s)

    def closed(self, connection: Connection) -> None:
        """It is gone."""
        self._open -= 1
        self.busy(connection)

    def _wait(self, connection: Connection, within_s: float) -> None:
        self._idle[connection] = asyncio.get_running_loop().call_later(within_s, self._close, connection)

    def _make_room(self) -> bool:
        longest = next(iter(self._idle), None)
        if longest is not None:
            self._close(longest)
        return longest is not None

    def _close(self, connection: Connection) -> None:
        self.busy(connection)
        if connection.transport is not None:
            connection.transport.abort()  # at once: what it has not read of its answer, it has had time to


class _Refused(asyncio.Protocol):
    """There is no room, and all are busy."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.Transport", transport).abort()
