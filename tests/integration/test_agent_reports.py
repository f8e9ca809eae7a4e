"""What becomes of reports, and how agents learn what to ask: over real TLS, with registrations in a real database."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from collector.ingest import MAX_REPORT_BYTES, MAX_VERDICTS, Report, read_report
from collector.requests import Answered, RequestKind
from muster.agents import listener as listener_module
from muster.hub import Role
from store.pool import Database
from tests.support.agents import AgentBench, AgentClient, agent_bench, soon
from tests.support.locations import whole_schema
from validator.agent import wire
from validator.model import Check, Pair
from validator.reasons import Health, Reason


@pytest.fixture
async def bench(database: Database, tmp_path: Path) -> AsyncIterator[AgentBench]:
    async with agent_bench(await whole_schema(database), tmp_path) as bench:
        yield bench


@pytest.fixture
async def light(tmp_path: Path) -> AsyncIterator[AgentBench]:
    """Without a database: for what is decided before it."""
    async with agent_bench(None, tmp_path) as bench:
        yield bench


def health(bench: AgentBench, agent: AgentClient, location_id: UUID) -> Health | None:
    """Of the check `location` of a pair."""
    states: Any = bench.hub.recorder.states.get(Pair(agent.cluster_id, location_id), {})
    return states[Check.LOCATION].health if Check.LOCATION in states else None


async def test_an_agent_is_counted_on_from_its_first_report_on_and_not_from_its_registration(bench: AgentBench) -> None:
    agent = await bench.agent("berlin")
    told: list[bool] = []
    bench.agents.listen(lambda: told.append(bench.agents.speaks(agent.cluster_id)))
    assert not bench.agents.speaks(agent.cluster_id)  # whoever asks about its pairs now goes on
    await agent.assignment()
    assert not bench.agents.speaks(agent.cluster_id)
    for _ in range(2):
        assert (await agent.report())[0] == 200
    assert told == [True]
    await bench.agents.flush()
    await bench.lead()
    assert bench.agents.speaks(agent.cluster_id)
    await bench.agents.remove(agent.cluster_id)
    assert not bench.agents.speaks(agent.cluster_id)


# -- reports


async def test_a_verdict_of_an_assigned_pair_is_recorded_with_the_hub_s_time_and_method(light: AgentBench) -> None:
    agent = await light.agent("berlin")
    location = light.hub.put_location("daily", agent.cluster_id)
    sent = agent.verdict(location.id, "RoleMissing", evidence={"status": 403, "method": "direct"}, age_s=60.0)
    before = light.now()
    code, document, _ = await agent.report(sent)
    assert (code, document["accepted"], document["refused"]) == (200, 1, [])
    verdict = light.recorded[0]
    assert (verdict.location_id, verdict.reason, verdict.stage) == (location.id, Reason.ROLE_MISSING, "storage")
    assert verdict.evidence == {"status": 403, "method": "agent"}
    assert before - 60.0 <= verdict.received_at <= light.now() - 60.0
    assert verdict.allowance_s == pytest.approx(2.1 * 900 + 30 + 30)
    assert health(light, agent, location.id) is Health.UNHEALTHY


async def test_a_report_for_an_unassigned_pair_is_refused_and_the_rest_of_it_stands(light: AgentBench) -> None:
    berlin, paris = await light.agent("berlin"), await light.agent("paris")
    mine, theirs = light.hub.put_location("a", berlin.cluster_id), light.hub.put_location("b", paris.cluster_id)
    code, document, _ = await berlin.report(
        berlin.verdict(theirs.id, "RoleMissing"), berlin.verdict(mine.id), berlin.verdict(uuid4())
    )
    assert (code, document["accepted"]) == (200, 1)
    assert [each["index"] for each in document["refused"]] == [0, 2]
    assert all("not assigned" in each["why"] for each in document["refused"])
    assert health(light, berlin, theirs.id) is health(light, paris, theirs.id) is None
    assert light.desk.tally.refused == 2


async def test_a_tenant_s_report_does_not_change_another_owner_s_roll_up(light: AgentBench) -> None:
    """Not of a location that it does not use; and of one that it shares, its own cell alone."""
    berlin, paris = await light.agent("berlin"), await light.agent("paris")
    alone = light.hub.put_location("alone", paris.cluster_id, owner="bob")
    shared = light.hub.put_location("shared", berlin.cluster_id, paris.cluster_id, owner="bob")
    await paris.report(paris.verdict(alone.id), paris.verdict(shared.id))
    before = light.hub.leading.pairs.healths(alone.id)  # type: ignore[union-attr]
    for _ in range(3):
        await berlin.report(
            berlin.verdict(alone.id, "ContainerNotFound"),
            berlin.verdict(shared.id, "ContainerNotFound"),
            berlin.verdict(None, "RoleMissing", check="apiserver"),
        )
    assert light.hub.leading is not None
    assert light.hub.leading.pairs.healths(alone.id) == before == {paris.cluster_id: Health.HEALTHY}
    assert light.hub.leading.pairs.healths(shared.id)[paris.cluster_id] is Health.HEALTHY
    assert Check.APISERVER not in light.hub.recorder.states.get(berlin.cluster_id, {})


async def test_a_replayed_report_is_answered_and_not_recorded_also_after_a_restart_of_the_hub(
    bench: AgentBench,
) -> None:
    agent = await bench.agent("berlin")
    location = bench.hub.put_location("daily", agent.cluster_id)
    await agent.report(agent.verdict(location.id))
    recorded = len(bench.recorded)
    agent.sequence -= 1
    code, document, _ = await agent.report(agent.verdict(location.id, "RoleMissing"))
    assert (code, document["accepted"], document["duplicate"]) == (200, 0, True)
    await bench.agents.flush()

    await bench.lead()
    for boot, sequence, duplicate in (
        (agent.boot, 1, True),
        (agent.boot, 2, False),
        (uuid4(), 1, False),
        (agent.boot, 2, True),  # of the boot before: not only the newest is known
        (agent.boot, 3, False),
    ):
        code, document, _ = await agent.report(boot=str(boot), sequence=sequence)
        assert (code, document["duplicate"]) == (200, duplicate), (boot, sequence)
    assert health(bench, agent, location.id) is Health.HEALTHY
    assert len(bench.recorded) == recorded + 3
    assert bench.desk.tally.duplicates == 2


async def test_the_same_report_twice_at_once_is_recorded_once(light: AgentBench) -> None:
    agent = await light.agent("berlin")
    answers = await asyncio.gather(*(agent.report(sequence=1) for _ in range(4)))
    assert sorted(document["duplicate"] for _, document, _ in answers) == [False, True, True, True]
    assert len(light.recorded) == 1


async def test_observed_at_in_the_future_makes_no_fact_younger(light: AgentBench) -> None:
    agent = await light.agent("berlin")
    location = light.hub.put_location("daily", agent.cluster_id)
    for claim in (light.now() + 86_400 * 365, 9.9e10):
        await agent.report(agent.verdict(location.id, observed_at=claim, age_s=30.0))
        verdict = light.recorded[-2]
        assert verdict.received_at <= light.now() - 30.0
        assert verdict.observed_at == verdict.received_at
    code, document, _ = await agent.report(
        agent.verdict(location.id, age_s=-5.0), agent.verdict(location.id, age_s=3601.0)
    )
    assert (code, [each["why"].partition(":")[0] for each in document["refused"]]) == (200, ["age_s", "age_s"])


async def test_a_slow_body_makes_its_facts_older_not_younger(light: AgentBench) -> None:
    agent = await light.agent("berlin")
    location = light.hub.put_location("daily", agent.cluster_id)
    began = light.now()

    async def slow() -> AsyncIterator[bytes]:
        raw = json.dumps(
            {"boot": str(uuid4()), "sequence": 1, "sent_at": began, "verdicts": [agent.verdict(location.id, age_s=0)]}
        ).encode()
        yield raw[:50]
        await asyncio.sleep(0.5)
        yield raw[50:]

    code, _, _ = await agent._ask("POST", "/agent/v1/report", {"Content-Type": "application/json"}, data=slow())
    assert code == 200
    assert light.recorded[0].received_at < began + 0.4


async def test_clock_skew_is_a_finding_of_the_agent_and_changes_no_age(light: AgentBench) -> None:
    agent = await light.agent("berlin")
    location = light.hub.put_location("daily", agent.cluster_id)
    for skew_s, reason in ((0, None), (299, None), (310, Reason.CLOCK_SKEW), (-4000, Reason.CLOCK_SKEW)):
        before = light.now()
        await agent.report(agent.verdict(location.id, age_s=1.0), sent_at=before + skew_s)
        pair, told = light.recorded[-2:]
        assert (told.check, told.reason) == (Check.AGENT, reason)
        assert before - 1.0 <= pair.received_at <= light.now() - 1.0
    assert "4000 s behind" in told.message
    assert light.agents.heard(agent.cluster_id).skew_s == pytest.approx(-4000, abs=5)


async def test_verdicts_that_the_agent_dropped_are_counted_and_shown(light: AgentBench) -> None:
    agent = await light.agent("berlin")
    for dropped, reason in ((0, None), (7, Reason.AGENT_DROPS), (7, None), (9, Reason.AGENT_DROPS)):
        await agent.report(dropped=dropped)
        assert light.recorded[-1].reason == reason
    assert light.desk.tally.dropped == 9


async def test_control_and_ansi_characters_and_secrets_in_texts_are_taken_out(light: AgentBench) -> None:
    agent = await light.agent("berlin")
    location = light.hub.put_location("daily", agent.cluster_id)
    nasty = "\x1b[31mred\x00\u202e\ud800 https://a.blob.core.windows.net/c?sig=SECRETSECRETSECRET&x=1\r\n"
    sent = agent.verdict(
        location.id,
        "RoleMissing",
        message=nasty + "y" * 9000,
        evidence={
            "\x1b[2J": 1,
            "note": nasty,
            "big": 10**400,
            "nested": {"a": 1},
            "null": None,
            **dict.fromkeys(map(str, range(99)), 1),
        },
    )
    code, document, _ = await agent.report(sent, agent={"version": nasty})
    assert (code, document["accepted"]) == (200, 1)
    verdict = light.recorded[0]
    told = json.dumps([verdict.message, dict(verdict.evidence), light.agents.heard(agent.cluster_id).version])
    assert "\\u001b" not in told
    assert "\\u0000" not in told
    assert "\\ud800" not in told
    assert "\\u202e" not in told
    assert "SECRETSECRET" not in told
    assert len(verdict.message) <= 500
    assert len(verdict.evidence) <= 64
    assert verdict.evidence["method"] == "agent"


async def test_a_10_mb_report_is_refused_before_it_is_read(light: AgentBench) -> None:
    agent = await light.agent("berlin")
    code, document, _ = await agent.send(io.BytesIO(b" " * 10_000_000))
    assert (code, document["type"]) == (413, "/problems/too-large")

    async def unannounced() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield b" " * 1_000_000

    code, _, _ = await agent._ask("POST", "/agent/v1/report", {"Content-Type": "application/json"}, data=unannounced())
    assert code == 413
    assert (await agent.report())[0] == 200
    full = [agent.verdict(uuid4(), message="m" * 1000) for _ in range(MAX_VERDICTS)]
    raw = json.dumps({"boot": str(uuid4()), "sequence": 1, "sent_at": 1, "verdicts": full}).encode()
    assert len(raw) < MAX_REPORT_BYTES
    assert (await agent.send(raw))[0] == 200


def costly(agent: AgentClient, location_id: UUID) -> Report:
    """As large as may be, of texts over which scrubbing takes longest."""
    evidence = {f"k{number}": "a a a a a a a a a " for number in range(60)}
    verdict = agent.verdict(location_id, "RoleMissing", evidence=evidence)
    head = {"boot": str(uuid4()), "sequence": 1, "sent_at": 1.0}
    raw = json.dumps({**head, "verdicts": [verdict] * MAX_VERDICTS}).encode()
    assert MAX_REPORT_BYTES * 0.8 < len(raw) < MAX_REPORT_BYTES
    return read_report(raw)


async def test_a_report_that_was_made_to_be_costly_does_not_hold_the_loop(light: AgentBench) -> None:
    agent = await light.agent("berlin")
    location, known = light.hub.put_location("daily", agent.cluster_id), light.agents.known[agent.cluster_id]
    turns = 0

    async def probes() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    probing = asyncio.create_task(probes())
    reports = [costly(agent, location.id) for _ in range(3)]
    took = await asyncio.gather(*(light.desk.reports.take(known, each, light.now()) for each in reports))
    probing.cancel()
    assert [told and told.accepted for told in took] == [MAX_VERDICTS] * 3
    assert turns > 100  # in one piece each it would be some ten


async def test_what_has_gone_while_a_report_was_judged_is_not_brought_back(light: AgentBench) -> None:
    agent = await light.agent("berlin")
    location, known = light.hub.put_location("daily", agent.cluster_id), light.agents.known[agent.cluster_id]
    taking = asyncio.create_task(light.desk.reports.take(known, costly(agent, location.id), light.now()))
    await asyncio.sleep(0)  # it has begun
    light.hub.put_location("daily")  # unassigned
    told = await taking
    assert told is not None
    assert told.accepted == 0
    assert [verdict.check for verdict in light.recorded] == [Check.AGENT]
    assert await light.desk.reports.take(known, costly(agent, location.id), light.now(), lambda: False) is None
    assert len(light.recorded) == 1


async def test_what_is_no_report_is_refused_with_the_field(light: AgentBench) -> None:
    agent = await light.agent("berlin")
    good = {"boot": str(uuid4()), "sequence": 1, "sent_at": 1.0, "verdicts": [], "syncs": []}
    for raw, field in (
        (b"", "body"),
        (b"{", "body"),
        (b"\xff", "body"),
        (b"[]", "body"),
        (b"[" * 100_000, "body"),
        (b'{"sequence": ' + b"9" * 5000 + b"}", "body"),
        (json.dumps({**good, "sent_at": float("nan")}).encode(), "body"),
        (json.dumps({**good, "boot": "x"}).encode(), "boot"),
        (json.dumps({**good, "boot": None}).encode(), "boot"),
        (json.dumps({**good, "sequence": 0}).encode(), "sequence"),
        (json.dumps({**good, "sequence": True}).encode(), "sequence"),
        (json.dumps({**good, "sequence": 2**60}).encode(), "sequence"),
        (json.dumps({**good, "sent_at": "now"}).encode(), "sent_at"),
        (json.dumps({**good, "sent_at": 1e300}).encode(), "sent_at"),
        (json.dumps({**good, "dropped": -1}).encode(), "dropped"),
        (json.dumps({**good, "verdicts": {}}).encode(), "verdicts"),
        (json.dumps({**good, "verdicts": [{}] * (MAX_VERDICTS + 1)}).encode(), "verdicts"),
        (json.dumps({**good, "syncs": [{}] * 11}).encode(), "syncs"),
    ):
        code, document, _ = await agent.send(raw)
        assert (code, document["type"]) == (422, "/problems/bad-body"), raw[:60]
        assert document["errors"][0]["field"] == field
    for headers in ({"Content-Type": "text/plain"}, {"Content-Encoding": "gzip"}):
        assert (await agent.send(b"{}", **headers))[0] == 415
    assert light.recorded == []


async def test_an_agent_that_asks_too_often_is_told_to_wait_and_keeps_no_other_waiting(
    light: AgentBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener_module, "BURST", 3)
    berlin, paris = await light.agent("berlin"), await light.agent("paris")
    answers = [await berlin.report() for _ in range(4)]
    assert [code for code, _, _ in answers] == [200, 200, 200, 429]
    assert answers[-1][2]["Retry-After"] == "1"
    assert (await paris.report())[0] == 200
    assert light.desk.tally.limited == 1


async def test_an_instance_that_does_not_lead_takes_nothing(light: AgentBench) -> None:
    agent = await light.agent("berlin")
    light.hub.role = Role.STANDBY
    code, document, headers = await agent.report()
    assert (code, document["type"], headers["Retry-After"]) == (503, "/problems/not-leading", "2")
    assert (await agent.assignment())[0] == 503
    light.hub.stand_by("another one leads")
    assert (await agent.report())[0] == 503


async def test_nobody_is_served_without_tls(light: AgentBench) -> None:
    await light.agent("berlin")
    port = int(light.listener.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /agent/v1/assignment HTTP/1.1\r\nHost: x\r\n\r\n")
    try:
        answer = await asyncio.wait_for(reader.read(100), 5)
    except ConnectionError:
        answer = b""
    writer.close()
    assert b"HTTP" not in answer


async def test_the_listener_has_two_paths_and_takes_no_api_token(light: AgentBench) -> None:
    agent = await light.agent("berlin")
    for path in ("/api/v1/fleet", "/metrics", "/healthz", "/", "/agent/v1/x"):
        assert (await agent._ask("GET", path, {}))[0] == 404
    assert (await agent._ask("POST", "/agent/v1/assignment", {}))[0] == 405
    agent.token = "muster_" + "a" * 43
    assert (await agent.report())[0] == 401


# -- silence


async def test_an_agent_that_reports_no_more_is_said_to_be_silent(light: AgentBench) -> None:
    agent = await light.agent("berlin")
    await agent.report()
    light.desk.silence.look()
    states = light.hub.recorder.states[agent.cluster_id]
    assert states[Check.AGENT].health is Health.HEALTHY
    light.agents.heard(agent.cluster_id).last_report_at = light.now() - 100
    light.agents.since = light.now() - 50
    light.desk.silence.look()
    assert states[Check.AGENT].latest.reason is None, "this instance has not led for long enough"  # type: ignore[union-attr]
    light.agents.since = light.now() - 100
    light.desk.silence.look()
    latest = states[Check.AGENT].latest
    assert latest is not None
    assert (latest.reason, latest.outcome) == (Reason.AGENT_SILENT, "unknown")
    await agent.report()
    light.desk.silence.look()
    assert light.recorded[-1].reason is None


# -- assignments


async def test_an_assignment_names_the_cluster_s_locations_and_nobody_else_s(light: AgentBench) -> None:
    agent, other = await light.agent("berlin"), await light.agent("paris")
    mine = light.hub.put_location("mine", agent.cluster_id, region="eu-central-1", write_probe=True)
    light.hub.put_location("theirs", other.cluster_id)
    code, document, _ = await agent.assignment()
    assert code == 200
    assert document["cluster"] == {"id": str(agent.cluster_id), "name": "berlin"}
    assert document["hub_id"] == str(light.agents.hub_id)
    assert [document[key] for key in ("interval_s", "timeout_s", "heartbeat_s", "requests")] == [900, 30, 30, []]
    assert document["locations"] == [
        {
            "id": str(mine.id),
            "name": "mine",
            "provider": "s3",
            "container": "mine",
            "account": None,
            "environment": None,
            "resource_group": None,
            "subscription_id": None,
            "region": "eu-central-1",
            "endpoint": None,
            "path_style": False,
            "write_probe": True,
        }
    ]
    assert (await agent.assignment(document["version"]))[0] == 304
    assert (await agent.assignment("of-another-time"))[0] == 200
    assert (await agent.report())[1]["assignment"] == document["version"]
    for bad in ({"wait_s": "61"}, {"wait_s": "-1"}, {"wait_s": "nan"}, {"wait_s": "x"}, {"known": "a b"}):
        assert (await agent._ask("GET", "/agent/v1/assignment", {}, params=bad))[0] == 400


async def test_a_long_poll_wakes_for_its_own_changes_only(light: AgentBench) -> None:
    agent, other = await light.agent("berlin"), await light.agent("paris")
    version = (await agent.assignment())[1]["version"]
    waiting = asyncio.create_task(agent.assignment(version, 30))
    await soon(lambda: light.desk.assignments._polls.get(agent.cluster_id))
    light.hub.put_location("theirs", other.cluster_id)
    await asyncio.sleep(0.1)
    assert not waiting.done()
    location = light.hub.put_location("mine", agent.cluster_id)
    code, document, _ = await asyncio.wait_for(waiting, 5)
    assert (code, [each["name"] for each in document["locations"]]) == (200, ["mine"])

    waiting = asyncio.create_task(agent.assignment(document["version"], 30))
    await soon(lambda: light.desk.assignments._polls[agent.cluster_id] == 2)
    request = uuid4()
    light.requests.ask(agent.cluster_id, "validate", location.id, request)
    code, document, _ = await asyncio.wait_for(waiting, 5)
    assert document["requests"] == [{"id": str(request), "kind": "validate", "location_id": str(location.id)}]
    light.requests.withdraw(request)
    assert (await agent.assignment())[1]["requests"] == []


async def test_a_long_poll_ends_when_its_time_is_over_when_another_takes_its_place_and_when_the_hub_stops(
    tmp_path: Path,
) -> None:
    async with agent_bench(None, tmp_path, max_wait_s=0.2) as bench:
        agent = await bench.agent("berlin")
        version = (await agent.assignment())[1]["version"]
        assert (await asyncio.wait_for(agent.assignment(version, 50), 5))[0] == 304
    async with agent_bench(None, tmp_path) as bench:
        agent = await bench.agent("berlin")
        version = (await agent.assignment())[1]["version"]
        polls = []
        for number in range(1, 4):
            polls.append(asyncio.create_task(agent.assignment(version, 50)))
            await soon(lambda number=number: bench.desk.assignments._polls.get(agent.cluster_id) == number)
        assert (await asyncio.wait_for(polls[0], 5))[0] == 304
        assert not polls[2].done()
        bench.hub.role = Role.STOPPING
        bench.desk.close()
        assert {(await asyncio.wait_for(poll, 5))[0] for poll in polls[1:]} == {503}


# -- requests


async def test_answers_reach_whoever_has_asked_and_nobody_else(light: AgentBench) -> None:
    agent, other = await light.agent("berlin"), await light.agent("paris")
    location = light.hub.put_location("daily", agent.cluster_id, other.cluster_id)
    told: list[Answered] = []
    light.requests.on_answer(RequestKind.VALIDATE, told.append)
    light.requests.on_answer(RequestKind.SYNC, told.append)
    validate, sync = uuid4(), uuid4()
    light.requests.ask(agent.cluster_id, RequestKind.VALIDATE, location.id, validate)
    light.requests.ask(agent.cluster_id, RequestKind.SYNC, location.id, sync)

    await other.report(other.verdict(location.id, request=str(validate)))
    assert told == []
    progress = {"request": str(sync), "location_id": str(location.id), "state": "InProgress", "listed": 5, "of": 10}
    code, document, _ = await other.report(syncs=[progress])
    assert document["refused"][0]["index"] == 0

    code, document, _ = await agent.report(
        agent.verdict(location.id, "RoleMissing", request=str(validate)),
        agent.verdict(location.id, check="object-lock", request=str(validate)),
        syncs=[progress],
    )
    assert (code, document["accepted"], document["refused"]) == (200, 3, [])
    answer, still = told
    assert (answer.request_id, answer.kind, len(answer.verdicts)) == (validate, "validate", 2)
    assert (still.request_id, still.sync.listed, still.is_last) == (sync, 5, False)  # type: ignore[union-attr]
    assert [each.id for each in light.requests.pending(agent.cluster_id)] == [sync]
    await agent.report(syncs=[{**progress, "state": "Succeeded", "inventory": {"backups": []}}])
    assert told[-1].sync is not None
    assert told[-1].sync.inventory == {"backups": []}
    assert light.requests.pending(agent.cluster_id) == ()
    code, document, _ = await agent.report(syncs=[progress])
    assert "nobody waits" in document["refused"][0]["why"]


async def test_a_registration_that_is_removed_ends_its_tokens_at_once(bench: AgentBench) -> None:
    agent = await bench.agent("berlin")
    assert (await agent.report())[0] == 200
    await bench.agents.remove(agent.cluster_id)
    code, document, _ = await agent.report()
    assert (code, document["type"]) == (403, "/problems/not-an-agent")


async def test_the_agent_s_own_half_reads_and_writes_the_same_documents(light: AgentBench) -> None:
    agent = await light.agent("berlin")
    where = light.hub.put_location("daily", agent.cluster_id, endpoint="https://minio.example", path_style=True).where
    light.requests.ask(agent.cluster_id, "sync", where.id, uuid4())
    code, document, _ = await agent.assignment()
    read = wire.read_assignment(json.dumps(document).encode(), agent.cluster_id)
    assert (code, read.version, read.locations, read.problems) == (200, document["version"], (where,), ())
    assert [(each.kind, each.location_id) for each in read.requests] == [("sync", where.id)]
    verdict = replace(light.hub.answer(Reason.ROLE_MISSING, message="no"), check=Check.LOCATION, location_id=where.id)
    sent = wire.verdict_json(verdict, age_s=3.0, sent_at=light.now(), period_s=900.0, request=None)
    _, told, _ = await agent.report(json.loads(sent))
    assert wire.read_told(json.dumps(told).encode()) == wire.Told(1, (), duplicate=False)
    assert light.recorded[0].message == "no"
