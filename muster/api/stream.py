"""An answer that goes on: written with a deadline, buffered within bounds, ended on purpose.

On aiohttp's own `StreamResponse`. aiohttp-sse was tried and does not fit: it formats each event anew for each client,
starts a task of its own for each one's pings, and has no deadline, so that a client that does not read holds its
handler, and what is waiting for it, for ever.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

BUFFER_BYTES = 16 * 1024
"""Written ahead of what the kernel has taken; above this `send` waits. Twice a usual piece."""

KERNEL_BYTES = 64 * 1024
"""The socket's own buffer, which would grow to megabytes for each client; Linux doubles this."""

WRITE_TIMEOUT_S = 10.0
"""A client that has taken nothing for as long is too slow. Longer than a wireless link needs to come back."""

FAREWELL_TIMEOUT_S = 2.0
"""For the last words to a slow client; after that its connection is cut."""

HURRY_S = 0.3
"""The same, once the service is to end."""


class TooSlow(Exception):  # noqa: N818 - the client's fault, and an answer to it
    """The client has taken nothing for `WRITE_TIMEOUT_S`."""


class Stream:
    """One client that listens. `open`, `send`, and `say_goodbye` at the end."""

    def __init__(self, request: web.Request, media_type: str, write_timeout_s: float = WRITE_TIMEOUT_S) -> None:
        self._request = request
        self._timeout_s = write_timeout_s
        self._deadline: asyncio.Timeout | None = None
        self._writer: AbstractStreamWriter | None = None
        self.response = web.StreamResponse(headers={"Content-Type": media_type, "X-Accel-Buffering": "no"})

    async def open(self) -> None:
        """Send the head. Raises `ConnectionError` where the client has left."""
        self._writer = await self.response.prepare(self._request)
        transport = self._request.transport
        if transport is None:
            raise ConnectionResetError("the client has left")
        transport.set_write_buffer_limits(high=BUFFER_BYTES)
        plain = transport.get_extra_info("socket")
        if plain is not None:
            with suppress(OSError):
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BYTES)

    async def send(self, data: bytes) -> None:
        """Send, and wait while too much of it is buffered. Raises `TooSlow`, and `ConnectionError`."""
        assert self._writer is not None
        try:
            async with asyncio.timeout(self._timeout_s) as self._deadline:
                await self.response.write(data)
                await self._writer.drain()
        except TimeoutError:
            raise TooSlow from None
        finally:
            self._deadline = None

    def hurry(self) -> None:
        """The service ends: from now on this client has `HURRY_S`, for what is being sent as well."""
        self._timeout_s = HURRY_S
        if self._deadline is not None and not self._deadline.expired():
            self._deadline.reschedule(asyncio.get_running_loop().time() + HURRY_S)

    async def say_goodbye(self, data: bytes) -> None:
        """Send the last words after all that is buffered; a client that does not take them is cut off."""
        transport = self._request.transport
        if transport is None or self._writer is None:
            return
        try:
            async with asyncio.timeout(min(FAREWELL_TIMEOUT_S, self._timeout_s)):
                transport.set_write_buffer_limits(high=0)
                await self.response.write(data)
                await self._writer.drain()
        except (TimeoutError, ConnectionError):
            transport.abort()
