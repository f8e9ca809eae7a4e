"""Many agents in one process: the real agent's buffer, reporter and link to the hub, with made-up answers of storage.

All are of one issuer with one key, which is registered for each of their clusters; what the hub does with a token does
not depend on whose key it is.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import aiohttp
from joserfc import jwt
from joserfc.jwk import RSAKey

from muster.demo.pki import Authority, Certificate, utc
from validator.agent.backoff import Backoff
from validator.agent.buffer import Buffer
from validator.agent.hub import HubLink
from validator.agent.report import Reporter
from validator.agent.standing import Standing
from validator.clock import HubClock
from validator.file_thread import FileThread
from validator.model import Check, Outcome, Verdict
from validator.net.resolver import CaresResolver

PERIOD_S = 900.0
"""What each fact says of its period."""


def write_tls(directory: Path) -> None:
    """`tls.crt`, `tls.key` and `ca.pem` of a listener on 127.0.0.1."""
    authority = Authority("agents", utc(time.time()))
    bundle = authority.serving(Certificate.GOOD, "127.0.0.1", "agents.example").bundle
    (directory / "tls.crt").write_bytes(bundle)
    (directory / "tls.key").write_bytes(bundle)
    (directory / "tls.key").chmod(0o600)
    (directory / "ca.pem").write_text(authority.pem)
    ssl.create_default_context(cadata=authority.pem)  # or it is no certificate, and everything after this is noise


class Issuer:
    """Signs what a projected token is."""

    def __init__(self) -> None:
        self._key = RSAKey.generate_key(2048, {"kid": "bench", "use": "sig", "alg": "RS256"})
        self.jwks: Mapping[str, Any] = {"keys": [self._key.as_dict(private=False)]}

    def token(self, audience: str) -> str:
        """For an hour."""
        now = int(time.time())
        claims = {
            "iss": "https://issuer.example",
            "sub": "system:serviceaccount:muster-agent:muster-agent",
            "aud": [audience],
            "iat": now,
            "nbf": now,
            "exp": now + 3600,
            "jti": str(uuid4()),
        }
        return jwt.encode({"alg": "RS256", "kid": "bench"}, claims, self._key)


@dataclass(slots=True)
class Registered:
    """What the hub knows: clusters with agents, and the locations that all of them use."""

    clusters: Sequence[UUID]
    locations: Sequence[UUID]
    audience: str


async def until(session: aiohttp.ClientSession, path: str, holds: Callable[[Any], bool]) -> None:
    """Ask until the answer is well, and such. Raises TimeoutError."""
    async with asyncio.timeout(60):
        while True:
            async with session.get(path) as answer:
                if answer.ok and holds(await answer.json()):
                    return
            await asyncio.sleep(0.1)


async def register(url: str, headers: Mapping[str, str], issuer: Issuer, agents: int, locations: int) -> Registered:
    """Make them by the API, as an operator would."""
    names = [f"agent-{number:05d}" for number in range(agents)]
    async with aiohttp.ClientSession(url, headers=headers) as session:

        async def post(path: str, body: Mapping[str, Any]) -> Any:
            async with session.post(path, json=body) as answer:
                if answer.status >= 400:
                    raise SystemExit(f"{path}: {answer.status} {await answer.text()}")
                return await answer.json()

        await until(session, "/api/v1/fleet", lambda _: True)
        made = [await post("/api/v1/agents", {"name": name, "jwks": issuer.jwks}) for name in names]
        await until(session, "/api/v1/fleet", lambda fleet: fleet["total"] >= agents)
        stores = [
            await post(
                "/api/v1/locations",
                {"name": f"store-{number}", "provider": "gcs", "container": f"muster-{number}", "clusters": names},
            )
            for number in range(locations)
        ]
    return Registered(
        [UUID(each["cluster_id"]) for each in made],
        [UUID(each["id"]) for each in stores],
        made[0]["install"]["audience"],
    )


class Crowd:
    """The agents. Every verdict has a number of its own, so that each can be looked for at the hub."""

    def __init__(self, clusters: Sequence[UUID], locations: Sequence[UUID]) -> None:
        self._clusters = clusters
        self._locations = locations
        self._buffers: list[Buffer] = []
        self._reporters: list[Reporter] = []
        self._clock = HubClock()
        self.made = 0

    @asynccontextmanager
    async def running(
        self, url: str, directory: Path, token: Callable[[], str], heartbeat_s: float
    ) -> AsyncIterator[None]:
        """They report what they are told by `ask`, and their heartbeats, each with a token of its own."""
        files, resolver = FileThread("tokens"), CaresResolver()
        links: list[HubLink] = []
        async with asyncio.TaskGroup() as tasks:
            running = []
            for cluster in self._clusters:
                buffer, standing = Buffer(5000, self._clock), Standing()
                token_file = directory / f"token-{cluster}"
                token_file.write_text(token())
                link = HubLink(
                    url, cluster, token_file=token_file, ca_file=directory / "ca.pem", resolver=resolver, files=files
                )
                reporter = Reporter(
                    link,
                    buffer,
                    standing,
                    agent_version="0.1.0",
                    assignment=lambda: None,
                    backoff=Backoff(),
                    linger_s=0.0,
                )
                reporter.heartbeat_s = heartbeat_s
                self._buffers.append(buffer)
                self._reporters.append(reporter)
                links.append(link)
                running.append(tasks.create_task(reporter.run(), name=f"agent:{cluster}"))
                await asyncio.sleep(0.002)
            try:
                yield
            finally:
                for task in running:
                    task.cancel()
                for link in links:
                    await link.close()
                await resolver.close()

    def ask(self, who: int) -> None:
        """One agent has asked about one of its locations: two facts."""
        buffer, cluster = self._buffers[who], self._clusters[who]
        location = self._locations[self.made // 2 % len(self._locations)]
        now = self._clock.now()
        verdicts = []
        for check in (Check.LOCATION, Check.OBJECT_LOCK):
            self.made += 1
            verdicts.append(
                Verdict(
                    check=check,
                    cluster_id=cluster,
                    location_id=location,
                    outcome=Outcome.PASS,
                    observed_at=now,
                    received_at=now,
                    duration_s=0.2,
                    lateness_s=0.2,
                    allowance_s=1900.0,
                    evidence={"number": self.made, "method": "agent", "token_ms": 0.1, "list_ms": 31.5},
                )
            )
        buffer.add(verdicts, [PERIOD_S] * len(verdicts), None)
        self._reporters[who].wake()

    @property
    def waiting(self) -> int:
        """Verdicts that no report has yet."""
        return sum(len(buffer) for buffer in self._buffers)

    @property
    def dropped(self) -> int:
        """By the agents, for want of room."""
        return sum(buffer.dropped for buffer in self._buffers)
