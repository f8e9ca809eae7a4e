"""All that serves agents while an instance leads, built in one place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from collector.agents import Agents
from collector.inventory import Inventory
from collector.locations import Locations
from collector.measured import AgentTotals
from collector.requests import Requests
from muster.agents.assignment import Assignments, Pace
from muster.agents.keys import Keys
from muster.agents.report import Reports
from muster.agents.silence import Silence
from muster.agents.tokens import Tokens
from validator.clock import Clock
from validator.keeper import CredentialKeeper
from validator.model import Verdict
from validator.net.dialer import Dialer


@dataclass(frozen=True, slots=True)
class AgentDesk:
    """What the listener asks. `silence.run` is the composition root's to start; `close` ends the long polls."""

    agents: Agents
    inventory: Inventory
    tokens: Tokens
    assignments: Assignments
    reports: Reports
    silence: Silence
    tally: AgentTotals

    def close(self) -> None:
        """This instance leads no more."""
        self.assignments.close()


def make_desk(
    agents: Agents,
    inventory: Inventory,
    locations: Locations,
    requests: Requests,
    sink: Callable[[Sequence[Verdict]], None],
    clock: Clock,
    *,
    dialer: Dialer,
    keeper: CredentialKeeper,
    pace: Pace,
    tally: AgentTotals,
) -> AgentDesk:
    """For agents and locations that are loaded."""
    keys = Keys(inventory, dialer=dialer, keeper=keeper, clock=clock)
    assignments = Assignments(agents.hub_id, inventory, locations, requests, clock, pace)
    return AgentDesk(
        agents=agents,
        inventory=inventory,
        tokens=Tokens(keys, agents.audience, clock),
        assignments=assignments,
        reports=Reports(agents, locations, requests, assignments, sink, clock, tally),
        silence=Silence(agents, inventory, sink, clock, pace.heartbeat_s),
        tally=tally,
    )
