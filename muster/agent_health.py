"""Answers the kubelet: /healthz while the loop turns, /readyz once the hub takes what the agent reports.

A port, because the alternatives are worse in a pod with a read-only file system: a file that is touched needs a volume
and a shell in the image to look at it, and a command as a probe starts a Python every few seconds, which costs more
than the agent. On loopback the kubelet could not ask. It is not aiohttp's server: two fixed answers to whoever may
connect need no parser, no routes and no 3 MB.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

MAX_HEAD_BYTES = 4096
DEADLINE_S = 2.0
"""Of one request, for a client that says nothing."""
MAX_AT_ONCE = 16
"""More are hung up on."""


class Health:
    """One listener. `ready` gives whether it is, and why not."""

    def __init__(self, ready: Callable[[], tuple[bool, str]]) -> None:
        self._ready = ready
        self._server: asyncio.Server | None = None
        self._open = 0

    async def start(self, host: str | None, port: int) -> int:
        """Listen; gives the port. Raises OSError."""
        self._server = await asyncio.start_server(self._serve, host, port, limit=MAX_HEAD_BYTES)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    def close(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open <= MAX_AT_ONCE:
                async with asyncio.timeout(DEADLINE_S):
                    writer.write(self._answer(await reader.readuntil(b"\r\n\r\n")))
                    await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # whoever asks so gets no answer
        finally:
            self._open -= 1
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    def _answer(self, head: bytes) -> bytes:
        line = head.split(b"\r\n", 1)[0].split(b" ")
        path = line[1].partition(b"?")[0] if len(line) == 3 and line[0] in {b"GET", b"HEAD"} else b""
        ready, why = self._ready()
        status, text = {
            b"/healthz": ("200 OK", "ok"),
            b"/readyz": ("200 OK", "ok") if ready else ("503 Service Unavailable", why),
        }.get(path, ("404 Not Found", "/healthz and /readyz are all that there is"))
        body = f"{text}\n".encode("utf-8", "replace")
        answer = f"HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
        return f"{answer}Connection: close\r\n\r\n".encode() + (b"" if line[0] == b"HEAD" else body)
