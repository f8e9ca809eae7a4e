"""Syncs put together: who lists, what is expected of backups, and who hears of what was found."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from uuid import UUID

import collector
from collector.backup_checks import HOUR_S, SyncSettings
from collector.inventory import Inventory
from collector.location_store import Holding
from collector.locations import Locations
from collector.recorder import Recorder
from collector.requests import RequestKind, Requests
from collector.sync_store import SyncStore, held_by_syncs
from collector.syncs import Syncs
from muster.api.sync_documents import names_of
from muster.direct import Direct
from muster.settings import Settings
from store.pool import Database
from store.sql import load_queries
from validator.agent.syncing import AgentSyncs
from validator.backups.listing import Progress
from validator.backups.runner import SyncResult
from validator.clock import Clock
from validator.locations import Location
from validator.model import Verdict
from validator.reasons import Reason


class DirectSyncs:
    """Lists with the hub's own identity."""

    def __init__(self, direct: Direct, clock: Clock) -> None:
        self._direct = direct
        self._clock = clock

    async def run(self, location: Location, request_id: UUID, progress: Progress) -> SyncResult:
        """See `collector.syncs.Runner`."""
        try:
            clouds = await self._direct.clouds()
        except TimeoutError:
            text = "reading the hub's root certificates hangs"
            return SyncResult(0, reason=Reason.IDENTITY_UNAVAILABLE, message=text)
        return await AgentSyncs(clouds, self._clock).run(location, request_id, progress)


def sync_queries() -> Mapping[str, str]:
    """The statements."""
    return load_queries(Path(collector.__path__[0]) / "syncs.sql")


def holding() -> Holding:
    """What keeps a location that is being synced, for the store of locations."""
    return held_by_syncs(sync_queries())


def make_syncs(
    db: Database,
    clock: Clock,
    inventory: Inventory,
    locations: Locations,
    recorder: Recorder,
    requests: Requests,
    direct: Direct,
    settings: Callable[[], Settings],
    *,
    has_agent: Callable[[UUID], bool],
    record: Callable[[Sequence[Verdict]], None],
) -> Syncs:
    """Those of one leader; told of answers of agents, and of locations that come."""
    syncs = Syncs(
        SyncStore(db, sync_queries()),
        clock,
        requests,
        locations=lambda: locations.known,
        has_agent=has_agent,
        is_direct=lambda location: location.owner in settings().direct_owners,
        runner=DirectSyncs(direct, clock),
        names=lambda cluster_id: names_of(cluster_id, inventory.clusters),
        states=lambda pair: recorder.states.get(pair, {}),
        record=record,
        settings=partial(_expected, settings),
    )
    requests.on_answer(RequestKind.SYNC, syncs.heard)
    locations.listen(syncs.hasten)
    return syncs


def _expected(settings: Callable[[], Settings]) -> SyncSettings:
    known = settings()
    return SyncSettings(known.backup_max_age_h * HOUR_S, known.sync_interval_h * HOUR_S)
