"""What becomes of a report: judged, recorded, counted, and told to whoever waits for an answer in it.

Judging is done in pieces: an honest report of 500 verdicts takes some 10 ms, and one that was made to be costly a
hundred. Of one agent one report is judged at a time, so that a tenant who sends many has one piece in a turn of the
loop, as everybody has. Then everything between the look at the report's number and the record is one step of the loop,
so that a report that comes twice at once is taken once, and no pair can vanish in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from time import monotonic
from uuid import UUID
from weakref import WeakValueDictionary

import structlog

from collector.agent import Agent
from collector.agents import Agents
from collector.ingest import METHOD, OF_CLUSTER, OF_UNREACHABLE, Arrival, Report, Taken, judging
from collector.locations import Locations
from collector.measured import AgentTotals
from collector.requests import Answered, Request, RequestKind, Requests
from muster.agents.assignment import Assignments, is_used
from muster.breath import breathe
from validator.clock import Clock
from validator.model import Check, Evidence, Outcome, Verdict
from validator.reasons import REASONS, Reason

_log = structlog.get_logger(__name__)

PIECE_S = 0.0005
"""Of judging, in one turn of the loop."""

NOTHING = Taken((), (), ())

SKEW_S = 300.0
"""Of the agent's clock: from here on clouds refuse what is signed with it."""


@dataclass(frozen=True, slots=True)
class Told:
    """The answer."""

    accepted: int
    refused: Sequence[tuple[int, str]]
    duplicate: bool
    assignment: str


class Reports:
    """Takes reports for one leader."""

    def __init__(
        self,
        agents: Agents,
        locations: Locations,
        requests: Requests,
        assignments: Assignments,
        sink: Callable[[Sequence[Verdict]], None],
        clock: Clock,
        tally: AgentTotals,
    ) -> None:
        self._agents = agents
        self._locations = locations
        self._requests = requests
        self._assignments = assignments
        self._sink = sink
        self._clock = clock
        self._tally = tally
        self._turns: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()
        """Of agents that have a report here now. No I/O is waited for within."""

    async def take(
        self, agent: Agent, report: Report, arrived_at: float, stands: Callable[[], bool] = lambda: True
    ) -> Told | None:
        """Record what can be believed. `arrived_at` is when the report's first byte came, by the hub's clock.

        None, and nothing is recorded, where the registration does not stand any more once it is judged.
        """
        async with self._turns.setdefault(agent.cluster_id, asyncio.Lock()):
            taken = await self._judged(agent, report, arrived_at)
            return self._record(agent, report, taken, arrived_at) if stands() else None

    async def _judged(self, agent: Agent, report: Report, arrived_at: float) -> Taken:
        cluster_id = agent.cluster_id
        if self._agents.heard(cluster_id).knows(report.boot, report.sequence):
            return NOTHING
        steps = judging(
            report,
            Arrival(
                cluster_id=cluster_id,
                at=arrived_at,
                spare_s=self._assignments.pace.spare_s,
                of_cluster=OF_CLUSTER if agent.name is None else OF_UNREACHABLE,
                is_assigned=lambda location_id: self._is_assigned(cluster_id, location_id),
                request=self._requests.find,
            ),
        )
        begun_at = monotonic()
        while True:
            try:
                next(steps)
            except StopIteration as end:
                taken: Taken = end.value
                return taken
            if monotonic() - begun_at > PIECE_S:
                await breathe()
                begun_at = monotonic()

    def _is_assigned(self, cluster_id: UUID, location_id: UUID) -> bool:
        return is_used(self._locations.known.get(location_id), cluster_id)

    def _still(self, cluster_id: UUID, taken: Taken) -> Taken:
        """Without what has been unassigned while it was judged."""
        return replace(
            taken,
            verdicts=tuple(
                each
                for each in taken.verdicts
                if each[0].location_id is None or self._is_assigned(cluster_id, each[0].location_id)
            ),
            syncs=tuple(each for each in taken.syncs if self._is_assigned(cluster_id, each[0].location_id)),
        )

    def _record(self, agent: Agent, report: Report, taken: Taken, arrived_at: float) -> Told:
        cluster_id, tally = agent.cluster_id, self._tally
        tally.reports += 1
        if self._agents.heard(cluster_id).knows(report.boot, report.sequence):
            tally.duplicates += 1
            return Told(0, (), duplicate=True, assignment=self._assignments.version(cluster_id))
        taken = self._still(cluster_id, taken)
        skew_s = report.sent_at - arrived_at
        dropped = self._agents.note(cluster_id, report.boot, report.sequence, report.dropped, report.version, skew_s)
        tally.verdicts += len(taken.verdicts)
        tally.refused += len(taken.refused)
        tally.dropped += dropped
        verdicts = [verdict for verdict, _ in taken.verdicts]
        self._sink([*verdicts, self._of_agent(cluster_id, report, arrived_at, skew_s, dropped)])
        self._requests.answered(_answers(cluster_id, taken))
        if taken.refused:
            _log.debug("verdicts of an agent are refused", cluster=str(cluster_id), why=taken.refused[0][1])
        version = self._assignments.version(cluster_id)
        return Told(len(verdicts) + len(taken.syncs), taken.refused, duplicate=False, assignment=version)

    def _of_agent(self, cluster_id: UUID, report: Report, at: float, skew_s: float, dropped: int) -> Verdict:
        """That it reports, and how well. A clock that is wrong is worse than facts that are lost."""
        outcome, reason, message = Outcome.PASS, None, ""
        if dropped:
            outcome, reason = Outcome.FINDING, Reason.AGENT_DROPS
            message = f"{dropped:,} verdicts were dropped since the report before"
        if abs(skew_s) > SKEW_S:
            outcome, reason = Outcome.FINDING, Reason.CLOCK_SKEW
            message = f"the agent's clock is {abs(skew_s):.0f} s {'ahead of' if skew_s > 0 else 'behind'} the hub's"
        evidence: Evidence = {
            "method": METHOD,
            "version": report.version,
            "skew_s": round(skew_s, 1),
            "dropped": report.dropped,
        }
        return Verdict(
            check=Check.AGENT,
            cluster_id=cluster_id,
            outcome=outcome,
            observed_at=at,
            received_at=at,
            duration_s=0.0,
            lateness_s=0.0,
            allowance_s=heard_for_s(self._assignments.pace.heartbeat_s),
            reason=reason,
            stage=None if reason is None else REASONS[reason].stage,
            message=message,
            evidence=evidence,
        )


def heard_for_s(heartbeat_s: float) -> float:
    """How long a report shows that the agent is there."""
    return 2.1 * heartbeat_s + 10.0


def _answers(cluster_id: UUID, taken: Taken) -> list[Answered]:
    """One for each request: its verdicts come in one report."""
    verdicts: dict[UUID, tuple[Request, list[Verdict]]] = {}
    for verdict, request in taken.verdicts:
        if request is not None:
            verdicts.setdefault(request.id, (request, []))[1].append(verdict)
    answers = [
        Answered(each.id, cluster_id, each.location_id, RequestKind.VALIDATE, tuple(found))
        for each, found in verdicts.values()
    ]
    return answers + [
        Answered(each.id, cluster_id, each.location_id, RequestKind.SYNC, sync=sync) for each, sync in taken.syncs
    ]
