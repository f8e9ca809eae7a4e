"""Peers of the uplink's client that do as they are told: servers behind TLS, and proxies."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import trustme

from uplink.client.network.trust import Trust

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass(slots=True)
class Peer:
    """A listener, and what came to it."""

    port: int
    connections: int = 0
    heads: list[bytes] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"


@asynccontextmanager
async def listening(
    talk: Talk, context: ssl.SSLContext | None = None, window: int = 0, at: str = "127.0.0.1"
) -> AsyncIterator[Peer]:
    """A server that does `talk` with each connection; its kernel takes `window` bytes ahead, if that is given."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        peer.connections += 1
        try:
            with suppress(OSError, EOFError, ssl.SSLError):
                await talk(reader, writer)
        except asyncio.CancelledError:
            pass
        finally:
            tasks.discard(task)
            writer.transport.abort()

    listener = socket.socket(socket.AF_INET6 if ":" in at else socket.AF_INET)
    if window:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
    listener.bind((at, 0))
    server = await asyncio.start_server(serve, sock=listener, ssl=context)
    peer = Peer(server.sockets[0].getsockname()[1])
    try:
        yield peer
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Impostor:
    """A CA of its own, and TLS for localhost."""

    def __init__(self) -> None:
        self.ca = trustme.CA(key_type=trustme.KeyType.ECDSA)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert("localhost", "127.0.0.1", "::1").configure_cert(self.context)

    @property
    def trust(self) -> Trust:
        return Trust(self.ca.cert_pem.bytes().decode())

    @asynccontextmanager
    async def saying(self, answer: bytes | Talk) -> AsyncIterator[Peer]:
        """A server that gives this answer to every request, or talks."""
        if not isinstance(answer, bytes):
            async with listening(answer, self.context) as peer:
                yield peer
            return

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while head := await reader.readuntil(b"\r\n\r\n"):
                peer.heads.append(head)
                await reader.readexactly(_length(head))
                writer.write(answer)
                await writer.drain()

        async with listening(talk, self.context) as peer:
            yield peer


def http(status: int, body: bytes = b"", **headers: str) -> bytes:
    """An answer. `Content_Type="…"` makes a header of that name."""
    lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@asynccontextmanager
async def proxying(*, wants: str = "", status: int = 200) -> AsyncIterator[Peer]:
    """A proxy that tunnels, if `Proxy-Authorization` is what it `wants`; otherwise says 407, or `status` to all."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        peer.heads.append(head)
        method, target, _ = head.split(b" ", 2)
        refused = 407 if wants and f"Proxy-Authorization: {wants}\r\n".encode() not in head else status
        if method != b"CONNECT" or refused != 200:
            writer.write(http(refused))
            await writer.drain()
            return
        host, _, port = target.decode().rpartition(":")
        theirs, ours = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        try:
            await asyncio.gather(_pipe(reader, ours), _pipe(theirs, writer))
        finally:
            ours.transport.abort()

    async with listening(talk) as peer:
        yield peer


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while some := await reader.read(65536):
            writer.write(some)
            await writer.drain()
        writer.close()


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0
