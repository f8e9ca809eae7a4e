"""What an instance can be asked: by name, whole or in part, and nothing while it does not lead."""

from __future__ import annotations

import asyncio
import time

import pytest

from muster.breath import TURNS
from muster.hub import PIECE
from tests.support.hub import MadeUpHub
from validator.reasons import Health, Reason


@pytest.fixture
def hub() -> MadeUpHub:
    return MadeUpHub()


async def test_an_instance_that_waits_has_no_picture(hub: MadeUpHub) -> None:
    cluster = hub.put("a", hub.answer())
    hub.stand_by("another instance leads")
    assert await hub.fleet() is None
    assert hub.cluster(cluster) is None
    assert hub.find("a") == []
    assert hub.source_problems() == ()


class TestFind:
    def test_by_name_by_other_name_by_id_and_by_the_beginning_of_an_id(self, hub: MadeUpHub) -> None:
        cluster = hub.put("prod", also_known_as=["admin@prod"])
        hub.put("other")
        for name in ("prod", "admin@prod", str(cluster), str(cluster)[:6]):
            assert hub.find(name) == [cluster], name

    def test_a_name_that_two_clusters_have_finds_both(self, hub: MadeUpHub) -> None:
        assert set(hub.find("prod")) == set()
        both = {hub.put("prod", source="static"), hub.put("prod", source="kubeconfig")}
        assert set(hub.find("prod")) == both

    def test_the_beginning_of_a_name_or_a_short_beginning_of_an_id_finds_nothing(self, hub: MadeUpHub) -> None:
        cluster = hub.put("production")
        assert hub.find("prod") == []
        assert hub.find(str(cluster)[:5]) == []
        assert hub.find("") == []


class TestFleet:
    async def test_is_of_all_clusters_though_made_in_pieces(self, hub: MadeUpHub) -> None:
        for number in range(2 * PIECE + 1):
            hub.put(f"c{number}", hub.answer(Reason.NOT_READY if number % 2 else None))
        picture = await hub.fleet()
        assert picture is not None
        assert len(picture.clusters) == 2 * PIECE + 1
        assert picture.counts[Health.UNHEALTHY] == PIECE

    async def test_a_clock_that_is_set_between_two_pieces_makes_nobody_stale(self, hub: MadeUpHub) -> None:
        for number in range(2 * PIECE):
            hub.put(f"c{number}", hub.answer())
        looking = asyncio.create_task(hub.fleet(), name="fleet")
        await _to_the_second_piece()
        hub.clock._wall = lambda: time.time() - 36_000
        hub.recorder.follow_clock()
        picture = await looking
        assert picture is not None
        assert picture.counts[Health.HEALTHY] == 2 * PIECE

    async def test_a_cluster_that_leaves_between_two_pieces_is_no_trouble(self, hub: MadeUpHub) -> None:
        ids = [hub.put(f"c{number}", hub.answer()) for number in range(2 * PIECE)]
        looking = asyncio.create_task(hub.fleet(), name="fleet")
        await _to_the_second_piece()
        hub.recorder.forget(ids[-1])
        del hub.inventory.clusters[ids[-1]]
        assert await looking is not None


async def _to_the_second_piece() -> None:
    for _ in range(TURNS + 1):
        await asyncio.sleep(0)
