"""Turns of the loop that work of the API leaves to the probes between two pieces.

An ask is a chain of short steps, a turn each: three on a kept connection, a dozen where TLS is set up anew. If every
turn held a piece of 1 ms, each step would wait for one. An empty turn costs 10 µs.
"""

from __future__ import annotations

import asyncio

TURNS = 4


async def breathe() -> None:
    """Between two pieces of work of about 1 ms."""
    for _ in range(TURNS):
        await asyncio.sleep(0)
