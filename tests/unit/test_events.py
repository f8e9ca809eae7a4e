"""The broadcast: order, filters, the bound of the ring, going back in it, and its end."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest

from muster.api.schemas import FleetChanged
from muster.api.sse import fleet_event, heartbeat, transition_event
from muster.events import PIECE_BYTES, WAKE, Ended, Event, Events, Kind, Overrun, Wanted
from tests.support.listening import CLUSTER, change
from validator.reasons import Health

ALL = Wanted()


def events(**bounds: int) -> Events:
    ring = Events(**bounds)
    ring.begin(0)
    return ring


def tell(ring: Events, *numbers: int) -> None:
    for number in numbers:
        ring.publish(transition_event(change(number)))


def fleet(generation: int, position: int = 0) -> Event:
    return fleet_event(FleetChanged(now="2026-01-01T00:00:00Z", generation=generation, counts={}), position)


def ids(piece: bytes) -> list[int]:
    return [int(line[4:]) for line in piece.splitlines() if line.startswith(b"id: ")]


async def test_everybody_hears_everything_in_order_from_when_they_came() -> None:
    ring = events()
    early = ring.subscribe(ALL)
    tell(ring, 1, 2)
    late = ring.subscribe(ALL)
    tell(ring, 3)
    assert ids(await ring.next(early)) == [1, 2, 3]
    assert ids(await ring.next(late)) == [3]
    assert ring.position == 3


async def test_who_waits_is_woken() -> None:
    ring = events()
    readers = [ring.subscribe(ALL) for _ in range(3 * WAKE + 1)]
    waiting = [asyncio.create_task(ring.next(reader)) for reader in readers]
    await asyncio.sleep(0)
    tell(ring, 1)
    assert {tuple(ids(piece)) for piece in await asyncio.gather(*waiting)} == {(1,)}


async def test_many_readers_are_woken_over_several_turns_of_the_loop() -> None:
    ring = events()
    waiting = [asyncio.create_task(ring.next(ring.subscribe(ALL))) for _ in range(5 * WAKE)]
    await asyncio.sleep(0)
    tell(ring, 1)
    turns = 0
    while not all(task.done() for task in waiting):
        before = sum(task.done() for task in waiting)
        await asyncio.sleep(0)
        assert sum(task.done() for task in waiting) - before <= WAKE
        turns += 1
    assert turns >= 5


async def test_a_reader_that_is_cancelled_while_it_waits_disturbs_nobody() -> None:
    ring = events()
    one, other = ring.subscribe(ALL), ring.subscribe(ALL)
    waiting = [asyncio.create_task(ring.next(reader)) for reader in (one, other)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.sleep(0)
    tell(ring, 1)
    assert ids(await waiting[1]) == [1]
    assert waiting[0].cancelled()


async def test_a_burst_is_read_in_pieces() -> None:
    ring = events()
    reader = ring.subscribe(ALL)
    tell(ring, *range(1, 201))
    read: list[int] = []
    while len(read) < 200:
        piece = await ring.next(reader)
        assert len(piece) <= PIECE_BYTES + 2000
        read += ids(piece)
    assert read == list(range(1, 201))


@pytest.mark.parametrize(
    ("wanted", "heard"),
    [
        (Wanted(), [1, 2, 3, 4]),
        (Wanted(kinds=frozenset({Kind.FLEET})), []),
        (Wanted(kinds=frozenset({Kind.TRANSITION})), [1, 2, 3, 4]),
        (Wanted(healths=frozenset({Health.UNHEALTHY})), [2, 4]),
        (Wanted(healths=frozenset({Health.HEALTHY})), [1, 2, 3, 4]),  # they all come from there
        (Wanted(cluster_id=UUID(int=9)), [3, 4]),
        (Wanted(cluster_id=UUID(int=9), healths=frozenset({Health.UNREACHABLE})), [3]),
    ],
)
async def test_a_reader_hears_of_what_it_wants(wanted: Wanted, heard: list[int]) -> None:
    ring = events()
    reader = ring.subscribe(wanted)
    for number, (cluster, to) in enumerate(
        [
            (CLUSTER, Health.UNREACHABLE),
            (CLUSTER, Health.UNHEALTHY),
            (UUID(int=9), Health.UNREACHABLE),
            (UUID(int=9), Health.UNHEALTHY),
        ],
        1,
    ):
        ring.publish(transition_event(change(number, cluster, to)))
    ring.publish(heartbeat(4))
    piece = await ring.next(reader)
    assert ids(piece) == [*heard, 4]  # the heartbeat is for everybody, and has the position
    assert piece.endswith(b"id: 4\n: heartbeat\n\n")


async def test_of_pictures_only_the_newest_is_read() -> None:
    ring = events()
    reader = ring.subscribe(ALL)
    for generation in range(5):
        ring.publish(fleet(generation))
    piece = await ring.next(reader)
    assert piece.count(b"event: fleet") == 1
    assert b'"generation":4' in piece


class TestBounds:
    async def test_who_falls_off_the_ring_is_told_how_much_is_gone(self) -> None:
        ring = events(max_events=10)
        slow, quick = ring.subscribe(ALL), ring.subscribe(ALL)
        for number in range(1, 21):
            tell(ring, number)
            assert ids(await ring.next(quick)) == [number]
        with pytest.raises(Overrun) as raised:
            await ring.next(slow)
        assert raised.value.events == ring.behind(slow) == 20

    async def test_the_ring_is_bounded_in_bytes_too(self) -> None:
        ring = events(max_bytes=5000)
        slow = ring.subscribe(ALL)
        for number in range(1, 11):
            ring.publish(transition_event(change(number, message="x" * 900)))
        assert ring._bytes == sum(len(event.wire) for event in ring._ring) <= 5000
        with pytest.raises(Overrun):
            await ring.next(slow)

    async def test_bytes_are_shared_however_many_read(self) -> None:
        ring = events()
        readers = [ring.subscribe(ALL) for _ in range(100)]
        tell(ring, 1)
        pieces = [await ring.next(reader) for reader in readers]
        assert all(piece is pieces[0] for piece in pieces)


class TestGoingBack:
    async def test_goes_on_after_any_id_that_the_ring_still_has(self) -> None:
        ring = events(max_events=10)
        tell(ring, *range(1, 21))
        for after in range(10, 20):
            reader = ring.subscribe(ALL)
            assert ring.back_to(reader, after)
            assert ids(await ring.next(reader)) == [*range(after + 1, 21)]
        reader = ring.subscribe(ALL)
        assert ring.back_to(reader, 20)
        tell(ring, 21)
        assert ids(await ring.next(reader)) == [21]

    @pytest.mark.parametrize("after", [0, 9, 21, 10**18])
    async def test_what_it_does_not_have_is_left_to_the_database(self, after: int) -> None:
        ring = events(max_events=10)
        tell(ring, *range(1, 21))
        assert not ring.back_to(ring.subscribe(ALL), after)

    async def test_a_new_leadership_has_only_what_comes(self) -> None:
        ring = events()
        tell(ring, 1, 2)
        ring.end("steps down")
        ring.begin(7)
        reader = ring.subscribe(ALL)
        assert not ring.back_to(reader, 2)
        assert ring.back_to(reader, 7)
        tell(ring, 8)
        assert ids(await ring.next(reader)) == [8]

    async def test_ids_may_have_gaps(self) -> None:
        ring = events()
        tell(ring, 3, 7, 40)
        reader = ring.subscribe(ALL)
        assert ring.back_to(reader, 5)
        assert ids(await ring.next(reader)) == [7, 40]


class TestEnd:
    async def test_nobody_is_let_in_before_the_beginning_or_after_the_end(self) -> None:
        ring = Events()
        with pytest.raises(Ended):
            ring.subscribe(ALL)
        ring.begin(0)
        ring.subscribe(ALL)
        ring.end("the service stops")
        with pytest.raises(Ended, match="the service stops"):
            ring.subscribe(ALL)

    async def test_readers_get_what_is_left_and_then_the_reason(self) -> None:
        ring = events()
        hurried: list[str] = []
        behind = ring.subscribe(ALL, lambda: hurried.append("behind"))
        tell(ring, 1)
        waiting = ring.subscribe(ALL, lambda: hurried.append("waiting"))
        task = asyncio.create_task(ring.next(waiting))
        await asyncio.sleep(0)
        ring.end("leads no more")
        ring.begin(5)  # leads again before they had a turn
        ring.end("leads no more, again")
        with pytest.raises(Ended, match=r"leads no more$"):
            await task
        assert sorted(hurried) == ["behind", "waiting"]
        with pytest.raises((Ended, Overrun)):
            await ring.next(behind)
        assert ring.readers == set()

    async def test_a_reader_that_left_is_told_nothing(self) -> None:
        ring, hurried = events(), list[str]()
        reader = ring.subscribe(ALL, lambda: hurried.append("left"))
        ring.leave(reader)
        ring.end("the service stops")
        assert hurried == []
