"""Requests that come at once begin one after the other, a turn of the loop apart."""

from __future__ import annotations

import asyncio
import time

from muster.api.turnstile import LONG_S, Turnstile
from muster.breath import TURNS


class Door:
    def __init__(self) -> None:
        self.turnstile = Turnstile()
        self.turn = 0
        self.begun: dict[int, int] = {}

    async def come(self, number: int) -> None:
        await self.turnstile.enter()
        self.begun[number] = self.turn

    async def watch(self, turns: int) -> None:
        for _ in range(turns):
            self.turn += 1
            await asyncio.sleep(0)


async def test_one_goes_through_in_a_turn_in_the_order_in_which_they_came() -> None:
    door = Door()
    await asyncio.gather(door.watch(20), *(door.come(number) for number in range(5)))
    turns = [door.begun[number] for number in range(5)]
    assert len(set(turns)) == 5
    assert turns == sorted(turns)


async def test_one_who_leaves_while_waiting_holds_up_nobody() -> None:
    door = Door()
    waiting = [asyncio.create_task(door.come(number), name=f"request:{number}") for number in range(3)]
    await asyncio.sleep(0)
    waiting[1].cancel()
    await asyncio.wait(waiting, timeout=1)
    assert set(door.begun) == {0, 2}


async def test_one_alone_does_not_wait() -> None:
    door = Door()
    for number in range(2):
        before = door.turn
        await door.come(number)
        assert door.turn == before
        await door.watch(3)


async def test_after_a_long_turn_the_next_one_waits_for_some_turns_and_then_goes_through() -> None:
    door = Door()

    async def long() -> None:
        await door.come(0)
        time.sleep(2 * LONG_S)  # noqa: ASYNC251 - a long turn is what is meant

    await asyncio.gather(door.watch(20), long(), door.come(1))
    assert TURNS <= door.begun[1] - door.begun[0] <= TURNS + 3
