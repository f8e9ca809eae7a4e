"""Lists that went through many pictures are those that would have been made of the last one."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.fleet import ClusterView
from collector.look import Changes
from muster.api import listing
from muster.api.listing import KEPT, LOGGED
from muster.api.present import CHUNK
from tests.unit.test_api_listing import NOW, all_of, fleets, lists, picture, queries, query, seen, views

Fleet = dict[UUID, ClusterView]


def between(before: Fleet, after: Fleet) -> Changes:
    """What a look finds."""
    changed = (each for each in {**before, **after} if before.get(each) is not after.get(each))
    return {each: (before.get(each), after.get(each)) for each in changed}


def of(*made: ClusterView) -> Fleet:
    return {v.cluster.id: v for v in made}


@given(fleets, st.lists(queries, min_size=1, max_size=3), st.sampled_from([0.1, 4]), st.data())
def test_whatever_has_changed_and_whichever_were_asked_for(
    fleet: tuple[ClusterView, ...], asked: list[dict[str, str]], replayed: float, data: st.DataObject
) -> None:
    async def compare() -> None:
        now, carried = of(*fleet), lists(fleet)
        for _ in range(6):
            for each in data.draw(st.lists(st.sampled_from(asked), max_size=3)):
                wanted = query(each)
                assert await all_of(carried, wanted) == await all_of(lists(tuple(now.values())), wanted)
            before = dict(now)
            for number in data.draw(st.lists(st.integers(0, len(fleet) + 3), max_size=4)):
                now.pop(UUID(int=number), None)
                if data.draw(st.booleans()):
                    now[UUID(int=number)] = data.draw(views(number))
            carried.turn(picture(now.values()), between(before, now))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(listing, "REPLAYED", replayed)  # in fleets as small as these nearly all would be made anew
        asyncio.run(compare())


async def test_a_list_that_was_asked_for_long_ago_is_right() -> None:
    fleet = of(*(seen(number, f"c{number}") for number in range(20)))
    carried, wanted = lists(tuple(fleet.values())), query({"sort": "name"})
    await all_of(carried, wanted)
    for turn in range(LOGGED + 5):
        after = {**fleet, **of(seen(turn % 20, f"turn-{turn:03}"))}
        carried.turn(picture(after.values()), between(fleet, after))
        fleet = after
    assert await all_of(carried, wanted) == await all_of(lists(tuple(fleet.values())), wanted)


async def test_who_leaves_while_a_list_is_brought_up_to_date_leaves_no_half_of_it() -> None:
    count = 20 * CHUNK
    fleet = of(*(seen(number, f"c{number:05}") for number in range(count)))
    carried, wanted = lists(tuple(fleet.values())), query({"sort": "name"})
    await all_of(carried, wanted)
    after = {**fleet, **of(*(seen(number, f"b{number:05}") for number in range(4 * CHUNK)))}
    carried.turn(picture(after.values()), between(fleet, after))
    leaving = asyncio.create_task(all_of(carried, wanted), name="leaving")
    for _ in range(3):
        await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.wait([leaving])
    assert leaving.cancelled()
    assert [v.cluster.name for v in await all_of(carried, wanted)] == sorted(v.cluster.name for v in after.values())


async def test_a_page_says_which_moment_it_is_of_also_where_pictures_follow_each_other_meanwhile() -> None:
    fleet = of(*(seen(number, f"c{number:05}") for number in range(3 * CHUNK)))
    carried, wanted = lists(tuple(fleet.values())), query({"sort": "name", "name": "c0"})
    asked = asyncio.create_task(carried.page(wanted, None, 5000), name="asked")
    await asyncio.sleep(0)
    carried.turn(replace(picture(()), now=NOW + 1), between(fleet, {}))
    page = await asked
    assert (page.total, page.now) == (3 * CHUNK, NOW)
    page = await carried.page(wanted, None, 5000)
    assert (page.total, page.now) == (0, NOW + 1)


async def test_a_bounded_number_of_lists_is_kept() -> None:
    carried = lists((seen(1, "a"),))
    for number in range(KEPT + 3):
        await all_of(carried, query({"name": str(number)}))
    assert len(carried._kept) == KEPT


async def test_what_is_remembered_of_pictures_is_bounded_and_nothing_of_a_view_that_is_gone_stays() -> None:
    fleet = of(*(seen(number, f"c{number}") for number in range(20)))
    carried = lists(tuple(fleet.values()))
    for _ in range(2 * LOGGED):
        carried.turn(picture(fleet.values()), {})
    assert len(carried._log) == LOGGED
    carried.turn(picture(()), between(fleet, {}))
    assert len(carried._log) == 0
