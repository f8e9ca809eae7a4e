"""Between two pieces of work the loop belongs to the probes; for how long is `muster/api/turnstile.py`'s to say."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar

Breathe = Callable[[], Awaitable[None]]


TURNS = 4
"""Of the loop, where nobody says better. An ask is a chain of steps, a turn each; an empty one costs 10 µs."""


async def _some_turns() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)


BREATHE: ContextVar[Breathe] = ContextVar("breathe", default=_some_turns)
"""What the server has for the tasks of its requests. An argument was rejected: everything on the way down to whoever
makes a list would have it, and do nothing with it but hand it on."""


async def breathe() -> None:
    """To be awaited before each piece of work of 0.5 ms or so. Returns at once where little was done in this turn."""
    await BREATHE.get()()
