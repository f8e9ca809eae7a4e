"""One request a turn of the loop: however many come at once, a probe's answer waits for one of them and not for all.

A turn in which eight clients' requests are all begun holds the loop for 5 ms and more, and an ask takes several turns:
so a long one is followed by some that belong to the probes (`muster/breath.py`). Short ones, a 304, follow each other.
A bound on requests under way was rejected: those that wait for the database or for events would keep out the others.
"""

from __future__ import annotations

import asyncio
from collections import deque
from time import monotonic

from muster.breath import TURNS

LONG_S = 0.0003
"""A turn that took longer is followed by `TURNS` in which no request begins."""


class Turnstile:
    """In the order in which they come. To be used on the loop's thread."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._taken = False
        """Somebody has gone through in this turn."""
        self._at = 0.0
        """When somebody was let through last."""
        self._rest = 0
        """Turns in which nobody is."""

    async def enter(self) -> None:
        """Returns when it is this request's turn."""
        if self._taken:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            await waiter
            return
        self._taken, self._at = True, monotonic()
        asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        if self._rest:
            self._rest -= 1
            if self._rest:
                asyncio.get_running_loop().call_soon(self._turn)
                return
        elif monotonic() - self._at > LONG_S:
            self._rest = TURNS
            asyncio.get_running_loop().call_soon(self._turn)
            return
        self._at = monotonic()
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():  # it is when its client has left
                waiter.set_result(None)
                asyncio.get_running_loop().call_soon(self._turn)
                return
        self._taken = False
