"""The matrix over HTTP: cells, filters, sorts, pages, entity tags, causes, and one cell."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.matrix import Cell
from muster.api.cursor import Position
from muster.api.matrix_lists import MatrixLists
from muster.api.matrix_queries import MatrixQuery, MatrixSort, Wanted
from muster.api.picture import REUSE_S
from tests.support.hub import MadeUpHub
from tests.support.reading import Api, asked
from tests.unit.test_matrix import cells_of_any_kind
from validator.locations import Environment, Provider
from validator.model import Check, Lifecycle
from validator.reasons import Health, Reason

MATRIX = "/api/v1/matrix"

NEXT_PICTURE_S = REUSE_S + 0.05

AZURE: dict[str, Any] = {"provider": Provider.AZURE, "account": "acme", "environment": Environment.PUBLIC}


@pytest.fixture
async def hub() -> MadeUpHub:
    """Two locations in one account, to which berlin has no role, and one that rome was not asked about yet."""
    hub = MadeUpHub()
    berlin, paris = (hub.put(name, labels={"env": "prod"}) for name in ("berlin", "paris"))
    rome = hub.put("rome")
    daily = hub.put_location("daily", berlin, paris, owner="bob", **AZURE)
    weekly = hub.put_location("weekly", berlin, paris, owner="bob", **AZURE)
    archive = hub.put_location("archive", paris, rome)
    refused = hub.answer(Reason.ROLE_MISSING, check=Check.LOCATION, message="403", evidence={"method": "agent"})
    for each in (daily, weekly):
        hub.put_pair(berlin, each, refused)
        hub.put_pair(paris, each, hub.answer(check=Check.LOCATION, ago_s=40, evidence={"method": "agent"}))
    hub.put_pair(paris, archive, hub.answer(check=Check.LOCATION, evidence={"method": "resource"}))
    return hub


@pytest.fixture
async def api(hub: MadeUpHub) -> AsyncIterator[Api]:
    async with asked(hub) as api:
        yield api


async def names(api: Api, **query: Any) -> list[str]:
    return [f"{each['cluster']}/{each['location']}" for each in (await api.get(MATRIX, query))["cells"]]


async def test_each_pair_is_a_cell_and_what_they_share_is_said_once(api: Api) -> None:
    page = await api.get(MATRIX)
    assert (page["total"], page["clusters"], page["next"]) == (6, 3, None)
    assert {health: n for health, n in page["counts"].items() if n} == {"Unhealthy": 2, "Unknown": 1, "Healthy": 3}
    columns = [(each["name"], each["account"], each["pairs"]) for each in page["locations"]]
    assert columns == [("archive", None, 2), ("daily", "acme", 2), ("weekly", "acme", 2)]
    role, unasked = page["causes"]
    assert role["text"] == "berlin: RoleMissing on account acme"
    assert (role["scope"], role["where"], role["pairs"], role["clusters"]) == ("account", "acme", 2, 1)
    assert role["location_names"] == ["daily", "weekly"]
    assert "Storage Blob Data Contributor on account acme" in role["remedy"]
    assert (unasked["text"], unasked["scope"]) == ("rome: NotCheckedYet on archive", "reason")
    cell = page["cells"][0]
    assert (cell["cluster"], cell["location"], cell["health"], cell["reason"]) == (
        "berlin",
        "daily",
        "Unhealthy",
        "RoleMissing",
    )
    assert (cell["stage"], cell["message"], cell["method"], cell["provider"]) == ("storage", "403", "agent", "azure")
    assert cell["docs"] == "docs/reasons.md#rolemissing"
    assert 5 <= cell["age_s"] < 6
    assert page["cells"][-1]["method"] is None


async def test_filters_narrow_it_together(api: Api) -> None:
    assert await names(api, cluster="paris", location="daily,archive") == ["paris/archive", "paris/daily"]
    assert await names(api, label="env=prod", health="unhealthy") == ["berlin/daily", "berlin/weekly"]
    assert await names(api, label="!env") == ["rome/archive"]
    assert await names(api, label="env", cluster="rome") == []
    assert await names(api, reason="RoleMissing", location="weekly") == ["berlin/weekly"]
    assert await names(api, provider="s3", method="resource") == ["paris/archive"]
    assert await names(api, account="acme,other", cluster="paris") == ["paris/daily", "paris/weekly"]
    assert await names(api, owner="ann") == ["paris/archive", "rome/archive"]
    assert await names(api, owner="ann", location="daily") == []
    page = await api.get(MATRIX, {"health": "unhealthy", "location": "daily"})
    assert (page["total"], page["counts"]["Healthy"]) == (1, 1)  # counts say what the health keeps out
    assert [cause["text"] for cause in page["causes"]] == ["berlin: RoleMissing on daily"]


async def test_names_that_stand_for_nothing_are_refused(api: Api) -> None:
    assert (await api.get(MATRIX, {"cluster": "berln"}, 404))["suggestions"] == ["berlin"]
    assert (await api.get(MATRIX, {"location": "dayly"}, 404))["suggestions"] == ["daily"]
    assert "one comma between two" in await api.refused(MATRIX, {"location": "daily,"}, "location")
    assert "at most 100" in await api.refused(MATRIX, {"account": ",".join(map(str, range(101)))}, "account")
    assert "did you mean direct?" in await api.refused(MATRIX, {"method": "dirct"}, "method")


@pytest.mark.parametrize(
    ("sort", "first"),
    [
        ("cluster", ["berlin/daily", "berlin/weekly", "paris/archive"]),
        ("location", ["paris/archive", "rome/archive", "berlin/daily"]),
        ("attention", ["berlin/daily", "berlin/weekly", "rome/archive"]),
        ("rows", ["berlin/daily", "berlin/weekly", "rome/archive"]),
    ],
)
async def test_pages_together_have_every_cell_once(api: Api, sort: str, first: list[str]) -> None:
    paged: list[str] = []
    query: dict[str, Any] = {"sort": sort, "limit": 2}
    while True:
        page = await api.get(MATRIX, query)
        assert (page["total"], len(page["causes"])) == (6, 2)
        paged += [f"{each['cluster']}/{each['location']}" for each in page["cells"]]
        if page["next"] is None:
            break
        query["after"] = page["next"]
    assert paged == await names(api, sort=sort)
    assert (len(set(paged)), paged[:3]) == (6, first)
    assert "another query" in await api.refused(MATRIX, {**query, "health": "healthy"}, "after")


async def status(api: Api, known: str, **query: str) -> int:
    async with api.session.get(api.url + MATRIX, params=query, headers={"If-None-Match": known}) as response:
        body = await response.read()
        assert bool(body) == (response.status == 200)
        assert response.headers["Cache-Control"] == "no-cache"
        return response.status


async def tag(api: Api, **query: str) -> str:
    await asyncio.sleep(NEXT_PICTURE_S)
    async with api.session.get(api.url + MATRIX, params=query) as response:
        return response.headers["ETag"]


async def test_a_matrix_that_means_the_same_is_not_sent_again(hub: MadeUpHub, api: Api) -> None:
    known = await tag(api)
    paris, archive = hub.find("paris")[0], hub.locations.find("archive")
    assert archive is not None
    hub.put_pair(paris, archive, hub.answer(check=Check.LOCATION, ago_s=0, evidence={"method": "resource"}))
    assert await tag(api) == known
    assert await status(api, known) == 304
    assert await status(api, known, location="daily") == 200  # another question
    fresh = await api.get(MATRIX, {"cluster": "paris", "location": "archive"})
    assert fresh["cells"][0]["age_s"] < 3  # lists are of the generation, cells of the newest picture
    hub.put_pair(paris, archive, hub.answer(check=Check.LOCATION, ago_s=0, evidence={"method": "agent"}))
    assert await tag(api) != known
    known = await tag(api)
    hub.put("paris", labels={"env": "stage"})
    assert await tag(api) != known


async def test_an_old_fact_is_never_confirmed_past_its_allowance(hub: MadeUpHub, api: Api) -> None:
    paris, archive = hub.find("paris")[0], hub.locations.find("archive")
    assert archive is not None
    hub.put_pair(paris, archive, hub.answer(check=Check.LOCATION, ago_s=0, allowance_s=1.0))
    known = await tag(api)
    assert await status(api, known) == 304
    await asyncio.sleep(0.6)
    assert await status(api, known) == 200
    (cell,) = (await api.get(MATRIX, {"cluster": "paris", "location": "archive"}))["cells"]
    assert (cell["health"], cell["reason"], cell["last_known"]) == ("Unknown", "Stale", "Healthy")


async def test_what_goes_takes_its_cells_along(hub: MadeUpHub, api: Api) -> None:
    known = await tag(api)
    hub.put_location("daily", hub.find("paris")[0], owner="bob", **AZURE)
    del hub.inventory.clusters[hub.find("rome")[0]]
    assert await tag(api) != known
    assert await names(api) == ["berlin/weekly", "paris/archive", "paris/daily", "paris/weekly"]


async def test_clusters_that_sleep_or_are_paused_have_suspended_cells(hub: MadeUpHub, api: Api) -> None:
    hub.put("paris", lifecycle=Lifecycle.HIBERNATED)
    await hub.pauses.pause(hub.find("berlin")[0], "new disks", "ann", None)
    found = {each["cluster"]: (each["health"], each["reason"]) for each in (await api.get(MATRIX))["cells"]}
    assert found["paris"] == ("Suspended", "Hibernated")
    assert found["berlin"] == ("Suspended", "Paused")


async def test_one_cell_has_its_checks_and_where_its_history_is(hub: MadeUpHub, api: Api) -> None:
    paris, daily = hub.find("paris")[0], hub.locations.find("daily")
    assert daily is not None
    hub.put_pair(
        paris, daily, hub.answer(Reason.BACKUPS_TOO_OLD, check=Check.BACKUPS, evidence={"newest_backup_age_s": 9e5})
    )
    cell = await api.get(f"{MATRIX}/paris/daily")
    assert (cell["health"], cell["check"], cell["owner"]) == ("Healthy", "location", "bob")
    assert [each["check"] for each in cell["checks"]] == ["location", "backups"]
    backups = cell["checks"][1]
    assert (backups["reason"], backups["evidence"]) == ("BackupsTooOld", {"newest_backup_age_s": 9e5})
    assert "paris" in backups["remedy"]
    assert cell["next_due_s"] is None
    assert cell["history"] == f"/api/v1/clusters/{paris}/history?location={daily.id}"
    refused = await api.get(f"{MATRIX}/berlin/daily")
    assert daily.where.url in refused["remedy"]
    assert (await api.get(cell["history"]))["transitions"] == []
    assert (await api.get(f"{MATRIX}/{paris}/{daily.id}"))["cluster"] == "paris"
    assert (await api.get(f"{MATRIX}/berlin/archive", status=404))["type"] == "/problems/pair-not-found"
    assert (await api.get(f"{MATRIX}/berlin/dayly", status=404))["suggestions"] == ["daily"]


async def test_history_can_be_asked_of_a_locations_pairs(hub: MadeUpHub, api: Api) -> None:
    paris, daily = hub.find("paris")[0], hub.locations.find("daily")
    assert daily is not None
    for _ in range(2):
        hub.change(paris, Health.HEALTHY, Health.UNHEALTHY, Reason.ROLE_MISSING)
    hub.history.changes[0] = replace(hub.history.changes[0], location_id=daily.id, location_name="daily")
    for path in ("/api/v1/transitions", "/api/v1/clusters/paris/history"):
        for location in ("daily", str(daily.id)):
            (change,) = (await api.get(path, {"location": location}))["transitions"]
            assert (change["id"], change["location_name"]) == (1, "daily")
        assert len((await api.get(path))["transitions"]) == 2
    assert (await api.get("/api/v1/transitions", {"location": "weekly"}))["transitions"] == []
    assert (await api.get("/api/v1/transitions", {"location": "dayly"}, 404))["suggestions"] == ["daily"]


async def test_an_instance_that_stands_by_says_so(hub: MadeUpHub, api: Api) -> None:
    hub.stand_by("another one leads")
    for path in (MATRIX, f"{MATRIX}/paris/daily"):
        assert (await api.get(path, status=503))["type"] == "/problems/not-leading"


@given(cells_of_any_kind, st.sampled_from(MatrixSort), st.integers(1, 7), st.sampled_from([None, *Health]))
def test_any_matrix_is_paged_through_in_order(
    cells: list[Cell], sort: MatrixSort, limit: int, health: Health | None
) -> None:
    by_key = {each.key: each for each in cells}
    query = MatrixQuery.model_validate({"sort": sort.value, **({"health": [health.value]} if health else {})})
    listed = asyncio.run(MatrixLists(by_key, {}).get(Wanted.of(query, None, None)))
    seen: list[Cell] = []
    after: Position | None = None
    while True:
        page, after = listed.page(by_key, after, limit)
        seen += page
        if after is None:
            break
    assert sorted(each.key for each in seen) == sorted(
        each.key for each in cells if health is None or each.health is health
    )
    places = [listed.place(each) for each in seen]
    assert places == sorted(places)
    assert sum(listed.columns.values()) == len(seen)
    assert sum(listed.counts.values()) == len(cells)
    if sort is MatrixSort.ROWS:
        rows = [each.key.cluster_id for each in seen]
        assert len([row for row, before in zip(rows, [None, *rows], strict=False) if row != before]) == len(set(rows))
