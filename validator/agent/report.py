"""Reports to the hub: batches, heartbeats, retries under the same number, and the last words at the end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn
from uuid import UUID, uuid4

import structlog

from validator.agent.backoff import Backoff
from validator.agent.buffer import Batch, Buffer
from validator.agent.hub import HubError, HubLink
from validator.agent.standing import Standing
from validator.agent.wire import read_told

_log = structlog.get_logger(__name__)

PATH = "/agent/v1/report"
DEADLINE_S = 20.0
"""Of one report, half a MB over a slow line included."""
LINGER_S = 2.0
"""Verdicts wait so long for company: a check of every 15 minutes needs no report of its own within the second."""
URGENT_S = 0.1
"""The same where a person waits for the answer."""
DEFAULT_HEARTBEAT_S = 30.0

GONE = frozenset({413, 422})
"""What a report that will never be taken is answered with."""


class Reporter:
    """Owns the numbers of the reports. `wake` it when something was put into the buffer."""

    def __init__(
        self,
        hub: HubLink,
        buffer: Buffer,
        standing: Standing,
        *,
        agent_version: str,
        assignment: Callable[[], str | None],
        backoff: Backoff | None = None,
        linger_s: float = LINGER_S,
        deadline_s: float = DEADLINE_S,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._hub = hub
        self._buffer = buffer
        self._standing = standing
        self._agent_version = agent_version
        self._assignment = assignment
        self._backoff = backoff or Backoff()
        self._linger_s = linger_s
        self._deadline_s = deadline_s
        self._wall = wall
        self._boot: UUID = uuid4()
        self._under_way: Batch | None = None
        self._woken = asyncio.Event()
        self.heartbeat_s = DEFAULT_HEARTBEAT_S

    def wake(self) -> None:
        """There is something to tell, or another `heartbeat_s` to keep."""
        self._woken.set()

    async def run(self) -> NoReturn:
        """Report until cancelled, at once to begin with; what is under way then is sent again by `flush`."""
        while True:
            pause_s = await self._send(self._deadline_s)
            while pause_s is not None:
                await asyncio.sleep(pause_s)
                pause_s = await self._send(self._deadline_s)
            await self._wait(asyncio.get_running_loop().time())

    async def flush(self, within_s: float) -> None:
        """Tell all that is left, once. What the hub does not take in time is lost, and said so."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while (self._under_way or self._buffer.waiting) and await self._send(within_s) is None:
                    pass
        left = len(self._buffer) + len(self._under_way.entries if self._under_way else ())
        if left:
            _log.warning("the hub was not told everything", verdicts=left)

    async def _wait(self, told_at: float) -> None:
        """For something to tell, and a moment for more of it; or for the next heartbeat."""
        while not self._buffer.waiting:
            if not await self._woken_before(told_at + self.heartbeat_s):
                return
        linger_until = asyncio.get_running_loop().time() + self._linger_s
        while not self._buffer.urgent and await self._woken_before(min(linger_until, told_at + self.heartbeat_s)):
            pass
        await asyncio.sleep(URGENT_S)

    async def _woken_before(self, moment: float) -> bool:
        self._woken.clear()
        try:
            async with asyncio.timeout_at(moment):
                await self._woken.wait()
        except TimeoutError:
            return False
        return True

    async def _send(self, deadline_s: float) -> float | None:
        """Send what is under way, or else the next. None = done; a number = try again after so many seconds."""
        batch = self._under_way = self._under_way or self._buffer.take()
        head = {
            "boot": str(self._boot),
            "agent": {"version": self._agent_version},
            "assignment": self._assignment(),
        }
        try:
            reply = await self._hub.post(PATH, self._buffer.encoded(batch, head, self._wall()), deadline_s)
        except HubError as error:
            self._standing.failed("report", str(error))
            return self._backoff.failed()
        taken = 200 <= reply.status < 300
        if not taken and reply.status not in GONE:
            self._standing.failed("report", reply.problem)
            return self._backoff.failed(reply.retry_after_s)
        self._under_way = None
        self._buffer.settle(batch, lost=not taken)
        self._backoff.worked()
        if not taken:
            self._standing.failed("report", reply.problem)
            _log.warning("a report was refused", verdicts=len(batch.entries), problem=reply.problem)
            return None
        self._standing.worked("report")
        told = read_told(reply.body)
        if told.refused:
            _log.warning("the hub refuses verdicts", why=told.refused)
        return None
