"""`/api/v1/events` on real sockets: order, resuming, slow readers, bounds, and how streams end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from random import Random

import aiohttp
import pytest
from aiohttp import web

from muster.access.principal import STILL_MAY
from muster.api.events import MAX_ID, FleetTeller
from muster.api.picture import Pictures
from muster.api.problems import Handler
from muster.api.sse import heartbeat, transition_event
from muster.pulse import Pulse
from tests.support.hub import LOCAL_TOKEN, MadeUpHub, api_server
from tests.support.listening import CLUSTER, PATH, Listener, Listeners, change, streaming
from tests.support.loops import on_both_loops
from validator.reasons import Health, Reason


@pytest.fixture
def hub() -> MadeUpHub:
    return MadeUpHub()


@pytest.fixture
async def ears() -> AsyncIterator[Listeners]:
    listeners = Listeners()
    yield listeners
    listeners.close()
    await asyncio.sleep(0)


async def until(done: Callable[[], bool]) -> None:
    """Wait for what nobody announces."""
    async with asyncio.timeout(10):
        while not done():  # noqa: ASYNC110 - it is a state of the service, and the service has no hooks for tests
            await asyncio.sleep(0.02)


def commit(hub: MadeUpHub, *numbers: int, message: str = "") -> None:
    """Transitions that are in the history, and are told."""
    for number in numbers:
        hub.history.changes.append(change(number, message=message))
        hub.events.publish(transition_event(hub.history.changes[-1]))


def as_new_leader(hub: MadeUpHub) -> None:
    """History stays, the ring does not."""
    hub.events.end("leads no more")
    hub.events.begin(max((one.id for one in hub.history.changes), default=0))


class TestStream:
    @on_both_loops
    async def test_says_hello_and_then_what_happens(self, hub: MadeUpHub, ears: Listeners) -> None:
        async with streaming(hub) as url:
            listener = await ears.listen(url)
            head = await listener.head()
            assert b"Content-Type: text/event-stream\r\n" in head
            first = await listener.next()
            assert first is not None
            assert (first.name, first.id) == ("hello", 0)
            assert first.data["version"] == "0.1.0"
            assert first.data["resumed"] is False
            commit(hub, 1, 2)
            heard = await listener.until("transition")
            assert heard.id == heard.data["id"] == 1
            assert heard.data["to_health"] == "Unreachable"
            assert await listener.transitions(1) == [2]

    async def test_is_framed_for_clients_of_today(self, hub: MadeUpHub) -> None:
        async with streaming(hub) as url, aiohttp.ClientSession() as session, session.get(url + PATH) as response:
            assert response.headers["Transfer-Encoding"] == "chunked"
            commit(hub, 1)
            assert (await response.content.readuntil(b"\n\n")).startswith(b"id: 0\nretry: ")
            assert (await response.content.readuntil(b"\n\n")).startswith(b"id: 1\nevent: transition\ndata: {")

    async def test_head_does_not_stream(self, hub: MadeUpHub) -> None:
        async with streaming(hub) as url, aiohttp.ClientSession() as session, session.head(url + PATH) as response:
            assert response.status == 200
            assert response.content_type == "text/event-stream"
        assert hub.events.readers == set()

    async def test_filters_by_type_health_and_cluster(self, hub: MadeUpHub, ears: Listeners) -> None:
        known = hub.put("web", hub.answer())
        async with streaming(hub) as url:
            queries = {"?types=transition": [1, 2, 3], "?types=fleet": [], "?health=unhealthy": [2]}
            queries |= {"?cluster=web": [3], f"?cluster={CLUSTER}&health=Unreachable": [1]}
            listeners = {query: (await ears.hello(url, query))[0] for query in queries}
            hub.events.publish(transition_event(change(1)))
            hub.events.publish(transition_event(change(2, to=Health.UNHEALTHY)))
            hub.events.publish(transition_event(change(3, known)))
            hub.events.end("enough")
            for query, listener in listeners.items():
                heard = [one.data["id"] for one in await listener.rest() if one.name == "transition"]
                assert heard == queries[query], query

    @pytest.mark.parametrize(
        ("query", "status", "said"),
        [
            ("?types=transitions", 400, "did you mean transition"),
            ("?health=ill", 400, "health"),
            ("?after=-1", 400, "after"),
            ("?since=1", 400, "since"),
            ("?cluster=nobody", 404, "nobody"),
            (f"?after={MAX_ID + 1}", 400, "after"),
        ],
    )
    async def test_a_query_that_makes_no_sense(
        self, hub: MadeUpHub, ears: Listeners, query: str, status: int, said: str
    ) -> None:
        async with streaming(hub) as url:
            listener = await ears.listen(url, query)
            await listener.head()
            assert listener.status == status
            assert said in (await listener.body())["detail"]

    @pytest.mark.parametrize("given", ["x", "-1", "1.5", "٣", str(MAX_ID + 1), "9" * 5000, "1 2", "0x1"])
    async def test_a_last_event_id_that_is_none(self, hub: MadeUpHub, ears: Listeners, given: str) -> None:
        async with streaming(hub) as url:
            listener = await ears.listen(url, last_event_id=given)
            await listener.head()
            assert listener.status == 400
            assert "Last-Event-ID" in (await listener.body())["detail"]
        assert hub.events.readers == set()


class TestFleet:
    async def test_the_picture_is_told_when_it_means_something_else_and_hearts_beat(
        self, hub: MadeUpHub, ears: Listeners
    ) -> None:
        web = hub.put("web", hub.answer())
        pulse = Pulse(hub.events, FleetTeller(hub, Pictures(hub)), heartbeat, beat_s=0.01, heartbeat_every_s=0.1)
        beating = asyncio.create_task(pulse.run(), name="pulse")
        await asyncio.sleep(0.05)
        assert hub.events._next == 0, "nobody listens"
        async with streaming(hub) as url:
            listener, _ = await ears.hello(url)
            first = await listener.until("fleet")
            assert first.id is None
            assert first.data["counts"]["Healthy"] == 1
            commit(hub, 5)
            assert (await listener.until("transition")).id == 5
            while (beat := await listener.until("")).id != 5:
                pass  # the one before
            assert beat.data is None
            for _ in range(3):
                hub.put("web", hub.answer(Reason.NOT_READY, ago_s=0.0))
            second = await listener.until("fleet")
            assert second.data["generation"] > first.data["generation"]
            assert second.data["counts"]["Unhealthy"] == 1
            assert web in hub.inventory.clusters
            listener.close()
        beating.cancel()
        await asyncio.wait([beating])


class TestResume:
    async def test_from_memory(self, hub: MadeUpHub, ears: Listeners) -> None:
        commit(hub, *range(1, 10))
        hub.history.away = True  # the database need not be asked
        async with streaming(hub) as url:
            listener, first = await ears.hello(url, last_event_id=6)
            assert first.data["resumed"] is True
            assert first.id == 6
            assert await listener.transitions(3) == [7, 8, 9]
            commit(hub, 10)
            assert await listener.transitions(1) == [10]

    async def test_from_the_database(self, hub: MadeUpHub, ears: Listeners) -> None:
        commit(hub, *range(1, 301))
        as_new_leader(hub)
        async with streaming(hub) as url:
            listener, first = await ears.hello(url, "?after=100")
            assert first.data["resumed"] is True
            assert first.id == 100
            commit(hub, 301)
            assert await listener.transitions(201) == list(range(101, 302))
            header, _ = await ears.hello(url, "?after=100", last_event_id=299)
            assert await header.transitions(2) == [300, 301]

    @pytest.mark.parametrize("after", [0, 1, 99, 10**15])
    async def test_too_much_has_passed(self, hub: MadeUpHub, ears: Listeners, after: int) -> None:
        """Aged out, more than is sent again, or an id of another database."""
        commit(hub, *range(3, 201))
        as_new_leader(hub)
        async with streaming(hub, max_replay=100) as url:
            listener, first = await ears.hello(url, last_event_id=after)
            assert first.data["resumed"] is False
            assert first.id == 200
            commit(hub, 201)
            assert await listener.transitions(1) == [201]

    async def test_the_database_is_away(self, hub: MadeUpHub, ears: Listeners) -> None:
        commit(hub, 1, 2, 3)
        as_new_leader(hub)
        hub.history.away = True
        async with streaming(hub) as url:
            listener = await ears.listen(url, last_event_id="1")
            await listener.head()
            assert listener.status == 503
            assert (await listener.body())["type"] == "/problems/store-unavailable"
        assert hub.events.readers == set()

    async def test_filters_hold_for_what_is_sent_again(self, hub: MadeUpHub, ears: Listeners) -> None:
        hub.history.changes += [change(1), change(2, to=Health.UNHEALTHY), change(3), change(4, to=Health.UNHEALTHY)]
        as_new_leader(hub)
        async with streaming(hub) as url:
            listener, _ = await ears.hello(url, "?health=Unhealthy", last_event_id=0)
            assert await listener.transitions(2) == [2, 4]

    @pytest.mark.parametrize("seed", range(3))
    async def test_nothing_is_lost_or_doubled_whenever_the_connection_breaks(
        self, hub: MadeUpHub, ears: Listeners, seed: int
    ) -> None:
        random, count, clients = Random(seed), 600, 8

        async def commits() -> None:
            for number in range(1, count + 1):
                commit(hub, number)
                if number % 150 == 0:
                    as_new_leader(hub)
                if random.random() < 0.3:
                    await asyncio.sleep(random.random() * 0.01)

        async def client(url: str) -> list[int]:
            seen: list[int] = []
            last = 0
            while last < count:
                listener, first = await ears.hello(url, last_event_id=last)
                assert first.data["resumed"] is True
                for _ in range(random.randint(0, 60)):
                    heard = await listener.next()
                    if heard is None:
                        break
                    if heard.name == "transition":
                        seen.append(heard.data["id"])
                    assert heard.id is None or heard.id >= last
                    last = last if heard.id is None else heard.id
                    if last == count:
                        break
                listener.close()
            return seen

        async with streaming(hub) as url, asyncio.TaskGroup() as group:
            clients_ = [group.create_task(client(url)) for _ in range(clients)]
            group.create_task(commits())
        for task in clients_:
            assert task.result() == list(range(1, count + 1))


class TestSlowReaders:
    @on_both_loops
    async def test_one_is_dropped_with_a_marker_while_200_others_get_everything(
        self, hub: MadeUpHub, ears: Listeners
    ) -> None:
        async with streaming(hub, write_timeout_s=0.3) as url:
            slow = await ears.listen(url, receive_bytes=4096)
            await slow.head()
            others = [(await ears.hello(url))[0] for _ in range(200)]
            reading = [asyncio.create_task(other.transitions(600)) for other in others]
            for number in range(1, 601):
                commit(hub, number, message="x" * 500)
                if number % 20 == 0:
                    await asyncio.sleep(0.02)
            assert await asyncio.gather(*reading) == [list(range(1, 601))] * 200
            await until(lambda: hub.events.dropped == 1)
            heard = await slow.rest()
            assert heard[-1].name == "dropped"
            assert heard[-1].data["events"] > 0
            assert len([one for one in heard if one.name == "transition"]) < 600
            assert len(hub.events.readers) == 200

    async def test_one_that_never_reads_again_is_cut_off(self, hub: MadeUpHub, ears: Listeners) -> None:
        async with streaming(hub, write_timeout_s=0.1) as url:
            slow = await ears.listen(url, receive_bytes=4096)
            await slow.head()
            for number in range(1, 1001):
                commit(hub, number, message="x" * 500)
            await until(lambda: not hub.events.readers)
            assert hub.events.dropped == 1

    async def test_a_client_that_vanished_is_noticed(self, hub: MadeUpHub, ears: Listeners) -> None:
        async with streaming(hub) as url:
            listener, _ = await ears.hello(url)
            listener.close()
            async with asyncio.timeout(5):
                while hub.events.readers:
                    hub.events.publish(heartbeat(0))
                    await asyncio.sleep(0.01)
            assert hub.events.dropped == 0

    @pytest.mark.timeout(60)
    async def test_a_thousand_cost_bounded_memory_and_do_not_hold_the_loop(
        self, hub: MadeUpHub, ears: Listeners
    ) -> None:
        """20 MB of events for each. What Python holds for all of them together stays below 60 kB each."""
        import tracemalloc  # noqa: PLC0415 - slows everything down, hence only here

        count = 1000
        async with streaming(hub, write_timeout_s=1.0) as url:
            slow = [await ears.listen(url, receive_bytes=4096) for _ in range(count)]
            for listener in slow:
                await listener.head()
            lateness = asyncio.create_task(_worst_lateness(3.0))
            tracemalloc.start()
            before = tracemalloc.get_traced_memory()[0]
            worst = 0
            for number in range(1, 3001):
                hub.events.publish(transition_event(change(number, message="x" * 6500)))
                if number % 25 == 0:
                    await asyncio.sleep(0.02)
                    worst = max(worst, tracemalloc.get_traced_memory()[0] - before)
            tracemalloc.stop()
            assert worst < hub.events._max_bytes * 1.2 + count * 60_000
            late_s = await lateness
            await until(lambda: not hub.events.readers)
            assert hub.events.dropped == count
            assert late_s < 1.5, "with tracemalloc on, and other tests beside it"


class TestBounds:
    async def test_streams_are_counted(self, hub: MadeUpHub, ears: Listeners) -> None:
        async with streaming(hub, max_streams=2) as url:
            open_ = [(await ears.hello(url))[0] for _ in range(2)]
            one_more = await ears.listen(url)
            assert b"Retry-After: " in await one_more.head()
            assert one_more.status == 503
            assert (await one_more.body())["type"] == "/problems/busy"
            open_[0].close()
            async with asyncio.timeout(5):
                while len(hub.events.readers) == 2:
                    hub.events.publish(heartbeat(0))
                    await asyncio.sleep(0.01)
            await ears.hello(url)

    async def test_a_token_that_is_revoked_ends_its_stream(self, hub: MadeUpHub, ears: Listeners) -> None:
        allowed = [True]

        @web.middleware
        async def gate(request: web.Request, handler: Handler) -> web.StreamResponse:
            request[STILL_MAY] = lambda: allowed[0]
            return await handler(request)

        async with streaming(hub, gate, check_every_s=0.05) as url:
            listener, _ = await ears.hello(url)
            await asyncio.sleep(0.06)
            commit(hub, 1)
            assert await listener.transitions(1) == [1]
            allowed[0] = False
            await asyncio.sleep(0.06)
            commit(hub, 2)
            assert [one.name for one in await listener.rest()] == ["bye"]


class TestEnd:
    async def test_an_instance_that_does_not_lead_says_so(self, hub: MadeUpHub, ears: Listeners) -> None:
        hub.stand_by("another instance leads")
        async with streaming(hub) as url:
            listener = await ears.listen(url)
            await listener.head()
            assert listener.status == 503
            assert (await listener.body())["type"] == "/problems/not-leading"

    async def test_streams_end_when_leadership_is_lost(self, hub: MadeUpHub, ears: Listeners) -> None:
        async with streaming(hub) as url:
            listeners = [(await ears.hello(url))[0] for _ in range(20)]
            commit(hub, 1)
            hub.stand_by("another instance leads")
            for listener in listeners:
                heard = await listener.rest()
                assert [one.name for one in heard] == ["transition", "bye"]
                assert heard[-1].data == {"why": "another instance leads"}
                assert not listener.cut

    @on_both_loops
    async def test_a_server_with_open_streams_stops_in_time(self, hub: MadeUpHub, ears: Listeners) -> None:
        """Idle ones, and ones that do not read."""
        server = api_server(hub)
        await server.start()
        idle: list[Listener] = []
        stuck: list[Listener] = []
        for kind, receive_bytes in ((idle, 0), (stuck, 4096)):
            for _ in range(50):
                listener = await ears.listen(server.url, receive_bytes=receive_bytes, token=LOCAL_TOKEN)
                await listener.head()
                assert listener.status == 200
                kind.append(listener)
        for number in range(1, 1001):
            commit(hub, number, message="x" * 500)
        for listener in idle:
            await listener.transitions(1000)
        reading = [asyncio.create_task(listener.rest()) for listener in idle]
        started = time.monotonic()
        hub.events.end("the service stops")
        await server.stop()
        assert time.monotonic() - started < 1.5
        for heard in await asyncio.gather(*reading):
            assert [one.name for one in heard] == ["bye"]


async def _worst_lateness(for_s: float) -> float:
    """How late the loop came at worst to something that was due."""
    worst, until = 0.0, time.monotonic() + for_s
    while (now := time.monotonic()) < until:
        await asyncio.sleep(0.01)
        worst = max(worst, time.monotonic() - now - 0.01)
    return worst
