"""One fetch for everybody, whoever is cancelled; an old value while it is good."""

from __future__ import annotations

import asyncio

import pytest

from validator.clock import FakeClock
from validator.net.failure import ProbeFailure
from validator.probes.renewed import Renewed
from validator.reasons import Reason


class Supply:
    """Gives `lifetime_s` values; fails while told to; waits while held."""

    def __init__(self, clock: FakeClock, lifetime_s: float = 3600.0) -> None:
        self.clock, self.lifetime_s = clock, lifetime_s
        self.fetches = 0
        self.failing = False
        self.go = asyncio.Event()
        self.go.set()

    async def __call__(self) -> tuple[str, float]:
        self.fetches += 1
        await self.go.wait()
        if self.failing:
            raise ProbeFailure(Reason.TRUST_POLICY_MISSING, "no", retry_after_s=3.0)
        return f"value-{self.fetches}", self.clock.now() + self.lifetime_s


def renewed(supply: Supply, deadline_s: float = 5.0) -> Renewed[str]:
    return Renewed("token", supply, clock=supply.clock, deadline_s=deadline_s)


async def test_many_waiters_cost_one_fetch_and_a_cancelled_one_takes_nobody_along() -> None:
    supply = Supply(FakeClock())
    supply.go.clear()
    one = renewed(supply)
    waiters = [asyncio.create_task(one.get()) for _ in range(50)]
    await asyncio.sleep(0)
    waiters[0].cancel()
    await asyncio.sleep(0)
    supply.go.set()
    found = await asyncio.gather(*waiters, return_exceptions=True)
    assert isinstance(found[0], asyncio.CancelledError)
    assert found[1:] == ["value-1"] * 49
    assert supply.fetches == 1


async def test_a_value_is_renewed_before_its_end_and_the_old_one_serves_while_that_fails() -> None:
    supply = Supply(FakeClock())
    one = renewed(supply)
    assert await one.get() == "value-1"
    supply.clock.advance(3000)
    assert await one.get() == "value-1"
    supply.clock.advance(400)
    supply.failing = True
    assert await one.get() == "value-1"
    supply.clock.advance(300)
    with pytest.raises(ProbeFailure) as caught:
        await one.get()
    assert (caught.value.reason, caught.value.retry_after_s) == (Reason.TRUST_POLICY_MISSING, 3.0)
    supply.failing = False
    assert (await one.get()).startswith("value-")


async def test_a_refused_value_is_forgotten_but_not_its_successor() -> None:
    supply = Supply(FakeClock())
    one = renewed(supply)
    first = await one.get()
    one.forget(first)
    second = await one.get()
    one.forget(first)
    assert await one.get() is second


async def test_a_fetch_that_hangs_ends_at_its_deadline_for_all() -> None:
    supply = Supply(FakeClock())
    supply.go.clear()
    one = renewed(supply, deadline_s=0.05)
    found = await asyncio.gather(*(one.get() for _ in range(3)), return_exceptions=True)
    assert {getattr(failure, "reason", None) for failure in found} == {Reason.STORAGE_TIMEOUT}
    assert len({id(failure) for failure in found}) == 3
    supply.go.set()
    assert await one.get() == "value-2"


async def test_closing_ends_the_fetch() -> None:
    supply = Supply(FakeClock())
    supply.go.clear()
    one = renewed(supply)
    waiter = asyncio.create_task(one.get())
    await asyncio.sleep(0)
    one.close()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("renew:")]
