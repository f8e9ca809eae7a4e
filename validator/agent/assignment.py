"""Asks the hub, by long poll, what to ask about. Goes on with what it has whatever the hub says or does not say."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NoReturn
from uuid import UUID

import structlog

from validator.agent.backoff import Backoff
from validator.agent.fields import WireError
from validator.agent.hub import HubError, HubLink
from validator.agent.standing import Standing
from validator.agent.wire import Assignment, read_assignment

_log = structlog.get_logger(__name__)

PATH = "/agent/v1/assignment"
WAIT_S = 50
"""How long the hub may keep a poll: below the idle limits of load balancers, which begin at 60 s."""
GRACE_S = 15.0
"""What an answer may take beyond the wait."""
PAUSE_S = 0.5
"""Between two polls, for a hub that does not wait."""


class Assignments:
    """Gives each new assignment to `take`, which must not block."""

    def __init__(
        self,
        hub: HubLink,
        cluster_id: UUID,
        take: Callable[[Assignment], None],
        standing: Standing,
        *,
        wait_s: int = WAIT_S,
        grace_s: float = GRACE_S,
        backoff: Backoff | None = None,
    ) -> None:
        self._hub = hub
        self._cluster_id = cluster_id
        self._take = take
        self._standing = standing
        self._wait_s = wait_s
        self._grace_s = grace_s
        self._backoff = backoff or Backoff()
        self.version: str | None = None
        """Of the assignment that holds; None before the first."""

    async def run(self) -> NoReturn:
        """Ask until cancelled."""
        while True:
            pause_s = await self.poll()
            await asyncio.sleep(pause_s)

    async def poll(self) -> float:
        """Ask once; gives the seconds after which to ask again."""
        query = {"wait_s": str(self._wait_s if self.version is not None else 0)}
        if self.version is not None:
            query["known"] = self.version
        try:
            reply = await self._hub.get(PATH, query, self._wait_s + self._grace_s)
        except HubError as error:
            return self._failed(str(error))
        if reply.status not in {200, 304}:
            return self._failed(reply.problem, reply.retry_after_s)
        if reply.status == 200:
            try:
                assignment = read_assignment(reply.body, self._cluster_id)
            except WireError as error:
                return self._failed(f"the assignment can't be used: {error}")
            self._new(assignment)
        self._backoff.worked()
        self._standing.worked("assignment")
        return PAUSE_S

    def _new(self, assignment: Assignment) -> None:
        if assignment.version != self.version:
            refused = assignment.problems[:5]
            _log.info("assignment", locations=len(assignment.locations), unusable=refused or None)
        self.version = assignment.version
        self._take(assignment)

    def _failed(self, problem: str, retry_after_s: float | None = None) -> float:
        self._standing.failed("assignment", problem)
        return self._backoff.failed(retry_after_s)
