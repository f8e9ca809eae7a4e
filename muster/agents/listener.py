"""Where agents report: a TLS listener of its own, with two paths and nothing else.

Apart from the API, since other people reach it: tenants' clusters, often by the internet, where the API is for
operators. It takes no API token, and the API takes none of an agent. There is no plaintext: without a certificate it
does not listen.

The order for every request: is there a picture to add to, whose registration does the header name, is the token that
agent's, has it asked too often; then only is the body read.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import resource
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from time import monotonic
from uuid import UUID

import structlog
from aiohttp import web

from collector.agent import Agent
from collector.ingest import MAX_REPORT_BYTES, BadReport, read_report
from muster.access.bucket import Bucket
from muster.agents.desk import AgentDesk
from muster.agents.keys import KeysUnavailable
from muster.agents.tokens import NotThisAgent, TokenRefused
from muster.api.bodies import check_json, read_raw
from muster.api.connections import Connections
from muster.api.problems import Handler, Kind, ProblemError, problems
from muster.hub import Hub, Role
from validator.net.connections import Listener

_log = structlog.get_logger(__name__)

PREFIX = "/agent/v1"
CLUSTER_HEADER = "Muster-Cluster"

MAX_WAIT_S = 60.0
"""Of a long poll; proxies end what says nothing for longer."""

BURST, EVERY_S = 40, 1.0
"""Requests of one agent at once, and one more in so many seconds. It needs one report and one poll every 30 s, and a
few more when somebody waits for answers. The largest honest reports, at this rate, cost a hundredth of a core; those
that were made to be costly up to half of one, in pieces."""

MAX_CONNECTIONS = 20_000
"""Two for each agent that there may be; of fewer descriptors a third."""

STOP_TIMEOUT_S = 1.8
GRACE_S = 0.75
"""As the API's: within the 5 s in which the service has to be gone."""

NO_KEYS = "The keys of this cluster's tokens are not at hand; the hub's log says why. Send it again."
"""To somebody who has not shown who they are: where the hub reads keys, and how that fails, is not for them."""

HEADERS = {"Cache-Control": "no-store", "Server": "muster", "X-Content-Type-Options": "nosniff"}

_BEARER = re.compile(r"Bearer +([!-~]+)")
_VERSION = re.compile(r"[0-9a-zA-Z._-]{1,64}")

Act = Callable[[web.Request, AgentDesk, Agent, float], Awaitable[web.StreamResponse]]


class AgentListenError(OSError):
    """The address can't be listened on; the text names the setting."""

    def __str__(self) -> str:
        return self.strerror or ""


class AgentListener:
    """Serves the agents of one hub. `start` once, `stop` once."""

    def __init__(self, hub: Hub, host: str, port: int, tls: ssl.SSLContext, *, max_wait_s: float = MAX_WAIT_S) -> None:
        """`port` 0 takes any free one. `max_wait_s` is a seam: tests have less time."""
        self._hub = hub
        self._host = host
        self._port = port
        self._tls = tls
        self._max_wait_s = max_wait_s
        self._buckets: dict[UUID, Bucket] = {}
        most = min(MAX_CONNECTIONS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 3)
        self._connections = Connections(HEADERS, most=most)
        app = web.Application(middlewares=[self._connections.watch, problems], client_max_size=MAX_REPORT_BYTES)
        app.router.add_get(f"{PREFIX}/assignment", self._admitted(self._assignment))
        app.router.add_post(f"{PREFIX}/report", self._admitted(self._report))
        app.on_response_prepare.append(_add_headers)
        self._runner = web.AppRunner(app, shutdown_timeout=GRACE_S)
        self._listener: Listener | None = None

    @property
    def url(self) -> str:
        """Where it answers, with the port that was really taken."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"https://{host}:{self._port}"

    async def start(self) -> None:
        """Listen. Raises `AgentListenError`."""
        await self._runner.setup()
        try:
            assert self._runner.server is not None
            self._listener = await self._connections.listen(self._runner.server, self._host, self._port, self._tls)
        except OSError as error:
            await self._runner.cleanup()
            why = os.strerror(error.errno) if error.errno else str(error)
            text = f"cannot listen for agents on {self._host}:{self._port}: {why}. Choose another agent_listen"
            raise AgentListenError(error.errno, text) from error
        self._port = self._listener.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Take no more requests, let those under way end, cut off the rest; within `STOP_TIMEOUT_S`."""
        if self._listener is not None:
            self._listener.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await self._runner.cleanup()

    # -- who

    def _admitted(self, act: Act) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            arrived_at = self._hub.clock.now()
            desk = self._desk()
            agent = self._agent(request, desk)
            await self._authenticate(request, desk, agent)
            if not self._bucket(agent.cluster_id).take(monotonic()):
                desk.tally.limited += 1
                raise ProblemError(
                    Kind.TOO_MANY_REQUESTS, f"An agent may ask {BURST} times at once, and once in {EVERY_S:g} s then."
                )
            return await act(request, desk, agent, arrived_at)

        return handle

    def _desk(self) -> AgentDesk:
        leading = self._hub.leading
        if leading is None or leading.agent_desk is None or self._hub.role is not Role.LEADING:
            raise ProblemError(
                Kind.NOT_LEADING,
                f"This instance is {self._hub.role}. Come again: another one leads, or this one will.",
            )
        return leading.agent_desk

    def _agent(self, request: web.Request, desk: AgentDesk) -> Agent:
        """The registration that the header names: it alone says which keys count."""
        given = request.headers.getall(CLUSTER_HEADER, [])
        try:
            cluster_id = UUID(given[0]) if len(given) == 1 and len(given[0]) == 36 else None
        except ValueError:
            cluster_id = None
        if cluster_id is None:
            raise ProblemError(Kind.UNAUTHENTICATED, f"{CLUSTER_HEADER}: the id of the cluster, once, as a UUID.")
        agent = desk.agents.known.get(cluster_id)
        if agent is None or cluster_id not in desk.inventory.clusters:
            desk.tally.unauthenticated += 1
            raise ProblemError(
                Kind.NOT_AN_AGENT,
                f"No agent is registered for {cluster_id}, or the cluster has left the fleet. An admin registers one: "
                "`muster clusters add`.",
            )
        return agent

    async def _authenticate(self, request: web.Request, desk: AgentDesk, agent: Agent) -> None:
        given = request.headers.getall("Authorization", [])
        bearer = _BEARER.fullmatch(given[0]) if len(given) == 1 else None
        if bearer is None:
            raise ProblemError(
                Kind.UNAUTHENTICATED, "Send `Authorization: Bearer` with the token that is projected for this hub."
            )
        try:
            await desk.tokens.verify(agent, bearer[1])
        except NotThisAgent as error:
            desk.tally.unauthenticated += 1
            raise ProblemError(Kind.NOT_AN_AGENT, f"{_sentence(error)}.") from None
        except TokenRefused as error:
            desk.tally.unauthenticated += 1
            raise ProblemError(Kind.UNAUTHENTICATED, f"{_sentence(error)}.") from None
        except KeysUnavailable as error:
            _log.debug("keys are not to be had", cluster=str(agent.cluster_id), error=str(error))
            raise ProblemError(Kind.KEYS_UNAVAILABLE, NO_KEYS) from None

    def _bucket(self, cluster_id: UUID) -> Bucket:
        """Only for those who have shown who they are: nobody can use up another's."""
        bucket = self._buckets.get(cluster_id)
        if bucket is None:
            while len(self._buckets) >= MAX_CONNECTIONS:
                del self._buckets[next(iter(self._buckets))]
            bucket = self._buckets[cluster_id] = Bucket(BURST, EVERY_S)
        return bucket

    def _stands(self, desk: AgentDesk, agent: Agent) -> bool:
        """Whether it may report still. What has left the fleet must not be brought back by a report on its way."""
        return (
            self._desk() is desk
            and desk.agents.known.get(agent.cluster_id) is agent
            and agent.cluster_id in desk.inventory.clusters
        )

    # -- what

    async def _assignment(self, request: web.Request, desk: AgentDesk, agent: Agent, _: float) -> web.StreamResponse:
        known, wait_s = _poll(request, self._max_wait_s)
        if known and not await desk.assignments.changed(agent.cluster_id, known, wait_s):
            self._desk()  # a poll that ends since this instance leads no more has another answer
            return web.Response(status=304)
        return _answer(desk.assignments.document(agent.cluster_id))

    async def _report(
        self, request: web.Request, desk: AgentDesk, agent: Agent, arrived_at: float
    ) -> web.StreamResponse:
        check_json(request)
        if (request.content_length or 0) > MAX_REPORT_BYTES:  # before any of it is read
            raise ProblemError(
                Kind.TOO_LARGE, f"{request.content_length:,} bytes; a report has {MAX_REPORT_BYTES:,} at most."
            )
        raw = await read_raw(request)
        if not self._stands(desk, agent):
            raise _not_any_more()
        try:
            report = read_report(raw)
        except BadReport as bad:
            errors = [{"field": bad.field, "message": bad.message}]
            raise ProblemError(Kind.BAD_BODY, f"{bad}.", errors=errors) from None
        told = await desk.reports.take(agent, report, arrived_at, lambda: self._stands(desk, agent))
        if told is None:
            raise _not_any_more()
        return _answer(
            {
                "accepted": told.accepted,
                "refused": [{"index": index, "why": why} for index, why in told.refused],
                "duplicate": told.duplicate,
                "assignment": told.assignment,
            }
        )


def _not_any_more() -> ProblemError:
    return ProblemError(Kind.NOT_LEADING, "Another instance leads, or the registration has changed. Come again.")


def _poll(request: web.Request, max_wait_s: float) -> tuple[str, float]:
    """Which version is known ("" = none), and how long to wait for another."""
    query = request.query
    known, wait = query.get("known", ""), query.get("wait_s", "0")
    if known and not _VERSION.fullmatch(known):
        raise ProblemError(Kind.BAD_QUERY, "known: the `version` of an assignment, or nothing.")
    try:
        wait_s = float(wait) if len(wait) < 20 else -1.0
    except ValueError:
        wait_s = -1.0
    if not 0.0 <= wait_s <= MAX_WAIT_S:
        raise ProblemError(Kind.BAD_QUERY, f"wait_s: 0 to {MAX_WAIT_S:g} seconds.")
    return known, min(wait_s, max_wait_s)


def _answer(document: object) -> web.Response:
    return web.Response(body=json.dumps(document, allow_nan=False).encode(), content_type="application/json")


def _sentence(error: Exception) -> str:
    text = str(error).rstrip(".")
    return text[:1].upper() + text[1:]


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)
