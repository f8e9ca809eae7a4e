"""The half of the service that is about backups, put together for one leader.

Whose locations there are and who has an agent is read first (`BackupRecords`), since the inventory needs it. The rest
stands on the inventory and the recorder: an engine for pairs, what the hub asks itself, the desk of the agents, jobs
and syncs (`BackupHalf`).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import collector
from collector.agents import Agents
from collector.inventory import Inventory
from collector.location_store import LocationStore
from collector.locations import Locations
from collector.measured import AgentTotals
from collector.pairs import Pairs
from collector.pauses import Pauses
from collector.recorder import Recorder
from collector.requests import Requests
from collector.syncs import Syncs
from collector.validation_jobs import ValidationJobs
from muster.agents.assignment import Pace
from muster.agents.desk import AgentDesk, make_desk
from muster.direct import Direct, DirectSettings
from muster.events import Events
from muster.hub_asking import HubAsking, make_hub_asking
from muster.settings import Settings
from muster.syncing import holding, make_syncs
from muster.validating import make_validations
from store.pool import Database
from store.sql import load_queries
from validator.clock import HubClock
from validator.engine import Engine, Sink
from validator.keeper import CredentialKeeper
from validator.model import Verdict
from validator.net.dialer import Dialer
from validator.net.resolver import Resolver
from validator.schedule import ScheduleSettings

FIRST_PAIRS_S = 60.0
"""Within this time a new pair is asked about first, and one that says something new again, whatever their interval:
somebody has just assigned it, or broken or mended it."""


class BackupRecords:
    """What the database knows before anybody is asked: locations, and registrations of agents."""

    def __init__(self, db: Database, clock: HubClock) -> None:
        here = Path(collector.__path__[0])
        store = LocationStore(db, load_queries(here / "locations.sql"), [holding()])
        self.locations = Locations(store, clock)
        self.agents = Agents(db, load_queries(here / "agents.sql"), clock)

    async def load(self, epoch: int) -> None:
        """As the leader of `epoch`. Raises `StoreError`."""
        await self.agents.load(epoch)
        await self.locations.load(epoch)

    def location_name(self, location_id: UUID) -> str:
        """For history; of a location that is gone its id."""
        location = self.locations.known.get(location_id)
        return str(location_id) if location is None else location.name

    def has_agent(self, cluster_id: UUID) -> bool:
        """Whether reports are taken for a cluster."""
        return cluster_id in self.agents.known


@dataclass(frozen=True, slots=True)
class BackupHalf:
    """`load` it, `start` it, and `close` it when this instance leads no more."""

    records: BackupRecords
    pairs: Pairs
    pair_engine: Engine
    """Asks about backup locations, in lanes of its own: a storage that hangs keeps no API server waiting."""
    hub_asking: HubAsking
    direct: Direct
    requests: Requests
    desk: AgentDesk
    validations: ValidationJobs
    syncs: Syncs

    async def load(self, epoch: int) -> None:
        """Take over jobs and syncs that are under way. Raises `StoreError`."""
        await self.validations.load(epoch)
        await self.syncs.load(epoch)

    def start(self, tasks: asyncio.TaskGroup) -> None:
        """Every task, by name."""
        tasks.create_task(self.pair_engine.run(), name="pair-engine")
        tasks.create_task(self.hub_asking.looks.run(), name="look-engine")
        tasks.create_task(self.hub_asking.pairing.run(), name="pairing")
        tasks.create_task(self.records.locations.run(), name="locations")
        tasks.create_task(self.validations.run(), name="validations")
        tasks.create_task(self.syncs.run(), name="syncs")
        tasks.create_task(self.records.agents.run(), name="agents")
        tasks.create_task(self.desk.silence.run(), name="agent-silence")

    @property
    def engines(self) -> tuple[Engine, ...]:
        """Those that hold slots and connections."""
        return self.pair_engine, self.hub_asking.looks

    def shift(self, step_s: float) -> None:
        """The hub clock was moved."""
        self.validations.shift(step_s)
        self.syncs.shift(step_s)
        self.records.agents.shift(step_s)

    async def close(self) -> None:
        """Let agents that wait go, and connections to storage."""
        self.desk.close()
        await self.direct.close()


def make_backup_half(
    db: Database,
    epoch: int,
    running: Callable[[], Settings],
    clock: HubClock,
    records: BackupRecords,
    inventory: Inventory,
    recorder: Recorder,
    pauses: Pauses,
    events: Events,
    *,
    sink: Sink,
    observe: Sink,
    resolver: Resolver,
    dialer: Dialer,
    keeper: CredentialKeeper,
    tally: AgentTotals,
    asking: Callable[[Settings], DirectSettings],
) -> BackupHalf:
    """On records that are loaded. `sink` takes what is asked here; `observe` sees what is not asked here, too.

    `running` gives the settings in effect; what can't change at run time is read once, here. `asking` makes those of
    the hub's own questions.
    """
    settings = running()

    def reported(verdicts: Sequence[Verdict]) -> None:
        """Of agents: their lateness is no measure of this hub."""
        recorder.record(verdicts)
        observe(verdicts)

    locations, requests = records.locations, Requests()
    pair_engine = Engine(
        ScheduleSettings(
            interval_s=settings.pair_interval_s,
            timeout_s=settings.pair_timeout_s,
            backoff_max_s=max(settings.pair_interval_s, settings.backoff_max_s),
            first_round_s=FIRST_PAIRS_S,
            confirm_within_s=FIRST_PAIRS_S,
        ),
        sink,
        clock,
    )
    pairs = Pairs(
        inventory, locations, recorder, clock, paused=lambda each: pauses.active(each, clock.now()) is not None
    )
    direct = Direct(os.environ, resolver, clock, asking(settings))
    hub_asking = make_hub_asking(
        db,
        epoch,
        settings,
        clock,
        inventory,
        pairs,
        recorder,
        pair_engine=pair_engine,
        sink=sink,
        dialer=dialer,
        keeper=keeper,
        direct=direct,
        has_agent=records.agents.speaks,
    )
    locations.listen(hub_asking.pairing.note)
    records.agents.listen(hub_asking.pairing.note)
    desk = make_desk(
        records.agents,
        inventory,
        locations,
        requests,
        reported,
        clock,
        dialer=dialer,
        keeper=keeper,
        pace=Pace(settings.pair_interval_s, settings.pair_timeout_s),
        tally=tally,
    )
    validations = make_validations(
        db,
        clock,
        inventory,
        locations,
        recorder,
        events,
        pair_engine=hub_asking.pairing,
        requests=requests,
        has_agent=records.has_agent,
        knows=hub_asking.pairing.knows,
    )
    syncs = make_syncs(
        db,
        clock,
        inventory,
        locations,
        recorder,
        requests,
        direct,
        running,
        has_agent=records.has_agent,
        record=reported,
    )
    return BackupHalf(records, pairs, pair_engine, hub_asking, direct, requests, desk, validations, syncs)
