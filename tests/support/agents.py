"""A hub that agents report to: the real listener with TLS, real keys and tokens, registrations in a real database."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import aiohttp
from joserfc import jws
from joserfc.jwk import ECKey, RSAKey
from multidict import CIMultiDict

import collector
from collector.agent import Agent
from collector.agents import Agents
from collector.measured import AgentTotals
from collector.requests import Requests
from muster.access.tls import ServerTls
from muster.agents.assignment import Pace
from muster.agents.desk import AgentDesk, make_desk
from muster.agents.listener import AgentListener
from muster.demo.pki import Authority, Certificate
from store.pool import Database
from store.sql import load_queries
from tests.support.hub import NO_DATABASE, MadeUpHub
from validator.keeper import CredentialKeeper
from validator.model import Verdict
from validator.net.dialer import Dialer, StageDeadlines
from validator.net.resolver import CaresResolver
from validator.net.tls import TlsContexts

AGENT_QUERIES = load_queries(Path(collector.__path__[0]) / "agents.sql")
SUBJECT = "system:serviceaccount:muster-agent:muster-agent"
ISSUER = "https://kubernetes.default.svc"

Answer = tuple[int, Any, CIMultiDict[str]]


class Issuer:
    """What signs service-account tokens in one cluster, as Kubernetes does."""

    def __init__(self, kid: str = "", *, ec: bool = False, name: str = ISSUER) -> None:
        self.name = name
        self.kid = kid or f"key-{uuid4().hex[:8]}"
        self.alg = "ES256" if ec else "RS256"
        parameters: Any = {"kid": self.kid, "use": "sig", "alg": self.alg}
        self.key = ECKey.generate_key("P-256", parameters) if ec else RSAKey.generate_key(2048, parameters)

    @property
    def jwks(self) -> dict[str, Any]:
        return {"keys": [dict(self.key.as_dict(private=False))]}

    def token(
        self,
        audience: str,
        now: float,
        *,
        lifetime_s: float = 3600.0,
        header: Mapping[str, Any] | None = None,
        key: Any = None,
        **claims: Any,
    ) -> str:
        """One of a pod; `claims` and `header` replace what is in it (None takes it out)."""
        pod = {"namespace": "muster-agent", "serviceaccount": {"name": "muster-agent", "uid": str(uuid4())}}
        body = {
            "aud": [audience],
            "exp": int(now + lifetime_s),
            "iat": int(now),
            "nbf": int(now),
            "iss": self.name,
            "jti": str(uuid4()),
            "kubernetes.io": pod,
            "sub": SUBJECT,
            **claims,
        }
        head = {"alg": self.alg, "kid": self.kid, **(header or {})}
        body = {name: value for name, value in body.items() if value is not None}
        head = {name: value for name, value in head.items() if value is not None}
        registry = jws.JWSRegistry(algorithms=[head["alg"]], strict_check_header=False)
        return jws.serialize_compact(head, json.dumps(body).encode(), key or self.key, registry=registry)


@dataclass
class AgentClient:
    """One agent: its cluster, its token, and the number of its last report."""

    bench: AgentBench
    cluster_id: UUID
    issuer: Issuer
    boot: UUID = field(default_factory=uuid4)
    sequence: int = 0
    token: str = ""

    def __post_init__(self) -> None:
        self.token = self.token or self.issuer.token(self.bench.agents.audience, self.bench.now())

    async def assignment(self, known: str = "", wait_s: float = 0.0, **headers: str) -> Answer:
        query = {"wait_s": str(wait_s), **({"known": known} if known else {})}
        return await self._ask("GET", "/agent/v1/assignment", headers, params=query)

    async def report(self, *verdicts: dict[str, Any], **more: Any) -> Answer:
        """The next report; `more` replaces what is in it."""
        self.sequence += 1
        headers = more.pop("headers", {})
        body = {
            "boot": str(self.boot),
            "sequence": self.sequence,
            "sent_at": self.bench.now(),
            "agent": {"version": "0.1.0"},
            "dropped": 0,
            "assignment": None,
            "verdicts": verdicts,
            "syncs": [],
            **more,
        }
        return await self.send(json.dumps(body).encode(), **headers)

    async def send(self, raw: bytes | BytesIO, **headers: str) -> Answer:
        return await self._ask("POST", "/agent/v1/report", {"Content-Type": "application/json", **headers}, data=raw)

    def verdict(self, location_id: UUID | None, reason: str | None = None, **fields: Any) -> dict[str, Any]:
        """One of the check `location`, seen 2 s ago: a pass, or a failure for this reason."""
        return {
            "location_id": None if location_id is None else str(location_id),
            "check": "location",
            "outcome": "pass" if reason is None else "fail",
            "reason": reason,
            "stage": None,
            "message": "",
            "evidence": {"list_ms": 12.5, "status": 200},
            "observed_at": self.bench.now() - 2.0,
            "age_s": 2.0,
            "duration_s": 0.3,
            "lateness_s": 0.3,
            "period_s": 900.0,
            "skipped_ticks": 0,
            "lane": "live",
            "request": None,
            **fields,
        }

    async def _ask(self, method: str, path: str, headers: Mapping[str, str], **more: Any) -> Answer:
        sent = {"Authorization": f"Bearer {self.token}", "Muster-Cluster": str(self.cluster_id)}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {name: value for name, value in sent.items() if value}
        async with self.bench.session.request(
            method, self.bench.listener.url + path, headers=sent, ssl=self.bench.tls, **more
        ) as response:
            body = await response.read()
            return response.status, json.loads(body) if body else None, CIMultiDict(response.headers)


class AgentBench:
    """A leading hub without a fleet of its own, and what serves its agents."""

    def __init__(self, db: Database | None, hub: MadeUpHub, session: aiohttp.ClientSession) -> None:
        self.db = db
        self.hub = hub
        self.session = session
        self.recorded: list[Verdict] = []
        self.tls: ssl.SSLContext
        self.listener: AgentListener
        self.agents: Agents
        self.desk: AgentDesk
        self.dialer: Dialer
        assert hub.leading is not None
        self.requests: Requests = hub.leading.requests

    def now(self) -> float:
        return self.hub.clock.now()

    async def lead(self) -> None:
        """Take over, as a restarted instance does: from what the database has."""
        leading = self.hub.leading
        assert leading is not None
        self.agents = leading.agents = Agents(self.db or NO_DATABASE, AGENT_QUERIES, self.hub.clock)
        self.requests = leading.requests = Requests()
        if self.db is None:
            self.agents.hub_id = uuid4()
        else:
            await self.agents.load(await self.db.fetchval("UPDATE leadership SET epoch = epoch + 1 RETURNING epoch"))

        def sink(verdicts: Any) -> None:
            self.recorded += verdicts
            leading.recorder.record(verdicts)

        self.desk = leading.agent_desk = make_desk(
            self.agents,
            leading.inventory,
            leading.locations,
            self.requests,
            sink,
            self.hub.clock,
            dialer=self.dialer,
            keeper=CredentialKeeper(self.hub.clock),
            pace=Pace(900.0, 30.0),
            tally=AgentTotals(),
        )

    async def agent(self, name: str, cluster: Issuer | None = None, **registration: Any) -> AgentClient:
        """A cluster of the fleet with a registered agent: with the issuer's keys, or whatever is said."""
        issuer = cluster or Issuer()
        cluster_id = self.hub.put(name)
        fields: dict[str, Any] = {
            "name": None,
            "namespace": "muster-agent",
            "service_account": "muster-agent",
            "jwks": issuer.jwks,
            "issuer": issuer.name,
            **registration,
        }
        new = Agent(cluster_id=cluster_id, registered_at=self.now(), registered_by="ann", **fields)
        if self.db is None:
            self.agents._known[cluster_id] = new
        else:
            await self.db.execute(
                "INSERT INTO clusters (id, name, source, endpoint, lifecycle, first_seen_at) "
                "VALUES ($1, $2, 'static', 'https://c', 'Active', now())",
                cluster_id,
                name,
            )
            await self.agents.register(new)
        return AgentClient(self, cluster_id, issuer)


@asynccontextmanager
async def agent_bench(db: Database | None, directory: Path, *, max_wait_s: float = 60.0) -> AsyncIterator[AgentBench]:
    """Serves until the end of the block. The database has the whole schema; None: registrations are in memory only."""
    authority = Authority("agents", datetime.now(UTC))
    pair = authority.serving(Certificate.GOOD, "127.0.0.1", "agents.example")
    (directory / "agents.crt").write_text(pair.certificate_pem)
    (directory / "agents.key").write_text(pair.key_pem)
    async with aiohttp.ClientSession() as session:
        bench = AgentBench(db, MadeUpHub(), session)
        resolver = CaresResolver()
        bench.dialer = Dialer(resolver, TlsContexts(), StageDeadlines())
        bench.tls = ssl.create_default_context(cadata=authority.pem)
        await bench.lead()
        tls = ServerTls(directory / "agents.crt", directory / "agents.key", bench.hub.clock)
        bench.listener = AgentListener(bench.hub, "127.0.0.1", 0, tls.context, max_wait_s=max_wait_s)
        await bench.listener.start()
        try:
            yield bench
        finally:
            bench.desk.close()
            await bench.listener.stop()
            await resolver.close()


async def soon(condition: Any, within_s: float = 5.0) -> None:
    """Wait until it is true."""
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.01)
