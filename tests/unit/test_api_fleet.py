"""What the API says of the fleet and of one cluster, over HTTP from a hub with made-up states."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import aiohttp
import pytest

from tests.support.hub import GOOD, LOCAL_TOKEN, MadeUpHub, api_server
from tests.support.runtime import bearer
from validator.discovery.source import SourceProblem
from validator.guard import Guard
from validator.model import Check, Lifecycle
from validator.reasons import REASONS, Health, Reason
from validator.schedule import Lane


class Api:
    """The service, asked as JSON."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.session = session
        self.url = url

    async def get(self, path: str, status: int = 200) -> Any:
        async with self.session.get(self.url + path) as response:
            assert response.status == status, await response.text()
            return await response.json(content_type=None)

    async def names(self, query: str = "") -> list[str]:
        return [cluster["name"] for cluster in (await self.get(f"/api/v1/clusters{query}"))["clusters"]]


@pytest.fixture
async def hub() -> MadeUpHub:
    return MadeUpHub()


@pytest.fixture
async def api(hub: MadeUpHub) -> AsyncIterator[Api]:
    server = api_server(hub)
    await server.start()
    async with aiohttp.ClientSession(headers=bearer(LOCAL_TOKEN)) as session:
        yield Api(session, server.url)
    await server.stop()


async def test_the_fleet_is_counted_by_health_and_by_reason(hub: MadeUpHub, api: Api) -> None:
    hub.put("a", hub.answer())
    hub.put("b", hub.answer(Reason.CONNECT_TIMEOUT, ago_s=90, lane=Lane.DEAD))
    hub.put("c", hub.answer(Reason.CONNECT_TIMEOUT), hub.answer(check=Check.CREDENTIAL))
    hub.put("d", hub.answer(Reason.THROTTLED))
    hub.put("e", lifecycle=Lifecycle.HIBERNATED)
    fleet = await api.get("/api/v1/fleet")
    assert fleet["total"] == 5
    assert fleet["counts"] == {
        "Unreachable": 2,
        "Unhealthy": 0,
        "Unknown": 0,
        "Degraded": 1,
        "Suspended": 1,
        "Healthy": 1,
    }
    assert next(iter(fleet["reasons"].items())) == ("ConnectTimeout", 2)
    assert fleet["oldest_fact_age_s"] == pytest.approx(90, abs=2)
    assert fleet["lanes"]["dead"]["lateness_p99_s"] == pytest.approx(0.015)
    assert fleet["role"] == "leading"


async def test_the_fleet_tells_what_is_wrong_with_the_hub_itself(hub: MadeUpHub, api: Api) -> None:
    assert hub.leading is not None
    hub.recorder.degraded_since = hub.clock.now() - 60
    hub.leading.guard = Guard(holding=True, since=hub.clock.now() - 5, why="None of the 2 reference targets answers.")
    problem = SourceProblem("/etc/k", "users[3] has no name", "Name it.", entry="prod")
    hub.inventory.made_up_problems = [("kubeconfig", problem)] * 150
    fleet = await api.get("/api/v1/fleet")
    assert fleet["store"]["degraded_since"].endswith("Z")
    assert fleet["guard"]["holding"]
    assert fleet["guard"]["why"] == "None of the 2 reference targets answers."
    assert fleet["source_problems"][0] == {
        "source": "kubeconfig",
        "where": "/etc/k",
        "message": "users[3] has no name",
        "remedy": "Name it.",
        "entry": "prod",
    }
    assert (len(fleet["source_problems"]), fleet["source_problems_total"]) == (100, 150)


async def test_what_needs_attention_comes_first_and_what_is_off_on_purpose_does_not(hub: MadeUpHub, api: Api) -> None:
    hub.put("healthy", hub.answer())
    hub.put("asleep", lifecycle=Lifecycle.HIBERNATED)
    hub.put("degraded", hub.answer(Reason.THROTTLED))
    hub.put("old-news", hub.answer(Reason.CONNECT_TIMEOUT, ago_s=900))
    hub.put("unchecked")
    hub.put("unhealthy", hub.answer(Reason.NOT_READY))
    hub.put("news", hub.answer(Reason.CONNECT_TIMEOUT, ago_s=9))
    assert await api.names() == ["news", "old-news", "unhealthy", "unchecked", "degraded", "asleep", "healthy"]


async def test_filters_narrow_the_list(hub: MadeUpHub, api: Api) -> None:
    hub.put("prod-eu", hub.answer(Reason.NOT_READY))
    hub.put("prod-us", hub.answer(), source="kubeconfig")
    hub.put("stage", hub.answer(), also_known_as=["PROD-old"])
    assert await api.names("?health=unhealthy") == ["prod-eu"]
    assert len(await api.names("?health=Unhealthy&health=healthy,degraded")) == 3
    assert await api.names("?source=kubeconfig") == ["prod-us"]
    assert sorted(await api.names("?name=PROD")) == ["prod-eu", "prod-us", "stage"]
    assert await api.names("?name=nothing") == []


async def test_pages_show_every_cluster_once_while_the_fleet_changes(hub: MadeUpHub, api: Api) -> None:
    for number in range(50):
        hub.put(f"c{number:02d}", hub.answer(Reason.CONNECT_TIMEOUT, ago_s=1000 + number % 7))
    seen: list[str] = []
    page = await api.get("/api/v1/clusters?limit=7&health=unreachable")
    assert page["total"] == 50
    while True:
        seen += [cluster["name"] for cluster in page["clusters"]]
        if page["next"] is None:
            break
        if len(seen) == 14:  # two that were shown recover, and so leave the place before the cursor
            for name in seen[:2]:
                hub.put(name, hub.answer(), hub.answer())
            await asyncio.sleep(0.55)
        page = await api.get(f"/api/v1/clusters?limit=7&health=unreachable&after={page['next']}")
    assert len(seen) == 50
    assert set(seen) == {f"c{number:02d}" for number in range(50)}


@pytest.mark.parametrize(
    ("query", "parameter", "says"),
    [
        ("?helth=unknown", "helth", "did you mean health?"),
        ("?health=unhelthy", "health", "did you mean Unhealthy?"),
        ("?health=", "health", "is none of"),
        ("?limit=0", "limit", "greater than or equal to 1"),
        ("?limit=5001", "limit", "less than or equal to 5000"),
        ("?limit=ten", "limit", "integer"),
        ("?limit=1&limit=2", "limit", "more than once"),
        ("?after=%7B%7D", "after", "leave it out"),
        ("?after=WzEsMl0", "after", "leave it out"),
        (f"?name={'x' * 300}", "name", "at most 256"),
        ("?%1b[31m=1", "\x1b[31m", "unknown"),
    ],
)
async def test_a_query_that_makes_no_sense_is_named(api: Api, query: str, parameter: str, says: str) -> None:
    problem = await api.get(f"/api/v1/clusters{query}", 400)
    assert problem["type"] == "/problems/bad-query"
    assert problem["errors"][0]["parameter"] == parameter
    assert says in problem["errors"][0]["message"]
    assert says in problem["detail"]


async def test_a_cluster_tells_its_remedy_stages_evidence_and_what_is_coming(hub: MadeUpHub, api: Api) -> None:
    failing = hub.answer(
        Reason.TLS_TIMEOUT,
        ago_s=20,
        message="no handshake within 5.0 s",
        evidence={"connect_ms": 0.4, "tls_ms": 5001.0},
    )
    hub.put("prod", hub.answer(ago_s=90, evidence=GOOD), failing, hub.answer(Reason.TLS_TIMEOUT, ago_s=3))
    hub.put("prod", hub.answer(Reason.PERMISSION_DENIED, check=Check.CREDENTIAL), endpoint="https://10.0.0.1:6443")
    found = await api.get("/api/v1/clusters/prod")
    assert (found["health"], found["reason"], found["check"]) == ("Degraded", "PermissionDenied", "credential")
    assert "in prod." in found["remedy"]
    assert found["docs"] == "docs/reasons.md#permissiondenied"
    apiserver, credential = found["checks"]
    assert (apiserver["health"], credential["health"]) == ("Healthy", "Degraded")
    assert apiserver["evidence"]["version"] == "v1.36.2"  # of the newest answer that agrees with the health
    assert apiserver["streak"] == {
        "answers": 2,
        "needed": 3,
        "towards": "Unreachable",
        "since": apiserver["streak"]["since"],
    }
    assert apiserver["answer"]["outcome"] == "fail"
    assert found["next_due_s"] is None


@pytest.mark.parametrize("reason", list(Reason))
async def test_every_reason_has_a_remedy_without_placeholders(hub: MadeUpHub, api: Api, reason: Reason) -> None:
    hub.put("prod", hub.answer(reason), endpoint="https://10.0.0.1:6443")
    check = (await api.get("/api/v1/clusters/prod"))["checks"][0]
    assert check["reason"] == reason
    assert check["docs"].endswith(f"#{reason.lower()}")
    assert check["remedy"]
    assert "{" not in check["remedy"].replace("{cluster}", "{")
    assert ("{cluster}" in REASONS[reason].remedy) == ("prod" in check["remedy"])


async def test_stages_after_the_failing_one_were_not_reached(hub: MadeUpHub, api: Api) -> None:
    hub.put("a", hub.answer(Reason.TLS_TIMEOUT, evidence={"dns_ms": 1.0, "connect_ms": 2.0, "tls_ms": 5000.0}))
    hub.put("b", hub.answer(evidence={"reused": True, "http_ms": 1.5}))
    hub.put("c", hub.answer(Reason.CERTIFICATE_EXPIRING_SOON, evidence=GOOD))
    hub.put("d", hub.answer(Reason.PROBE_DEFECT))
    assert await _stages(api, "a") == [
        ("dns", "passed"),
        ("connect", "passed"),
        ("tls", "failed"),
        ("http", "unreached"),
    ]
    assert await _stages(api, "b") == [("dns", "reused"), ("connect", "reused"), ("tls", "reused"), ("http", "passed")]
    assert [outcome for _, outcome in await _stages(api, "c")] == ["passed", "passed", "finding", "passed", "passed"]
    assert await _stages(api, "d") == []


async def _stages(api: Api, name: str) -> list[tuple[str, str]]:
    check = (await api.get(f"/api/v1/clusters/{name}"))["checks"][0]
    return [(stage["stage"], stage["outcome"]) for stage in check["answer"]["stages"]]


@pytest.mark.parametrize("name", ["arn:aws:eks:eu-west-1:123:cluster/prod", "köln 東京", "a%2Fb", "x?y#z", "../fleet"])
async def test_a_cluster_is_found_by_whatever_name_it_has(hub: MadeUpHub, api: Api, name: str) -> None:
    cluster_id = hub.put(name, hub.answer(), also_known_as=["other"])
    for called in (name, "other", str(cluster_id), str(cluster_id)[:8]):
        assert (await api.get(f"/api/v1/clusters/{quote(called, safe='')}"))["name"] == name


async def test_a_name_of_several_clusters_lists_their_ids(hub: MadeUpHub, api: Api) -> None:
    ids = {str(hub.put("prod", hub.answer())), str(hub.put("prod", hub.answer(), source="kubeconfig"))}
    problem = await api.get("/api/v1/clusters/prod", 409)
    assert problem["type"] == "/problems/ambiguous-cluster"
    assert {cluster["id"] for cluster in problem["clusters"]} == ids


async def test_an_unknown_name_brings_those_that_were_meant(hub: MadeUpHub, api: Api) -> None:
    for name in ("prod-eu-west-1", "prod-eu-west-2", "stage"):
        hub.put(name, hub.answer())
    assert set((await api.get("/api/v1/clusters/eu-west", 404))["suggestions"]) == {"prod-eu-west-1", "prod-eu-west-2"}
    problem = await api.get("/api/v1/clusters/stgae", 404)
    assert problem["suggestions"] == ["stage"]
    assert "Did you mean stage?" in problem["detail"]
    assert (await api.get(f"/api/v1/clusters/{uuid4()}", 404))["type"] == "/problems/cluster-not-found"


async def test_history_pages_backwards(hub: MadeUpHub, api: Api) -> None:
    one, two = hub.put("one", hub.answer()), hub.put("two", hub.answer())
    for number in range(5):
        hub.change(one if number % 2 else two, Health.HEALTHY, Health.UNREACHABLE, Reason.CONNECT_TIMEOUT)
    page = await api.get("/api/v1/transitions?limit=3")
    assert [change["id"] for change in page["transitions"]] == [5, 4, 3]
    assert page["transitions"][0]["to_health"] == "Unreachable"
    page = await api.get(f"/api/v1/transitions?limit=3&before={page['next']}")
    assert [change["id"] for change in page["transitions"]] == [2, 1]
    assert page["next"] is None
    page = await api.get("/api/v1/clusters/one/history")
    assert {change["cluster_name"] for change in page["transitions"]} == {"one"}


async def test_the_history_of_a_cluster_outlives_it(hub: MadeUpHub, api: Api) -> None:
    cluster_id = hub.put("gone", hub.answer())
    hub.change(cluster_id, Health.HEALTHY, Health.UNREACHABLE, Reason.CONNECT_TIMEOUT)
    del hub.inventory.clusters[cluster_id]
    assert len((await api.get(f"/api/v1/clusters/{cluster_id}/history"))["transitions"]) == 1
    await api.get("/api/v1/clusters/gone/history", 404)


async def test_history_says_so_when_the_database_is_away(hub: MadeUpHub, api: Api) -> None:
    hub.history.away = True
    problem = await api.get("/api/v1/transitions", 503)
    assert problem["type"] == "/problems/store-unavailable"
    assert "connection refused" in problem["detail"]
    assert (await api.get("/api/v1/fleet"))["total"] == 0  # the picture needs no database


async def test_a_standby_says_what_it_waits_for(hub: MadeUpHub, api: Api) -> None:
    hub.stand_by("another instance leads: host:123")
    for path in ("/readyz", "/api/v1/fleet", "/api/v1/clusters", "/api/v1/clusters/x", "/api/v1/transitions"):
        problem = await api.get(path, 503)
        assert problem["type"] == "/problems/not-leading"
        assert problem["waiting_for"] == "another instance leads: host:123"
        assert problem["role"] == "standby"
        assert "another instance leads: host:123" in problem["detail"]


async def test_several_requests_share_one_picture(hub: MadeUpHub, api: Api) -> None:
    hub.put("a", hub.answer())
    moments = {(await api.get(path))["now"] for path in ("/api/v1/fleet", "/api/v1/clusters", "/api/v1/fleet")}
    assert len(moments) == 1
    await asyncio.sleep(0.55)
    assert (await api.get("/api/v1/fleet"))["now"] not in moments


async def test_a_long_list_lets_the_loop_breathe(hub: MadeUpHub, api: Api) -> None:
    for number in range(4000):
        hub.put(f"c{number}", hub.answer(evidence=GOOD))
    await api.get("/api/v1/fleet")  # makes the picture
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    spinning = asyncio.create_task(turn())
    await asyncio.sleep(0)
    before = turns
    page = await api.get("/api/v1/clusters?limit=5000")
    spinning.cancel()
    assert len(page["clusters"]) == 4000
    assert turns - before > 20  # 4000 / 200 chunks at least, each with a turn after it
