"""Agents registered through the API and the command line: a cluster of the fleet, and one that the hub can't reach."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import pytest
from typer.testing import Result

from collector.agents import Agents
from collector.inventory import Inventory
from muster.access.local import LocalToken
from muster.agents.source import AgentSource
from store.pool import Database
from tests.support.agents import AGENT_QUERIES, Issuer
from tests.support.cli import muster
from tests.support.collecting import QUERIES
from tests.support.hub import LOCAL_TOKEN, TOKENS, MadeUpHub, api_server, made_up_access
from tests.support.locations import whole_schema
from validator.model import Check
from validator.reasons import Reason


class Api:
    """The API on a made-up hub with agents in a real database."""

    def __init__(self, hub: MadeUpHub, url: str, session: aiohttp.ClientSession, db: Database) -> None:
        self.hub, self.url, self.session, self.db = hub, url, session, db
        self.epoch = 0

    @property
    def agents(self) -> Agents:
        assert self.hub.leading is not None
        return self.hub.leading.agents

    async def lead(self) -> None:
        assert self.hub.leading is not None
        self.hub.leading.agents = Agents(self.db, AGENT_QUERIES, self.hub.clock)
        self.epoch = await self.db.fetchval("UPDATE leadership SET epoch = epoch + 1 RETURNING epoch")
        await self.agents.load(self.epoch)

    async def ask(self, method: str, path: str = "", body: Any = None, role: str = "admin", **headers: str) -> Any:
        sent = {"Authorization": f"Bearer {TOKENS[role]}"}  # type: ignore[index]
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        url = f"{self.url}/api/v1/agents{path}"
        async with self.session.request(method, url, json=body, headers=sent) as response:
            return response.status, await response.json(content_type=None)

    async def cli(self, *arguments: str) -> Result:
        return await asyncio.to_thread(muster, "clusters", *arguments, server=self.url)


@pytest.fixture
async def api(database: Database) -> AsyncIterator[Api]:
    await whole_schema(database)
    hub = MadeUpHub()
    access = made_up_access(hub)
    access.store.open(database)
    server = api_server(hub, access=access)
    await server.start()
    try:
        async with aiohttp.ClientSession() as session:
            with LocalToken(LOCAL_TOKEN).left(*server.address):
                api = Api(hub, server.url, session, database)
                await api.lead()
                yield api
    finally:
        await server.stop()


async def in_database(api: Api, name: str) -> UUID:
    """A cluster of the fleet, for the database too."""
    cluster_id = api.hub.put(name, api.hub.answer())
    await api.db.execute(
        "INSERT INTO clusters (id, name, source, endpoint, lifecycle, first_seen_at) "
        "VALUES ($1, $2, 'static', 'https://c', 'Active', now())",
        cluster_id,
        name,
    )
    return cluster_id


async def test_an_agent_of_a_known_cluster_is_registered_listed_and_removed(api: Api) -> None:
    cluster_id = await in_database(api, "berlin")
    api.hub.agent_url = "https://agents.example:8646"
    status, made = await api.ask("POST", body={"cluster": "berlin"}, Idempotency_Key="one")
    assert status == 201, made
    assert (made["cluster_id"], made["cluster"], made["reachable"], made["keys"]) == (
        str(cluster_id),
        "berlin",
        True,
        "read",
    )
    install = made["install"]
    assert install["audience"] == f"muster:{install['hub_id']}" == api.agents.audience
    for value in (f"hub.id={install['hub_id']}", "hub.url=https://agents.example:8646", f"cluster.id={cluster_id}"):
        assert f"--set {value}" in install["command"]
    assert await api.ask("POST", body={"cluster": "berlin"}, Idempotency_Key="one") == (201, made)
    status, conflict = await api.ask("POST", body={"cluster": "berlin", "namespace": "other"})
    assert (status, conflict["type"]) == (409, "/problems/agent-exists")
    status, page = await api.ask("GET", role="viewer")
    assert (status, page["total"], page["agents"][0]["cluster"]) == (200, 1, "berlin")
    assert (await api.ask("GET", f"/{cluster_id}", role="viewer"))[1] == made

    restarted_as = api.agents.hub_id
    await api.lead()
    assert (api.agents.hub_id, list(api.agents.known)) == (restarted_as, [cluster_id])

    for role in ("viewer", "operator"):
        assert (await api.ask("POST", body={"cluster": "berlin"}, role=role))[0] == 403
        assert (await api.ask("DELETE", "/berlin", role=role))[0] == 403
    states = api.hub.recorder.states[cluster_id]
    api.hub.recorder.record([api.hub.answer(Reason.AGENT_SILENT, check=Check.AGENT)])
    assert (await api.ask("DELETE", "/berlin"))[0] == 200
    assert (await api.ask("DELETE", "/berlin"))[0] == 404
    assert set(states) == {Check.APISERVER}
    assert await api.db.fetchval("SELECT count(*) FROM agents") == 0
    audited = await api.db.fetch("SELECT action, subject, outcome FROM audit_log WHERE outcome = 'done' ORDER BY id")
    assert [tuple(row) for row in audited] == [("agent.register", "berlin", "done"), ("agent.remove", "berlin", "done")]


async def test_what_makes_no_sense_is_refused(api: Api) -> None:
    await in_database(api, "berlin")
    jwks, ec = Issuer().jwks, Issuer(ec=True)
    private = {"keys": [dict(ec.key.as_dict(private=True))]}
    symmetric = {"keys": [{"kty": "oct", "kid": "a", "k": "c2VjcmV0"}]}
    small = {"keys": [{**jwks["keys"][0], "n": "AQAB"}]}
    twice = {"keys": jwks["keys"] * 2}
    for body, word in (
        ({}, "either"),
        ({"name": "a", "cluster": "berlin", "jwks": jwks}, "either"),
        ({"name": "a"}, "jwks"),
        ({"cluster": "berlin", "issuer": "https://x"}, "issuer"),
        ({"name": "a", "jwks": private}, "private"),
        ({"name": "a", "jwks": symmetric}, "private"),
        ({"name": "a", "jwks": small}, "RSA"),
        ({"name": "a", "jwks": twice}, "kid"),
        ({"name": "a", "jwks": {}}, "JWKS"),
        ({"name": "a", "jwks": {"keys": []}}, "keys"),
        ({"name": "a", "jwks": {"keys": [7]}}, "object"),
        ({"name": "a", "jwks": {"keys": [{**jwks["keys"][0], "alg": "RS512"}]}}, "RS256"),
        ({"name": "a", "jwks": {"keys": [{**jwks["keys"][0], "use": "enc"}]}}, "use"),
        ({"name": "a", "jwks": {"keys": [{**ec.jwks["keys"][0], "x": "AAAA"}]}}, "EC"),
        ({"name": "a\x1b[31m", "jwks": jwks}, "name"),
        ({"name": "a", "jwks": jwks, "namespace": "A B"}, "namespace"),
    ):
        status, document = await api.ask("POST", body=body)
        assert (status, word in document["detail"]) == (422, True), (body, document)
        assert str(private["keys"][0]["d"]) not in json.dumps(document)
    assert (await api.ask("POST", body={"cluster": "nobody"}))[0] == 404
    status, taken = await api.ask("POST", body={"name": "berlin", "jwks": jwks})
    assert (status, "`cluster`" in taken["detail"]) == (409, True)
    assert (await api.ask("GET", "/nobody"))[0] == 404
    assert (await api.ask("GET", "/berlin"))[1]["type"] == "/problems/agent-not-found"
    assert (await api.ask("GET", "?after=x"))[0] == 400


async def test_a_cluster_that_the_hub_can_t_reach_is_in_the_fleet_by_its_registration(api: Api) -> None:
    jwks = Issuer(ec=True).jwks
    extra = {"keys": [{**jwks["keys"][0], "x5c": ["MIIB"], "note": "x"}]}
    body = {"name": "edge", "jwks": extra, "issuer": "https://edge.example"}
    status, made = await api.ask("POST", body=body, Idempotency_Key="k")
    assert (status, made["reachable"], made["keys"], made["key_ids"]) == (
        201,
        False,
        "registered",
        [jwks["keys"][0]["kid"]],
    )
    cluster_id = UUID(made["cluster_id"])
    kept = api.agents.known[cluster_id].jwks
    assert kept is not None
    assert set(kept["keys"][0]) == {"kty", "kid", "crv", "x", "y"}

    inventory = Inventory(api.db, QUERIES, api.hub.clock, ["static", "agent"])
    await inventory.load(api.epoch)
    async with aclosing(AgentSource(api.agents).readings()) as readings:  # type: ignore[type-var]
        changes = await inventory.apply("agent", await anext(readings))
        [cluster] = changes.added
        assert (cluster.id, cluster.name, cluster.source, cluster.endpoint) == (
            cluster_id,
            "edge",
            "agent",
            "agent:edge",
        )
        status, again = await api.ask("POST", body=body, Idempotency_Key="other")
        assert (status, again["type"]) == (409, "/problems/agent-exists")

        later = Inventory(api.db, QUERIES, api.hub.clock, ["agent"])
        await later.load(api.epoch)
        assert [(each.id, each.name) for each in later.clusters.values()] == [(cluster_id, "edge")]

        assert (await api.ask("DELETE", "/edge"))[0] == 200
        gone = await later.apply("agent", await anext(readings))
        assert gone.removed == (cluster_id,)
        status, second = await api.ask("POST", body=body)
        assert status == 201
        [newcomer] = (await later.apply("agent", await anext(readings))).added
        assert newcomer.id == UUID(second["cluster_id"]) != cluster_id, "another cluster of the same name"


async def test_the_command_line_adds_lists_and_removes(api: Api, tmp_path: Path) -> None:
    await in_database(api, "berlin")
    (tmp_path / "keys.json").write_text(json.dumps(Issuer().jwks))
    (tmp_path / "bad.json").write_text("no JSON")
    added = await api.cli("add", "--agent", "edge", "--jwks", str(tmp_path / "keys.json"), "--issuer", "https://edge")
    assert added.exit_code == 0, added.output
    assert added.stdout.startswith("helm install muster-agent ")
    assert f"hub.id={api.agents.hub_id}" in added.stdout
    known = await api.cli("add", "--cluster", "berlin", "-o", "json")
    assert json.loads(known.stdout)["install"]["audience"] == api.agents.audience
    wide = await api.cli("agents", "-o", "wide")
    assert "never" in wide.stdout
    assert "by its agent" in wide.stdout
    listed = json.loads((await api.cli("agents", "-o", "json")).stdout)
    assert [each["cluster"] for each in listed["agents"]] == ["berlin", "edge"]
    assert "cluster: berlin" in (await api.cli("agents", "-o", "yaml")).stdout
    removed = await api.cli("remove", "edge")
    assert "left the fleet" in removed.stdout
    for arguments, code in (
        (("add",), 2),
        (("add", "--agent", "a"), 2),
        (("add", "--agent", "a", "--cluster", "b"), 2),
        (("add", "--agent", "a", "--jwks", str(tmp_path / "none")), 2),
        (("add", "--agent", "a", "--jwks", str(tmp_path / "bad.json")), 2),
        (("remove", "nobody"), 2),
    ):
        assert (await api.cli(*arguments)).exit_code == code, arguments
