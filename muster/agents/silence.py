"""Notices agents that report no more, and those that never have.

Their last facts get old by themselves. But "nothing heard" of the check `agent` has a remedy of its own, so it is said
by a verdict: `AgentSilent`, which is Unknown and says since when.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import NoReturn
from uuid import UUID

from collector.agent import Agent, Heard
from collector.agents import Agents
from collector.inventory import Inventory
from muster.agents.report import heard_for_s
from validator.clock import Clock
from validator.model import Check, Outcome, Verdict
from validator.reasons import REASONS, Reason

LOOK_EVERY_S = 2.0
SAY_EVERY_S = 15.0
"""A verdict for every silent agent at every look would be written every time."""

ALLOWANCE_S = 2.1 * SAY_EVERY_S + LOOK_EVERY_S

INSTALL_S = 600.0
"""From the registration to the first report: somebody has to run helm."""


class Silence:
    """One a leader."""

    def __init__(
        self,
        agents: Agents,
        inventory: Inventory,
        sink: Callable[[Sequence[Verdict]], None],
        clock: Clock,
        heartbeat_s: float,
    ) -> None:
        self._agents = agents
        self._inventory = inventory
        self._sink = sink
        self._clock = clock
        self._heartbeat_s = heartbeat_s
        self._said: dict[UUID, float] = {}
        """When each that is silent was last said to be."""

    async def run(self) -> NoReturn:
        """Until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            self.look()

    def look(self) -> None:
        """Record silences, new ones at once; 1 µs an agent."""
        now, clusters = self._clock.now(), self._inventory.clusters
        silent = {
            cluster_id: message
            for cluster_id, agent in self._agents.known.items()
            if cluster_id in clusters and (message := self._silence(agent, self._agents.heard(cluster_id), now))
        }
        self._said = {cluster_id: at for cluster_id, at in self._said.items() if cluster_id in silent}
        due = [each for each in silent if not 0 <= now - self._said.get(each, -SAY_EVERY_S) < SAY_EVERY_S]
        self._sink([_silent(each, silent[each], now) for each in due])
        self._said.update(dict.fromkeys(due, now))

    def _silence(self, agent: Agent, heard: Heard, now: float) -> str:
        """What to say of it; empty while it is not silent."""
        if heard.last_report_at is None:
            return "It has never reported" if now - agent.registered_at > INSTALL_S else ""
        # Nobody can report to an instance that does not lead yet.
        if now - max(heard.last_report_at, self._agents.since) <= heard_for_s(self._heartbeat_s):
            return ""
        return f"Its last report came {now - heard.last_report_at:.0f} s ago"


def _silent(cluster_id: UUID, message: str, now: float) -> Verdict:
    return Verdict(
        check=Check.AGENT,
        cluster_id=cluster_id,
        outcome=Outcome.UNKNOWN,
        observed_at=now,
        received_at=now,
        duration_s=0.0,
        lateness_s=0.0,
        allowance_s=ALLOWANCE_S,
        reason=Reason.AGENT_SILENT,
        stage=REASONS[Reason.AGENT_SILENT].stage,
        message=message,
    )
