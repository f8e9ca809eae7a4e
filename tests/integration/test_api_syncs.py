"""Syncs through the API and the command line: who may, who waits, what is told of other owners, what was found."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator

import pytest

from collector.location_store import LocationStore
from collector.locations import Locations
from collector.requests import Answered, ReportedSync, RequestKind
from collector.requests import SyncState as Reported
from collector.sync_store import held_by_syncs
from muster.direct import Direct
from muster.settings import Settings
from muster.syncing import make_syncs
from store.pool import Database
from tests.support.location_api import LocationApi, location_api
from tests.support.locations import LOCATION_QUERIES, LocationBench, whole_schema
from tests.support.syncs import SYNC_QUERIES, SyncBench, inventory
from validator.backups.inventory import to_document
from validator.backups.runner import SyncResult
from validator.model import Check, Outcome, Verdict
from validator.net.resolver import CaresResolver


class SyncApi:
    """Two names of one bucket, of two owners; the hub lists both."""

    def __init__(self, api: LocationApi, bench: SyncBench) -> None:
        self.api, self.bench = api, bench

    async def ask(
        self, method: str, path: str, body: object = None, role: str = "operator"
    ) -> tuple[int, dict[str, object]]:
        status, document, _ = await self.api.ask(method, path, body=body, role=role)
        return status, document

    async def until_ended(self, name: str) -> dict[str, object]:
        async with asyncio.timeout(5):
            while True:
                _, status = await self.ask("GET", f"/{name}/sync", role="viewer")
                if isinstance(sync := status["sync"], dict) and sync["ended_at"] is not None:
                    return sync
                await asyncio.sleep(0.02)


@pytest.fixture
async def syncing(database: Database) -> AsyncIterator[SyncApi]:
    async with location_api(await whole_schema(database)) as api:
        leading = api.hub.leading
        assert leading is not None
        store = LocationStore(database, LOCATION_QUERIES, [held_by_syncs(SYNC_QUERIES)])
        locations = leading.locations = Locations(store, api.hub.clock)
        await locations.load(await database.fetchval("SELECT epoch FROM leadership"))
        around = LocationBench(database)
        around.locations = locations
        bench = await SyncBench(around).lead()
        bench.direct = {"ann", "bob"}
        leading.syncs = bench.syncs
        await api.create("berlin", name="backups-eu", owner="ann")
        await api.create(name="same", owner="ann", allow_shared=True)
        await api.create(name="foreign", owner="bob", allow_shared=True)
        async with bench.running():
            yield SyncApi(api, bench)


async def test_a_sync_from_its_start_to_its_inventory(syncing: SyncApi) -> None:
    bench, ask = syncing.bench, syncing.ask
    assert (await ask("GET", "/backups-eu/sync", role="viewer"))[1] == {
        "location": "backups-eu",
        "sync": None,
        "waiting": 0,
    }
    status, problem = await ask("GET", "/backups-eu/inventory", role="viewer")
    assert (status, problem["type"]) == (404, "/problems/no-inventory")
    assert (await ask("POST", "/backups-eu/sync", role="viewer"))[0] == 403

    status, begun = await ask("POST", "/backups-eu/sync")
    assert (status, begun["state"], begun["method"], begun["before"]) == (202, "Pending", "direct", 0)
    await bench.until(lambda: bench.runner.progress)
    next(iter(bench.runner.progress.values()))(12, None)
    status, problem = await ask("POST", "/same/sync", {})
    assert (status, problem["type"]) == (409, "/problems/sync-busy")
    assert "is being listed for backups-eu since" in str(problem["detail"])
    assert "12 objects listed" in str(problem["detail"])
    holder = problem["holder"]
    assert isinstance(holder, dict)
    assert (holder["location"], holder["listed"], holder["by"]) == ("backups-eu", 12, begun["by"])
    status, problem = await ask("POST", "/foreign/sync", {})
    assert (status, "backups-eu" in json.dumps(problem)) == (409, False)
    assert "a location of another owner" in str(problem["detail"])
    status, waits = await ask("POST", "/foreign/sync", {"queue": True})
    assert (status, waits["state"], waits["before"]) == (202, "Pending", 1)
    status, problem = await syncing.ask("DELETE", "/foreign")
    assert (status, "1 sync (Pending since" in str(problem["detail"])) == (409, True)

    bench.runner.result = SyncResult(40, inventory(bench.time.wall_s - 7200, missing=1))
    bench.runner.go.set()
    assert (await syncing.until_ended("backups-eu"))["state"] == "Succeeded"
    await syncing.until_ended("foreign")
    status, found = await ask("GET", "/backups-eu/inventory", role="viewer")
    assert (status, found["objects"], found["missing"], found["cluster"]) == (
        200,
        40,
        ["backups/daily/daily.tar.gz"],
        None,
    )
    groups = found["groups"]
    assert isinstance(groups, list)
    assert [(each["cluster"], each["newest"]) for each in groups] == [("berlin", "daily")]
    assert {each[1:3] for each in await syncing.api.audited() if each[1] == "location.sync"} == {
        ("location.sync", "backups-eu"),
        ("location.sync", "foreign"),
        ("location.sync", "same"),
    }


async def test_what_nobody_can_list_is_said_with_the_remedy(syncing: SyncApi) -> None:
    syncing.bench.direct = set()
    status, problem = await syncing.ask("POST", "/backups-eu/sync", {})
    assert (status, problem["type"]) == (409, "/problems/no-sync-asker")
    assert "muster clusters add --cluster NAME" in str(problem["detail"])
    status, problem = await syncing.ask("POST", "/backups-eu/sync", {"cluster": "berlin"})
    assert (status, "berlin has no agent" in str(problem["detail"])) == (409, True)
    assert (await syncing.ask("POST", "/backups-eu/sync", {"cluster": "nowhere"}))[0] == 404
    assert (await syncing.ask("POST", "/backups-eu/sync", {"queue": "yes"}))[0] == 422
    assert (await syncing.ask("POST", "/none/sync", {}))[0] == 404


async def test_put_together_a_new_location_is_listed_by_its_agent_at_once(database: Database) -> None:
    async with location_api(await whole_schema(database)) as api:
        leading = api.hub.leading
        assert leading is not None
        berlin, recorded = next(iter(leading.inventory.clusters)), list[Verdict]()
        syncs = leading.syncs = make_syncs(
            database,
            api.hub.clock,
            leading.inventory,
            leading.locations,
            leading.recorder,
            leading.requests,
            Direct({}, CaresResolver(), api.hub.clock),
            Settings,
            has_agent=lambda cluster_id: cluster_id == berlin,
            record=recorded.extend,
        )
        await syncs.load(await database.fetchval("SELECT epoch FROM leadership"))
        running = asyncio.create_task(syncs.run(), name="syncs")
        try:
            await api.create("berlin", sync=True)
            async with asyncio.timeout(5):
                while not (asked := leading.requests.pending(berlin)):  # noqa: ASYNC110 - it has no event
                    await asyncio.sleep(0.01)
            [request] = asked
            found = to_document(inventory(api.hub.clock.now() - 3600))
            said = ReportedSync(Reported.SUCCEEDED, None, "", 40, None, found)
            leading.requests.answered([Answered(request.id, berlin, request.location_id, RequestKind.SYNC, sync=said)])
            async with asyncio.timeout(5):
                while not recorded:  # noqa: ASYNC110 - the same
                    await asyncio.sleep(0.01)
        finally:
            running.cancel()
            await asyncio.wait([running])
        assert {(each.check, each.outcome) for each in recorded} == {
            (Check.BACKUPS, Outcome.PASS),
            (Check.MISSING_FILES, Outcome.PASS),
        }
        _, status, _ = await api.ask("GET", "/backups-eu/sync", role="viewer")
        assert (status["sync"]["state"], status["sync"]["by"], status["sync"]["cluster"]) == (
            "Succeeded",
            "muster",
            "berlin",
        )


async def test_the_command_line(syncing: SyncApi) -> None:
    bench, cli = syncing.bench, syncing.api.cli
    result = await cli("inventory", "backups-eu")
    assert (result.exit_code, "muster locations sync" in result.output) == (2, True)
    result = await cli("sync", "backups-eu")
    assert (result.exit_code, "backups-eu is being listed by the hub" in result.stdout) == (0, True)
    result = await cli("sync", "same")
    assert (result.exit_code, "--queue" in result.stderr) == (2, True)
    waiting = asyncio.create_task(cli("sync", "same", "--queue", "--wait"), name="cli")
    await bench.until(lambda: bench.syncs.waiting("azure:AzurePublicCloud:acmebackups/daily"))
    bench.runner.result = SyncResult(40, inventory(bench.time.wall_s - 7200, missing=1))
    bench.runner.go.set()
    result = await waiting
    assert result.exit_code == 0, result.output
    assert re.search(r"same: 1 backup, 40 objects listed", result.stdout), result.stdout
    result = await cli("inventory", "backups-eu")
    assert result.exit_code == 0, result.output
    assert re.search(r"velero +\(top\) +berlin +1 +daily", result.stdout), result.stdout
    assert "1 object is missing" in result.stdout
    shown = json.loads((await cli("inventory", "backups-eu", "-o", "json")).stdout)
    assert shown["groups"][0]["product"] == "velero"
    assert "product: velero" in (await cli("inventory", "backups-eu", "-o", "yaml")).stdout
    assert "backups/daily/daily.tar.gz" in (await cli("inventory", "backups-eu", "-o", "wide")).stdout
    bench.runner.result = SyncResult(0, message="no right")
    result = await cli("sync", "backups-eu", "--wait")
    assert (result.exit_code, "no right" in result.stdout) == (1, True)
