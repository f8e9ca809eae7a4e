"""Lists that take over from those of the picture before are those that would have been made anew."""

from __future__ import annotations

import asyncio
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from collector.fleet import ClusterView, assemble
from muster.api.listing import Former, Lists
from muster.api.present import ATTENTION
from tests.unit.test_api_listing import NOW, fleets, queries, query, seen, views
from validator.reasons import Health


def grouped(fleet: tuple[ClusterView, ...]) -> dict[Health, list[ClusterView]]:
    picture = assemble(fleet, NOW)
    return {health: [v for v in picture.clusters if v.health is health] for health in ATTENTION}


@given(fleets, st.lists(queries, min_size=1, max_size=3), st.data())
def test_whatever_has_changed_and_whichever_were_asked_for(
    fleet: tuple[ClusterView, ...], asked: list[dict[str, str]], data: st.DataObject
) -> None:
    async def compare() -> None:
        now: dict[int, ClusterView] = {v.cluster.id.int: v for v in fleet}
        former: Former | None = None
        for _ in range(4):
            carried, anew = Lists(grouped(tuple(now.values())), former), Lists(grouped(tuple(now.values())))
            for each in data.draw(st.lists(st.sampled_from(asked), max_size=3)):
                wanted = query(each)
                assert (await carried.get(wanted)).views == (await anew.get(wanted)).views
            former = carried.former()
            for number in data.draw(st.lists(st.integers(0, len(fleet) + 3), max_size=4)):
                now.pop(number, None)
                if data.draw(st.booleans()):
                    now[number] = data.draw(views(number))

    asyncio.run(compare())


async def test_views_that_stand_are_not_looked_at_again() -> None:
    fleet = _fleet()
    first = Lists(grouped(fleet))
    wanted = query({"sort": "name", "limit": "7"})
    before = (await first.get(wanted)).views
    second = Lists(grouped(fleet), first.former())
    after = (await second.get(wanted)).views
    assert [id(v) for v in after] == [id(v) for v in before]
    kept = {id(place) for place, _ in first.former().placed[wanted.canonical()]}
    assert {id(place) for place, _ in second.former().placed[wanted.canonical()]} == kept


def _fleet() -> tuple[ClusterView, ...]:
    return tuple(seen(number, f"c{number}") for number in range(20))


def test_what_is_left_holds_nothing_of_the_picture_before() -> None:
    former = Lists(grouped(_fleet()), Lists(grouped(_fleet())).former()).former()
    assert former.placed == {}
    assert {v.cluster.id for group in former.by_health.values() for v in group} == {UUID(int=n) for n in range(20)}
