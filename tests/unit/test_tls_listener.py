"""Handshakes are counted, bounded, and dropped with their listener."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import cast

import pytest
import trustme
import uvloop

from validator.net.tls_listener import TlsListener

WITHIN_S = 1.0


class Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)
        self.transport.close()


@asynccontextmanager
async def listening(ca: trustme.CA, most: int, within_s: float = WITHIN_S) -> AsyncIterator[TlsListener]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost").configure_cert(context)
    sock = socket.create_server(("127.0.0.1", 0))
    sock.setblocking(False)
    listener = TlsListener((sock,), Echo, context, within_s=within_s, most=most)
    try:
        yield listener
    finally:
        listener.close()
        await asyncio.sleep(0)


async def echoed(listener: TlsListener, ca: trustme.CA) -> bytes:
    """What an honest client hears."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ca.configure_trust(context)
    port = listener.sockets[0].getsockname()[1]
    async with asyncio.timeout(5):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
        writer.write(b"here")
        heard = await reader.read()
        writer.close()
    return heard


async def mute(listener: TlsListener) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A client that says nothing."""
    return await asyncio.open_connection("127.0.0.1", listener.sockets[0].getsockname()[1])


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110 - what a listener counts
            await asyncio.sleep(0.01)


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


async def test_the_mute_are_bounded_and_make_room_in_time(ca: trustme.CA) -> None:
    async with listening(ca, most=5) as listener:
        clients = [await mute(listener) for _ in range(40)]
        await until(lambda: listener.dropped == 35)
        assert listener.shaking == 5
        for reader, _ in clients[:35]:
            with suppress(ConnectionResetError):
                assert await asyncio.wait_for(reader.read(1), 2) == b"", "the one that is mute for longest goes"
        await until(lambda: listener.shaking == 0)
        assert await echoed(listener, ca) == b"here"
        for reader, writer in clients:
            with suppress(ConnectionResetError):
                assert await asyncio.wait_for(reader.read(1), 2) == b""
            writer.close()


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_an_honest_one_gets_in_while_the_mute_have_all_the_room(
    ca: trustme.CA, loop_factory: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def scene() -> None:
        async with listening(ca, most=5, within_s=60) as listener:
            clients = [await mute(listener) for _ in range(20)]
            await until(lambda: listener.shaking == 5)
            assert await echoed(listener, ca) == b"here"
            await until(lambda: listener.shaking == 4)
            for _, writer in clients:
                writer.close()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(scene())


async def test_nonsense_and_strangers_end_and_harm_nobody(ca: trustme.CA) -> None:
    async with listening(ca, most=5) as listener:
        reader, writer = await mute(listener)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await echoed(listener, trustme.CA())
        assert await echoed(listener, ca) == b"here"
        await until(lambda: listener.shaking == 0)
        await reader.read()
        writer.close()


async def test_closing_it_drops_who_is_not_through(ca: trustme.CA) -> None:
    async with listening(ca, most=5, within_s=60) as listener:
        reader, writer = await mute(listener)
        await until(lambda: listener.shaking == 1)
        listener.close()
        with suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(1), 2) == b""
        writer.close()
        with pytest.raises(OSError):
            await mute(listener)
