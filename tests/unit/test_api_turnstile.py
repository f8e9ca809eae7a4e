"""Requests that come at once begin one after the other, a turn of the loop apart."""

from __future__ import annotations

import asyncio
import time

from muster.api.turnstile import LEAST_REST_S, LONG_S, Turnstile
from muster.breath import TURNS


class Door:
    def __init__(self, *, asking: bool = False) -> None:
        self.asking = asking
        self.turnstile = Turnstile(lambda: self.asking)
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


async def test_while_somebody_is_asked_a_long_turn_is_followed_by_a_rest_as_long() -> None:
    door = Door(asking=True)
    await door.turnstile.enter()
    time.sleep(0.01)  # noqa: ASYNC251
    begun = time.monotonic()
    await door.turnstile.enter()
    assert time.monotonic() - begun >= 0.008  # the loop's clock is one of milliseconds


async def test_short_ones_follow_each_other_also_while_somebody_is_asked() -> None:
    door = Door(asking=True)
    begun = time.monotonic()
    await asyncio.gather(*(door.come(number) for number in range(10)))
    assert time.monotonic() - begun < 10 * LEAST_REST_S


async def test_work_goes_on_in_its_own_turn_while_that_is_young_and_waits_where_it_is_not() -> None:
    door = Door()
    await door.turnstile.enter()
    await door.watch(0)
    before = door.turn
    watching = asyncio.create_task(door.watch(20), name="watch")
    await door.turnstile.go_on()
    assert door.turn == before
    time.sleep(2 * LONG_S)  # noqa: ASYNC251
    await door.turnstile.go_on()
    assert door.turn - before >= TURNS
    await watching


async def test_neither_those_who_come_nor_those_who_go_on_keep_the_others_out() -> None:
    door = Door()
    order: list[str] = []

    async def work(name: str, pieces: int) -> None:
        await door.turnstile.enter()
        for _ in range(pieces):
            time.sleep(2 * LONG_S)  # noqa: ASYNC251
            order.append(name)
            await door.turnstile.go_on()

    await asyncio.gather(work("long", 12), *(work(f"short {number}", 1) for number in range(4)))
    assert order.index("short 3") < 9, order
    assert order.index("long", 1) < 3, order
