"""From commits to listeners, on a real PostgreSQL: who goes on after the last id misses nothing, nor hears it twice."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from collector.history import History
from muster.api.sse import heartbeat, transition_event
from store.pool import Database
from tests.support.collecting import QUERIES, Bench, add_clusters, committed
from tests.support.hub import MadeUpHub
from tests.support.line import ANSWERED, open_line
from tests.support.listening import Listeners, streaming
from validator.reasons import Reason

REASONS = (None, Reason.CONNECT_TIMEOUT, Reason.NOT_READY)


class TestHistory:
    async def test_what_comes_after_an_id_oldest_first(self, bench: Bench) -> None:
        history = History(bench.db, QUERIES)
        for cluster in await add_clusters(bench.db, 9):
            bench.hear(cluster, Reason.NOT_READY)
        await bench.recorder.flush()
        assert await history.after(0, 100) == bench.told
        assert await history.after(bench.told[3].id, 2) == bench.told[4:6]
        assert await history.after(bench.told[-1].id, 100) == []

    async def test_how_far_back_it_reaches(self, bench: Bench) -> None:
        history = History(bench.db, QUERIES)
        assert not await history.reaches_back_to(0)
        for cluster in await add_clusters(bench.db, 3):
            bench.hear(cluster, Reason.NOT_READY)
        await bench.recorder.flush()
        first = bench.told[0].id
        assert await history.reaches_back_to(first - 1)
        await bench.db.execute("DELETE FROM transitions WHERE id = $1", first)  # aged out
        assert not await history.reaches_back_to(first - 1)
        assert await history.reaches_back_to(first)


@pytest.mark.parametrize("seed", range(2))
async def test_listeners_that_come_and_go_hear_everything_once_while_answers_of_commits_are_lost(
    database_url: str, fleet_database: Database, seed: int
) -> None:
    """Every so often another instance takes over, whose memory of events is empty."""
    random, ears, ended = Random(seed), Listeners(), False
    hub = MadeUpHub()
    async with open_line(database_url) as (line, through):
        database = await Database.open(through, connections=4)
        clusters = await add_clusters(fleet_database, 20)
        assert hub.leading is not None
        hub.leading.history = History(fleet_database, QUERIES)

        async def lead(bench: Bench) -> None:
            await bench.lead()
            hub.events.begin(bench.recorder.position)
            bench.recorder._writer.publication._publish = lambda one: hub.events.publish(transition_event(one))

        async def commit() -> None:
            nonlocal ended
            bench = Bench(database)
            await lead(bench)
            for number in range(60):
                for cluster in random.sample(clusters, 8):
                    bench.hear(cluster, random.choice(REASONS), after_s=0.01)
                if number % 5 == 0:
                    line.cut_at_answer = ANSWERED
                await bench.recorder.flush()
                if number % 20 == 19:
                    hub.events.end("leads no more")
                    bench = bench.restarted()
                    await lead(bench)
                await asyncio.sleep(0.01)
            await bench.until_written()
            ended = True
            while hub.events.readers:
                hub.events.publish(heartbeat(hub.events.position))
                await asyncio.sleep(0.01)

        async def client(url: str) -> list[int]:
            seen: list[int] = []
            last = 0
            while not ended or last < hub.events.position:
                listener = await ears.listen(url, last_event_id=f"{last}")
                await listener.head()
                if listener.status == 503:  # between two leaders
                    await asyncio.sleep(0.01)
                    continue
                first = await listener.next()
                assert first is None or first.data["resumed"] or not last
                for _ in range(random.randint(1, 40)):
                    if last and ended and last == hub.events.position:
                        break
                    heard = await listener.next()
                    if heard is None:
                        break
                    if heard.name == "transition":
                        seen.append(heard.data["id"])
                        last = heard.data["id"]
                listener.close()
            return seen

        async with streaming(hub) as url, asyncio.timeout(50), asyncio.TaskGroup() as group:
            group.create_task(commit())
            clients = [group.create_task(client(url)) for _ in range(5)]
        ears.close()
        await database.close()
        everything = [one.id for one in await committed(fleet_database)]
        assert line.cuts > 5
        assert len(everything) > 100
        for task in clients:
            assert task.result() == everything
