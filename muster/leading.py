"""What an instance does while it leads: the task tree of the main job.

Read it from `Leader.run` down: take over what the database knows, build the engine and what surrounds it, and start
every task by name. When it ends, what is known is flushed once more, and the picture is gone.
"""

from __future__ import annotations

import asyncio
import os
import resource
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NoReturn
from uuid import UUID

import structlog

import collector
from collector.agents import Agents
from collector.availability import QUERIES as AVAILABILITY_QUERIES
from collector.availability import Availability
from collector.cluster import Cluster
from collector.history import History
from collector.inventory import Inventory
from collector.location_store import LocationStore
from collector.locations import Locations
from collector.metrics import FleetMetrics
from collector.pairs import Pairs
from collector.pauses import Pauses
from collector.recorder import Recorder
from collector.requests import Requests
from collector.transition import Transition
from collector.vigil import Vigil
from collector.writer import CrashPoint
from muster.access.access import Access
from muster.agents.assignment import Pace
from muster.agents.desk import make_desk
from muster.agents.source import AgentSource
from muster.api.sse import transition_event
from muster.direct import Direct
from muster.guarding import watch_guard
from muster.housekeeping import keep_house
from muster.hub import Hub, Leading, Role
from muster.hub_asking import make_hub_asking
from muster.intake import Intake
from muster.pair_probes import direct_settings
from muster.process import freeze_once_settled
from muster.settings import Settings
from muster.syncing import holding, make_syncs
from muster.validating import make_validations
from store.errors import StoreError
from store.leader import Leadership
from store.pool import Database
from store.sql import load_queries
from validator.discovery.source import Source
from validator.engine import Engine, Sink
from validator.guard import GuardSettings, shift
from validator.health import HealthSettings
from validator.keeper import CredentialKeeper
from validator.model import Check, Verdict
from validator.net.descriptors import RESERVED
from validator.net.dialer import Dialer, StageDeadlines
from validator.net.resolver import CaresResolver
from validator.net.tls import TlsContexts
from validator.probes.apiserver import ApiServerProbe
from validator.probes.settings import ApiServerSettings
from validator.schedule import ScheduleSettings

_log = structlog.get_logger(__name__)

FIRST_PAIRS_S = 60.0
"""Within this time a new pair is asked about first, whatever their interval: somebody has just assigned it."""

LAST_FLUSH_S = 2.5
"""Of the 5 s in which the service has to be gone after SIGTERM."""


class SteppedDown(Exception):  # noqa: N818 - not an error
    """Another instance leads now."""


class Leader:
    """Leads as often as this instance becomes the leader. The seams are `App`'s."""

    def __init__(
        self,
        settings: Callable[[], Settings],
        sources: Sequence[Source],
        hub: Hub,
        metrics: FleetMetrics,
        access: Access,
        *,
        probing: ApiServerSettings,
        observe: Sink,
        make_resolver: Callable[[], CaresResolver],
        at: CrashPoint,
    ) -> None:
        """`settings` gives those in effect now; what can't change at run time is read once at each takeover."""
        self._settings = settings
        self._sources = sources
        self._hub = hub
        self._clock = hub.clock
        self._metrics = metrics
        self._access = access
        self._probing = probing
        self._observe = observe
        self._make_resolver = make_resolver
        self._at = at
        self._too_few_descriptors = False

    async def run(self, db: Database, leadership: Leadership, epoch: int) -> None:
        """Until it is cancelled; raises a group with `SteppedDown` where another leads, or with a `StoreError`."""
        settings, clock = self._settings(), self._clock
        queries = load_queries(Path(collector.__path__[0]) / "queries.sql")
        agents = Agents(db, load_queries(Path(collector.__path__[0]) / "agents.sql"), clock)
        sources = [*self._sources, AgentSource(agents)]
        inventory = Inventory(db, queries, clock, [source.name for source in sources])
        recorder = Recorder(
            db,
            queries,
            clock,
            HealthSettings(),
            names=partial(_name, inventory),
            location_names=lambda location_id: _location_name(locations, location_id),
            publish=self._publish,
            on_step=self._shift_guard,
            at=self._at,
        )
        history = History(db, queries)
        pauses = Pauses(db, queries, clock)
        locations = Locations(
            LocationStore(db, load_queries(Path(collector.__path__[0]) / "locations.sql"), [holding()]), clock
        )
        counting = load_queries(AVAILABILITY_QUERIES)
        availability = Availability(db, counting, retention_days=self._retention_days)
        vigil = Vigil(db, counting, clock, allowance_s=2.1 * settings.interval_s + settings.timeout_s)
        await agents.load(epoch)
        await inventory.load(epoch)
        await recorder.load(epoch, grace_s=settings.interval_s + settings.timeout_s)
        await pauses.load(epoch)
        await locations.load(epoch)
        await history.keep_partitions(clock.now(), settings.retention_days)
        await vigil.begin(epoch, settings.retention_days)

        def sink(verdicts: Sequence[Verdict]) -> None:
            recorder.record(verdicts)
            self._metrics.observe(verdicts)
            self._observe(verdicts)

        def reported(verdicts: Sequence[Verdict]) -> None:
            """Of agents: their lateness is no measure of this hub."""
            recorder.record(verdicts)
            self._metrics.observe(verdict for verdict in verdicts if verdict.check is not Check.APISERVER)
            self._observe(verdicts)

        schedule = ScheduleSettings(
            interval_s=settings.interval_s, timeout_s=settings.timeout_s, backoff_max_s=settings.backoff_max_s
        )
        engine = Engine(schedule, sink, clock)
        pair_engine = Engine(
            ScheduleSettings(
                interval_s=settings.pair_interval_s,
                timeout_s=settings.pair_timeout_s,
                backoff_max_s=max(settings.pair_interval_s, settings.backoff_max_s),
                first_round_s=FIRST_PAIRS_S,
            ),
            sink,
            clock,
        )
        keeper = CredentialKeeper(clock)
        resolver = self._make_resolver()
        dialer = Dialer(resolver, TlsContexts(), StageDeadlines())

        def make_probe(cluster: Cluster) -> ApiServerProbe | None:
            assert cluster.sighting is not None
            if cluster.sighting.cluster_id is not None:
                return None  # only its agent reports
            return ApiServerProbe(
                cluster.sighting.endpoint,
                cluster.sighting.credential,
                dialer=dialer,
                keeper=keeper,
                clock=clock,
                settings=self._probing,
                on_uid=partial(intake.note_uid, cluster.id),
                hasten=partial(engine.hasten, cluster.id),
            )

        def targets_changed() -> None:
            self._warn_of_descriptors(engine)
            hub_asking.pairing.note()

        intake = Intake(
            sources,
            inventory,
            recorder,
            engine,
            clock,
            make_probe=make_probe,
            identity_allowance_s=2.1 * settings.interval_s * settings.read_every + settings.timeout_s,
            on_change=targets_changed,
        )
        pairs = Pairs(
            inventory, locations, recorder, clock, paused=lambda each: pauses.active(each, clock.now()) is not None
        )
        direct = Direct(os.environ, resolver, clock, direct_settings(settings))
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
            has_agent=lambda cluster_id: cluster_id in agents.known,
        )
        locations.listen(hub_asking.pairing.note)
        requests = Requests()
        desk = make_desk(
            agents,
            inventory,
            locations,
            requests,
            reported,
            clock,
            dialer=dialer,
            keeper=keeper,
            pace=Pace(settings.pair_interval_s, settings.pair_timeout_s),
            tally=self._metrics.agents,
        )
        validations = make_validations(
            db,
            clock,
            inventory,
            locations,
            recorder,
            self._hub.events,
            pair_engine=hub_asking.pairing,
            requests=requests,
            has_agent=lambda cluster_id: cluster_id in agents.known,
            knows=hub_asking.pairing.knows,
        )
        await validations.load(epoch)
        syncs = make_syncs(
            db,
            clock,
            inventory,
            locations,
            recorder,
            requests,
            direct,
            self._settings,
            has_agent=lambda cluster_id: cluster_id in agents.known,
            record=reported,
        )
        await syncs.load(epoch)
        guarding = GuardSettings(interval_s=settings.interval_s)
        self._hub.leading = leading = Leading(
            inventory=inventory,
            recorder=recorder,
            engine=engine,
            history=history,
            pauses=pauses,
            availability=availability,
            locations=locations,
            pair_engine=pair_engine,
            pairs=pairs,
            outside=hub_asking.references.holders,
            validations=validations,
            syncs=syncs,
            agents=agents,
            requests=requests,
            agent_desk=desk,
        )
        self._hub.events.begin(recorder.position)
        self._hub.role, self._hub.waiting_for = Role.LEADING, ""
        _log.info("leading", epoch=epoch, clusters=len(inventory.clusters))
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(engine.run(), name="engine")
                tasks.create_task(pair_engine.run(), name="pair-engine")
                tasks.create_task(hub_asking.looks.run(), name="look-engine")
                tasks.create_task(hub_asking.pairing.run(), name="pairing")
                tasks.create_task(keeper.run(), name="credential-keeper")
                tasks.create_task(recorder.run(), name="recorder")
                tasks.create_task(intake.run(), name="intake")
                tasks.create_task(vigil.run(), name="vigil")
                tasks.create_task(pauses.run(), name="pauses")
                tasks.create_task(locations.run(), name="locations")
                tasks.create_task(validations.run(), name="validations")
                tasks.create_task(syncs.run(), name="syncs")
                tasks.create_task(agents.run(), name="agents")
                tasks.create_task(desk.silence.run(), name="agent-silence")
                tasks.create_task(
                    watch_guard(leading, lambda: self._settings().references, clock, guarding), name="guard"
                )
                tasks.create_task(
                    keep_house(history, pauses, locations, self._access, clock, self._retention_days),
                    name="housekeeping",
                )
                tasks.create_task(_hold(leadership), name="leadership")
                settled_s = settings.interval_s + settings.timeout_s
                tasks.create_task(freeze_once_settled(settled_s), name="freeze")
        finally:
            self._hub.events.end("this instance leads no more")
            if self._hub.role is Role.LEADING:
                self._hub.role = Role.STANDBY
            desk.close()
            with suppress(TimeoutError, StoreError):
                async with asyncio.timeout(LAST_FLUSH_S):
                    await recorder.flush()
                    await agents.flush()
            self._hub.leading = None
            await direct.close()
            await resolver.close()

    def _retention_days(self) -> int:
        return self._settings().retention_days

    def _shift_guard(self, step_s: float) -> None:
        if self._hub.leading is not None:
            self._hub.leading.guard = shift(self._hub.leading.guard, step_s)
            self._hub.leading.validations.shift(step_s)
            self._hub.leading.syncs.shift(step_s)
            self._hub.leading.agents.shift(step_s)

    def _warn_of_descriptors(self, engine: Engine) -> None:
        """A kept connection for every target and a new one for every slot have to fit. Said when it begins."""
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        needed = len(engine) + sum(lane.slots for lane in engine.lanes.values()) + RESERVED
        too_few = needed > limit
        if too_few and not self._too_few_descriptors:
            _log.warning(
                "too few file descriptors", limit=limit, needed=needed, remedy="raise ulimit -n or LimitNOFILE"
            )
        self._too_few_descriptors = too_few

    def _publish(self, transition: Transition) -> None:
        """A change is committed: tell the log and whoever listens. Edges, not ticks."""
        _log.info(
            "health changed",
            cluster=transition.cluster_name,
            check=transition.check,
            before=transition.from_health,
            now=transition.to_health,
            reason=transition.reason,
            transition=transition.id,
        )
        self._hub.events.publish(transition_event(transition))


def _name(inventory: Inventory, cluster_id: UUID) -> str:
    cluster = inventory.clusters.get(cluster_id)
    return str(cluster_id) if cluster is None else cluster.name


def _location_name(locations: Locations, location_id: UUID) -> str:
    location = locations.known.get(location_id)
    return str(location_id) if location is None else location.name


async def _hold(leadership: Leadership) -> NoReturn:
    """Notice when the lock is lost (a restart of the database), and step down if anybody else led in between."""
    while True:
        cause = await leadership.lost()
        _log.warning("leadership in doubt", cause=cause)
        if not await leadership.regain():
            raise SteppedDown
        _log.info("leadership regained")
