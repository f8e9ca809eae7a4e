"""Pauses in a real database, alone and through the API: kept, fenced, audited, done once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest
from multidict import CIMultiDict

import muster
from collector.fleet import view
from collector.look import Look
from collector.measured import Totals, measure
from collector.pauses import MAX_PAUSE_S, Pause, PauseConflict, Pauses
from muster.access.access import Access
from muster.idempotency import ABANDONED_S, KEPT_S, Idempotency, Kept, KeyConflict
from store.errors import StoreRefused, StoreUnavailable
from store.migrate import MigrationSet, migrate
from store.pool import Database, Statements
from tests.support.collecting import MIGRATIONS, QUERIES, Time
from tests.support.hub import TOKENS, MadeUpHub, api_server, made_up_access
from validator.health import HealthSettings, step
from validator.model import Lifecycle
from validator.reasons import Health, Reason

ONE, OTHER = UUID(int=1), UUID(int=2)


@pytest.fixture
async def db(database: Database) -> Database:
    """The whole schema."""
    await migrate(database, [*MIGRATIONS, MigrationSet("muster", Path(muster.__path__[0]) / "migrations")], 1)
    return database


class Bench:
    """Pauses that lead, and their time."""

    def __init__(self, db: Database, time: Time | None = None) -> None:
        self.db = db
        self.time = time or Time()
        self.pauses = Pauses(db, QUERIES, self.time.clock)

    async def lead(self) -> Bench:
        await self.pauses.load(await self.db.fetchval("UPDATE leadership SET epoch = epoch + 1 RETURNING epoch"))
        return self

    async def successor(self) -> Bench:
        return await Bench(self.db, self.time).lead()

    @property
    def now(self) -> float:
        return self.time.clock.now()

    def active(self, cluster_id: UUID = ONE) -> Pause | None:
        return self.pauses.active(cluster_id, self.now)

    async def rows(self) -> list[dict[str, Any]]:
        sql = (
            "SELECT reason, by_whom, extract(epoch FROM ended_at)::float8 AS ended_at, ended_by, version, "
            "extract(epoch FROM until)::float8 AS until FROM pauses ORDER BY id"
        )
        return [dict(row) for row in await self.db.fetch(sql)]


@pytest.fixture
async def bench(db: Database) -> Bench:
    return await Bench(db).lead()


class TestPauses:
    async def test_a_pause_holds_until_it_is_resumed(self, bench: Bench) -> None:
        pause = await bench.pauses.pause(ONE, "moving racks", "ann", None)
        assert bench.active() == pause
        assert bench.active(OTHER) is None
        bench.time.advance(1e6)
        assert bench.active() is pause
        await bench.pauses.resume(pause, "bob")
        assert bench.active() is None
        assert [(row["ended_at"], row["ended_by"]) for row in await bench.rows()] == [(bench.now, "bob")]

    async def test_a_pause_ends_by_itself_and_another_one_may_begin(self, bench: Bench) -> None:
        until = bench.now + 60
        await bench.pauses.pause(ONE, "moving racks", "ann", until)
        bench.time.advance(59)
        assert bench.active() is not None
        bench.time.advance(1)
        assert bench.active() is None
        await bench.pauses.settle()
        assert [(row["ended_at"], row["ended_by"]) for row in await bench.rows()] == [(until, None)]
        await bench.pauses.pause(ONE, "again", "ann", bench.now + 5)
        bench.time.advance(6)
        again = await bench.pauses.pause(ONE, "and again", "ann", None)  # nobody has swept meanwhile
        assert (bench.active(), again.version) == (again, 1)

    async def test_two_at_once_make_one_pause(self, bench: Bench) -> None:
        attempts = (bench.pauses.pause(ONE, f"reason {n}", f"user{n}", None) for n in range(8))
        results = await asyncio.gather(*attempts, return_exceptions=True)
        begun = [each for each in results if isinstance(each, Pause)]
        lost = [each.current for each in results if isinstance(each, PauseConflict)]
        assert (len(begun), lost) == (1, begun * 7)
        assert bench.active() == begun[0]
        assert len(await bench.rows()) == 1

    async def test_a_change_makes_a_new_version_and_the_old_one_is_refused(self, bench: Bench) -> None:
        first = await bench.pauses.pause(ONE, "moving racks", "ann", None)
        second = await bench.pauses.change(first, "still moving", "bob", bench.now + 60)
        assert (second.id, second.version, second.by, second.begins_at) == (first.id, 2, "bob", first.begins_at)
        with pytest.raises(PauseConflict) as caught:
            await bench.pauses.change(first, "too late", "ann", None)
        assert caught.value.current == second == bench.active()
        with pytest.raises(PauseConflict):
            await bench.pauses.resume(first, "ann")
        assert bench.active() == second

    @pytest.mark.parametrize("ahead_s", [0.0, -1.0, -1e9, MAX_PAUSE_S + 1, float("nan"), float("inf")])
    async def test_an_end_that_makes_no_sense_is_refused(self, bench: Bench, ahead_s: float) -> None:
        with pytest.raises(ValueError, match=r"passed|ahead"):
            await bench.pauses.pause(ONE, "moving racks", "ann", bench.now + ahead_s)
        assert await bench.rows() == []

    async def test_a_clock_that_is_set_moves_no_pause(self, bench: Bench) -> None:
        until = bench.now + 600
        pause = await bench.pauses.pause(ONE, "until noon", "ann", until)
        bench.time.step(3600)
        bench.time.clock.follow(bench.time.clock.step_s())
        assert bench.active() is None
        bench.time.step(-3600)
        bench.time.clock.follow(bench.time.clock.step_s())
        assert bench.active() == pause
        bench.time.step(-3600)
        bench.time.clock.follow(bench.time.clock.step_s())
        assert bench.active() == pause
        await bench.pauses.resume(pause, "ann")
        [row] = await bench.rows()
        assert row["ended_at"] == pause.begins_at, "no pause of negative length"

    async def test_a_takeover_keeps_pauses_also_of_clusters_that_are_gone(self, bench: Bench) -> None:
        pauses = [await bench.pauses.pause(each, "moving racks", "ann", None) for each in (ONE, OTHER)]
        pauses[1] = await bench.pauses.change(pauses[1], "longer", "bob", bench.now + 60)
        after = await bench.successor()
        assert [after.active(ONE), after.active(OTHER)] == pauses
        after.time.advance(60)
        assert (await after.successor()).active(OTHER) is None

    async def test_a_former_leader_can_neither_begin_nor_end_anything(self, bench: Bench) -> None:
        pause = await bench.pauses.pause(ONE, "moving racks", "ann", bench.now + 60)
        await bench.successor()
        for attempt in (
            bench.pauses.pause(OTHER, "x", "ann", None),
            bench.pauses.change(pause, "x", "ann", None),
            bench.pauses.resume(pause, "ann"),
        ):
            with pytest.raises(StoreRefused):
                await attempt
        bench.time.advance(100)
        await bench.pauses.settle([ONE])
        [row] = await bench.rows()
        assert (row["ended_at"], row["version"]) == (None, 1)

    async def test_what_is_written_beside_it_is_written_or_neither_is(self, bench: Bench) -> None:
        async def fails(_: Statements) -> None:
            raise StoreUnavailable("no")

        with pytest.raises(StoreUnavailable):
            await bench.pauses.pause(ONE, "moving racks", "ann", None, fails)
        await bench.pauses.settle()
        assert (bench.active(), await bench.rows()) == (None, [])

    async def test_a_pause_whose_answer_was_lost_is_found_again(self, bench: Bench) -> None:
        class Lost(Pauses):
            """Commits, and does not hear of it."""

            async def _write(self, *args: Any) -> Any:
                await super()._write(*args)
                self._in_doubt.add(ONE)
                raise StoreUnavailable("the connection is lost")

        lost = Lost(bench.db, QUERIES, bench.time.clock)
        await lost.load(await bench.db.fetchval("SELECT epoch FROM leadership"))
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                await lost.pause(ONE, "moving racks", "ann", None)
            assert lost.active(ONE, bench.now) is None
            found = await lost.pause(ONE, "moving racks", "ann", None)
            assert (found.reason, lost.active(ONE, bench.now)) == ("moving racks", found)
            with pytest.raises(PauseConflict):
                await lost.pause(ONE, "moving racks", "ann", None)
            with pytest.raises(StoreUnavailable):
                await lost.resume(found, "ann")
            await lost.settle()
            assert lost.active(ONE, bench.now) is None

    async def test_old_pauses_are_forgotten(self, bench: Bench) -> None:
        for until in (bench.now + 10, None):
            await bench.pauses.pause(ONE if until else OTHER, "moving racks", "ann", until)
        await bench.db.execute(
            "INSERT INTO clusters (id, name, source, endpoint, lifecycle, first_seen_at) "
            "VALUES ($1, 'c', 'static', 'https://c', 'Active', now())",
            OTHER,
        )
        bench.time.advance(20)
        await bench.pauses.settle()
        await bench.pauses.keep(1)
        assert len(await bench.rows()) == 2
        bench.time.advance(2 * 86_400)
        await bench.pauses.keep(1)
        [row] = await bench.rows()
        assert row["ended_at"] is None


class TestView:
    def test_a_paused_cluster_is_suspended_with_the_cause_and_its_checks_go_on(self) -> None:
        hub = MadeUpHub()
        cluster_id = hub.put("berlin", hub.answer(Reason.NOT_READY))
        cluster, states, now = hub.inventory.clusters[cluster_id], hub.recorder.states[cluster_id], hub.clock.now()
        until = datetime(2030, 1, 1, 8, tzinfo=UTC).timestamp()
        pause = Pause(7, cluster_id, "moving racks", "ann", now - 60, until, 1)
        seen = view(cluster, states, now, pause=pause)
        assert (seen.health, seen.rollup.reason, seen.rollup.since) == (Health.SUSPENDED, Reason.PAUSED, now - 60)
        assert seen.rollup.message == "paused by ann until 2030-01-01 08:00 UTC: moving racks"
        assert [shown.health for shown in seen.checks] == [Health.UNHEALTHY]
        after = step(next(iter(states.values())), hub.answer(ago_s=0), HealthSettings(pass_after=1))
        assert after.health is not seen.checks[0].health  # a pause is nothing to the fold
        assert view(cluster, states, now).health is Health.UNHEALTHY

    async def test_pictures_and_metrics_follow_at_once(self) -> None:
        hub = MadeUpHub()
        cluster_id = hub.put("berlin", hub.answer(Reason.NOT_READY))
        look = Look()
        await hub.fleet(look)
        pause = await hub.pauses.pause(cluster_id, "moving racks", "ann", hub.clock.now() + 0.2)
        for expected in (Health.SUSPENDED, Health.UNHEALTHY):
            look = Look(look)
            picture, measured = await hub.fleet(look), await measure(hub, Totals())
            assert picture is not None
            assert measured.fleet is not None
            assert look.changed
            assert picture.counts[expected] == measured.fleet.counts[expected] == 1
            assert picture.clusters[cluster_id].pause == (pause if expected is Health.SUSPENDED else None)
            await asyncio.sleep(0.25)  # its end passes, and nobody does anything

    def test_a_lifecycle_is_named_before_a_pause(self) -> None:
        hub = MadeUpHub()
        cluster_id = hub.put("berlin", lifecycle=Lifecycle.HIBERNATED)
        pause = Pause(7, cluster_id, "moving racks", "ann", hub.clock.now(), None, 1)
        seen = view(hub.inventory.clusters[cluster_id], {}, hub.clock.now(), pause=pause)
        assert (seen.rollup.reason, seen.pause) == (Reason.HIBERNATED, pause)


class Api:
    """The API on a made-up fleet with real pauses, and who asks it."""

    def __init__(self, hub: MadeUpHub, url: str, access: Access, session: aiohttp.ClientSession) -> None:
        self.hub, self.url, self.access, self.session = hub, url, access, session
        self.cluster = hub.put("berlin", hub.answer(Reason.NOT_READY))

    async def post(
        self, action: str, body: Any = None, role: str = "operator", **headers: str
    ) -> tuple[int, dict[str, Any], CIMultiDict[str]]:
        sent = {"Authorization": f"Bearer {TOKENS[role]}"}  # type: ignore[index]
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        url = f"{self.url}/api/v1/clusters/berlin/{action}"
        async with self.session.post(url, json=body, headers=sent) as response:
            return response.status, await response.json(content_type=None), CIMultiDict(response.headers)

    async def get(self, path: str) -> Any:
        headers = {"Authorization": f"Bearer {TOKENS['admin']}"}  # type: ignore[index]
        async with self.session.get(self.url + path, headers=headers) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def audited(self) -> list[tuple[str, str, str]]:
        return [(each.who, each.action, each.outcome) for each in reversed(await self.access.audit.page(100))]


@pytest.fixture
async def api(db: Database) -> AsyncIterator[Api]:
    hub = MadeUpHub()
    pauses = Pauses(db, QUERIES, hub.clock)
    await pauses.load(await db.fetchval("UPDATE leadership SET epoch = epoch + 1 RETURNING epoch"))
    assert hub.leading is not None
    hub.leading.pauses = pauses
    access = made_up_access(hub)
    access.store.open(db)
    server = api_server(hub, access=access)
    await server.start()
    async with aiohttp.ClientSession() as session:
        yield Api(hub, server.url, access, session)
    await server.stop()


WHY = {"reason": "moving racks"}


class TestApi:
    async def test_pause_and_resume(self, api: Api) -> None:
        until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        status, detail, headers = await api.post("pause", {**WHY, "until": until})
        assert (status, detail["health"], detail["reason"]) == (200, "Suspended", "Paused")
        assert headers["ETag"] == detail["pause"]["etag"] == '"p1-1"'
        assert (detail["pause"]["by"], detail["pause"]["reason"]) == ("the-operator", "moving racks")
        assert detail["message"].startswith("paused by the-operator until 2")
        assert detail["checks"][0]["health"] == "Unhealthy"
        assert (await api.get("/api/v1/fleet"))["counts"]["Suspended"] == 1
        [listed] = (await api.get("/api/v1/clusters"))["clusters"]
        assert listed["pause"] == detail["pause"]

        status, detail, _ = await api.post("resume")
        assert (status, detail["health"], detail["pause"]) == (200, "Unhealthy", None)
        assert await api.audited() == [
            ("the-operator", "cluster.pause", "done"),
            ("the-operator", "cluster.resume", "done"),
        ]

    async def test_what_is_paused_is_changed_only_by_who_has_seen_it(self, api: Api) -> None:
        _, _, headers = await api.post("pause", WHY)
        etag = headers["ETag"]
        status, problem, _ = await api.post("pause", {"reason": "another"})
        assert (status, problem["type"], problem["pause"]["etag"]) == (409, "/problems/already-paused", etag)
        assert etag in problem["detail"]

        status, detail, headers = await api.post("pause", {"reason": "another"}, If_Match=etag)
        assert (status, detail["pause"]["version"], headers["ETag"]) == (200, 2, '"p1-2"')
        for action, body in (("pause", WHY), ("resume", None)):
            status, problem, _ = await api.post(action, body, If_Match=etag)
            assert (status, problem["type"]) == (412, "/problems/precondition-failed")
            assert problem["pause"]["etag"] == '"p1-2"'
            assert "another" in problem["detail"]
        assert (await api.post("resume", If_Match='"p1-2"'))[0] == 200
        for action, body in (("pause", WHY), ("resume", None)):
            assert (await api.post(action, body, If_Match='"p1-2"'))[0] == 412
        status, problem, _ = await api.post("resume")
        assert (status, problem["type"]) == (409, "/problems/not-paused")

    async def test_two_writers_at_once(self, api: Api) -> None:
        _, detail, _ = await api.post("pause", WHY)
        etag = detail["pause"]["etag"]
        answers = await asyncio.gather(*(api.post("pause", {"reason": f"r{n}"}, If_Match=etag) for n in range(6)))
        assert sorted(status for status, _, _ in answers) == [200] + 5 * [412]

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({**WHY, "until": "2020-01-01T00:00:00Z"}, "until: has passed already"),
            ({**WHY, "until": "9999-12-31T23:59:59.999999Z"}, "until: is more than ten years ahead"),
            ({"reason": " \u0000\t "}, "reason: "),
            ({"reason": "x" * 501}, "reason: "),
            ({}, "reason: "),
        ],
    )
    async def test_a_bad_request_pauses_nothing(self, api: Api, body: Any, field: str) -> None:
        status, problem, _ = await api.post("pause", body, Idempotency_Key="k")
        assert (status, problem["type"]) == (422, "/problems/bad-body")
        assert field in problem["detail"]
        assert (await api.post("pause", WHY, Idempotency_Key="k2"))[0] == 200

    async def test_a_reason_is_one_line_without_control_characters(self, api: Api) -> None:
        _, detail, _ = await api.post("pause", {"reason": "moving\x1b[31m\nracks\x00"})
        assert detail["pause"]["reason"].isprintable()

    async def test_a_viewer_may_not_and_the_audit_log_has_it(self, api: Api) -> None:
        for action, body in (("pause", WHY), ("resume", None)):
            assert (await api.post(action, body, role="viewer"))[0] == 403
        assert [outcome for _, _, outcome in await api.audited()] == ["/problems/forbidden"] * 2


class TestIdempotencyKey:
    async def test_the_same_request_again_is_answered_again_and_done_once(self, api: Api) -> None:
        first = await api.post("pause", WHY, Idempotency_Key="8e03978e")
        again = await api.post("pause", WHY, Idempotency_Key='"8e03978e"')
        assert (first[0], again[0], first[1]) == (200, 200, again[1])
        assert ("Idempotency-Replayed" in first[2], again[2]["Idempotency-Replayed"]) == (False, "true")
        assert len(await api.audited()) == 1

    async def test_two_at_once_are_done_once(self, api: Api) -> None:
        answers = await asyncio.gather(*(api.post("pause", WHY, Idempotency_Key="k") for _ in range(10)))
        assert {status for status, _, _ in answers} == {200}
        assert sum("Idempotency-Replayed" in headers for _, _, headers in answers) == 9
        assert len(await api.audited()) == 1

    async def test_another_request_with_the_same_key_is_refused(self, api: Api) -> None:
        await api.post("pause", WHY, Idempotency_Key="k")
        status, problem, _ = await api.post("pause", {"reason": "another"}, Idempotency_Key="k")
        assert (status, problem["type"]) == (409, "/problems/idempotency-conflict")

    async def test_somebody_elses_key_is_another_key(self, api: Api) -> None:
        await api.post("pause", WHY, Idempotency_Key="k")
        status, problem, _ = await api.post("pause", WHY, role="admin", Idempotency_Key="k")
        assert (status, problem["type"]) == (409, "/problems/already-paused")

    async def test_what_was_refused_is_tried_again(self, api: Api) -> None:
        await api.post("pause", WHY)
        assert (await api.post("pause", WHY, Idempotency_Key="k"))[0] == 409
        await api.post("resume")
        assert (await api.post("pause", WHY, Idempotency_Key="k"))[0] == 200

    @pytest.mark.parametrize("key", ["", '""', "x" * 256, "a\tb", "schlüssel"])
    async def test_a_key_that_is_none_is_refused(self, api: Api, key: str) -> None:
        status, problem, _ = await api.post("pause", WHY, Idempotency_Key=key)
        assert (status, problem["type"]) == (400, "/problems/bad-request")


class Store:
    """Where keys are."""

    def __init__(self, db: Database, access: Access) -> None:
        self.db, self.sql = db, access.store.sql


class TestIdempotency:
    @pytest.fixture
    def time(self) -> Time:
        return Time()

    @pytest.fixture
    def store(self, db: Database) -> Store:
        return Store(db, made_up_access(MadeUpHub()))

    async def test_the_row_decides_across_a_takeover(self, store: Store, time: Time) -> None:
        done: list[str] = []

        async def act() -> Kept:
            done.append(str(uuid4()))
            return Kept(200, done[-1].encode())

        for taken_over in (False, True):
            kept, replayed = await Idempotency(store, time.clock).once("k", "token:a", "POST /x", b"{}", act)
            assert (kept.body.decode(), replayed) == (done[0], taken_over)
        assert len(done) == 1
        time.advance(KEPT_S + 1)
        kept, replayed = await Idempotency(store, time.clock).once("k", "token:a", "POST /x", b"{}", act)
        assert (replayed, len(done)) == (False, 2)

    async def test_what_a_dead_instance_has_left_is_tried_again_a_minute_later(self, store: Store, time: Time) -> None:
        never = asyncio.Event()

        async def hang() -> Kept:
            await never.wait()
            raise AssertionError

        async def act() -> Kept:
            return Kept(200, b"done")

        dying = asyncio.create_task(Idempotency(store, time.clock).once("k", "a", "r", b"", hang))
        await asyncio.sleep(0.1)
        with pytest.raises(KeyConflict, match="elsewhere"):
            await Idempotency(store, time.clock).once("k", "a", "r", b"", act)
        dying.cancel()
        await asyncio.wait([dying])
        with pytest.raises(KeyConflict, match="elsewhere"):
            await Idempotency(store, time.clock).once("k", "a", "r", b"", act)
        time.advance(ABANDONED_S + 1)
        with pytest.raises(KeyConflict, match="another request"):
            await Idempotency(store, time.clock).once("k", "a", "other", b"", act)
        assert await Idempotency(store, time.clock).once("k", "a", "r", b"", act) == (Kept(200, b"done"), False)

    async def test_who_waits_for_the_first_does_not_wait_for_ever(self, store: Store, time: Time) -> None:
        never = asyncio.Event()

        async def hang() -> Kept:
            await never.wait()
            raise AssertionError

        instance = Idempotency(store, time.clock, wait_s=0.1)
        first = asyncio.create_task(instance.once("k", "a", "r", b"", hang))
        await asyncio.sleep(0)
        with pytest.raises(KeyConflict, match="still under way"):
            await instance.once("k", "a", "r", b"", hang)
        first.cancel()
        await asyncio.wait([first])
        assert instance._under_way == {}

    async def test_old_keys_are_forgotten(self, store: Store, time: Time) -> None:
        async def act() -> Kept:
            return Kept(200, b"")

        instance = Idempotency(store, time.clock)
        await instance.once("k", "a", "r", b"", act)
        await instance.forget(time.clock.now() + KEPT_S - 1)
        assert await store.db.fetchval("SELECT count(*) FROM idempotency_keys") == 1
        await instance.forget(time.clock.now() + KEPT_S + 1)
        assert await store.db.fetchval("SELECT count(*) FROM idempotency_keys") == 0
