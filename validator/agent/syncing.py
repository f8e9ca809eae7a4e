"""Lists backups for requests of the kind `sync`: who does it in an agent, and the seam before it."""

from __future__ import annotations

from typing import Protocol
from uuid import UUID

from validator.agent.clouds import Clouds
from validator.backups.listing import Progress
from validator.backups.runner import SyncResult, SyncRunner
from validator.clock import Clock
from validator.locations import Location
from validator.net.failure import ProbeFailure


class Syncs(Protocol):
    """What carries out a sync."""

    async def run(self, location: Location, request_id: UUID, progress: Progress) -> SyncResult:
        """Until it is done; bounds its own time. Cancelled where nobody wants it any more."""
        ...


class AgentSyncs:
    """`SyncRunner` with the SDK of the location's cloud imported first."""

    def __init__(self, clouds: Clouds, clock: Clock) -> None:
        self._clouds = clouds
        self._clock = clock

    async def run(self, location: Location, request_id: UUID, progress: Progress) -> SyncResult:
        try:
            open_ = await self._clouds.opener(location.provider)
        except ProbeFailure as failure:
            return SyncResult(0, reason=failure.reason, message=failure.message)
        return await SyncRunner({location.provider: open_}, self._clock).run(location, request_id, progress)
