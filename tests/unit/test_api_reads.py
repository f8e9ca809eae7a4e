"""Reading over HTTP: entity tags, filters, sorts, cursors, windows of history, and what paths do with methods."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from muster.api.picture import REUSE_S
from tests.support.hub import MadeUpHub
from tests.support.reading import Api, asked
from validator.discovery.source import SourceProblem
from validator.guard import Guard
from validator.model import Check
from validator.reasons import Health, Reason

NEXT_PICTURE_S = REUSE_S + 0.05

FLEET, CLUSTERS, TRANSITIONS = "/api/v1/fleet", "/api/v1/clusters", "/api/v1/transitions"


@pytest.fixture
async def hub() -> MadeUpHub:
    return MadeUpHub()


@pytest.fixture
async def api(hub: MadeUpHub) -> AsyncIterator[Api]:
    async with asked(hub) as api:
        yield api


async def tag(api: Api) -> str:
    """The fleet's entity tag, of a new picture."""
    await asyncio.sleep(NEXT_PICTURE_S)
    async with api.session.get(api.url + FLEET) as response:
        assert response.headers["Cache-Control"] == "no-cache"
        generation = (await response.json())["generation"]
        found = response.headers["ETag"]
    assert found.startswith('W/"')
    assert found.endswith(f'-{generation}"')
    return found


async def status(api: Api, known: str) -> int:
    async with api.session.get(api.url + FLEET, headers={"If-None-Match": known}) as response:
        body = await response.read()
        assert response.headers["ETag"]
        assert response.headers["Cache-Control"] == "no-cache"
        assert bool(body) == (response.status == 200)
        return response.status


class TestTheFleetsTag:
    async def test_a_fleet_that_means_the_same_is_not_sent_again(self, hub: MadeUpHub, api: Api) -> None:
        hub.put("a", hub.answer())
        known = await tag(api)
        hub.put("a", hub.answer(ago_s=0))  # another answer that says the same
        assert await tag(api) == known
        assert await status(api, known) == 304
        assert await status(api, f'"x", {known}') == 304
        assert await status(api, known.removeprefix("W/")) == 304
        assert await status(api, "*") == 304
        assert await status(api, 'W/"another"') == 200
        assert await status(api, "nonsense") == 200

    async def test_an_old_answer_is_never_confirmed_past_its_allowance(self, hub: MadeUpHub, api: Api) -> None:
        hub.put("a", hub.answer(ago_s=0.1, allowance_s=1.0))
        known = await tag(api)
        assert await status(api, known) == 304
        await asyncio.sleep(0.6)
        assert await status(api, known) == 200
        assert (await api.get(FLEET))["counts"]["Unknown"] == 1

    async def test_it_changes_with_whatever_the_hub_says_of_itself(self, hub: MadeUpHub, api: Api) -> None:
        assert hub.leading is not None
        seen = [await tag(api)]
        hub.leading.guard = Guard(holding=True, since=1.0, why="cut off")
        seen.append(await tag(api))
        hub.recorder.degraded_since = hub.clock.now()
        seen.append(await tag(api))
        hub.inventory.made_up_problems = [("kubeconfig", SourceProblem("/etc/k", "no name", "Name it."))]
        seen.append(await tag(api))
        hub.put("a")
        seen.append(await tag(api))
        assert len(set(seen)) == 5
        assert await tag(api) == seen[-1]

    async def test_another_instance_has_other_tags(self, hub: MadeUpHub, api: Api) -> None:
        known = await tag(api)
        async with asked(hub) as other:
            assert await status(other, known) == 200


class TestClusters:
    async def test_filters_narrow_the_list_together(self, hub: MadeUpHub, api: Api) -> None:
        hub.put("a", hub.answer(Reason.NOT_READY), labels={"team": "storage", "env": "prod"})
        hub.put("b", hub.answer(Reason.NOT_READY), labels={"team": "web"})
        hub.put("c", hub.answer(), hub.answer(Reason.PERMISSION_DENIED, check=Check.CREDENTIAL))
        hub.put("d", hub.answer(), source="kubeconfig")
        assert sorted(await api.names({"reason": "notready"})) == ["a", "b"]
        assert sorted(await api.names({"reason": "NotReady,PermissionDenied"})) == ["a", "b", "c"]
        assert await api.names({"check": "credential"}) == ["c"]
        assert await api.names({"label": "team in (storage,x),env"}) == ["a"]
        assert sorted(await api.names({"label": "!team"})) == ["c", "d"]
        assert await api.names({"label": "!team", "health": "healthy", "source": "kubeconfig"}) == ["d"]
        page = await api.get(CLUSTERS, {"reason": "notready", "limit": 1})
        assert (page["total"], len(page["clusters"])) == (2, 1)

    async def test_sorts_change_the_order(self, hub: MadeUpHub, api: Api) -> None:
        hub.put("b", hub.answer(Reason.NOT_READY, ago_s=50))
        hub.put("C", hub.answer(ago_s=10))
        hub.put("a", hub.answer(ago_s=30))
        assert await api.names() == ["b", "C", "a"]
        assert await api.names({"sort": "-attention"}) == ["a", "C", "b"]
        assert await api.names({"sort": "name"}) == ["a", "b", "C"]
        assert await api.names({"sort": "-NAME"}) == ["C", "b", "a"]
        assert await api.names({"sort": "since"}) == ["b", "a", "C"]
        assert await api.names({"sort": "age"}) == ["C", "a", "b"]
        assert await api.names({"sort": "last-success"}) == ["a", "C", "b"]

    async def test_a_cursor_goes_on_in_every_sort_also_after_a_restart(self, hub: MadeUpHub, api: Api) -> None:
        for number in range(5):
            hub.put(f"c{number}", hub.answer(ago_s=number))
        query = {"sort": "-name", "limit": "2"}
        page = await api.get(CLUSTERS, query)
        async with asked(hub) as restarted:
            page = await restarted.get(CLUSTERS, {**query, "after": page["next"]})
        assert [cluster["name"] for cluster in page["clusters"]] == ["c2", "c1"]
        page = await api.get(CLUSTERS, {**query, "limit": 5, "after": page["next"]})
        assert [cluster["name"] for cluster in page["clusters"]] == ["c0"]
        assert page["next"] is None

    async def test_cursors_of_something_else_are_told_apart(self, hub: MadeUpHub, api: Api) -> None:
        for number in range(3):
            hub.put(f"c{number}", hub.answer())
        cursor = (await api.get(CLUSTERS, {"limit": 1}))["next"]
        assert len((await api.get(CLUSTERS, {"after": cursor, "limit": 2}))["clusters"]) == 2
        for other in ({"sort": "name"}, {"health": "healthy"}, {"label": "a"}, {"name": "c"}):
            assert "from another query" in await api.refused(CLUSTERS, {**other, "after": cursor}, "after")
        assert "damaged" in await api.refused(CLUSTERS, {"after": cursor[:-1]}, "after")
        assert "at least 1" in await api.refused(CLUSTERS, {"after": ""}, "after")

    @pytest.mark.parametrize(
        ("parameter", "value", "says"),
        [
            ("label", "a in (b", "at character 8: found the end, expected ',' or ')'"),
            ("label", "a=b,,c", "at character 5: found ','"),
            ("label", "x" * 64, "a key has at most 63"),
            ("reason", "ConectTimeout", "'ConectTimeout' is no reason; did you mean ConnectTimeout?"),
            ("check", "apiservr", "did you mean apiserver?"),
            ("sort", "nam", "did you mean name?"),
            ("sort", "colour", "is none of attention, -attention, name"),
            ("lable", "a", "unknown; did you mean label?"),
        ],
    )
    async def test_a_filter_that_makes_no_sense_is_named(self, api: Api, parameter: str, value: str, says: str) -> None:
        assert says in await api.refused(CLUSTERS, {parameter: value}, parameter)


def moment(hub: MadeUpHub, ago_s: float) -> str:
    return datetime.fromtimestamp(hub.clock.now() - ago_s, UTC).isoformat()


class TestHistory:
    async def test_windows_checks_and_healths_narrow_it(self, hub: MadeUpHub, api: Api) -> None:
        one = hub.put("one", hub.answer())
        for ago_s in (400, 300, 200, 100):
            hub.change(one, Health.HEALTHY, Health.UNREACHABLE, Reason.CONNECT_TIMEOUT, ago_s)
        hub.change(one, Health.UNREACHABLE, Health.HEALTHY, None, 50)
        hub.history.changes[-1] = replace(hub.history.changes[-1], check=Check.CREDENTIAL)

        async def ids(**query: str) -> list[int]:
            page = await api.get(f"{CLUSTERS}/one/history", {key.rstrip("_"): text for key, text in query.items()})
            return [change["id"] for change in page["transitions"]]

        assert await ids(from_=moment(hub, 350), to=moment(hub, 150)) == [3, 2]
        assert await ids(from_=moment(hub, 350), to=moment(hub, 150), limit="1") == [3]
        assert await ids(from_=moment(hub, 350), to=moment(hub, 150), before="3") == [2]
        assert await ids(to_health="healthy") == [5]
        assert await ids(check="apiserver", from_=moment(hub, 150)) == [4]
        assert await ids(to_health="healthy,degraded", check="apiserver") == []

    async def test_it_says_since_when_it_is_kept(self, hub: MadeUpHub, api: Api) -> None:
        assert (await api.get(TRANSITIONS))["oldest"] is None
        hub.change(hub.put("one"), Health.HEALTHY, Health.UNREACHABLE, None, 400)
        page = await api.get(TRANSITIONS, {"from": "2001-01-01T00:00:00Z", "to": "2002-01-01T00:00:00+01:00"})
        assert page["transitions"] == []
        assert page["next"] is None
        assert page["oldest"] > "2020"

    @pytest.mark.parametrize(
        ("query", "parameter", "says"),
        [
            ({"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"}, "to", "ends before it has begun"),
            ({"from": "2026-01-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"}, "to", "ends before it has begun"),
            ({"from": "2100-01-01T00:00:00Z"}, "from", "in the future"),
            ({"from": "yesterday"}, "from", "is no moment like 2026-"),
            ({"from": "1763700000"}, "from", "is no moment like"),
            ({"from": "2026-01-01T00:00:00"}, "from", "is no moment like"),
            ({"from": "2026-01-01T00:00:00 01:00"}, "from", "write + as %2B"),
            ({"to": "0001-01-01T00:00:00+23:00"}, "to", "is no moment"),
            ({"to": "2026-02-30T00:00:00Z"}, "to", "is no moment"),
            ({"check": "pods"}, "check", "is none of apiserver"),
            ({"to_health": "sick"}, "to_health", "is none of"),
            ({"form": "x"}, "form", "did you mean from?"),
            ({"begin": "2026-01-01T00:00:00Z"}, "begin", "unknown"),
        ],
    )
    async def test_a_window_that_makes_no_sense_is_named(
        self, api: Api, query: dict[str, str], parameter: str, says: str
    ) -> None:
        assert says in await api.refused(TRANSITIONS, query, parameter)

    async def test_a_client_whose_clock_is_a_little_ahead_is_answered(self, hub: MadeUpHub, api: Api) -> None:
        assert (await api.get(TRANSITIONS, {"from": moment(hub, -30)}))["transitions"] == []


@pytest.mark.parametrize(
    "path", ["/healthz", "/metrics", FLEET, CLUSTERS, f"{CLUSTERS}/a", TRANSITIONS, "/openapi.json"]
)
async def test_head_tells_what_get_would_say(hub: MadeUpHub, api: Api, path: str) -> None:
    hub.put("a", hub.answer())
    async with api.session.get(api.url + path) as get, api.session.head(api.url + path) as head:
        assert head.status == get.status == 200
        assert await head.read() == b""
        for name in ("Content-Type", "Cache-Control", "ETag"):
            assert head.headers.get(name) == get.headers.get(name)
        assert int(head.headers["Content-Length"]) > 0


@pytest.mark.parametrize("method", ["OPTIONS", "POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", [FLEET, CLUSTERS, f"{CLUSTERS}/a", TRANSITIONS, "/openapi.json"])
async def test_a_method_that_a_path_does_not_take_is_told_those_it_takes(api: Api, path: str, method: str) -> None:
    async with api.session.request(method, api.url + path) as response:
        assert response.status == 405
        assert response.headers["Allow"] == "GET, HEAD"
        assert (await response.json(content_type=None))["type"] == "/problems/method-not-allowed"
