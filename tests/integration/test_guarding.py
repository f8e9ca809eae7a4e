"""The guard asks real reference targets on loopback, and lets go when they answer again."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from muster.guarding import watch_guard
from muster.hub import Leading
from tests.support.hub import MadeUpHub
from validator.guard import GuardSettings
from validator.reasons import Reason

QUICK = GuardSettings(interval_s=0.2)


@pytest.fixture
def hub() -> MadeUpHub:
    return MadeUpHub()


@asynccontextmanager
async def watching(hub: MadeUpHub, *references: tuple[str, int]) -> AsyncIterator[Leading]:
    assert hub.leading is not None
    task = asyncio.create_task(watch_guard(hub.leading, lambda: references, hub.clock, QUICK), name="guard")
    try:
        yield hub.leading
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while True:
            if condition():
                return
            await asyncio.sleep(0.01)


async def test_alerts_are_held_while_no_reference_target_answers(hub: MadeUpHub) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with capture_logs() as logs:
        async with watching(hub, ("127.0.0.1", port)) as leading:
            await until(lambda: leading.guard.holding)
            assert "reference target" in leading.guard.why
            server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", port)
            async with server:
                await until(lambda: not leading.guard.holding)
    assert [log["holding"] for log in logs if log["event"] == "own-outage guard"] == [True, False], "edges, not looks"


async def test_one_answering_reference_target_is_enough(hub: MadeUpHub) -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with watching(hub, ("127.0.0.1", port), ("127.0.0.1", 1)) as leading:
            await asyncio.sleep(3 * QUICK.interval_s / 4)
            assert not leading.guard.holding


async def test_alerts_are_held_when_most_of_the_fleet_goes_dark_at_once(hub: MadeUpHub) -> None:
    for number in range(10):
        hub.put(f"c{number}", hub.answer(ago_s=2.0), hub.answer(Reason.CONNECT_TIMEOUT, ago_s=0.0))
    async with watching(hub) as leading:
        await until(lambda: leading.guard.holding)
        assert "10 of 10" in leading.guard.why


async def test_without_references_and_without_an_outage_nothing_is_held(hub: MadeUpHub) -> None:
    hub.put("c", hub.answer())
    async with watching(hub) as leading:
        await asyncio.sleep(QUICK.interval_s)
        assert not leading.guard.holding
