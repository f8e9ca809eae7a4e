"""Lists of clusters: each sort, and paging that shows every cluster that stays exactly once, whatever the others do."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import MultiDict

from collector.cluster import Cluster
from collector.fleet import ClusterView, FleetSnapshot
from muster.api.cursor import decode, encode
from muster.api.fleet_queries import ClustersQuery
from muster.api.listing import Lists, Sort, position_of
from muster.api.present import ATTENTION
from muster.api.queries import read_query
from validator.health import Rollup
from validator.model import Check, Lifecycle
from validator.reasons import Health, Reason, Stage

NOW = 1_800_000_000.0

moments = st.none() | st.sampled_from([NOW - 30, NOW - 20.5, NOW - 10])


def seen(
    number: int,
    name: str,
    health: Health = Health.HEALTHY,
    since: float | None = None,
    heard_at: float | None = None,
    last_success_at: float | None = None,
    team: str = "a",
    reason: Reason | None = None,
) -> ClusterView:
    """One cluster."""
    cluster = Cluster(UUID(int=number), name, "static", "https://c", None, {"team": team}, Lifecycle.ACTIVE, NOW)
    rollup = Rollup(health, reason, Stage.HTTP, "", Check.APISERVER, since, None, last_success_at, flapping=False)
    return ClusterView(cluster, rollup, (), heard_at, pending=False)


def views(number: int) -> st.SearchStrategy[ClusterView]:
    return st.builds(
        seen,
        st.just(number),
        st.sampled_from(["a", "A", "b", "ä", "ß", "\U0001f40b"]),
        st.sampled_from(list(Health)),
        moments,
        moments,
        moments,
        st.sampled_from(["a", "b"]),
        st.sampled_from([None, Reason.NOT_READY, Reason.THROTTLED]),
    )


fleets = st.lists(st.booleans(), max_size=30).flatmap(lambda each: st.tuples(*map(views, range(len(each)))))

queries = st.fixed_dictionaries(
    {"sort": st.sampled_from([sort.value for sort in Sort]), "limit": st.sampled_from(["1", "2", "7"])},
    optional={
        "health": st.sampled_from(["healthy", "unknown,degraded", "Suspended"]),
        "label": st.sampled_from(["team=a", "team!=a", "none"]),
        "reason": st.just("notready"),
        "name": st.just("A"),
    },
)


def lists(fleet: tuple[ClusterView, ...]) -> Lists:
    made = Lists()
    made.turn(picture(fleet), {})
    return made


def picture(fleet: Iterable[ClusterView]) -> FleetSnapshot:
    """What lists are made of."""
    return FleetSnapshot(NOW, {v.cluster.id: v for v in fleet}, {}, None, 0)


async def all_of(lists: Lists, wanted: ClustersQuery) -> Sequence[ClusterView]:
    """On one page."""
    return (await lists.page(wanted, None, 5000)).views


def query(given: dict[str, str]) -> ClustersQuery:
    return read_query(ClustersQuery, MultiDict(given))


def matching(fleet: tuple[ClusterView, ...], wanted: ClustersQuery) -> set[UUID]:
    test = wanted.predicate() or (lambda _: True)
    return {v.cluster.id for v in fleet if (not wanted.health or v.health in wanted.health) and test(v)}


async def page_through(fleets: list[tuple[ClusterView, ...]], wanted: ClustersQuery) -> list[ClusterView]:
    """Every page, the first from the first fleet and so on; all that follow from the last one."""
    shown: list[ClusterView] = []
    cursor: str | None = None
    for number in range(100):
        position = None if cursor is None else decode(cursor, wanted.canonical())
        page = await lists(fleets[min(number, len(fleets) - 1)]).page(wanted, position, wanted.limit)
        assert len(page.views) <= wanted.limit
        shown += page.views
        if page.following is None:
            return shown
        cursor = encode(page.following, wanted.canonical())
    raise AssertionError("it never ends")


@given(fleets, queries)
def test_pages_show_each_matching_cluster_once_and_in_order(
    fleet: tuple[ClusterView, ...], given: dict[str, str]
) -> None:
    wanted = query(given)
    shown = asyncio.run(page_through([fleet], wanted))
    assert sorted(v.cluster.id for v in shown) == sorted(matching(fleet, wanted))
    places = [position_of(wanted.sort, v) for v in shown]
    assert places == sorted(places, reverse=wanted.sort is Sort.NAME_REVERSED)


@given(fleets, queries, st.data())
def test_a_cluster_that_stays_is_never_skipped_nor_shown_twice_while_others_change(
    fleet: tuple[ClusterView, ...], given: dict[str, str], data: st.DataObject
) -> None:
    wanted = query(given)
    fleets, touched = [fleet], set[UUID]()
    for _ in range(data.draw(st.integers(1, 4))):
        after = {v.cluster.id.int: v for v in fleets[-1]}
        for number in data.draw(st.lists(st.integers(0, len(fleet) + 5), max_size=5)):
            touched.add(UUID(int=number))
            after.pop(number, None)
            if data.draw(st.booleans()):
                after[number] = data.draw(views(number))
        fleets.append(tuple(after.values()))
    shown = [v.cluster.id for v in asyncio.run(page_through(fleets, wanted))]
    stayed = matching(fleet, wanted) - touched
    assert {each: shown.count(each) for each in stayed} == dict.fromkeys(stayed, 1)


@pytest.mark.parametrize("sort", [sort for sort in Sort if not sort.startswith("-")])
async def test_the_other_way_round_is_the_other_way_round(sort: Sort) -> None:
    fleet = tuple(
        seen(number, f"c{number}", health, NOW - number, NOW - 2 * number, NOW - 3 * number)
        for number, health in enumerate(ATTENTION)
    )
    there = await all_of(lists(fleet), query({"sort": sort}))
    back = await all_of(lists(fleet), query({"sort": f"-{sort}"}))
    assert [v.cluster.name for v in there] == [v.cluster.name for v in back][::-1]


@pytest.mark.parametrize(
    ("sort", "names"),
    [
        ("since", ["old", "new", "none"]),
        ("-since", ["new", "old", "none"]),
        ("age", ["new", "old", "none"]),
        ("-age", ["old", "new", "none"]),
        ("last-success", ["old", "new", "none"]),
        ("-last-success", ["new", "old", "none"]),
        ("name", ["new", "none", "old"]),
        ("-name", ["old", "none", "new"]),
    ],
)
async def test_what_a_cluster_has_not_got_comes_last(sort: str, names: list[str]) -> None:
    fleet = (
        seen(1, "none"),
        seen(2, "old", since=NOW - 99, heard_at=NOW - 99, last_success_at=NOW - 99),
        seen(3, "new", since=NOW - 1, heard_at=NOW - 1, last_success_at=NOW - 1),
    )
    assert [v.cluster.name for v in await all_of(lists(fleet), query({"sort": sort}))] == names


async def test_within_one_health_the_newest_change_comes_first_and_hibernated_ones_come_behind_the_broken() -> None:
    fleet = (
        seen(1, "asleep", Health.SUSPENDED),
        seen(2, "old", Health.UNHEALTHY, NOW - 99),
        seen(3, "well", since=NOW - 5),
        seen(4, "new", Health.UNHEALTHY, NOW - 1),
    )
    assert [v.cluster.name for v in await all_of(lists(fleet), query({}))] == ["new", "old", "asleep", "well"]


def test_the_same_list_asked_for_in_other_words_is_the_same_query() -> None:
    one = query({"health": "unknown,Healthy", "label": "a==1, b", "name": "X", "limit": "5"})
    other = query({"health": "healthy,UNKNOWN,unknown", "label": "b,a in (1)", "name": "x", "limit": "9"})
    assert one.canonical() == other.canonical()
    different = [{}, {"sort": "name"}, {"health": "unknown"}, {"label": "a"}, {"source": "a"}, {"name": "a"}]
    texts = [query(each).canonical() for each in different]
    assert all(text != following for text, following in pairwise(sorted(texts)))
