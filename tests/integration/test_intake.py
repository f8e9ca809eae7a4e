"""From readings and UIDs to targets: with real sources' doubles, a real engine and a real PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from collector.cluster import Cluster
from collector.inventory import Inventory
from collector.testing import FedSource
from muster.intake import Intake
from store.pool import Database
from tests.support.collecting import QUERIES, Bench, add_clusters
from tests.support.line import open_line
from validator.answer import Answer, Fact
from validator.clean import MAX_EVIDENCE_CHARS
from validator.discovery.source import Sighting, SourceProblem
from validator.engine import Engine
from validator.model import MAX_MESSAGE_CHARS, Check, Endpoint, Outcome
from validator.reasons import Health, Reason, Stage
from validator.schedule import ScheduleSettings
from validator.testing import PASSED, ScriptedProbe

CA, OTHER_CA = "-----BEGIN CERTIFICATE-----\nours", "-----BEGIN CERTIFICATE-----\ntheirs"
UID = "11111111-2222-4333-8444-555555555555"


def sighting(name: str, host: str = "", *, ca: str = CA, source: str = "one", **labels: str) -> Sighting:
    return Sighting(name, source, Endpoint(host or f"{name}.example", 6443, ca), labels=labels)


class House:
    """An intake with all that it keeps in step."""

    def __init__(self, database: Database, epoch: int) -> None:
        self.one, self.other = FedSource("one"), FedSource("other")
        self.bench = Bench(database)
        self.inventory = Inventory(database, QUERIES, self.bench.time.clock, ["one", "other"])
        self.engine = Engine(ScheduleSettings(interval_s=60.0), self.bench.recorder.record, self.bench.time.clock)
        self.probes: dict[UUID, list[ScriptedProbe]] = {}
        self.answers: dict[str, Answer] = {}
        """What the probe of a cluster of this name gives; a pass if nothing."""
        self.changes = 0
        self.epoch = epoch
        self.intake = Intake(
            [self.one, self.other],
            self.inventory,
            self.bench.recorder,
            self.engine,
            self.bench.time.clock,
            make_probe=self._make_probe,
            identity_allowance_s=600.0,
            on_change=self._changed,
            retry_s=0.05,
        )

    def _make_probe(self, cluster: Cluster) -> ScriptedProbe:
        probe = ScriptedProbe(self.answers.get(cluster.name, PASSED))
        self.probes.setdefault(cluster.id, []).append(probe)
        return probe

    def _changed(self) -> None:
        self.changes += 1

    @asynccontextmanager
    async def running(self) -> AsyncIterator[House]:
        await self.inventory.load(self.epoch)
        await self.bench.recorder.load(self.epoch, 0)
        task = asyncio.create_task(self.intake.run(), name="intake")
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled(), task.exception()

    @property
    def ids(self) -> dict[str, UUID]:
        return {cluster.name: cluster.id for cluster in self.inventory.clusters.values()}

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(5):
            while True:
                if condition():
                    return
                await asyncio.sleep(0.01)

    def knows(self, name: str) -> bool:
        return name in self.ids

    async def names(self, *names: str) -> None:
        """Wait until these are the clusters."""
        await self.until(lambda: set(self.ids) == set(names))


@pytest.fixture
async def house(fleet_database: Database) -> AsyncIterator[House]:
    epoch = await fleet_database.fetchval("UPDATE leadership SET epoch = epoch + 1 RETURNING epoch")
    async with House(fleet_database, epoch).running() as house:
        yield house


class TestReadings:
    async def test_what_a_source_names_is_asked(self, house: House) -> None:
        house.one.feed([sighting("a"), sighting("b")])
        await house.names("a", "b")
        assert len(house.engine) == 2
        assert house.changes == 1

    async def test_what_it_names_no_more_is_dropped_and_forgotten(self, house: House) -> None:
        house.other.feed([])
        house.one.feed([sighting("a"), sighting("b")])
        await house.names("a", "b")
        gone = house.ids["b"]
        house.bench.hear(gone, Reason.NOT_READY)
        await house.bench.recorder.flush()
        house.one.feed([sighting("a")])
        await house.names("a")
        assert len(house.engine) == 1
        assert house.probes[gone][0].closed
        assert gone not in house.bench.recorder.states

    async def test_another_endpoint_under_the_same_key_gets_another_probe(self, house: House) -> None:
        house.one.feed([Sighting("a", "one", Endpoint("a", 6443, CA, insecure=False))])
        await house.names("a")
        cluster = house.ids["a"]
        house.one.feed([Sighting("a", "one", Endpoint("a", 6443, CA + "\n"))])
        await house.until(lambda: len(house.probes[cluster]) == 2)
        assert house.probes[cluster][0].closed
        assert len(house.engine) == 1

    async def test_a_problem_is_logged_once(self, house: House) -> None:
        problem = SourceProblem("file", "is broken", "Mend it.", entry="b")
        with capture_logs() as logs:
            for name, problems in (("a", [problem]), ("c", [problem]), ("d", []), ("e", [problem])):
                house.one.feed([sighting(name)], problems)
                await house.until(partial(house.knows, name))
            await house.until(lambda: not house.intake._readings)
        assert [log["where"] for log in logs if log["event"] == "source problem"] == ["file", "file"]

    async def test_a_source_that_the_store_can_not_take_holds_up_no_other(self, house: House) -> None:
        house.one.feed([sighting("nul\0")])
        house.other.feed([sighting("a", source="other")])
        await house.names("a")
        house.intake.note_uid(house.ids["a"], UID)
        await house.until(lambda: next(iter(house.inventory.clusters.values())).external_uid == UID)
        house.one.feed([sighting("mended")])
        await house.names("a", "mended")


class TestStoreAway:
    async def test_every_known_cluster_goes_on_being_asked_and_the_newest_reading_counts(
        self, database_url: str, fleet_database: Database
    ) -> None:
        async with open_line(database_url) as (line, through):
            remote = await Database.open(through)
            epoch = await fleet_database.fetchval("UPDATE leadership SET epoch = epoch + 1 RETURNING epoch")
            async with House(remote, epoch).running() as house:
                house.other.feed([])
                house.one.feed([sighting("a")])
                await house.names("a")
                known = house.ids["a"]
                with capture_logs() as logs:
                    line.down = True
                    line.cut()
                    house.one.feed([sighting("b")])
                    await house.until(lambda: logs)
                    house.one.feed([sighting("a"), sighting("c")])
                    house.intake.note_uid(known, UID)
                    await asyncio.sleep(0.3)
                    assert house.ids == {"a": known}
                    assert len(house.engine) == 1
                    line.down = False
                    await house.names("a", "c")
                    await house.until(lambda: house.inventory.clusters[known].external_uid == UID)
                waits = [log for log in logs if log["event"] == "inventory waits for the database"]
                assert 1 <= len(waits) <= 3, "edges, not attempts"
                assert house.ids["a"] == known
            await remote.close()


class TestIdentity:
    async def test_a_hostile_claim_is_a_finding_on_the_one_who_makes_it(self, house: House) -> None:
        house.one.feed([sighting("victim"), sighting("hostile", ca=OTHER_CA)])
        await house.names("victim", "hostile")
        victim, hostile = house.ids["victim"], house.ids["hostile"]
        house.intake.note_uid(victim, UID)
        await house.until(lambda: house.inventory.clusters[victim].external_uid == UID)
        house.bench.time.advance(1)
        house.intake.note_uid(hostile, UID)
        await house.until(lambda: hostile in house.bench.recorder.states)
        state = house.bench.recorder.states[hostile][Check.IDENTITY]
        assert (state.health, state.reason) == (Health.DEGRADED, Reason.IDENTITY_CONFLICT)
        assert "victim" in state.message
        assert victim not in house.bench.recorder.states

        house.bench.time.advance(1)
        house.intake.note_uid(hostile, UID.replace("1", "2"))
        await house.until(lambda: house.bench.health(hostile, Check.IDENTITY) is Health.HEALTHY)

    async def test_two_ways_in_become_one_target(self, house: House) -> None:
        house.one.feed([sighting("a"), sighting("b")])
        await house.names("a", "b")
        for name in ("a", "b"):
            house.intake.note_uid(house.ids[name], UID)
        await house.until(lambda: len(house.engine) == 1)
        [cluster] = house.inventory.clusters.values()
        assert len(cluster.also_known_as) == 1

    async def test_a_uid_that_is_known_already_costs_nothing(self, house: House) -> None:
        house.one.feed([sighting("a")])
        await house.names("a")
        cluster = house.ids["a"]
        house.intake.note_uid(cluster, UID)
        await house.until(lambda: house.inventory.clusters[cluster].external_uid == UID)
        house.intake.note_uid(cluster, UID)
        house.intake.note_uid(UUID(int=7), UID)
        assert not house.intake._uids

    async def test_a_uid_of_a_cluster_that_left_meanwhile_is_dropped(self, house: House) -> None:
        house.other.feed([])
        house.one.feed([sighting("a")])
        await house.names("a")
        house.intake.note_uid(house.ids["a"], UID)
        house.one.feed([sighting("b")])
        await house.names("b")
        await house.until(lambda: not house.intake._uids)


async def test_a_restarted_house_asks_what_its_sources_name_and_shows_the_rest(fleet_database: Database) -> None:
    [stored] = await add_clusters(fleet_database, 1)
    epoch = await fleet_database.fetchval("UPDATE leadership SET epoch = epoch + 1 RETURNING epoch")
    async with House(fleet_database, epoch).running() as house:
        house.one.feed([sighting("a")], complete=False)
        await house.until(lambda: "a" in house.ids)
        assert stored in house.inventory.clusters
        assert len(house.engine) == 1


async def test_what_a_hostile_server_says_reaches_the_store_clean(house: House) -> None:
    dirty = Fact(
        *(Check.APISERVER, Outcome.FAIL, Reason.NOT_READY, Stage.HTTP, "\0\x1b[2J503\n" + "x" * 9999),
        evidence={"failing_checks": "etcd\0\ud800", "http_ms": float("nan"), "large": "y" * 100_000},
    )
    house.answers["hostile"] = Answer((dirty,))
    house.one.feed([sighting("hostile"), sighting("honest")])
    await house.names("hostile", "honest")
    hostile, honest = house.ids["hostile"], house.ids["honest"]
    asking = asyncio.create_task(house.engine.run(), name="engine")
    house.engine.hasten(hostile)
    house.engine.hasten(honest)
    await house.until(lambda: {hostile, honest} <= house.bench.recorder.states.keys())
    asking.cancel()
    await asyncio.wait([asking])
    assert await house.bench.recorder.flush()
    told = {one.cluster_id: one for one in house.bench.told}
    assert told[honest].to_health is Health.HEALTHY
    assert told[hostile].message.startswith("[2J503 xxx")
    assert len(told[hostile].message) == MAX_MESSAGE_CHARS
    assert told[hostile].evidence["failing_checks"] == "etcd"
    assert told[hostile].evidence["http_ms"] == "out of range"
    assert len(str(told[hostile].evidence["large"])) == MAX_EVIDENCE_CHARS
