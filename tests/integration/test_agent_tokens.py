"""Who may report: tokens of service accounts over real TLS, each kind of wrong one by name."""

from __future__ import annotations

import asyncio
import hmac
import json
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from collector.agent import Agent
from muster.agents import keys as keys_module
from muster.agents.keys import Keys
from muster.agents.tokens import MAX_TOKEN_CHARS
from tests.support.agents import SUBJECT, AgentBench, AgentClient, Issuer, agent_bench
from tests.support.api_server import TOKEN, ApiServer, api_server, status
from validator.credentials import Credential, StaticCredential
from validator.discovery.source import Sighting


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[AgentBench]:
    async with agent_bench(None, tmp_path) as bench:
        yield bench


async def refused(agent: AgentClient, token: str) -> tuple[int, str]:
    """What a report with this token is answered; it must have changed nothing."""
    bench, agent.token = agent.bench, token
    before = len(bench.recorded)
    code, document, _ = await agent.report()
    assert len(bench.recorded) == before
    assert token not in json.dumps(document)
    return code, document["detail"]


@pytest.mark.parametrize("ec", [False, True], ids=["RS256", "ES256"])
async def test_a_token_of_the_registered_agent_is_taken(bench: AgentBench, *, ec: bool) -> None:
    agent = await bench.agent("berlin", Issuer(ec=ec))
    code, document, _ = await agent.report()
    assert (code, document["accepted"], document["duplicate"]) == (200, 0, False)
    [verdict] = bench.recorded
    assert (verdict.check, verdict.outcome, verdict.cluster_id) == ("agent", "pass", agent.cluster_id)


async def test_the_token_of_another_cluster_is_refused(bench: AgentBench) -> None:
    berlin, paris = await bench.agent("berlin"), await bench.agent("paris")
    code, detail = await refused(berlin, paris.issuer.token(bench.agents.audience, bench.now()))
    assert code == 401
    assert "of another cluster" in detail
    same_kid = Issuer(berlin.issuer.kid)
    code, detail = await refused(berlin, same_kid.token(bench.agents.audience, bench.now()))
    assert (code, "signed" in detail) == (401, True)


async def test_a_token_for_another_audience_is_refused(bench: AgentBench) -> None:
    agent = await bench.agent("berlin")
    mine = bench.agents.audience
    for audience in (["https://kubernetes.default.svc"], [f"muster:{uuid4()}"], [mine, "other"], "other", [], None, 7):
        code, detail = await refused(agent, agent.issuer.token(mine, bench.now(), aud=audience))
        assert (code, "audience" in detail) == (401, True), audience


async def test_an_expired_token_is_refused_also_where_it_was_taken_before(bench: AgentBench) -> None:
    agent = await bench.agent("berlin")
    code, detail = await refused(agent, agent.issuer.token(bench.agents.audience, bench.now() - 3700))
    assert (code, "expired" in detail) == (401, True)
    agent.token = agent.issuer.token(bench.agents.audience, bench.now() - 3598.5)
    assert (await agent.report())[0] == 200
    await asyncio.sleep(1.6)
    code, detail = await refused(agent, agent.token)
    assert (code, "expired" in detail) == (401, True)


async def test_an_unknown_issuer_is_refused(bench: AgentBench) -> None:
    agent = await bench.agent("berlin")
    for issuer in ("https://elsewhere.example", agent.issuer.name + "/", None, 7):
        code, detail = await refused(agent, agent.issuer.token(bench.agents.audience, bench.now(), iss=issuer))
        assert (code, "issuer" in detail) == (401, True), issuer


async def test_an_issuer_that_is_not_registered_is_not_compared(bench: AgentBench) -> None:
    cluster = Issuer(name="https://unknown.example")
    agent = await bench.agent("berlin", cluster, issuer=None)
    assert (await agent.report())[0] == 200


async def test_a_token_with_alg_none_is_refused(bench: AgentBench) -> None:
    agent = await bench.agent("berlin")
    signed = agent.issuer.token(bench.agents.audience, bench.now())
    payload = signed.split(".")[1]
    for alg in ("none", "None", "NONE", ""):
        head = _b64({"alg": alg, "kid": agent.issuer.kid})
        for signature in ("", signed.split(".")[2]):
            code, _ = await refused(agent, f"{head}.{payload}.{signature}")
            assert code == 401


async def test_hs256_with_the_public_key_as_secret_is_refused(bench: AgentBench) -> None:
    agent = await bench.agent("berlin")
    for secret in (
        agent.issuer.key.as_pem(private=False),
        agent.issuer.key.as_der(private=False),
        json.dumps(agent.issuer.jwks["keys"][0]).encode(),
    ):
        claims = agent.issuer.token(bench.agents.audience, bench.now()).split(".")[1]
        signed = f"{_b64({'alg': 'HS256', 'kid': agent.issuer.kid})}.{claims}"
        signature = hmac.digest(secret, signed.encode(), "sha256")
        code, detail = await refused(agent, f"{signed}.{urlsafe_b64encode(signature).decode().rstrip('=')}")
        assert (code, "HS256" in detail or "signed" in detail) == (401, True)


async def test_jku_x5u_and_jwk_headers_lead_nowhere(bench: AgentBench) -> None:
    agent, attacker = await bench.agent("berlin"), Issuer()
    async with api_server() as theirs:
        theirs.put("/keys", attacker.jwks)
        url = f"{theirs.endpoint.url}/keys"
        for header in ({"jku": url}, {"x5u": url}, {"jwk": attacker.jwks["keys"][0]}, {"x5c": ["MIIB"]}):
            for kid in (attacker.kid, agent.issuer.kid):
                token = attacker.token(bench.agents.audience, bench.now(), header={**header, "kid": kid})
                code, _ = await refused(agent, token)
                assert code == 401
        assert (theirs.asked, theirs.connections) == ([], 0)


async def test_a_token_that_lives_for_too_long_is_refused(bench: AgentBench) -> None:
    agent = await bench.agent("berlin")
    for lifetime_s, expected in ((3600, 200), (3607, 200), (3620, 401), (86_400, 401), (365 * 86_400, 401)):
        agent.token = agent.issuer.token(bench.agents.audience, bench.now(), lifetime_s=lifetime_s)
        code, document, _ = await agent.report()
        assert code == expected, lifetime_s
    assert "lives for more than an hour" in document["detail"]


async def test_a_token_without_its_times_is_refused(bench: AgentBench) -> None:
    agent = await bench.agent("berlin")
    for claims in ({"exp": None}, {"iat": None}, {"exp": "soon"}, {"iat": True}, {"nbf": "x"}, {"exp": [1]}):
        code, detail = await refused(agent, agent.issuer.token(bench.agents.audience, bench.now(), **claims))
        assert (code, "has no" in detail) == (401, True), claims


async def test_a_clock_that_is_a_minute_off_is_forgiven_and_no_more(bench: AgentBench) -> None:
    agent = await bench.agent("berlin")
    for ahead_s, expected in ((55, 200), (70, 401)):
        agent.token = agent.issuer.token(bench.agents.audience, bench.now() + ahead_s)
        assert (await agent.report())[0] == expected, ahead_s
    agent.token = agent.issuer.token(bench.agents.audience, bench.now(), nbf=int(bench.now()) + 300)
    assert (await agent.report())[0] == 401


async def test_another_service_account_of_the_same_cluster_is_refused(bench: AgentBench) -> None:
    agent = await bench.agent("berlin")
    for subject in (
        "system:serviceaccount:tenant:muster-agent",
        "system:serviceaccount:muster-agent:default",
        SUBJECT.upper(),
        SUBJECT + " ",
        None,
        ["x"],
    ):
        code, detail = await refused(agent, agent.issuer.token(bench.agents.audience, bench.now(), sub=subject))
        assert (code, SUBJECT in detail) == (403, True), subject


async def test_what_is_no_token_is_refused(bench: AgentBench) -> None:
    agent = await bench.agent("berlin")
    good = agent.token
    for token in (
        "x",
        "a.b.c",
        "..",
        good[:-10],
        good + "A",
        good.replace(".", "", 1),
        "A" * MAX_TOKEN_CHARS,
        "A" * (MAX_TOKEN_CHARS + 1),
        _b64({"alg": "RS256", "kid": {}}) + ".e30.AA",
        _b64({"alg": ["RS256"], "kid": agent.issuer.kid}) + ".e30.AA",
        _b64({"alg": "RS256", "kid": agent.issuer.kid, "crit": ["b64"], "b64": False}) + ".e30.AA",
        _b64([]) + ".e30.AA",
    ):
        code, _ = await refused(agent, token)
        assert code == 401, token[:40]
    agent.token = good
    for headers in ({"Authorization": ""}, {"Authorization": f"Basic {good}"}, {"Authorization": good}):
        assert (await agent.report(headers=headers))[0] == 401
    for cluster, expected in ((str(uuid4()), 403), ("nonsense", 401), ("", 401), (str(agent.cluster_id)[:-1], 401)):
        assert (await agent.report(headers={"Muster-Cluster": cluster}))[0] == expected, cluster
    assert (await agent.report())[0] == 200


async def test_an_agent_can_t_report_as_another_cluster(bench: AgentBench) -> None:
    """Its own token under the other's id: the other's keys decide, and they have not signed it."""
    berlin, paris = await bench.agent("berlin"), await bench.agent("paris")
    code, _, _ = await berlin.report(headers={"Muster-Cluster": str(paris.cluster_id)})
    assert code == 401
    assert bench.recorded == []


async def test_a_verified_token_is_not_verified_again(bench: AgentBench) -> None:
    agent = await bench.agent("berlin")
    assert (await agent.report())[0] == 200
    kept = dict(bench.desk.tokens._kept)
    assert (await agent.report())[0] == 200
    assert dict(bench.desk.tokens._kept) == kept
    assert len(kept) == 1


# -- keys that the hub reads itself


async def reached(bench: AgentBench, server: ApiServer, issuer: Issuer) -> AgentClient:
    """A cluster whose keys are read through the hub's kubeconfig."""
    serve(server, issuer)
    agent = await bench.agent("berlin", issuer, jwks=None, issuer=None)
    cluster = bench.hub.inventory.clusters[agent.cluster_id]
    credential = StaticCredential(Credential(token=TOKEN))
    sighting = Sighting(cluster.name, "static", server.endpoint, credential)
    bench.hub.inventory.clusters[agent.cluster_id] = replace(cluster, sighting=sighting)
    return agent


def serve(server: ApiServer, *issuers: Issuer) -> None:
    server.put("/openid/v1/jwks", {"keys": [key for each in issuers for key in each.jwks["keys"]]})
    server.put(
        "/.well-known/openid-configuration",
        {"issuer": issuers[0].name, "jwks_uri": "https://127.0.0.1:1/elsewhere"},
    )


async def test_keys_are_read_from_the_cluster_once_for_all_who_ask_at_once(bench: AgentBench) -> None:
    async with api_server() as server:
        agent = await reached(bench, server, Issuer())
        answers = await asyncio.gather(*(agent.report() for _ in range(5)))
        assert [code for code, _, _ in answers] == [200] * 5
        assert server.asked == ["/openid/v1/jwks", "/.well-known/openid-configuration"]
        code, detail = await refused(
            agent, agent.issuer.token(bench.agents.audience, bench.now(), iss="https://127.0.0.1:1/elsewhere")
        )
        assert (code, "issuer" in detail) == (401, True)


async def test_keys_that_were_rotated_are_read_again(bench: AgentBench, monkeypatch: pytest.MonkeyPatch) -> None:
    async with api_server() as server:
        agent = await reached(bench, server, Issuer("first"))
        first, rotated = agent.token, Issuer("second")
        assert (await agent.report())[0] == 200
        serve(server, rotated)
        agent.token = rotated.token(bench.agents.audience, bench.now())
        code, document, _ = await agent.report()
        assert code == 401, "once a minute at most"
        assert "no key second" in document["detail"]
        monkeypatch.setattr(keys_module, "UNKNOWN_AGAIN_S", 0.0)
        assert (await agent.report())[0] == 200
        code, _ = await refused(agent, first)
        assert code == 401, "the key that signed it is gone, however long the token would live"


async def test_made_up_key_ids_make_no_storm_of_reads(bench: AgentBench) -> None:
    async with api_server() as server:
        agent = await reached(bench, server, Issuer())
        assert (await agent.report())[0] == 200
        attacker = Issuer()
        for number in range(20):
            token = attacker.token(bench.agents.audience, bench.now(), header={"kid": f"made-up-{number}"})
            assert (await refused(agent, token))[0] == 401
        assert len(server.asked) == 2


async def test_a_cluster_that_can_t_be_read_says_so_and_keys_at_hand_go_on_to_count(
    bench: AgentBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with api_server() as server:
        agent = await reached(bench, server, Issuer())
        server.put("/openid/v1/jwks", lambda _: status(403, "Forbidden", "no"))
        code, document, headers = await agent.report()
        assert (code, document["type"]) == (503, "/problems/agent-keys-unavailable")
        assert "log" in document["detail"], "and nothing of where the hub reads"
        assert headers["Retry-After"] == "10"
        monkeypatch.setattr(keys_module, "FAILED_AGAIN_S", 0.0)
        private = agent.issuer.key.as_dict(private=True)
        server.put("/openid/v1/jwks", {"keys": [private]})
        assert (await agent.report())[0] == 503
        serve(server, agent.issuer)
        assert (await agent.report())[0] == 200
        monkeypatch.setattr(keys_module, "REFRESH_S", -1.0)
        monkeypatch.setattr(keys_module, "UNKNOWN_AGAIN_S", 0.0)
        server.put("/openid/v1/jwks", lambda _: status(500, "InternalError", "etcd is away"))
        assert (await agent.report())[0] == 200
        monkeypatch.setattr(keys_module, "TRUSTED_S", -1.0)
        assert (await agent.report())[0] == 503


async def test_a_cluster_that_never_answers_holds_nobody_for_longer_than_the_deadline(
    bench: AgentBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys_module, "READ_S", 0.3)
    async with api_server() as server:
        agent = await reached(bench, server, Issuer())
        server.put("/openid/v1/jwks", lambda _: None)
        other = await bench.agent("paris")
        (slow, _, _), (quick, _, _) = await asyncio.gather(agent.report(), other.report())
        assert (slow, quick) == (503, 200)


async def test_a_cancelled_reader_leaves_no_one_waiting(bench: AgentBench) -> None:
    async with api_server() as server:
        agent = await reached(bench, server, Issuer())
        assert bench.hub.leading is not None
        keys = bench.desk.tokens._keys
        assert isinstance(keys, Keys)
        registered: Agent = bench.agents.known[agent.cluster_id]
        first = asyncio.create_task(keys.trusted(registered))
        second = asyncio.create_task(keys.trusted(registered))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait([first, second], timeout=2)
        assert first.cancelled()
        assert second.done()
        assert keys._under_way == {}
        assert isinstance(second.exception(), keys_module.KeysUnavailable | None)


def _b64(value: Any) -> str:
    return urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")
