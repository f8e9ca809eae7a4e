"""Ask a cluster now, and stream its answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, NamedTuple
from uuid import UUID

from aiohttp import web

from collector.fleet import ClusterView
from muster.access.principal import STILL_MAY
from muster.access.roles import Role
from muster.agents.source import NAME as AGENT_SOURCE
from muster.api import present, schemas
from muster.api.bodies import read_body
from muster.api.fleet import CLUSTER
from muster.api.names import Names
from muster.api.picture import Pictures
from muster.api.problems import Kind, ProblemError
from muster.api.queries import NoQuery, read_query
from muster.api.table import Route
from muster.hub import Hub
from muster.validations import Busy, Validation, Validations
from validator.engine import Engine
from validator.health import HealthSettings
from validator.model import Verdict

NDJSON = "application/x-ndjson"

LOOK_S = 0.5
"""How often a stream that waits looks whether its reader is still there, and may still read."""

WRITE_S = 5.0
"""For a line to be taken. A reader who takes nothing is dropped."""

_NAMED = (Kind.NOT_LEADING, Kind.CLUSTER_NOT_FOUND, Kind.AMBIGUOUS_CLUSTER)
_BODY = (Kind.BAD_BODY, Kind.UNSUPPORTED_MEDIA_TYPE, Kind.SLOW_REQUEST, Kind.TOO_LARGE)


class _Asked(NamedTuple):
    """A validation, and what its events are made of."""

    engine: Engine
    cluster_id: UUID
    validation: Validation
    joined: bool
    timeout_s: float


class ValidateActions:
    """Handlers on one hub."""

    def __init__(
        self,
        hub: Hub,
        pictures: Pictures,
        names: Names,
        settings: HealthSettings,
        validations: Validations | None = None,
    ) -> None:
        """`validations` is a seam: tests have smaller bounds."""
        self._hub = hub
        self._pictures = pictures
        self._names = names
        self._settings = settings
        self._validations = validations or Validations()

    def routes(self) -> list[Route]:
        """Its rows of the route table."""
        return [
            Route(
                "POST",
                CLUSTER + "/validate",
                self.validate,
                Role.OPERATOR,
                "Ask a cluster now",
                schemas.ValidateEvent,
                body=schemas.ValidateRequest,
                body_required=False,
                media_type=NDJSON,
                problems=(*_NAMED, *_BODY, Kind.NOT_ASKED, Kind.BUSY),
            ),
        ]

    async def validate(self, request: web.Request) -> web.StreamResponse:
        """Ask the cluster now and stream its answer: one JSON document a line.

        Several who ask at once, or within a second, get the answer to one question. A server that has asked to be left
        alone (Retry-After) is: the stream says `late`, and for how long. The verdict counts as any other does: a single
        one need not change the cluster's health.
        """
        read_query(NoQuery, request.query)
        wanted = await read_body(request, schemas.ValidateRequest, required=False)
        cluster_id = await self._names.find(request.match_info["cluster"])
        engine = self._pictures.leading().engine
        if not engine.knows(cluster_id):
            cluster = self._pictures.leading().inventory.clusters.get(cluster_id)
            if cluster is not None and cluster.source == AGENT_SOURCE:
                raise ProblemError(
                    Kind.NOT_ASKED,
                    "The hub can't reach this cluster: its agent reports by itself; `muster clusters agents` says when "
                    "it last did.",
                )
            raise ProblemError(
                Kind.NOT_ASKED,
                "No source has named it since this instance leads, so there is no way to it. See `source_problems` of "
                "/api/v1/fleet.",
            )
        try:
            with self._validations.joined(engine, cluster_id) as (validation, joined):
                return await self._stream(request, _Asked(engine, cluster_id, validation, joined, wanted.timeout_s))
        except Busy:
            raise ProblemError(Kind.BUSY, "Too many clusters are being validated. Wait a second.") from None

    async def _stream(self, request: web.Request, asked: _Asked) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": NDJSON, "X-Accel-Buffering": "no"})
        try:
            await response.prepare(request)
            async with aclosing(self._events(request, asked)) as events:
                async for event in events:
                    async with asyncio.timeout(WRITE_S):
                        await response.write(event.model_dump_json().encode() + b"\n")
            await response.write_eof()
        except (ConnectionError, TimeoutError):
            if request.transport is not None:
                request.transport.abort()  # a reader who takes nothing
        return response

    async def _events(self, request: web.Request, asked: _Asked) -> AsyncGenerator[schemas.ValidateEvent]:
        """The lines; none any more once nobody reads them."""
        yield self._event("asking", joined=asked.joined)
        held_back_s = asked.engine.held_back_s(asked.cluster_id)
        if held_back_s > asked.timeout_s and not asked.validation.answer.done():
            yield self._event("late", message=f"The server has asked to be left alone for {held_back_s:.0f} s more.")
            return
        if not await _answered(request, asked):
            return
        if not asked.validation.answer.done():
            yield self._event("late", message=f"No answer within {asked.timeout_s:g} s. It will be asked all the same.")
            return
        verdicts = asked.validation.answer.result()
        view = None if verdicts is None else self._hub.cluster(asked.cluster_id)
        if verdicts is None or view is None:
            yield self._event("late", message="There will be no answer: it left the fleet, or this instance stops.")
            return
        for check in self._checks(view, verdicts):
            yield self._event("checked", check=check)
        rollup = view.rollup
        yield self._event("done", health=rollup.health, reason=rollup.reason, message=rollup.message)

    def _checks(self, view: ClusterView, verdicts: Sequence[Verdict]) -> list[schemas.Check]:
        now, answered = self._hub.clock.now(), {verdict.check for verdict in verdicts}
        name, endpoint = view.cluster.name, view.cluster.endpoint
        seen = (shown for shown in view.checks if shown.state.check in answered)
        return [present.check(shown, name, endpoint, now, self._settings) for shown in seen]

    def _event(self, event: str, **members: Any) -> schemas.ValidateEvent:
        return schemas.ValidateEvent(event=event, at=present.instant(self._hub.clock.now()), **members)


async def _answered(request: web.Request, asked: _Asked) -> bool:
    """Wait until there is an answer or it is too late; false once nobody reads, or the reader may no longer."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + asked.timeout_s
    while not asked.validation.answer.done() and (left_s := deadline - loop.time()) > 0:
        await asyncio.wait({asked.validation.answer}, timeout=min(left_s, LOOK_S))
        if request.transport is None or request.transport.is_closing() or not request[STILL_MAY]():
            return False
    return True
