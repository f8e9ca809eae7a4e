"""Tokens and the audit log on a real PostgreSQL, through the real API: two instances, a database that goes away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from muster.access.access import Access
from muster.access.hosts import Hosts
from muster.access.local import LocalToken
from muster.access.principal import Principal, PrincipalKind
from muster.access.roles import Role
from muster.access.secret import digest
from muster.access.tokens import STALE_S
from muster.api.server import ApiServer
from muster.storage import SCHEMA_VERSION, migration_sets
from store.embedded import EmbeddedPostgres
from store.errors import StoreUnavailable
from store.migrate import migrate
from store.pool import Database
from tests.support.hub import LOCAL_TOKEN, MadeUpHub, no_metrics
from tests.support.postgres import frozen
from tests.support.runtime import bearer
from validator.clock import Clock, FakeClock

ADMIN = Principal("ann", Role.ADMIN, PrincipalKind.TOKEN, "203.0.113.9")


@pytest.fixture
async def db(database: Database) -> Database:
    await migrate(database, migration_sets(), SCHEMA_VERSION)
    return database


class Instance:
    """One service's API, with a client that shows the local token unless told otherwise."""

    def __init__(self, hub: MadeUpHub, access: Access, url: str, client: aiohttp.ClientSession) -> None:
        self.hub, self.access, self.url, self._client = hub, access, url, client

    async def ask(
        self, method: str, path: str, secret: str = LOCAL_TOKEN, headers: Mapping[str, str] | None = None, **body: Any
    ) -> tuple[int, Any]:
        given = {**bearer(secret), **(headers or {})}
        async with self._client.request(method, self.url + path, headers=given, json=body or None) as response:
            return response.status, await response.json(content_type=None) if response.status != 204 else None

    async def create(self, name: str = "ci", role: Role = Role.VIEWER, **more: Any) -> dict[str, Any]:
        status, token = await self.ask("POST", "/api/v1/tokens", name=name, role=role, **more)
        assert status == 201, token
        return dict(token)

    async def fleet(self, secret: str) -> int:
        return (await self.ask("GET", "/api/v1/fleet", secret))[0]

    async def audit(self, query: str = "") -> list[dict[str, Any]]:
        status, page = await self.ask("GET", f"/api/v1/audit{query}")
        assert status == 200, page
        return list(page["entries"])


@asynccontextmanager
async def instance(db: Database | None) -> AsyncIterator[Instance]:
    hub = MadeUpHub()
    access = Access(hub.clock, Hosts(), local=LocalToken(LOCAL_TOKEN))
    server = ApiServer(hub, no_metrics, "127.0.0.1", 0, access=access)
    await server.start()
    try:
        async with asyncio.TaskGroup() as tasks, aiohttp.ClientSession() as client:
            if db is not None:
                access.store.open(db)
                await access.tokens.refresh()
            running = tasks.create_task(access.tokens.run(), name="tokens")
            yield Instance(hub, access, server.url, client)
            running.cancel()
    finally:
        await server.stop()


@pytest.fixture
async def hub(db: Database) -> AsyncIterator[Instance]:
    async with instance(db) as one:
        yield one


def access_at(db: Database, clock: Clock) -> Access:
    access = Access(clock, Hosts())
    access.store.open(db)
    return access


# -- their life


async def test_a_token_is_shown_once_works_at_once_and_does_what_its_role_may(hub: Instance) -> None:
    token = await hub.create("grafana", Role.VIEWER)
    assert token["secret"].startswith(token["prefix"])
    assert (len(token["prefix"]), len(token["secret"])) == (12, 50)
    assert await hub.fleet(token["secret"]) == 200
    assert (await hub.ask("GET", "/api/v1/tokens", token["secret"]))[0] == 403
    _, page = await hub.ask("GET", "/api/v1/tokens")
    (listed,) = page["tokens"]
    assert listed == {key: value for key, value in token.items() if key != "secret"}
    assert listed["created_by"] == "local"
    assert token["secret"] not in str(page)


async def test_a_revoked_token_works_no_more_at_once_here_and_within_five_seconds_elsewhere(db: Database) -> None:
    async with instance(db) as here, instance(db) as there:
        token = await here.create()
        loop, began = asyncio.get_running_loop(), asyncio.get_running_loop().time()
        while await there.fleet(token["secret"]) != 200:
            assert loop.time() - began < 5
            await asyncio.sleep(0.05)
        began = loop.time()
        status, revoked = await here.ask("DELETE", f"/api/v1/tokens/{token['id']}")
        assert (status, bool(revoked["revoked_at"])) == (200, True)
        assert await here.fleet(token["secret"]) == 401
        while await there.fleet(token["secret"]) != 401:
            assert loop.time() - began < 5
            await asyncio.sleep(0.05)


async def test_revoking_twice_is_the_same_and_one_entry(hub: Instance) -> None:
    token = await hub.create()
    first = await hub.ask("DELETE", f"/api/v1/tokens/{token['id']}")
    assert await hub.ask("DELETE", f"/api/v1/tokens/{token['id']}") == first
    assert len(await hub.audit("?action=token.revoke")) == 1
    for unknown in ("00000000-0000-4000-8000-000000000000", "nonsense", "%00"):
        status, problem = await hub.ask("DELETE", f"/api/v1/tokens/{unknown}")
        assert (status, problem["type"]) == (404, "/problems/token-not-found")


async def test_a_name_is_taken_while_its_token_works(hub: Instance) -> None:
    token = await hub.create("ci")
    status, problem = await hub.ask("POST", "/api/v1/tokens", name="ci", role="admin")
    assert (status, problem["type"]) == (409, "/problems/already-exists")
    await hub.ask("DELETE", f"/api/v1/tokens/{token['id']}")
    await hub.create("ci")
    answers = await asyncio.gather(*(hub.ask("POST", "/api/v1/tokens", name="two", role="viewer") for _ in range(6)))
    assert sorted(status for status, _ in answers) == [201] + [409] * 5


@pytest.mark.parametrize(
    "body",
    [
        {"name": "", "role": "viewer"},
        {"name": "a b", "role": "viewer"},
        {"name": "a\n", "role": "viewer"},
        {"name": "a" * 65, "role": "viewer"},
        {"name": "a", "role": "root"},
        {"name": "a", "role": "viewer", "expires_in_s": 59},
        {"name": "a", "role": "viewer", "expires_in_s": "600"},
        {"name": "a", "role": "viewer", "rolle": "x"},
        {"role": "viewer"},
    ],
)
async def test_a_wish_that_makes_no_sense_names_the_field(hub: Instance, body: dict[str, Any]) -> None:
    status, problem = await hub.ask("POST", "/api/v1/tokens", **body)
    assert (status, problem["type"]) == (422, "/problems/bad-body")
    assert problem["errors"][0]["field"] in {"name", "role", "expires_in_s", "rolle"}


async def test_an_expired_token_is_refused_from_memory(db: Database) -> None:
    clock = FakeClock()
    access = access_at(db, clock)
    _, secret = await access.tokens.create(ADMIN, "short", Role.VIEWER, 60)
    _, for_ever = await access.tokens.create(ADMIN, "ever", Role.VIEWER, None)
    await access.tokens.refresh()
    clock.advance(59)
    assert access.tokens.find(secret) is not None
    clock.advance(1)
    assert access.tokens.find(secret) is None
    assert access.tokens.find(for_ever) is not None
    await access.tokens.create(ADMIN, "short", Role.ADMIN, 60)  # the name is free again


async def test_memory_is_trusted_for_an_hour_and_no_longer(db: Database) -> None:
    clock = FakeClock()
    access = access_at(db, clock)
    _, secret = await access.tokens.create(ADMIN, "ci", Role.VIEWER, None)
    await access.tokens.refresh()
    clock.advance(STALE_S)
    assert access.tokens.find(secret) is not None
    clock.advance(1)
    with pytest.raises(StoreUnavailable):
        access.tokens.find(secret)


async def test_the_last_use_is_kept_to_the_minute_and_never_goes_back(db: Database) -> None:
    clock = FakeClock(1_800_000_030.0)
    access, other = access_at(db, clock), access_at(db, FakeClock(1_799_999_000.0))
    _, secret = await access.tokens.create(ADMIN, "ci", Role.VIEWER, None)
    for one in (access, other):
        await one.tokens.refresh()
        for _ in range(3):
            one.tokens.find(secret)
        await one.tokens.note_used()
    (token,) = await access.tokens.list()
    assert token.last_used_at == 1_800_000_030 // 60 * 60


async def test_a_role_of_a_newer_release_lets_nobody_in_and_is_listed(db: Database) -> None:
    access = access_at(db, FakeClock())
    _, secret = await access.tokens.create(ADMIN, "ci", Role.VIEWER, None)
    await db.execute("UPDATE api_tokens SET role = 'gardener'")
    await access.tokens.refresh()
    assert access.tokens.find(secret) is None
    assert [token.role for token in await access.tokens.list()] == ["gardener"]


async def test_what_is_older_than_the_retention_is_dropped(db: Database) -> None:
    clock = FakeClock()
    access = access_at(db, clock)
    old, _ = await access.tokens.create(ADMIN, "old", Role.VIEWER, None)
    await access.tokens.create(ADMIN, "works", Role.VIEWER, None)
    await access.tokens.revoke(ADMIN, old.id)
    clock.advance(86_400 * 91)
    await access.keep_house(clock.now(), 90)
    assert [token.name for token in await access.tokens.list()] == ["works"]
    assert await access.audit.page(100) == []


# -- the database is away


async def test_a_service_that_has_not_reached_its_database_lets_in_the_local_token_only() -> None:
    async with instance(None) as one:
        assert await one.fleet(LOCAL_TOKEN) == 200
        status, problem = await one.ask("GET", "/api/v1/fleet", f"muster_{'a' * 43}")
        assert (status, problem["type"]) == (503, "/problems/store-unavailable")
        assert (await one.ask("GET", "/api/v1/tokens"))[0] == 503


async def test_while_the_database_hangs_tokens_work_and_writes_are_refused(own_postgres: EmbeddedPostgres) -> None:
    db = await Database.open(await own_postgres.start(), statement_timeout_s=1.0)
    try:
        await migrate(db, migration_sets(), SCHEMA_VERSION)
        async with instance(db) as one:
            secret = (await one.create("ops", Role.OPERATOR))["secret"]
            assert own_postgres.pid is not None
            with frozen(own_postgres.pid):
                await asyncio.sleep(2.5)  # a refresh has failed
                assert await one.fleet(secret) == 200
                status, problem = await one.ask("POST", "/api/v1/tokens", name="new", role="viewer")
                assert (status, problem["type"]) == (503, "/problems/store-unavailable")
                assert (await one.ask("POST", "/api/v1/tokens", secret, name="new", role="viewer"))[0] == 403
                assert (await one.ask("POST", "/api/v1/session/code"))[0] == 201  # that's when people look
    finally:
        await db.close()


# -- the audit log


async def test_every_write_is_in_the_audit_log_with_before_and_after(hub: Instance) -> None:
    token = await hub.create("ci", Role.OPERATOR, expires_in_s=3600)
    await hub.ask("DELETE", f"/api/v1/tokens/{token['id']}")
    await hub.ask("POST", "/api/v1/session/code")
    code, revoke, create = await hub.audit()
    assert [entry["action"] for entry in (create, revoke, code)] == ["token.create", "token.revoke", "session.code"]
    for entry in (create, revoke):
        assert (entry["who"], entry["kind"], entry["role"]) == ("local", "local", "admin")
        assert (entry["source"], entry["subject"], entry["outcome"]) == ("127.0.0.1", token["id"], "done")
    assert create["before"] is None
    assert (create["after"]["name"], create["after"]["role"]) == ("ci", "operator")
    assert revoke["before"]["revoked_at"] is None
    assert revoke["after"]["revoked_at"] is not None


async def test_a_refused_write_is_there_too_with_its_problem(hub: Instance) -> None:
    secret = (await hub.create("ops", Role.OPERATOR))["secret"]
    await hub.ask("POST", "/api/v1/tokens", secret, name="more", role="admin")
    await hub.ask("DELETE", "/api/v1/tokens/some%00thing", secret)
    await hub.ask("POST", "/api/v1/tokens", name="ops", role="viewer")
    await hub.ask("GET", "/api/v1/audit", secret)  # reads nothing, and is no write
    taken, revoke, create, _ = await hub.audit()
    assert [entry["outcome"] for entry in (create, revoke)] == ["/problems/forbidden"] * 2
    assert [entry["who"] for entry in (create, revoke, taken)] == ["ops", "ops", "local"]
    assert taken["outcome"] == "/problems/already-exists"
    assert revoke["subject"].startswith("some")


async def test_refusals_cannot_fill_the_disk(hub: Instance) -> None:
    secret = (await hub.create("ops", Role.OPERATOR))["secret"]
    for _ in range(130):
        assert (await hub.ask("POST", "/api/v1/session/code", secret))[0] == 403
    assert 100 <= len(await hub.audit("?limit=1000&who=ops")) <= 110


async def test_the_log_is_paged_and_searched(hub: Instance) -> None:
    tokens = [await hub.create(f"t{number}") for number in range(5)]
    _, page = await hub.ask("GET", "/api/v1/audit?limit=3")
    assert len(page["entries"]) == 3
    _, rest = await hub.ask("GET", f"/api/v1/audit?limit=3&before={page['next']}")
    assert (len(rest["entries"]), rest["next"]) == (2, None)
    names = [entry["after"]["name"] for entry in page["entries"] + rest["entries"]]
    assert names == ["t4", "t3", "t2", "t1", "t0"]
    assert len(await hub.audit(f"?subject={tokens[2]['id']}")) == 1
    assert await hub.audit("?who=nobody") == []
    assert len(await hub.audit("?since=2020-01-01T00:00:00Z&until=2100-01-01T00:00:00Z&action=token.create")) == 5
    assert await hub.audit("?until=2020-01-01T00:00:00Z") == []
    for query in ("since=2021-01-01T00:00:00Z&until=2020-01-01T00:00:00Z", "since=yesterday", "whom=x", "limit=0"):
        assert (await hub.ask("GET", f"/api/v1/audit?{query}"))[0] == 400


async def test_an_entry_and_its_write_are_one_transaction(hub: Instance, db: Database) -> None:
    token = await hub.create("ci")
    await db.execute("ALTER TABLE audit_log ADD CONSTRAINT full_disk CHECK (action <> 'token.revoke') NOT VALID")
    assert (await hub.ask("DELETE", f"/api/v1/tokens/{token['id']}"))[0] == 503
    assert await hub.fleet(token["secret"]) == 200
    assert [token.revoked_at for token in await hub.access.tokens.list()] == [None]


# -- canaries


async def test_no_secret_is_in_the_database_or_the_log(
    hub: Instance, db: Database, database_url: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    token = await hub.create("ci")
    _, code = await hub.ask("POST", "/api/v1/session/code")
    async with aiohttp.ClientSession() as client:
        async with client.post(f"{hub.url}/api/v1/session", json={"code": "wrong"}):
            pass
        async with client.post(f"{hub.url}/api/v1/session", json={"code": code["code"]}) as response:
            session = await response.json()
            cookie = response.headers["Set-Cookie"].partition("=")[2].partition(";")[0]
    await hub.fleet(token["secret"])
    await hub.fleet(token["secret"] + "x")
    await hub.access.tokens.note_used()
    out = capfd.readouterr()
    told = out.out + out.err + caplog.text + await _everything(db)
    assert digest(token["secret"]).hex() in told  # what is looked at is what was written
    for secret in (token["secret"], LOCAL_TOKEN, code["code"], cookie, session["csrf"]):
        assert secret not in told


async def _everything(db: Database) -> str:
    """All rows of all tables as text."""
    tables = await db.fetch(
        "SELECT c.oid::regclass::text AS name FROM pg_class c WHERE c.relkind IN ('r', 'p') "
        "AND c.relnamespace = 'public'::regnamespace"
    )
    rows = [await db.fetch(f"SELECT t::text AS row FROM {table['name']} t") for table in tables]
    return "\n".join(row["row"] for some in rows for row in some)
