"""Connections that cost nothing to open: how many, for how long, and what becomes of those that are no HTTP."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from muster.api.connections import Connections
from validator.net.connections import UNREAD_MS

GET = b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n"


class Served:
    """A server of its own, and clients that hold on to it."""

    def __init__(self, port: int, go_on: asyncio.Event) -> None:
        self.port = port
        self.go_on = go_on
        """Ends a `GET /hang`."""
        self._writers: list[asyncio.StreamWriter] = []

    async def open(self, sends: bytes = b"") -> asyncio.StreamReader:
        """A new connection that has sent this."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self._writers.append(writer)
        writer.write(sends)
        return reader

    async def close(self) -> None:
        for writer in self._writers:
            writer.close()


@pytest.fixture
async def served() -> AsyncIterator[Callable[..., Awaitable[Served]]]:
    async with _all_of_them() as serve:
        yield serve


@asynccontextmanager
async def _all_of_them() -> AsyncIterator[Callable[..., Awaitable[Served]]]:
    ends: list[Callable[[], Awaitable[object]]] = []

    async def serve(most: int = 100, head_s: float = 10.0) -> Served:
        go_on = asyncio.Event()
        connections = Connections({"Server": "ours"}, most=most, head_s=head_s)

        async def answer(request: web.Request) -> web.Response:
            if request.path == "/broken":
                raise RuntimeError("a defect that knows the password hunter2")
            if request.path == "/hang":
                await go_on.wait()
            assert request.transport is not None
            accepted = request.transport.get_extra_info("socket")
            return web.Response(text=f"{accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)} here\n")

        app = web.Application(middlewares=[connections.watch])
        app.router.add_get("/{path}", answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        assert runner.server is not None
        listener = await connections.listen(runner.server, "127.0.0.1", 0, None)
        server = Served(listener.sockets[0].getsockname()[1], go_on)

        async def stop() -> None:
            go_on.set()
            await server.close()
            listener.close()
            await runner.cleanup()

        ends.append(stop)
        return server

    yield serve
    for end in ends:
        await end()


async def heard(reader: asyncio.StreamReader, within_s: float = 2.0) -> bytes:
    """The whole answer `here`."""
    return await asyncio.wait_for(reader.readuntil(b"here\n"), within_s)


async def gone(reader: asyncio.StreamReader, within_s: float) -> bool:
    """Whether the other side has ended the connection."""
    try:
        return await asyncio.wait_for(reader.read(1), within_s) == b""
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False


@pytest.mark.parametrize("sends", [b"", b"G", GET[:-2], b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 4000])
async def test_half_a_head_is_not_waited_for(served: Callable[..., Awaitable[Served]], sends: bytes) -> None:
    server = await served(head_s=0.2)
    assert await gone(await server.open(sends), 1.0)


async def test_a_slow_trickle_is_no_whole_head(served: Callable[..., Awaitable[Served]]) -> None:
    server = await served(head_s=0.3)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    for byte in GET % b"x" * 10:
        if reader.at_eof() or reader.exception() or writer.is_closing():
            break
        writer.write(bytes([byte]))
        await asyncio.sleep(0.05)
    else:
        pytest.fail("it was waited for")
    writer.close()


async def test_who_has_asked_once_may_wait_and_ask_again(served: Callable[..., Awaitable[Served]]) -> None:
    server = await served(head_s=0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    for _ in range(2):
        writer.write(GET % b"x")
        await heard(reader)
        await asyncio.sleep(0.4)
    writer.close()


async def test_a_request_under_way_has_all_the_time(served: Callable[..., Awaitable[Served]]) -> None:
    server = await served(head_s=0.2)
    reader = await server.open(GET % b"hang")
    assert not await gone(reader, 0.5)
    server.go_on.set()
    await heard(reader)


async def test_the_one_that_is_idle_for_longest_makes_room(served: Callable[..., Awaitable[Served]]) -> None:
    server = await served(most=3)
    first, second = await server.open(GET % b"x"), await server.open(GET % b"x")
    await heard(first)
    await heard(second)
    busy = await server.open(GET % b"hang")
    await asyncio.sleep(0.05)
    await heard(await server.open(GET % b"x"))
    assert await gone(first, 1.0)
    assert not await gone(second, 0.1)
    server.go_on.set()
    await heard(busy)


async def test_where_all_are_busy_one_more_is_refused(served: Callable[..., Awaitable[Served]]) -> None:
    server = await served(most=2)
    busy = [await server.open(GET % b"hang") for _ in range(2)]
    await asyncio.sleep(0.05)
    assert await gone(await server.open(GET % b"x"), 1.0)
    server.go_on.set()
    for reader in busy:
        await heard(reader)
    await heard(await server.open(GET % b"x"))


async def test_those_that_leave_are_forgotten(served: Callable[..., Awaitable[Served]]) -> None:
    server = await served(most=5)
    for _ in range(50):
        await heard(await server.open(GET % b"x"))
        await server.close()


async def test_an_accepted_connection_is_ended_when_its_answer_is_not_read(
    served: Callable[..., Awaitable[Served]],
) -> None:
    server = await served()
    answer = await heard(await server.open(GET % b"option"))
    assert answer.endswith(f"\r\n\r\n{UNREAD_MS} here\n".encode())


async def test_a_defect_outside_of_every_handler_shows_a_number_only(
    served: Callable[..., Awaitable[Served]], capsys: pytest.CaptureFixture[str]
) -> None:
    server = await served()
    answer = await asyncio.wait_for((await server.open(GET % b"broken")).read(), 2)
    assert answer.startswith(b"HTTP/1.1 500")
    assert b"/problems/defect" in answer
    assert b"Server: ours" in answer
    assert b"hunter2" not in answer
    assert "hunter2" in capsys.readouterr().out
