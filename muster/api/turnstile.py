"""Probes go first: requests are worked off in pieces, one after the other, and while clusters are asked the loop rests.

An ask is a chain of short steps with the network in between: four on a kept connection, a dozen where TLS is set up
anew. Each step waits for the piece of a request that it comes upon, so what counts is how long a piece is, that there
is one in a turn of the loop, whoever it is from, and for how much of the time there is one. Where requests took three
quarters of the loop in turns of 1 ms, one in a hundred answers was 12 ms late.

So a turn in which requests took long is followed by a rest of the same length while any living cluster is being asked;
else by a few turns. Work that has begun and requests that have not take turns: else either could wait for ever. Short
requests, a 304, follow each other.

A bound on requests under way was rejected: those that wait for the database or for events would keep out the others.
Threads were: each turn of the loop would wait for the interpreter's lock. So was a process that renders: what it
renders would have to be sent there, and that takes as long.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import monotonic

from muster.breath import TURNS

LONG_S = 0.0003
"""A turn that took longer is followed by a rest."""

LEAST_REST_S, MOST_REST_S = 0.001, 0.02
"""While somebody is. The loop's timers are no finer; and a process that was stopped need not rest for as long."""


class Turnstile:
    """In the order in which they come. To be used on the loop's thread."""

    def __init__(self, asking: Callable[[], bool] = lambda: False) -> None:
        """`asking` tells whether any living cluster is being asked."""
        self._asking = asking
        self._new: deque[asyncio.Future[None]] = deque()
        self._begun: deque[asyncio.Future[None]] = deque()
        self._queues = (self._new, self._begun)
        """The one whose turn it is comes first."""
        self._taken = False
        """Somebody has gone through in this turn, or there is a rest after it."""
        self._resting = False
        self._at = 0.0
        """When somebody was let through last."""

    async def enter(self) -> None:
        """Returns when it is this request's turn."""
        if self._taken:
            await self._wait(self._new)
        else:
            self._take()

    async def go_on(self) -> None:
        """Returns when it is the turn of one that has begun; at once where it took little of this one."""
        if not self._taken:
            self._take()
        elif self._resting or monotonic() - self._at > LONG_S:
            await self._wait(self._begun)

    async def _wait(self, queue: deque[asyncio.Future[None]]) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(waiter)
        await waiter

    def _take(self) -> None:
        self._taken, self._at = True, monotonic()
        asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        """In the turn after one in which somebody went through."""
        loop, took_s = asyncio.get_running_loop(), monotonic() - self._at
        if took_s <= LONG_S:
            self._next()
            return
        self._resting = True
        if self._asking():
            loop.call_later(min(max(took_s, LEAST_REST_S), MOST_REST_S), self._next)
        else:
            loop.call_soon(self._rest, TURNS - 1)

    def _rest(self, turns: int) -> None:
        if turns:
            asyncio.get_running_loop().call_soon(self._rest, turns - 1)
        else:
            self._next()

    def _next(self) -> None:
        self._taken = self._resting = False
        self._queues = self._queues[::-1]
        for queue in self._queues:
            while queue:
                waiter = queue.popleft()
                if not waiter.done():  # it is when its client has left
                    waiter.set_result(None)
                    self._take()
                    return
