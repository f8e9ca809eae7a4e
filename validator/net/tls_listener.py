"""Accepts TLS connections, with so many handshakes under way and no more.

`loop.create_server` with TLS tells nobody of a connection before its handshake is over: whoever opens thousands and
says nothing would take the descriptors that others need, unseen by every bound on connections. So the socket is
accepted here and counted, and where there are too many the handshake that is under way for longest is dropped. To
refuse the new one instead was rejected: whoever says nothing, fifty times a second, would keep all others out.

It has of `asyncio.Server` what its users need: `sockets` and `close`.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Callable
from functools import partial

import structlog

_log = structlog.get_logger(__name__)

NO_ROOM_PAUSE_S = 0.2
"""After an accept for which there was no descriptor: the next one fails as well, and would do so without end."""

_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: close with a reset, and keep nothing."""


class TlsListener:
    """One listening address. Make it on the loop; it accepts at once."""

    def __init__(
        self,
        sockets: tuple[socket.socket, ...],
        factory: Callable[[], asyncio.BaseProtocol],
        tls: ssl.SSLContext,
        *,
        within_s: float,
        most: int,
    ) -> None:
        """`most` handshakes at once, each for `within_s`; `factory` is asked when one begins."""
        self.sockets = sockets
        self._factory = factory
        self._tls = tls
        self._within_s = within_s
        self._most = most
        self._shaking: dict[asyncio.Task[None], socket.socket] = {}
        """Under way for longest first."""
        self.dropped = 0
        """Handshakes that had to make room."""
        self._accepting = [asyncio.create_task(self._accept(each), name="tls-accept") for each in sockets]

    @property
    def shaking(self) -> int:
        """Handshakes under way."""
        return len(self._shaking)

    def close(self) -> None:
        """Accept no more, and drop who is not through yet."""
        for task in (*self._accepting, *self._shaking):
            task.cancel()
        for each in self.sockets:
            each.close()

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, _ = await loop.sock_accept(listening)
            except OSError as error:
                if listening.fileno() < 0:
                    return  # closed
                _log.debug("cannot accept", error=str(error))
                await asyncio.sleep(NO_ROOM_PAUSE_S)
                continue
            if len(self._shaking) >= self._most:
                self._drop_longest()
            task = asyncio.create_task(self._shake(accepted), name="tls-handshake")
            self._shaking[task] = accepted
            task.add_done_callback(partial(self._ended, accepted))
            await asyncio.sleep(0)  # what waits to be accepted comes without a pause, however much it is

    def _drop_longest(self) -> None:
        task = next(iter(self._shaking))
        accepted = self._shaking.pop(task)
        if task.cancel():
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.dropped += 1

    def _ended(self, accepted: socket.socket, task: asyncio.Task[None]) -> None:
        self._shaking.pop(task, None)
        if task.cancelled():  # maybe before it began
            accepted.close()

    async def _shake(self, accepted: socket.socket) -> None:
        try:
            async with asyncio.timeout(self._within_s + 1.0):
                await asyncio.get_running_loop().connect_accepted_socket(
                    self._factory, accepted, ssl=self._tls, ssl_handshake_timeout=self._within_s
                )
        except (OSError, TimeoutError) as error:  # ssl.SSLError is an OSError
            _log.debug("no handshake", error=type(error).__name__)
            accepted.close()
