"""Which cluster is which, on a real PostgreSQL: joined, rebuilt, gone and back, and never lost to a broken file."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

import pytest

from collector.inventory import REBUILT_AT_MOST_EVERY_S, Changes, Inventory
from store.errors import StoreError, StoreRefused, StoreUnavailable
from store.pool import Database
from tests.support.collecting import QUERIES, Bench, Time, flaws
from tests.support.line import open_line
from validator.credentials import Credential, StaticCredential
from validator.discovery.source import Reading, Sighting, SourceProblem
from validator.model import Endpoint, Lifecycle
from validator.reasons import Health, Reason

CA, OTHER_CA = "-----BEGIN CERTIFICATE-----\nours", "-----BEGIN CERTIFICATE-----\ntheirs"
UID, OTHER_UID = "11111111-2222-4333-8444-555555555555", "99999999-2222-4333-8444-555555555555"


def sighting(name: str, host: str = "", *, ca: str | None = CA, source: str = "kubeconfig", **more: object) -> Sighting:
    return Sighting(name, source, Endpoint(host or f"{name}.example", 6443, ca), **more)  # type: ignore[arg-type]


def reading(*sightings: Sighting, broken: Iterable[str] = (), complete: bool = True) -> Reading:
    problems = tuple(SourceProblem(f"file: {name}", "is broken", "Mend it.", entry=name) for name in broken)
    return Reading(sightings, problems, complete)


class Stock:
    """An inventory on a real database, and its time."""

    def __init__(self, database: Database, time: Time, *sources: str) -> None:
        self.db = database
        self.time = time
        self.sources = sources or ("kubeconfig",)
        self.inventory = Inventory(database, QUERIES, time.clock, self.sources)

    async def lead(self) -> None:
        await self.inventory.load(await self.db.fetchval("UPDATE leadership SET epoch = epoch + 1 RETURNING epoch"))

    async def restarted(self, *sources: str) -> Stock:
        after = Stock(self.db, self.time, *(sources or self.sources))
        await after.lead()
        return after

    async def read(self, *sightings: Sighting, source: str = "", **more: object) -> Changes:
        return await self.inventory.apply(source or self.sources[0], reading(*sightings, **more))  # type: ignore[arg-type]

    @property
    def names(self) -> dict[str, UUID]:
        return {cluster.name: cluster.id for cluster in self.inventory.clusters.values()}

    async def stored(self) -> set[UUID]:
        return {row["id"] for row in await self.db.fetch("SELECT id FROM clusters WHERE gone_at IS NULL")}


@pytest.fixture
async def stock(fleet_database: Database) -> Stock:
    stock = Stock(fleet_database, Time())
    await stock.lead()
    return stock


class TestReadings:
    async def test_a_new_cluster_is_stored_before_it_is_asked(self, stock: Stock) -> None:
        changes = await stock.read(sighting("a"), sighting("b"))
        assert [cluster.name for cluster in changes.added] == ["a", "b"]
        assert await stock.stored() == set(stock.names.values())

    async def test_the_same_reading_again_changes_nothing(self, stock: Stock) -> None:
        entry = sighting("a")
        await stock.read(entry)
        assert not await stock.read(entry)

    async def test_the_same_cluster_through_two_contexts_is_one(self, stock: Stock) -> None:
        changes = await stock.read(sighting("admin@prod", "prod"), sighting("viewer@prod", "prod"))
        [cluster] = changes.added
        assert (cluster.name, cluster.also_known_as) == ("admin@prod", ("viewer@prod",))

    async def test_another_credential_redirects_and_another_label_does_not(self, stock: Stock) -> None:
        await stock.read(sighting("a"))
        changes = await stock.read(sighting("a", credential=StaticCredential(Credential("token"))))
        assert [cluster.name for cluster in changes.redirected] == ["a"]
        same = stock.inventory.clusters[stock.names["a"]].sighting
        assert same is not None
        assert not await stock.read(sighting("a", credential=same.credential, labels={"team": "blue"}))
        assert await stock.db.fetchval("SELECT labels FROM clusters") == {"team": "blue"}

    async def test_a_cluster_that_is_renamed_stays_the_same(self, stock: Stock) -> None:
        await stock.read(sighting("old", "h"))
        before = stock.names["old"]
        assert not await stock.read(sighting("new", "h"))
        assert stock.names == {"new": before}

    async def test_a_name_that_moves_to_another_endpoint_is_another_cluster(self, stock: Stock) -> None:
        await stock.read(sighting("prod", "h1"))
        before = stock.names["prod"]
        changes = await stock.read(sighting("prod", "h2"))
        assert changes.removed == (before,)
        assert stock.names["prod"] != before

    async def test_a_half_written_source_keeps_the_fleet(self, stock: Stock) -> None:
        await stock.read(sighting("a"), sighting("b"))
        before = stock.names
        assert not await stock.read(sighting("a"), complete=False)
        assert not await stock.read(complete=False)
        assert not await stock.read(broken=["a", "b"])
        assert stock.names == before
        assert await stock.stored() == set(before.values())

    async def test_a_cluster_that_is_named_no_more_is_gone(self, stock: Stock) -> None:
        await stock.read(sighting("a"), sighting("b"))
        gone = stock.names["b"]
        assert (await stock.read(sighting("a"))).removed == (gone,)
        assert await stock.stored() == {stock.names["a"]}

    async def test_a_cluster_that_moves_from_one_source_to_another_stays_the_same(
        self, fleet_database: Database
    ) -> None:
        stock = Stock(fleet_database, Time(), "kubeconfig", "static")
        await stock.lead()
        await stock.read(source="static")
        await stock.read(sighting("a"), source="kubeconfig")
        before = stock.names["a"]
        await stock.read(sighting("a", source="static"), source="static")
        assert not await stock.read(source="kubeconfig")
        assert stock.names == {"a": before}
        assert await fleet_database.fetchval("SELECT source FROM clusters") == "static"

    async def test_problems_name_their_source(self, stock: Stock) -> None:
        await stock.read(broken=["a"])
        [(source, problem)] = stock.inventory.problems
        assert (source, problem.entry) == ("kubeconfig", "a")


class TestRestart:
    async def test_knows_every_cluster_and_asks_it_again(self, stock: Stock) -> None:
        await stock.read(sighting("a", labels={"team": "blue"}), sighting("b", lifecycle=Lifecycle.HIBERNATED))
        after = await stock.restarted()
        assert after.names == stock.names
        assert {cluster.lifecycle for cluster in after.inventory.clusters.values()} == {
            Lifecycle.ACTIVE,
            Lifecycle.HIBERNATED,
        }
        changes = await after.read(sighting("a"), sighting("b"))
        assert {cluster.id for cluster in changes.added} == set(stock.names.values())
        assert not changes.removed

    async def test_a_source_that_is_broken_at_the_start_takes_nothing_away(self, stock: Stock) -> None:
        await stock.read(sighting("a"), sighting("b"))
        after = await stock.restarted()
        assert not await after.read(complete=False)
        changes = await after.read(sighting("a"), broken=["b"])
        assert [cluster.name for cluster in changes.added] == ["a"]
        assert after.names == stock.names

    async def test_a_source_that_is_configured_no_more_takes_its_clusters_along(self, stock: Stock) -> None:
        await stock.read(sighting("a"))
        after = await stock.restarted("static")
        changes = await after.read(sighting("b", source="static"))
        assert changes.removed == (stock.names["a"],)
        assert set(after.names) == {"b"}

    async def test_a_cluster_that_moved_to_another_source_meanwhile_is_not_gone_in_between(self, stock: Stock) -> None:
        await stock.read(sighting("a"))
        after = await stock.restarted("kubeconfig", "static")
        assert not await after.read(source="kubeconfig")
        changes = await after.read(sighting("a", source="static"), source="static")
        assert not changes.removed
        assert after.names == stock.names

    async def test_a_joined_cluster_is_asked_the_same_way_as_before(self, stock: Stock) -> None:
        """Its own endpoint, not the one that comes first in the alphabet."""
        main, alias = sighting("main", "z.example"), sighting("alias", "a.example")
        await stock.read(main, alias)
        await stock.inventory.learn_uid(stock.names["main"], UID)
        await stock.inventory.learn_uid(stock.names["alias"], UID)
        await stock.read(main, alias)
        after = await stock.restarted()
        [cluster] = (await after.read(alias, main)).added
        assert (cluster.name, cluster.also_known_as, cluster.sighting) == ("main", ("alias",), main)

    async def test_a_lifecycle_of_a_newer_release_is_no_trouble(self, stock: Stock) -> None:
        await stock.read(sighting("a"))
        await stock.db.execute("UPDATE clusters SET lifecycle = 'Ascended'")
        after = await stock.restarted()
        assert [cluster.lifecycle for cluster in after.inventory.clusters.values()] == [Lifecycle.ACTIVE]


class TestGoneAndBack:
    async def test_has_the_same_id(self, stock: Stock) -> None:
        await stock.read(sighting("a"))
        before = stock.names["a"]
        await stock.inventory.learn_uid(before, UID)
        await stock.read()
        await stock.read(sighting("a"))
        [back] = stock.inventory.clusters.values()
        assert (back.id, back.external_uid) == (before, UID)

    async def test_a_joined_cluster_comes_back_as_one(self, stock: Stock) -> None:
        one, other = sighting("one"), sighting("other")
        await stock.read(one, other)
        await stock.inventory.learn_uid(stock.names["one"], UID)
        await stock.inventory.learn_uid(stock.names["other"], UID)
        before = stock.names["one"]
        await stock.read()
        changes = await stock.read(one, other)
        assert [(cluster.id, cluster.also_known_as) for cluster in changes.added] == [(before, ("other",))]
        assert not await stock.read(one, other)

    async def test_its_states_begin_anew_and_its_history_goes_on(self, stock: Stock) -> None:
        await stock.read(sighting("a"))
        cluster = stock.names["a"]
        bench = Bench(stock.db, time=stock.time)
        await bench.recorder.load(await stock.db.fetchval("SELECT epoch FROM leadership"), 0)
        bench.hear(cluster, Reason.CONNECT_TIMEOUT)
        await bench.recorder.flush()
        late = dict(await stock.db.fetchrow("SELECT * FROM check_states") or {})
        await stock.read()
        bench.recorder.forget(cluster)
        late_write = "INSERT INTO check_states SELECT * FROM jsonb_populate_record(NULL::check_states, $1)"
        await stock.db.execute(late_write, {**late, "cluster_id": str(cluster)})

        await stock.read(sighting("a"))
        bench.hear(cluster)
        assert await bench.recorder.flush()
        assert bench.recorder.stats.conflicts == 0
        assert [(one.from_health, one.to_health, one.changes) for one in bench.told] == [
            (Health.UNKNOWN, Health.UNREACHABLE, 1),
            (Health.UNKNOWN, Health.HEALTHY, 1),
        ]


class TestIdentity:
    async def test_two_endpoints_with_one_uid_and_one_private_ca_are_one_cluster(self, stock: Stock) -> None:
        one, other = sighting("one"), sighting("other")
        await stock.read(one, other)
        kept, joined = stock.names["one"], stock.names["other"]
        assert await stock.inventory.learn_uid(kept, UID) == Changes()
        assert await stock.inventory.learn_uid(joined, UID) == Changes(removed=(joined,))
        assert stock.inventory.clusters[kept].also_known_as == ("other",)
        assert not await stock.read(one, other)
        assert await stock.stored() == {kept}

    @pytest.mark.parametrize(("mine", "theirs"), [(CA, OTHER_CA), (None, None), (None, CA)])
    async def test_a_uid_joins_only_under_one_private_ca(
        self, stock: Stock, mine: str | None, theirs: str | None
    ) -> None:
        await stock.read(sighting("victim", ca=mine), sighting("hostile", ca=theirs))
        before = stock.names
        await stock.inventory.learn_uid(before["victim"], UID)
        refused = await stock.inventory.learn_uid(before["hostile"], UID)
        assert isinstance(refused, str)
        assert "hostile shows the kube-system UID of victim" in refused
        assert stock.names == before
        assert stock.inventory.clusters[before["hostile"]].external_uid is None

    async def test_a_joined_cluster_that_nobody_names_is_asked_through_the_newcomer(self, stock: Stock) -> None:
        """After a restart: the entry of the known way in is broken, the other one leads there too."""
        await stock.read(sighting("known"))
        known = stock.names["known"]
        await stock.inventory.learn_uid(known, UID)
        after = await stock.restarted()
        await after.read(sighting("other"), broken=["known"])
        other = after.names["other"]
        changes = await after.inventory.learn_uid(other, UID)
        assert isinstance(changes, Changes)
        assert changes.removed == (other,)
        assert [(cluster.id, cluster.sighting) for cluster in changes.added] == [(known, sighting("other"))]

    async def test_a_cluster_that_shows_another_uid_was_rebuilt(self, stock: Stock) -> None:
        entry = sighting("a")
        await stock.read(entry)
        old = stock.names["a"]
        await stock.inventory.learn_uid(old, UID)
        stock.time.advance(REBUILT_AT_MOST_EVERY_S)
        changes = await stock.inventory.learn_uid(old, OTHER_UID)
        assert isinstance(changes, Changes)
        [new] = changes.added
        assert changes.removed == (old,)
        assert (new.name, new.external_uid, new.sighting) == ("a", OTHER_UID, entry)
        assert not await stock.read(entry)
        assert (await stock.restarted()).names == {"a": new.id}

    async def test_a_server_that_invents_uids_does_not_fill_the_inventory(self, stock: Stock) -> None:
        await stock.read(sighting("a"))
        for number in range(50):
            stock.time.advance(300)
            await stock.inventory.learn_uid(stock.names["a"], f"{number:08}-2222-4333-8444-555555555555")
        assert await stock.db.fetchval("SELECT count(*) FROM clusters") <= 1 + 50 * 300 / REBUILT_AT_MOST_EVERY_S

    async def test_a_uid_that_its_source_vouches_for_is_not_disputed(self, stock: Stock) -> None:
        """A Shoot's UID is not that of its kube-system namespace."""
        await stock.read(sighting("shoot", external_uid="shoot-uid"))
        stock.time.advance(2 * REBUILT_AT_MOST_EVERY_S)
        assert await stock.inventory.learn_uid(stock.names["shoot"], UID) == Changes()
        assert stock.inventory.clusters[stock.names["shoot"]].external_uid == "shoot-uid"

    async def test_first_claims_are_settled_together_and_disputed_ones_are_not(self, stock: Stock) -> None:
        await stock.read(sighting("a"), sighting("b"), sighting("c"), sighting("d"))
        ids = stock.names
        await stock.inventory.learn_uid(ids["a"], UID)
        claims = {ids["b"]: OTHER_UID, ids["c"]: OTHER_UID, ids["d"]: UID}
        assert await stock.inventory.settle_uids(claims) == {ids["b"]}
        rows = await stock.db.fetch("SELECT name, external_uid FROM clusters ORDER BY 1")
        assert [tuple(row) for row in rows] == [("a", UID), ("b", OTHER_UID), ("c", None), ("d", None)]


class TestStoreAway:
    async def test_nothing_changes_until_the_store_has_it(self, database_url: str, stock: Stock) -> None:
        await stock.read(sighting("a"), sighting("b"))
        async with open_line(database_url) as (line, through):
            remote = await Database.open(through)
            stock.inventory._db = remote
            before, known = stock.names, dict(stock.inventory.clusters)
            line.down = True
            line.cut()
            attempts = [
                stock.read(sighting("c")),
                stock.inventory.learn_uid(before["a"], UID),
                stock.inventory.settle_uids({before["b"]: OTHER_UID}),
            ]
            for attempt in attempts:
                with pytest.raises(StoreUnavailable):
                    await attempt
            assert stock.inventory.clusters == known
            line.down = False
            changes = await stock.read(sighting("c"))
            assert [cluster.name for cluster in changes.added] == ["c"]
            assert set(changes.removed) == set(before.values())
            await remote.close()

    async def test_an_instance_that_leads_no_more_may_not_write(self, stock: Stock) -> None:
        await stock.read(sighting("a"))
        await stock.restarted()
        known = dict(stock.inventory.clusters)
        with pytest.raises(StoreRefused, match="another instance leads"):
            await stock.read(sighting("b"))
        assert stock.inventory.clusters == known
        assert await stock.db.fetchval("SELECT count(*) FROM clusters") == 1

    async def test_a_name_that_the_store_can_not_take_changes_nothing(self, stock: Stock) -> None:
        await stock.read(sighting("a"))
        known = dict(stock.inventory.clusters)
        with pytest.raises(StoreError):
            await stock.read(sighting("a"), sighting("nul\0"))
        assert stock.inventory.clusters == known
        assert not await stock.read(sighting("a"))


async def test_the_ledger_agrees_after_all_that(stock: Stock) -> None:
    """A cluster that is rebuilt leaves its history to its old self."""
    await stock.read(sighting("a"))
    old = stock.names["a"]
    bench = Bench(stock.db, time=stock.time)
    await bench.recorder.load(await stock.db.fetchval("SELECT epoch FROM leadership"), 0)
    await stock.inventory.learn_uid(old, UID)
    bench.hear(old)
    await bench.recorder.flush()
    stock.time.advance(REBUILT_AT_MOST_EVERY_S)
    await stock.inventory.learn_uid(old, OTHER_UID)
    bench.recorder.forget(old)
    bench.hear(stock.names["a"])
    await bench.recorder.flush()
    assert len(bench.told) == 2
    assert [flaw for flaw in await flaws(stock.db, bench.told) if "a history and no state" not in flaw] == []
