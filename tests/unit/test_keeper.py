"""The keeper of credentials: each source once at a time, whoever asked is told, and nothing makes a storm."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Callable

import pytest
from structlog.testing import capture_logs

from validator.clock import FakeClock
from validator.credentials import Credential, CredentialError
from validator.keeper import AGAIN_AFTER_S, WORKERS, CredentialKeeper
from validator.reasons import Reason
from validator.testing import RenewableCredential

GOOD = Credential("one")
BROKEN = CredentialError(Reason.CREDENTIAL_UNAVAILABLE, "the exec plugin `aws` is not there")


class Told:
    """A callback that counts."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def keeper(clock: FakeClock) -> AsyncIterator[CredentialKeeper]:
    keeper = CredentialKeeper(clock)
    task = asyncio.create_task(keeper.run())
    yield keeper
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_wanted_credential_is_fetched_and_whoever_asked_is_told(
    keeper: CredentialKeeper, clock: FakeClock
) -> None:
    source, told = RenewableCredential(GOOD), Told()
    keeper.want(source, told)
    await settle()
    assert source.current(clock.now()) is GOOD
    assert (source.fetches, told.times) == (1, 1)
    assert keeper.failure(source) is None


async def test_a_thousand_targets_of_one_source_fetch_it_once_and_all_are_told(keeper: CredentialKeeper) -> None:
    source = RenewableCredential(GOOD, hold=True)
    everyone = [Told() for _ in range(1000)]
    for told in everyone:
        keeper.want(source, told)
    await settle()
    for told in everyone:  # once more, while the fetch is under way
        keeper.want(source, told)
    source.go_on()
    await settle()
    assert (source.fetches, source.most_at_once) == (1, 1)
    assert {told.times for told in everyone} == {1}


async def test_a_hanging_source_holds_no_other_up(keeper: CredentialKeeper) -> None:
    hanging = [RenewableCredential(GOOD, hold=True) for _ in range(WORKERS - 1)]
    for source in hanging:
        keeper.want(source, Told())
    quick, told = [RenewableCredential(GOOD) for _ in range(50)], Told()
    for source in quick:
        keeper.want(source, told)
    async with asyncio.timeout(5):
        while not all(source.fetches for source in quick):  # noqa: ASYNC110 - a few turns of the loop
            await asyncio.sleep(0)
    assert all(source.fetching for source in hanging)


async def test_never_more_fetches_at_once_than_workers(keeper: CredentialKeeper) -> None:
    sources = [RenewableCredential(GOOD, hold=True) for _ in range(3 * WORKERS)]
    for source in sources:
        keeper.want(source, Told())
    await settle()
    assert sum(source.fetching for source in sources) == WORKERS


async def test_a_failure_is_kept_until_the_next_fetch_and_whoever_asked_is_told(
    keeper: CredentialKeeper, clock: FakeClock
) -> None:
    source, told = RenewableCredential(BROKEN, GOOD), Told()
    keeper.want(source, told)
    await settle()
    failure = keeper.failure(source)
    assert failure is not None
    assert (failure.reason, failure.message, told.times) == (BROKEN.reason, BROKEN.message, 1)
    clock.advance(AGAIN_AFTER_S)
    keeper.want(source, told)
    assert keeper.failure(source) is failure
    await settle()
    assert keeper.failure(source) is None
    assert source.current(clock.now()) is GOOD


async def test_a_source_that_stays_broken_is_fetched_once_in_ten_seconds(
    keeper: CredentialKeeper, clock: FakeClock
) -> None:
    source, told = RenewableCredential(BROKEN), Told()
    for _ in range(100):  # 25 s
        keeper.want(source, told)
        await settle()
        clock.advance(0.25)
    assert source.fetches == 3
    assert told.times == 3


async def test_a_clock_that_is_set_back_by_an_hour_stops_no_fetch(keeper: CredentialKeeper, clock: FakeClock) -> None:
    source, told = RenewableCredential(BROKEN, GOOD), Told()
    keeper.want(source, told)
    await settle()
    clock.advance(-3600)
    keeper.want(source, told)
    await settle()
    assert source.current(clock.now()) is GOOD


async def test_a_token_that_is_refused_again_and_again_makes_no_storm(
    keeper: CredentialKeeper, clock: FakeClock
) -> None:
    source = RenewableCredential(Credential("one"), Credential("two"), Credential("three"))

    def ask() -> None:
        """As a probe does: what is in hand is refused, and so is wanted anew."""
        if (credential := source.current(clock.now())) is not None:
            source.reject(credential)
        keeper.want(source, ask)

    ask()
    for _ in range(100):
        await settle()
    assert source.fetches == 1


@pytest.mark.parametrize("defect", [RuntimeError("canary-4711"), OSError(5, "canary-4711"), TimeoutError()])
async def test_a_source_that_breaks_its_contract_ends_neither_the_keeper_nor_its_secret(
    keeper: CredentialKeeper, defect: Exception
) -> None:
    broken, told = RenewableCredential(defect), Told()
    with capture_logs() as logs:
        for _ in range(2 * WORKERS):
            keeper.want(RenewableCredential(defect), told)
        keeper.want(broken, told)
        await settle()
    assert {log["event"] for log in logs} == {"credential source broke its contract"}
    failure = keeper.failure(broken)
    assert failure is not None
    assert failure.reason is Reason.CREDENTIAL_UNAVAILABLE
    assert "canary" not in failure.message
    good = RenewableCredential(GOOD)
    keeper.want(good, told)
    await settle()
    assert good.fetches == 1


@pytest.mark.parametrize("failing", [False, True])
async def test_a_source_that_nobody_has_any_more_is_let_go(keeper: CredentialKeeper, *, failing: bool) -> None:
    supply = CredentialError(Reason.CREDENTIAL_UNAVAILABLE, "no") if failing else GOOD
    source = RenewableCredential(supply)
    keeper.want(source, Told())
    await settle()
    kept = weakref.ref(source)
    del source, supply
    gc.collect()  # an error, its frames and the source are a cycle
    assert kept() is None


async def test_also_where_that_comes_about_while_it_is_fetched(keeper: CredentialKeeper) -> None:
    source = RenewableCredential(GOOD, hold=True)
    keeper.want(source, Told())
    await settle()
    kept, go_on = weakref.ref(source), source._go_on
    del source
    go_on.set()
    await settle()
    gc.collect()
    assert kept() is None


async def test_cancelling_it_cancels_the_fetches_and_leaves_no_task() -> None:
    before = asyncio.all_tasks()
    keeper = CredentialKeeper(FakeClock())
    task = asyncio.create_task(keeper.run())
    sources = [RenewableCredential(GOOD, hold=True) for _ in range(3)]
    told: list[Callable[[], None]] = []
    for source in sources:
        keeper.want(source, lambda: told.append(lambda: None))
    await settle()
    task.cancel()
    await asyncio.wait([task])
    assert [source.fetching for source in sources] == [0, 0, 0]
    assert (told, asyncio.all_tasks()) == ([], before)
