"""Who carries validation jobs out: the hub's own engine of pairs, and the agents in the clusters.

The hub asks in two lanes of its own before those of the engine: pairs that did not answer last time have their own
places, and a pair that keeps its place among the living for `SLOW_S` gives it up, answer or not. So a job is Pending
while thousands are before it, however dead some of those are, and a burst of jobs is no burst of questions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol
from uuid import UUID

from collector.requests import Answered, Request, RequestKind, Requests, TooManyRequests
from collector.validation import Job
from collector.validation_jobs import Listener
from validator.engine import Awaited
from validator.health import CheckState
from validator.lanes import LaneSlots
from validator.model import Check, Pair, SubjectId
from validator.schedule import Lane

AT_ONCE = 64
"""Questions of jobs at once, in each of the two lanes."""

SLOW_S = 2.0
"""A storage answers within half a second; one that has not by then is no reason to let others wait."""


class Asks(Protocol):
    """An engine, as far as this needs one."""

    def ask_now(self, target_id: SubjectId) -> Awaited: ...


@dataclass(slots=True, eq=False)
class _Asked:
    job: Job
    listener: Listener
    lane: Lane
    answer: Awaited | None = None
    holds: bool = False
    """A place in its lane."""
    withdrawn: bool = False


class HubCarrier:
    """Jobs of pairs that the hub itself asks about."""

    def __init__(
        self, engine: Asks, lane_of: Callable[[Pair], Lane], at_once: int = AT_ONCE, slow_s: float = SLOW_S
    ) -> None:
        """The bounds are for tests."""
        self._engine = engine
        self._lane_of = lane_of
        self._slow_s = slow_s
        self._lanes = {lane: LaneSlots[_Asked](at_once) for lane in Lane}
        self._asked: dict[UUID, _Asked] = {}

    def begin(self, job: Job, listener: Listener) -> bool:
        """See `Carrier`."""
        asked = self._asked[job.id] = _Asked(job, listener, self._lane_of(job.pair))
        self._lanes[asked.lane].offer(asked)
        self._admit(asked.lane)
        return True

    def withdraw(self, job: Job) -> None:
        """See `Carrier`."""
        asked = self._asked.pop(job.id, None)
        if asked is not None:
            asked.withdrawn = True
            if asked.answer is not None:
                asked.answer.cancel()
            self._leave(asked)

    def _admit(self, lane: Lane) -> None:
        while (asked := self._lanes[lane].admit()) is not None:
            asked.holds = True
            if asked.withdrawn:
                self._leave(asked)
                continue
            if lane is Lane.LIVE:
                asyncio.get_running_loop().call_later(self._slow_s, self._leave, asked)
            asked.answer = self._engine.ask_now(asked.job.pair)
            asked.listener.begun(asked.job)
            asked.answer.add_done_callback(partial(self._done, asked))

    def _done(self, asked: _Asked, answer: Awaited) -> None:
        self._asked.pop(asked.job.id, None)
        if not answer.cancelled():
            asked.listener.answered(asked.job, answer.result())
        self._leave(asked)

    def _leave(self, asked: _Asked) -> None:
        if asked.holds:
            asked.holds = False
            self._lanes[asked.lane].leave()
            asyncio.get_running_loop().call_soon(self._admit, asked.lane)


class AgentCarrier:
    """Jobs of pairs whose cluster has an agent. Costs the hub nothing, hence no places."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests
        self._asked: dict[UUID, tuple[Job, Listener]] = {}
        requests.on_told(RequestKind.VALIDATE, self._told)
        requests.on_answer(RequestKind.VALIDATE, self._answered)

    def begin(self, job: Job, listener: Listener) -> bool:
        """See `Carrier`."""
        self._asked[job.id] = (job, listener)
        try:
            self._requests.ask(job.pair.cluster_id, RequestKind.VALIDATE, job.pair.location_id, job.id)
        except TooManyRequests:
            del self._asked[job.id]
            return False
        return True

    def withdraw(self, job: Job) -> None:
        """See `Carrier`."""
        if self._asked.pop(job.id, None) is not None:
            self._requests.withdraw(job.id)

    def _told(self, request: Request) -> None:
        if (asked := self._asked.get(request.id)) is not None:
            job, listener = asked
            listener.begun(job)

    def _answered(self, answer: Answered) -> None:
        if (asked := self._asked.get(answer.request_id)) is not None:
            job, listener = asked
            listener.answered(job, answer.verdicts or None)


def lane_by(states: Mapping[SubjectId, Mapping[Check, CheckState]], pair: Pair) -> Lane:
    """The lane in which a pair was asked last."""
    state = states.get(pair, {}).get(Check.LOCATION)
    return Lane.LIVE if state is None or state.latest is None else state.latest.lane
