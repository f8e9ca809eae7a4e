"""aiohttp's connections, and how the one of this task has ended.

In TLS 1.3 a server says in an alert that it does not like our certificate when we are already writing. uvloop then has
read the alert and closes, aiohttp's writer finds the transport closing before anybody has told it why, and the request
ends in "can't write": the identity is refused, and it looks like the network (H17). What the connection really ended
with comes a turn of the loop later, to its protocol; so it is asked.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from contextvars import ContextVar
from typing import Final

import aiohttp
from aiohttp.client_reqrep import ClientRequest
from aiohttp.connector import Connection
from aiohttp.tracing import Trace

TOLD_S: Final = 0.2
"""For the protocol to be told of the end: it is a turn or two of the loop."""

_closed: ContextVar[asyncio.Future[None] | None] = ContextVar("closed", default=None)
"""Of the connection that this task's request has: done when it is closed."""


class Connector(aiohttp.TCPConnector):
    """Remembers, for each task, the connection that it was given."""

    async def connect(
        self,
        req: ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - its name is aiohttp's
    ) -> Connection:
        _closed.set(None)
        connection = await super().connect(req, traces, timeout)
        closed = None if connection.protocol is None else connection.protocol.closed
        if closed is not None:
            closed.remove_done_callback(_looked_at)  # a kept connection has many requests
            closed.add_done_callback(_looked_at)
        _closed.set(closed)
        return connection


async def ending() -> BaseException | None:
    """What the connection of this task's last request has ended with; None where it goes on, or ended well."""
    closed = _closed.get()
    if closed is None:
        return None
    with suppress(TimeoutError, aiohttp.ClientError):
        async with asyncio.timeout(TOLD_S):
            await asyncio.shield(closed)
    if not closed.done() or closed.cancelled() or (error := closed.exception()) is None:
        return None
    return error.__cause__


def _looked_at(closed: asyncio.Future[None]) -> None:
    """Or asyncio would log an error that nobody has asked for."""
    if not closed.cancelled():
        closed.exception()
