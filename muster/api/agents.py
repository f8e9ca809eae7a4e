"""Agents: which clusters have one, and whose reports are taken."""

from __future__ import annotations

import shlex
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated
from uuid import UUID, uuid4, uuid5

from aiohttp import web
from pydantic import Field, TypeAdapter

from collector.agent import Agent
from collector.agents import MAX_AGENTS, AgentExists, TooManyAgents
from collector.ingest import METHOD
from muster.access.audit import Audit
from muster.access.principal import PRINCIPAL
from muster.access.roles import Role
from muster.agents.key_set import BadKeySet, read_key_set
from muster.api import schemas
from muster.api.answers import json_answer, json_list
from muster.api.bodies import read_body
from muster.api.cursor import MAX_CURSOR_CHARS, CursorError, Position, decode, encode
from muster.api.names import Names, as_uuid
from muster.api.once import answer_once, key_of
from muster.api.picture import Pictures
from muster.api.present import instant, maybe_instant
from muster.api.problems import Kind, ProblemError
from muster.api.queries import NoQuery, Query, bad_query, read_query
from muster.api.table import Route
from muster.hub import Hub
from muster.idempotency import Idempotency
from store.pool import Statements
from validator.health import CheckState
from validator.model import Check

AGENTS = "/api/v1/agents"

CHART = "deploy/helm/muster-agent"

_REQUESTS = UUID("5d0f7b0a-2f0e-4c3e-9a63-6d1f3f1f6f0d")
"""Namespace of ids that are made of requests."""

_CLUSTERS = (Kind.CLUSTER_NOT_FOUND, Kind.AMBIGUOUS_CLUSTER)
_BODY = (Kind.BAD_BODY, Kind.UNSUPPORTED_MEDIA_TYPE, Kind.SLOW_REQUEST, Kind.TOO_LARGE)


class AgentsQuery(Query):
    """A page of the agents."""

    limit: Annotated[int, Field(ge=1, le=1000)] = 500
    """Agents on a page."""
    after: Annotated[str, Field(min_length=1, max_length=MAX_CURSOR_CHARS)] | None = None
    """The `next` of the page before."""


class AgentRoutes:
    """Handlers on one hub."""

    def __init__(self, hub: Hub, pictures: Pictures, names: Names, audit: Audit, idempotency: Idempotency) -> None:
        self._hub = hub
        self._pictures = pictures
        self._names = names
        self._audit = audit
        self._idempotency = idempotency

    def routes(self) -> list[Route]:
        """Its rows of the route table."""
        return [
            Route(
                "GET",
                AGENTS,
                self.agents,
                Role.VIEWER,
                "Agents, by cluster",
                schemas.AgentPage,
                AgentsQuery,
                problems=(Kind.NOT_LEADING,),
            ),
            Route(
                "GET",
                AGENTS + "/{cluster}",
                self.agent,
                Role.VIEWER,
                "The agent of one cluster, and how to install it",
                schemas.AgentDetail,
                problems=(Kind.NOT_LEADING, *_CLUSTERS, Kind.AGENT_NOT_FOUND),
            ),
            Route(
                "POST",
                AGENTS,
                self.register,
                Role.ADMIN,
                "Take the reports of a cluster's agent",
                schemas.AgentDetail,
                body=schemas.AgentRegistration,
                status=201,
                problems=(
                    Kind.NOT_LEADING,
                    *_CLUSTERS,
                    *_BODY,
                    Kind.AGENT_EXISTS,
                    Kind.TOO_MANY_AGENTS,
                    Kind.STORE_UNAVAILABLE,
                ),
                idempotent=True,
                changes=True,
                action="agent.register",
            ),
            Route(
                "DELETE",
                AGENTS + "/{cluster}",
                self.remove,
                Role.ADMIN,
                "Take its reports no more",
                schemas.Agent,
                problems=(Kind.NOT_LEADING, *_CLUSTERS, Kind.AGENT_NOT_FOUND, Kind.STORE_UNAVAILABLE),
                changes=True,
                action="agent.remove",
            ),
        ]

    async def agents(self, request: web.Request) -> web.Response:
        """All that are registered, by name of their cluster; those too that have never reported."""
        query = read_query(AgentsQuery, request.query)
        known = self._pictures.leading().agents
        try:
            after = None if query.after is None else decode(query.after, AGENTS)
        except CursorError as error:
            bad_query("after", str(error))
        places = sorted(self._place(agent) for agent in known.known.values())
        page = [place for place in places if after is None or place > after][: query.limit + 1]
        more, page = len(page) > query.limit, page[: query.limit]
        head = schemas.AgentPage(
            hub_id=str(known.hub_id),
            audience=known.audience,
            total=len(places),
            next=encode(page[-1], AGENTS) if more else None,
            agents=(),
        )
        return await json_list(head, [known.known[UUID(place.id)] for place in page], self._listed, _PAGE)

    async def agent(self, request: web.Request) -> web.Response:
        """The agent of a cluster, by the cluster's name or id."""
        read_query(NoQuery, request.query)
        return json_answer(self._detail(await self._find(request)))

    async def register(self, request: web.Request) -> web.Response:
        """Take the reports of an agent for a cluster: the hub's own, or one that it can't reach.

        A cluster that the hub can't reach is made by this, with the source `agent`; all that is known of it is what its
        agent reports. `install` of the answer has the command for it. An `Idempotency-Key` makes it safe to send again.
        """
        read_query(NoQuery, request.query)
        wanted = await read_body(request, schemas.AgentRegistration)
        new = await self._new(request, wanted)
        return await answer_once(self._idempotency, request, partial(self._register, request, new))

    async def remove(self, request: web.Request) -> web.Response:
        """Take its reports no more, from now on. A cluster that has nothing but its agent leaves the fleet with it."""
        read_query(NoQuery, request.query)
        found = await self._find(request)
        gone, leading = self._listed(found), self._pictures.leading()
        beside = self._audited(request, "agent.remove", gone.cluster, found, removed=True)
        if await leading.agents.remove(found.cluster_id, beside) is None:
            raise _not_found(gone.cluster)
        leading.requests.forget(found.cluster_id)
        states = leading.recorder.states.get(found.cluster_id, {})
        told = [check for check, state in states.items() if is_told(check, state)]
        leading.recorder.forget_checks(found.cluster_id, told)
        return json_answer(gone)

    # -- how

    async def _new(self, request: web.Request, wanted: schemas.AgentRegistration) -> Agent:
        leading = self._pictures.leading()
        try:
            jwks = None if wanted.jwks is None else read_key_set(wanted.jwks).document
        except BadKeySet as bad:
            errors = [{"field": "jwks", "message": str(bad)}]
            raise ProblemError(Kind.BAD_BODY, f"jwks: {bad}.", errors=errors) from None
        principal, key = request[PRINCIPAL], key_of(request)
        if wanted.cluster is not None:
            cluster_id = await self._names.find(wanted.cluster)
        else:
            cluster_id = uuid5(_REQUESTS, f"{principal.kind}:{principal.name}:{key}") if key else uuid4()
            others = [each for each in self._hub.find(wanted.name or "") if each != cluster_id]
            if others:
                raise ProblemError(
                    Kind.AGENT_EXISTS,
                    f"A cluster is called {wanted.name} already. If it is meant, register its agent with `cluster` in "
                    "place of `name`; else choose another name.",
                    cluster=str(others[0]),
                )
        before = leading.agents.known.get(cluster_id)
        return Agent(
            cluster_id=cluster_id,
            name=wanted.name or (before.name if before else None),
            namespace=wanted.namespace,
            service_account=wanted.service_account,
            jwks=jwks,
            issuer=wanted.issuer,
            registered_at=self._hub.clock.now(),
            registered_by=principal.name,
        )

    async def _register(self, request: web.Request, new: Agent) -> web.Response:
        beside = self._audited(request, "agent.register", new.name or self._name(new), new)
        try:
            made = await self._pictures.leading().agents.register(new, beside)
        except AgentExists as exists:
            current = exists.current
            raise ProblemError(
                Kind.AGENT_EXISTS,
                f"{self._name(current)} has an agent, {current.subject}, registered by {current.registered_by}. Remove "
                "it first if its keys or its account have changed.",
                cluster=str(current.cluster_id),
            ) from None
        except TooManyAgents:
            raise ProblemError(
                Kind.TOO_MANY_AGENTS, f"{MAX_AGENTS:,} agents are registered. Remove those that nobody needs."
            ) from None
        return json_answer(self._detail(made), status=201)

    async def _find(self, request: web.Request) -> Agent:
        """By the cluster's name or id, or the name or id of the registration."""
        text = request.match_info["cluster"]
        known = self._pictures.leading().agents.known
        by_name = next((agent for agent in known.values() if agent.name == text), None)
        cluster_id = as_uuid(text)
        found = by_name or (None if cluster_id is None else known.get(cluster_id))
        if found is None:
            found = known.get(await self._names.find(text))
        if found is None:
            raise _not_found(text)
        return found

    def _name(self, agent: Agent) -> str:
        cluster = self._pictures.leading().inventory.clusters.get(agent.cluster_id)
        return agent.name or (str(agent.cluster_id) if cluster is None else cluster.name)

    def _place(self, agent: Agent) -> Position:
        return Position(0, 0.0, self._name(agent), str(agent.cluster_id))

    def _listed(self, agent: Agent) -> schemas.Agent:
        heard = self._pictures.leading().agents.heard(agent.cluster_id)
        newest = next(reversed(heard.boots.values()), None)
        return schemas.Agent(
            cluster_id=str(agent.cluster_id),
            cluster=self._name(agent),
            reachable=agent.name is None,
            namespace=agent.namespace,
            service_account=agent.service_account,
            keys="read" if agent.jwks is None else "registered",
            key_ids=() if agent.jwks is None else tuple(str(key["kid"]) for key in agent.jwks["keys"]),
            issuer=agent.issuer,
            registered_at=instant(agent.registered_at),
            registered_by=agent.registered_by,
            version=heard.version,
            last_report_at=maybe_instant(heard.last_report_at),
            clock_skew_s=heard.skew_s,
            dropped=0 if newest is None else newest.dropped,
        )

    def _detail(self, agent: Agent) -> schemas.AgentDetail:
        return schemas.AgentDetail(**self._listed(agent).model_dump(), install=self._install(agent))

    def _install(self, agent: Agent) -> schemas.AgentInstall:
        agents, url = self._pictures.leading().agents, self._hub.agent_url
        return schemas.AgentInstall(
            hub_url=url,
            hub_id=str(agents.hub_id),
            audience=agents.audience,
            cluster_id=str(agent.cluster_id),
            command=helm_command(agent, agents.hub_id, url),
        )

    def _audited(
        self, request: web.Request, action: str, subject: str, agent: Agent, *, removed: bool = False
    ) -> Callable[[Statements], Awaitable[None]]:
        """Writes the entry in the transaction of the change."""
        told = {
            "cluster": str(agent.cluster_id),
            "account": agent.subject,
            "keys": "read" if agent.jwks is None else ", ".join(str(key["kid"]) for key in agent.jwks["keys"]),
            "issuer": agent.issuer,
        }

        async def beside(transaction: Statements) -> None:
            before, after = (told, None) if removed else (None, told)
            await self._audit.write(request[PRINCIPAL], action, subject, before, after, within=transaction)

        return beside


def helm_command(agent: Agent, hub_id: UUID, url: str | None) -> str:
    """What installs it, for a shell."""
    values = {"hub.url": url or "https://HUB:PORT", "hub.id": str(hub_id), "cluster.id": str(agent.cluster_id)}
    if agent.service_account != "muster-agent":
        values["serviceAccount.name"] = agent.service_account
    words = ["helm", "install", "muster-agent", CHART, "--namespace", agent.namespace, "--create-namespace"]
    for name, value in values.items():
        words += ["--set", f"{name}={value}"]
    return shlex.join(words)


def is_told(check: Check, state: CheckState) -> bool:
    """Whether it is the agent of whom this is known; `remove_agent` drops the same from the database."""
    return check is Check.AGENT or state.evidence.get("method") == METHOD


def _not_found(name: str) -> ProblemError:
    return ProblemError(Kind.AGENT_NOT_FOUND, f"No agent is registered for {name[:100]!r}. See GET {AGENTS}.")


_PAGE = TypeAdapter(list[schemas.Agent])
