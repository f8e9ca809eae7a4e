"""Who carries syncs out, and what is said to whoever can't have one now."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol
from uuid import UUID

from collector.requests import RequestKind
from collector.sync import Sync
from validator.backups.runner import SyncResult
from validator.locations import Location


class Runner(Protocol):
    """Lists a location with the hub's own identity (`validator.backups.runner.SyncRunner`)."""

    async def run(
        self, location: Location, request_id: UUID, progress: Callable[[int, int | None], None]
    ) -> SyncResult: ...


class AgentRequests(Protocol):
    """Reaches agents (`collector.requests.Requests`)."""

    def ask(self, cluster_id: UUID, kind: RequestKind, location_id: UUID, request_id: UUID) -> None: ...

    def withdraw(self, request_id: UUID) -> None: ...


class SyncBusy(Exception):  # noqa: N818 - an answer, not an error
    """Another sync has the bucket, or the location has one already; `holder` is that. `waiting`: how many wait."""

    def __init__(self, holder: Sync, waiting: int, *, full: bool) -> None:
        super().__init__(f"{holder.bucket} is held by {holder.id}")
        self.holder = holder
        self.waiting = waiting
        self.full = full
        """Nobody can wait any more."""


class NoAsker(Exception):  # noqa: N818 - the same
    """Nobody can list the location."""


class LocationGoing(Exception):  # noqa: N818 - the same
    """The location is being deleted, or is gone."""
