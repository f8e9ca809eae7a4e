"""Validation jobs through the API and the command line: the hub's engine asks, an agent asks, nobody asks."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest

from collector.requests import Answered, RequestKind, Requests
from collector.validation import Limits
from muster.validating import make_validations
from store.pool import Database
from tests.support.hub import TOKENS
from tests.support.location_api import LocationApi, location_api
from tests.support.locations import whole_schema
from tests.support.validating import answer_of
from validator.answer import Answer, Fact
from validator.engine import Engine
from validator.model import Check, Outcome, Pair
from validator.reasons import REASONS, Health, Reason
from validator.schedule import ScheduleSettings


class Asked:
    """A probe of a pair that answers when it is told to."""

    def __init__(self) -> None:
        self.reason: Reason | None = None
        self.may = asyncio.Event()

    async def ask(self) -> Answer:
        await self.may.wait()
        stage = None if self.reason is None else REASONS[self.reason].stage
        outcome = Outcome.PASS if self.reason is None else Outcome.FAIL
        return Answer((Fact(Check.LOCATION, outcome, self.reason, stage, "seen", {"method": "direct"}),))

    def close(self) -> None:
        pass


class ValidatingApi:
    """A location that all three clusters use: the hub asks about berlin, an agent about paris, nobody about rome."""

    def __init__(self, api: LocationApi) -> None:
        self.api = api
        self.berlin, self.paris, self.rome = api.hub.inventory.clusters
        self.probe, self.requests = Asked(), Requests()
        self.location_id = UUID(int=0)

    async def ask(self, body: Any = None, name: str = "backups-eu", **more: Any) -> tuple[int, Any]:
        status, document, _ = await self.api.ask("POST", f"/{name}/validate", body=body, **more)
        return status, document

    async def states(self, query: str = "") -> dict[str, str]:
        status, page, _ = await self.api.ask("GET", f"/backups-eu/validations{query}", role="viewer")
        assert status == 200, page
        return {each["cluster"]: each["state"] for each in page["validations"]}

    async def until(self, **states: str) -> None:
        async with asyncio.timeout(5):
            while await self.states() != states:  # noqa: ASYNC110 - asked over HTTP
                await asyncio.sleep(0.02)

    async def agent_answers(self, reason: Reason | None = None) -> None:
        """It has come for its requests, and reports."""
        async with asyncio.timeout(5):
            while not (waiting := self.requests.pending(self.paris)):  # noqa: ASYNC110 - it has no event
                await asyncio.sleep(0.01)
        [request] = waiting
        verdict = answer_of(Pair(self.paris, self.location_id), reason)
        self.requests.answered([Answered(request.id, self.paris, self.location_id, RequestKind.VALIDATE, (verdict,))])


@asynccontextmanager
async def task(coroutine: Any, name: str) -> AsyncIterator[None]:
    running = asyncio.create_task(coroutine, name=name)
    try:
        yield
    finally:
        running.cancel()
        await asyncio.wait([running])


@pytest.fixture
async def validating(database: Database) -> AsyncIterator[ValidatingApi]:
    async with location_api(await whole_schema(database)) as api:
        made = ValidatingApi(api)
        hub, leading = api.hub, api.hub.leading
        assert leading is not None
        created = await api.create("berlin", "paris", "rome")
        made.location_id = UUID(created["id"])
        engine = leading.pair_engine = Engine(ScheduleSettings(900.0, 30.0), hub.recorder.record, hub.clock)
        engine.add(Pair(made.berlin, made.location_id), "berlin/backups-eu", made.probe)
        leading.validations = make_validations(
            api.db,
            hub.clock,
            hub.inventory,
            leading.locations,
            hub.recorder,
            hub.events,
            pair_engine=engine,
            requests=made.requests,
            has_agent=lambda cluster_id: cluster_id == made.paris,
            knows=engine.knows,
            limits=Limits(settling_s=0),
        )
        await leading.validations.load(await api.db.fetchval("SELECT epoch FROM leadership"))
        async with task(engine.run(), "pair-engine"), task(leading.validations.run(), "validations"):
            yield made


async def test_each_pair_goes_its_own_way_and_no_pair_waits_for_another(validating: ValidatingApi) -> None:
    made, api = validating, validating.api
    api.pairs = {made.berlin: Health.HEALTHY, made.paris: Health.HEALTHY}
    status, asked = await made.ask()
    assert (status, asked["joined"], asked["location"]) == (202, 0, "backups-eu")
    assert [(each["cluster"], each["state"]) for each in asked["validations"]] == [
        (name, "Pending") for name in ("berlin", "paris", "rome")
    ]
    await made.until(berlin="InProgress", paris="Pending", rome="Failed")
    _, shown, _ = await api.ask("GET", "/backups-eu")
    assert (shown["status"], [each["health"] for each in shown["clusters"]]) == (
        "ValidationInProgress",
        ["Healthy", "Healthy", "Unknown"],
    )
    _, listed, _ = await api.ask("GET", "?status=ValidationInProgress")
    assert listed["total"] == 1
    made.requests.told(made.requests.pending(made.paris))
    await made.until(berlin="InProgress", paris="InProgress", rome="Failed")

    status, again = await made.ask({"clusters": ["berlin", "rome"]})
    assert (status, [(each["cluster"], each["joined"]) for each in again["validations"]]) == (
        202,
        [("berlin", True), ("rome", False)],
    )
    assert again["validations"][0]["id"] == asked["validations"][0]["id"]

    made.probe.reason = Reason.ROLE_MISSING
    made.probe.may.set()
    await made.agent_answers()
    await made.until(berlin="Failed", paris="Valid", rome="Failed")
    _, page, _ = await api.ask("GET", "/backups-eu/validations")
    assert page["counts"] == {"Pending": 0, "InProgress": 0, "Valid": 1, "Failed": 2}
    berlin, paris, rome = page["validations"]
    assert (berlin["reason"], berlin["message"], berlin["method"]) == ("RoleMissing", "seen", "direct")
    assert (berlin["asked_by"], paris["method"], rome["reason"]) == ("the-operator", "direct", "NoAsker")
    assert "Install the agent on rome" in rome["remedy"]
    assert berlin["asked_at"] <= berlin["began_at"] <= berlin["ended_at"]
    _, shown, _ = await api.ask("GET", "/backups-eu")
    assert shown["status"] == "Valid", "it is the health of the cells, whatever a job says"
    states = api.hub.recorder.states[Pair(made.berlin, made.location_id)]
    assert states[Check.LOCATION].reason is Reason.ROLE_MISSING, "the answer counts as any other"
    assert [entry for entry in await api.audited() if entry[1] == "location.validate"] == [
        ("the-operator", "location.validate", "backups-eu", "done")
    ] * 2
    _, first, _ = await api.ask("GET", "/backups-eu/validations?state=failed&limit=1")
    _, second, _ = await api.ask("GET", f"/backups-eu/validations?state=failed&limit=1&after={first['next']}")
    assert [each["cluster"] for page in (first, second) for each in page["validations"]] == ["berlin", "rome"]
    assert (first["total"], second["next"]) == (2, None)


async def test_what_can_not_be_validated_is_refused(validating: ValidatingApi) -> None:
    made, api = validating, validating.api
    await api.create("berlin", name="other", container="other")
    for body, name, status, kind in (
        ({"clusters": []}, "other", 422, "bad-body"),
        ({"clusters": ["paris", "rome"]}, "other", 404, "pair-not-found"),
        ({"clusters": ["nowhere"]}, "other", 404, "cluster-not-found"),
        ({"cluster": ["berlin"]}, "other", 422, "bad-body"),
        (None, "nothing", 404, "location-not-found"),
    ):
        got, problem = await made.ask(body, name)
        assert (got, problem["type"]) == (status, f"/problems/{kind}"), problem
    _, problem = await made.ask({"clusters": ["paris", "rome"]}, "other")
    assert problem["detail"].startswith("paris, rome do not use other")
    assert (await made.ask(role="viewer"))[0] == 403
    await api.create(name="empty", container="empty")
    status, problem = await made.ask(name="empty")
    assert (status, problem["detail"].startswith("No cluster uses empty")) == (404, True)
    await api.ask("PATCH", "/other/assignment", body={"remove": ["berlin"]})
    api.held.stuck = True
    api.held.rows = 1
    assert (await api.ask("DELETE", "/other"))[0] == 202
    status, problem = await made.ask(name="other")
    assert (status, problem["type"]) == (409, "/problems/location-deleting")
    api.held.stuck = False


async def test_steps_are_events_for_those_who_want_them(validating: ValidatingApi) -> None:
    made, api = validating, validating.api
    seen: list[Any] = []

    async def listen(query: str, wanted: int) -> list[tuple[str, str]]:
        headers = {"Authorization": f"Bearer {TOKENS['viewer']}"}  # type: ignore[index]
        steps: list[tuple[str, str]] = []
        async with api.session.get(f"{api.url}/api/v1/events?{query}", headers=headers) as response:
            listening.release()
            event = ""
            async for raw in response.content:
                field, _, value = raw.decode().rstrip("\n").partition(": ")
                event = value if field == "event" else event
                if field == "data" and event == "validation":
                    seen.append(json.loads(value))
                    step = (seen[-1]["cluster"], seen[-1]["state"])
                    steps += [step] * (step not in steps)
                    if len(steps) == wanted:
                        break
        return steps

    listening = asyncio.Semaphore(0)
    async with asyncio.timeout(10):
        everything = asyncio.create_task(listen("types=validation", 8), name="listener")
        of_paris = asyncio.create_task(listen("types=validation&cluster=paris", 3), name="listener")
        for _ in range(2):
            await listening.acquire()
        await made.ask()
        await made.until(berlin="InProgress", paris="Pending", rome="Failed")
        made.requests.told(made.requests.pending(made.paris))
        await made.until(berlin="InProgress", paris="InProgress", rome="Failed")
        made.probe.may.set()
        await made.agent_answers()
        assert await of_paris == [("paris", "Pending"), ("paris", "InProgress"), ("paris", "Valid")]
        assert sorted(await everything) == sorted(
            [
                *(("berlin", state) for state in ("Pending", "InProgress", "Valid")),
                *(("paris", state) for state in ("Pending", "InProgress", "Valid")),
                *(("rome", state) for state in ("Pending", "Failed")),
            ]
        )
    assert {(each["location"], each["location_id"]) for each in seen} == {("backups-eu", str(made.location_id))}


async def test_the_command_waits_and_says_how_each_ended(validating: ValidatingApi) -> None:
    made, api = validating, validating.api
    waiting = asyncio.create_task(api.cli("validate", "backups-eu", "-o", "wide"), name="cli")
    await made.until(berlin="InProgress", paris="Pending", rome="Failed")
    made.probe.may.set()
    await made.agent_answers()
    result = await waiting
    assert result.exit_code == 1, result.output
    assert "backups-eu  1 Failed, 2 Valid" in result.stdout
    assert re.search(r"✖ Failed +rome +NoAsker .*Install the agent", result.stdout)
    assert re.search(r"✔ Valid +berlin +-", result.stdout)

    result = await api.cli("validate", "backups-eu", "--cluster", "berlin", "-o", "json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert [(each["cluster"], each["state"], each["joined"]) for each in document["validations"]] == [
        ("berlin", "Valid", False)
    ]
    result = await api.cli("validate", "backups-eu", "--cluster", "paris", "--no-wait")
    assert (result.exit_code, "1 Pending" in result.stdout) == (0, True), result.output
    result = await api.cli("validate", "backups-eu", "--cluster", "paris", "--timeout", "1")
    assert (result.exit_code, "1 Pending" in result.stdout) == (1, True), result.output
    for arguments in (("nothing",), ("backups-eu", "--cluster", "nowhere"), ("backups-eu", "--cluster", "x", "--all")):
        assert (await api.cli("validate", *arguments)).exit_code == 2


async def test_the_command_survives_a_pair_that_vanishes(validating: ValidatingApi) -> None:
    made, api = validating, validating.api
    waiting = asyncio.create_task(api.cli("validate", "backups-eu", "--cluster", "paris"), name="cli")
    await made.until(paris="Pending")
    await api.ask("PATCH", "/backups-eu/assignment", body={"remove": ["paris"]})
    result = await waiting
    assert (result.exit_code, "1 gone" in result.stdout) == (1, True), result.output
