"""Listeners of `/api/v1/events` on plain sockets: some read, some do not."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from aiohttp import web
from aiohttp.typedefs import Middleware

from collector.transition import Transition
from muster.api.events import EventStreams
from muster.api.names import Names
from muster.api.picture import Pictures
from muster.api.problems import problems
from muster.hub import Hub
from validator.reasons import Health

PATH = "/api/v1/events"
CLUSTER = UUID(int=7)


def change(number: int, cluster_id: UUID = CLUSTER, to: Health = Health.UNREACHABLE, message: str = "") -> Transition:
    """A transition from Healthy with this id."""
    return Transition(
        id=number,
        at=1_800_000_000.0,
        cluster_id=cluster_id,
        cluster_name=f"c{number}",
        check="apiserver",
        from_health=Health.HEALTHY,
        to_health=to,
        since=1_800_000_000.0,
        reason=None,
        stage=None,
        message=message,
        evidence={},
        flapping=False,
        collapsed=0,
        changes=1,
    )


@dataclass(frozen=True)
class Heard:
    """One event; a comment has no name."""

    name: str
    id: int | None
    data: Any = None


class Listener:
    """One client. Its HTTP/1.0 leaves the stream unframed, so that what is read is what was written."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.status = 0
        self.last_id: int | None = None
        self.cut = False
        """Whether the end came in the middle of an event."""

    async def head(self) -> bytes:
        """Read the head of the answer."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        self.status = int(head.split(b" ", 2)[1])
        return head

    async def body(self) -> Any:
        """All the rest, as JSON."""
        return json.loads(await self._reader.read())

    async def next(self) -> Heard | None:
        """The next event; None at the end."""
        try:
            block = (await self._reader.readuntil(b"\n\n")).decode()
        except asyncio.IncompleteReadError as error:
            self.cut = bool(error.partial)
            return None
        except ConnectionError:
            self.cut = True
            return None
        fields = dict(line.split(": ", 1) for line in block.splitlines() if line)
        if "id" in fields:
            self.last_id = int(fields["id"])
        data = json.loads(fields["data"]) if "data" in fields else None
        return Heard(fields.get("event", ""), int(fields["id"]) if "id" in fields else None, data)

    async def until(self, name: str) -> Heard:
        """The next event with this name."""
        while (heard := await self.next()) is not None:
            if heard.name == name:
                return heard
        raise AssertionError(f"the stream ended without {name!r}")

    async def transitions(self, count: int) -> list[int]:
        """The ids of so many transitions."""
        return [(await self.until("transition")).data["id"] for _ in range(count)]

    async def rest(self) -> list[Heard]:
        """All events until the end."""
        heard = []
        while (one := await self.next()) is not None:
            heard.append(one)
        return heard

    def close(self) -> None:
        """Vanish."""
        self._writer.transport.abort()


class Listeners:
    """All of a test, so that none outlives it."""

    def __init__(self) -> None:
        self._all: list[Listener] = []

    def close(self) -> None:
        """Vanish."""
        for listener in self._all:
            listener.close()

    async def listen(
        self, url: str, query: str = "", *, last_event_id: str | None = None, receive_bytes: int = 0, token: str = ""
    ) -> Listener:
        """Connect and ask; a small `receive_bytes` makes a client that does not read felt soon."""
        parts = urlsplit(url)
        plain = socket.socket()
        plain.setblocking(False)
        if receive_bytes:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        await asyncio.get_running_loop().sock_connect(plain, (parts.hostname, parts.port))
        reader, writer = await asyncio.open_connection(sock=plain, limit=receive_bytes or 2**20)
        self._all.append(listener := Listener(reader, writer))
        headers = [f"Host: {parts.netloc}"]
        if token:
            headers.append(f"Authorization: Bearer {token}")
        if last_event_id is not None:
            headers.append(f"Last-Event-ID: {last_event_id}")
        writer.write(f"GET {PATH}{query} HTTP/1.0\r\n".encode() + "\r\n".join([*headers, "", ""]).encode())
        return listener

    async def hello(self, url: str, query: str = "", *, last_event_id: int | None = None) -> tuple[Listener, Heard]:
        """A listener that was let in, and its first event."""
        listener = await self.listen(url, query, last_event_id=None if last_event_id is None else str(last_event_id))
        await listener.head()
        assert listener.status == 200
        first = await listener.next()
        assert first is not None
        assert first.name == "hello"
        return listener, first


@asynccontextmanager
async def streaming(hub: Hub, *middlewares: Middleware, **bounds: Any) -> AsyncIterator[str]:
    """The stream alone on a server of its own, without access control, with bounds of the test's choosing."""
    pictures = Pictures(hub)
    app = web.Application(middlewares=[problems, *middlewares])
    for route in EventStreams(hub, pictures, Names(hub, pictures), **bounds).routes():
        app.router.add_get(route.path, route.handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.3)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=2048).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        hub.events.end("the test is over")
        await runner.cleanup()
