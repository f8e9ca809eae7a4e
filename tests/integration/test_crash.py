"""The recorder's process is killed with SIGKILL, at each named step and at random moments, while changes happen.

None that was committed is lost, none is doubled: after each restart the history of each check is a chain that ends
where its state stands, and everything that a dead process had published is in it.
"""

from __future__ import annotations

import asyncio
import signal
import time
from random import Random

import pytest

from collector.transition import Transition
from store.pool import Database
from tests.support.collecting import Bench, Time, add_clusters, committed, flaws
from tests.support.crashing import start_child
from validator.model import Check

STEPS = ("before flush", "before commit", "after commit", "before save", "after save", "after flush")
CLUSTERS = 12


async def survivors(database: Database, url: str, published: list[Transition]) -> None:
    """The next process goes on from what the database has, works, and ends well."""
    child = await (await start_child(url, seed=4711, rounds=3)).ended()
    assert child.code == 0
    assert child.published
    assert await flaws(database, published + child.published) == []
    after = Bench(database, time=Time(time.time()))
    await after.lead()
    last = {(one.cluster_id, Check(one.check)): one.to_health for one in await committed(database)}
    healths = {(cluster, check): after.health(cluster, check) for cluster, check in last}
    assert healths == last


@pytest.mark.parametrize("step", STEPS)
async def test_killed_at_a_named_step(fleet_database: Database, database_url: str, step: str) -> None:
    await add_clusters(fleet_database, CLUSTERS)
    published: list[Transition] = []
    for nth in (1, 4):
        child = await (await start_child(database_url, seed=nth, rounds=100, step=step, nth=nth)).ended()
        assert child.code == -signal.SIGKILL
        published += child.published
        assert await flaws(fleet_database, published) == []
    await survivors(fleet_database, database_url, published)


async def kill_at_random(database: Database, url: str, times: int) -> None:
    await add_clusters(database, CLUSTERS)
    random = Random(times)
    published: list[Transition] = []
    for number in range(times):
        running = await start_child(url, seed=number, rounds=1_000_000)
        await asyncio.sleep(random.uniform(0, 0.15))
        running.kill()
        child = await running.ended()
        assert child.code == -signal.SIGKILL
        published += child.published
        assert await flaws(database, published) == []
    assert len(published) > times, "the moments were not all too early"
    await survivors(database, url, published)


async def test_killed_at_ten_random_moments(fleet_database: Database, database_url: str) -> None:
    await kill_at_random(fleet_database, database_url, 10)


@pytest.mark.soak
@pytest.mark.timeout(900)
async def test_killed_at_a_hundred_random_moments(fleet_database: Database, database_url: str) -> None:
    await kill_at_random(fleet_database, database_url, 100)
