"""Validations: one question however many ask, a stream that always ends, and a flood that delays no probe."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any
from uuid import UUID

import aiohttp
import pytest

from muster.api.server import ApiServer
from muster.validations import HOLD_S, MOST, Busy, Validations
from tests.support.hub import TOKENS, MadeUpHub, api_server
from validator.answer import Answer, Fact
from validator.engine import Engine
from validator.model import Check, Outcome
from validator.reasons import Reason, Stage
from validator.schedule import Lane, ScheduleSettings
from validator.testing import PASSED, TIMED_OUT, After, Held, ScriptedProbe

HOURLY = ScheduleSettings(interval_s=3600.0, timeout_s=10.0, backoff_max_s=3600.0)


class Running:
    """A hub whose engine is at work, and its API."""

    def __init__(self, settings: ScheduleSettings) -> None:
        self.hub = MadeUpHub()
        assert self.hub.leading is not None
        self.engine = self.hub.leading.engine = Engine(settings, self.hub.recorder.record, self.hub.clock, 10_000)
        self.task = asyncio.create_task(self.engine.run(), name="engine")
        self.server: ApiServer = api_server(self.hub)

    def add(self, name: str, *script: Answer | After | Held | Exception) -> tuple[UUID, ScriptedProbe]:
        cluster_id, probe = self.hub.put(name), ScriptedProbe(*script)
        self.engine.add(cluster_id, name, probe)
        return cluster_id, probe

    async def post(
        self, session: aiohttp.ClientSession, cluster: object, body: Any = None, role: str = "operator"
    ) -> tuple[int, Any]:
        """Status and events, or status and problem."""
        headers = {"Authorization": f"Bearer {TOKENS[role]}"}  # type: ignore[index]
        url = f"{self.server.url}/api/v1/clusters/{cluster}/validate"
        async with session.post(url, json=body, headers=headers) as response:
            text = await response.text()
            if response.status != 200:
                return response.status, json.loads(text)
            assert response.content_type == "application/x-ndjson"
            return 200, [json.loads(line) for line in text.splitlines()]


@asynccontextmanager
async def running(settings: ScheduleSettings = HOURLY) -> AsyncIterator[Running]:
    run = Running(settings)
    await run.server.start()
    try:
        yield run
    finally:
        await run.server.stop()
        run.task.cancel()
        await asyncio.wait([run.task])


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        yield session


async def until(condition: Any, within_s: float = 5.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.005)


async def test_the_answer_streams_check_by_check(session: aiohttp.ClientSession) -> None:
    credential = Fact(Check.CREDENTIAL, Outcome.FAIL, Reason.CREDENTIAL_REJECTED, Stage.CREDENTIAL, "401")
    async with running() as run:
        _, probe = run.add("berlin", Answer((*PASSED.facts, credential)))
        status, events = await run.post(session, "berlin")
    assert status == 200
    assert [event["event"] for event in events] == ["asking", "checked", "checked", "done"]
    assert [event["check"]["check"] for event in events[1:3]] == ["apiserver", "credential"]
    assert events[2]["check"]["answer"]["reason"] == "CredentialRejected"
    assert events[2]["check"]["remedy"]
    assert (events[0]["joined"], events[3]["health"], events[3]["reason"]) == (
        False,
        "Unhealthy",
        "CredentialRejected",
    )
    assert len(probe.asked) == 1


async def test_a_hundred_who_ask_at_once_get_the_answer_to_one_question(session: aiohttp.ClientSession) -> None:
    async with running() as run:
        _, probe = run.add("berlin", After(0.3, PASSED))
        answers = await asyncio.gather(*(run.post(session, "berlin") for _ in range(100)))
    assert all(status == 200 for status, _ in answers)
    assert Counter(events[0]["joined"] for _, events in answers) == {True: 99, False: 1}
    assert {events[-1]["event"] for _, events in answers} == {"done"}
    assert len({events[1]["check"]["answer"]["received_at"] for _, events in answers}) == 1
    assert len(probe.asked) == 1


async def test_one_cluster_is_asked_once_a_second_and_who_comes_sooner_gets_the_newest_answer(
    session: aiohttp.ClientSession,
) -> None:
    async with running() as run:
        _, probe = run.add("berlin")
        for number in range(5):
            _, events = await run.post(session, "berlin")
            assert (events[0]["joined"], events[-1]["event"]) == (number > 0, "done")
        assert len(probe.asked) == 1
        await asyncio.sleep(HOLD_S)
        _, events = await run.post(session, "berlin")
        assert (events[0]["joined"], len(probe.asked)) == (False, 2)


async def test_no_answer_in_time_is_late_and_stops_nothing(session: aiohttp.ClientSession) -> None:
    async with running() as run:
        held = Held()
        _, probe = run.add("berlin", held)
        _, events = await run.post(session, "berlin", {"timeout_s": 0.1})
        assert [event["event"] for event in events] == ["asking", "late"]
        assert "within 0.1 s" in events[-1]["message"]
        assert (probe.asking, probe.cancelled) == (1, 0)
        held.release()
        _, events = await run.post(session, "berlin", {"timeout_s": 5})
        assert (events[0]["joined"], events[-1]["event"], len(probe.asked)) == (True, "done", 1)


async def test_it_waits_for_a_slot_of_the_dead_lane(session: aiohttp.ClientSession) -> None:
    async with running() as run:
        held = Held()
        for name in ("berlin", "paris"):
            run.add(name, TIMED_OUT, held)
            assert (await run.post(session, name))[1][-1]["event"] == "done"
        await asyncio.sleep(HOLD_S)
        run.engine.lanes[Lane.DEAD].slots = 1
        berlin = asyncio.create_task(run.post(session, "berlin"))
        await until(lambda: run.engine.lanes[Lane.DEAD].busy == 1)
        _, events = await run.post(session, "paris", {"timeout_s": 0.1})
        assert events[-1]["event"] == "late"
        assert len(run.engine.lanes[Lane.DEAD]) == 1
        held.release(TIMED_OUT)
        assert (await berlin)[1][-1]["event"] == "done"


async def test_a_server_that_asks_to_be_left_alone_is(session: aiohttp.ClientSession) -> None:
    async with running() as run:
        _, probe = run.add("berlin", Answer(PASSED.facts, retry_after_s=120.0))
        await run.post(session, "berlin")
        await asyncio.sleep(HOLD_S)
        began = monotonic()
        _, events = await run.post(session, "berlin", {"timeout_s": 30})
        assert (events[-1]["event"], len(probe.asked)) == ("late", 1)
        assert "left alone for 119 s" in events[-1]["message"]
        assert monotonic() - began < 1.0


async def test_a_cluster_that_leaves_in_mid_stream_ends_it(session: aiohttp.ClientSession) -> None:
    async with running() as run:
        cluster_id, probe = run.add("berlin", Held())
        stream = asyncio.create_task(run.post(session, "berlin"))
        await until(lambda: probe.asking)
        run.engine.remove(cluster_id)
        _, events = await asyncio.wait_for(stream, 2)
        assert (events[-1]["event"], "no answer" in events[-1]["message"]) == ("late", True)


async def test_a_stop_in_mid_stream_ends_it(session: aiohttp.ClientSession) -> None:
    async with running() as run:
        _, probe = run.add("berlin", Held())
        stream = asyncio.create_task(run.post(session, "berlin"))
        await until(lambda: probe.asking)
        run.task.cancel()
        _, events = await asyncio.wait_for(stream, 2)
        assert events[-1]["event"] == "late"

    async with running() as run:  # the other order
        _, probe = run.add("berlin", Held())
        stream = asyncio.create_task(run.post(session, "berlin"))
        await until(lambda: probe.asking)
        began = monotonic()
        await run.server.stop()
        assert monotonic() - began < 2.0
        with pytest.raises(aiohttp.ClientError):
            await asyncio.wait_for(stream, 2)


async def test_a_reader_who_hangs_up_leaves_nothing_behind(
    session: aiohttp.ClientSession, capsys: pytest.CaptureFixture[str]
) -> None:
    async with running() as run:
        validations = _validations(run)
        _, probe = run.add("berlin", Held())
        tasks = asyncio.all_tasks()
        stream = asyncio.create_task(run.post(session, "berlin"))
        await until(lambda: probe.asking)
        stream.cancel()
        await asyncio.wait([stream])
        await until(lambda: len(validations) == 0, within_s=3)
        assert validations._readers == 0
        left = {task.get_name() for task in asyncio.all_tasks() - tasks}
        assert left == {"ask:berlin"}
    assert "defect" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("cluster", "body", "role", "status", "kind"),
    [
        ("nowhere", None, "operator", 404, "cluster-not-found"),
        ("unseen", None, "operator", 409, "not-asked"),
        ("berlin", {"timeout": 3}, "operator", 422, "bad-body"),
        ("berlin", {"timeout_s": 0}, "operator", 422, "bad-body"),
        ("berlin", {"timeout_s": 1e9}, "operator", 422, "bad-body"),
        ("berlin", None, "viewer", 403, "forbidden"),
    ],
)
async def test_what_can_not_be_asked_is_told(
    session: aiohttp.ClientSession, cluster: str, body: Any, role: str, status: int, kind: str
) -> None:
    async with running() as run:
        _, probe = run.add("berlin")
        run.hub.put("unseen")
        got, problem = await run.post(session, cluster, body, role)
        assert (got, problem["type"]) == (status, f"/problems/{kind}")
        assert probe.asked == []


async def test_more_than_fit_at_once_are_refused_and_told_when_to_come_again(session: aiohttp.ClientSession) -> None:
    async with running() as run:
        held = Held()
        names = [f"c{number}" for number in range(MOST + 3)]
        for name in names:
            run.add(name, held)
        streams = [asyncio.create_task(run.post(session, name, {"timeout_s": 5})) for name in names]
        await until(lambda: sum(stream.done() for stream in streams) == 3)
        held.release()
        answers = [await stream for stream in streams]
        assert Counter(status for status, _ in answers) == {200: MOST, 503: 3}
        assert {problem["type"] for status, problem in answers if status == 503} == {"/problems/busy"}
        url = f"{run.server.url}/api/v1/clusters/{names[-1]}/validate"
        async with session.post(url, headers={"Authorization": f"Bearer {TOKENS['operator']}"}) as response:  # type: ignore[index]
            assert (response.status, response.headers["Retry-After"]) == (503, "1")


async def test_readers_are_bounded_too() -> None:
    async with running() as run:
        cluster_id, _ = run.add("berlin", Held())
        validations = Validations(most_readers=1)
        with (
            validations.joined(run.engine, cluster_id),
            pytest.raises(Busy),
            validations.joined(run.engine, cluster_id),
        ):
            pass


async def test_after_a_takeover_nobody_joins_what_the_former_leader_asked() -> None:
    async with running() as one, running() as other:
        validations = Validations()
        cluster_id, _ = one.add("berlin", Held())
        assert other.add("berlin", PASSED)[0] == cluster_id
        with (
            validations.joined(one.engine, cluster_id) as (first, _),
            validations.joined(other.engine, cluster_id) as (second, joined),
        ):
            assert not joined
            await asyncio.wait({second.answer}, timeout=5)
            assert (first.answer.done(), second.answer.done()) == (False, True)


async def test_a_flood_asks_no_more_than_the_bound_and_delays_no_probe(session: aiohttp.ClientSession) -> None:
    """3,000 requests over 500 clusters from 50 connections, while 100 others are probed twice a second."""
    settings = ScheduleSettings(interval_s=0.5, timeout_s=10.0)
    async with running(settings) as run:
        probes = [run.add(f"live-{number}") for number in range(100)]
        flooded = [run.hub.put(f"flooded-{number}") for number in range(500)]
        for cluster_id in flooded:
            run.engine.add(cluster_id, "flooded", ScriptedProbe(PASSED))
        await until(lambda: all(probe.asked for _, probe in probes))
        worst = {"lateness_s": 0.0, "most": 0}
        began = monotonic()
        seen: Counter[str] = Counter()
        work = iter(range(3000))

        async def flood() -> None:
            for number in work:
                status, events = await run.post(session, flooded[number % 500], {"timeout_s": 1})
                seen["refused" if status == 503 else "joined" if events[0]["joined"] else "begun"] += 1
                worst["most"] = max(worst["most"], len(_validations(run)))

        async def watch() -> None:
            while True:
                await asyncio.sleep(0.1)
                for cluster_id, _ in probes:
                    latest = run.hub.recorder.states[cluster_id][Check.APISERVER].latest
                    assert latest is not None
                    worst["lateness_s"] = max(worst["lateness_s"], latest.lateness_s)

        watching = asyncio.create_task(watch())
        await asyncio.gather(*(flood() for _ in range(50)))
        watching.cancel()
        took_s = monotonic() - began
        assert worst["most"] <= MOST
        assert 0 < seen["begun"] <= MOST * (took_s / HOLD_S + 2)
        assert seen.total() == 3000
        assert seen["refused"] > 1000
        assert worst["lateness_s"] < 2.0, f"{worst} {seen} in {took_s:.1f} s"


def _validations(run: Running) -> Validations:
    for route in run.server.routes:
        if route.path.endswith("/validate"):
            found: Validations = route.handler.__self__._validations  # type: ignore[attr-defined]
            return found
    raise AssertionError("no such route")
