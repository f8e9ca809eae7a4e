"""The source `agent`: clusters that the hub can't reach, as they were registered with the keys of their agents."""

from __future__ import annotations

from collections.abc import AsyncIterator

from collector.agents import Agents
from validator.discovery.source import AgentEndpoint, Reading, Sighting

NAME = "agent"


class AgentSource:
    """Names each of them under the id of its registration; nothing is asked there."""

    def __init__(self, agents: Agents) -> None:
        self._agents = agents

    @property
    def name(self) -> str:
        return NAME

    async def readings(self) -> AsyncIterator[Reading]:
        while True:
            await self._agents.changed()
            yield Reading(
                tuple(
                    Sighting(
                        agent.name,
                        NAME,
                        AgentEndpoint(agent.name, 0, server_name=str(cluster_id)),
                        cluster_id=cluster_id,
                    )
                    for cluster_id, agent in self._agents.known.items()
                    if agent.name is not None
                )
            )
