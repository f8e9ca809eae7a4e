"""What an instance does while it leads: the task tree of the main job.

Read it from `Leader.run` down: take over what the database knows, build the engine and what surrounds it, and start
every task by name. When it ends, what is known is flushed once more, and the picture is gone.
"""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NoReturn
from uuid import UUID

import structlog

import collector
from collector.availability import QUERIES as AVAILABILITY_QUERIES
from collector.availability import Availability
from collector.cluster import Cluster
from collector.history import History
from collector.inventory import Inventory
from collector.metrics import FleetMetrics
from collector.pauses import Pauses
from collector.recorder import Recorder
from collector.transition import Transition
from collector.vigil import Vigil
from collector.writer import CrashPoint
from muster.access.access import Access
from muster.agents.source import AgentSource
from muster.api.sse import transition_event
from muster.backup_half import BackupRecords, make_backup_half
from muster.direct import DirectSettings
from muster.guarding import watch_guard
from muster.housekeeping import keep_house
from muster.hub import Hub, Leading, Role
from muster.intake import Intake
from muster.process import freeze_once_settled
from muster.settings import Settings
from store.errors import StoreError
from store.leader import Leadership
from store.pool import Database
from store.sql import load_queries
from validator.discovery.in_cluster import IN_CLUSTER
from validator.discovery.source import Source
from validator.engine import Engine, Sink
from validator.guard import GuardSettings, shift
from validator.health import HealthSettings
from validator.keeper import CredentialKeeper
from validator.model import Verdict
from validator.net.descriptors import RESERVED
from validator.net.dialer import Dialer, StageDeadlines
from validator.net.resolver import CaresResolver
from validator.net.tls import TlsContexts
from validator.probes.apiserver import ApiServerProbe
from validator.probes.settings import ApiServerSettings
from validator.schedule import ScheduleSettings

_log = structlog.get_logger(__name__)

FIRST_READING_S = 3.0
"""How long an instance that knows no cluster waits for its sources before it calls itself ready: a script that asks
for the picture as soon as it may must not be told that all of nothing is well. A source that hangs costs no more."""

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
        asking: Callable[[Settings], DirectSettings],
        observe: Sink,
        make_resolver: Callable[[], CaresResolver],
        at: CrashPoint,
        beside: Callable[[], Coroutine[None, None, NoReturn]],
    ) -> None:
        """`settings` gives those in effect now; what can't change at run time is read once at each takeover.

        `beside` runs as long as this instance leads.
        """
        self._settings = settings
        self._sources = sources
        self._hub = hub
        self._clock = hub.clock
        self._metrics = metrics
        self._access = access
        self._probing = probing
        self._asking = asking
        self._observe = observe
        self._make_resolver = make_resolver
        self._at = at
        self._beside = beside
        self._too_few_descriptors = False

    async def run(self, db: Database, leadership: Leadership, epoch: int) -> None:
        """Until it is cancelled; raises a group with `SteppedDown` where another leads, or with a `StoreError`."""
        settings, clock = self._settings(), self._clock
        queries = load_queries(Path(collector.__path__[0]) / "queries.sql")
        records = BackupRecords(db, clock)

        def stepped(step_s: float) -> None:
            self._shift_guard(step_s)
            backup.shift(step_s)

        sources = [*self._sources, AgentSource(records.agents)]
        inventory = Inventory(db, queries, clock, [source.name for source in sources])
        recorder = Recorder(
            db,
            queries,
            clock,
            HealthSettings(),
            names=partial(_name, inventory),
            location_names=records.location_name,
            publish=self._publish,
            on_step=stepped,
            at=self._at,
        )
        history = History(db, queries)
        pauses = Pauses(db, queries, clock)
        counting = load_queries(AVAILABILITY_QUERIES)
        availability = Availability(db, counting, retention_days=self._retention_days)
        vigil = Vigil(db, counting, clock, allowance_s=2.1 * settings.interval_s + settings.timeout_s)
        await records.load(epoch)
        await inventory.load(epoch)
        await recorder.load(epoch, grace_s=settings.interval_s + settings.timeout_s)
        await pauses.load(epoch)
        await history.keep_partitions(clock.now(), settings.retention_days)
        await vigil.begin(epoch, settings.retention_days)

        def sink(verdicts: Sequence[Verdict]) -> None:
            recorder.record(verdicts)
            self._metrics.observe(verdicts)
            self._observe(verdicts)

        schedule = ScheduleSettings(
            interval_s=settings.interval_s, timeout_s=settings.timeout_s, backoff_max_s=settings.backoff_max_s
        )
        engine = Engine(schedule, sink, clock)
        keeper = CredentialKeeper(clock)
        resolver = self._make_resolver()
        dialer = Dialer(resolver, TlsContexts(), StageDeadlines())

        def uid_read(cluster: Cluster, uid: str) -> None:
            intake.note_uid(cluster.id, uid)
            if cluster.source == IN_CLUSTER:
                self._hub.own_uid = uid

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
                on_uid=partial(uid_read, cluster),
                hasten=partial(engine.hasten, cluster.id),
            )

        def targets_changed() -> None:
            self._warn_of_descriptors([engine, *backup.engines])
            backup.hub_asking.pairing.note()

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
        backup = make_backup_half(
            db,
            epoch,
            self._settings,
            clock,
            records,
            inventory,
            recorder,
            pauses,
            self._hub.events,
            sink=sink,
            observe=self._observe,
            resolver=resolver,
            dialer=dialer,
            keeper=keeper,
            tally=self._metrics.agents,
            asking=self._asking,
        )
        await backup.load(epoch)
        guarding = GuardSettings(interval_s=settings.interval_s)
        self._hub.leading = leading = Leading(
            inventory=inventory,
            recorder=recorder,
            engine=engine,
            history=history,
            pauses=pauses,
            availability=availability,
            locations=records.locations,
            pair_engine=backup.pair_engine,
            pairs=backup.pairs,
            outside=backup.hub_asking.references.holders,
            validations=backup.validations,
            syncs=backup.syncs,
            agents=records.agents,
            requests=backup.requests,
            agent_desk=backup.desk,
        )
        self._hub.events.begin(recorder.position)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(engine.run(), name="engine")
                tasks.create_task(keeper.run(), name="credential-keeper")
                tasks.create_task(recorder.run(), name="recorder")
                tasks.create_task(intake.run(), name="intake")
                tasks.create_task(vigil.run(), name="vigil")
                tasks.create_task(pauses.run(), name="pauses")
                backup.start(tasks)
                tasks.create_task(
                    watch_guard(leading, lambda: self._settings().references, clock, guarding), name="guard"
                )
                tasks.create_task(
                    keep_house(history, pauses, records.locations, self._access, clock, self._retention_days),
                    name="housekeeping",
                )
                tasks.create_task(_hold(leadership), name="leadership")
                tasks.create_task(self._beside(), name="telemetry-leading")
                settled_s = settings.interval_s + settings.timeout_s
                tasks.create_task(freeze_once_settled(settled_s), name="freeze")
                if not inventory.clusters:
                    self._hub.waiting_for = "the sources are being read for the first time"
                    with suppress(TimeoutError):
                        async with asyncio.timeout(FIRST_READING_S):
                            await intake.begun.wait()
                self._hub.role, self._hub.waiting_for = Role.LEADING, ""
                _log.info("leading", epoch=epoch, clusters=len(inventory.clusters))
        finally:
            self._hub.events.end("this instance leads no more")
            if self._hub.role is Role.LEADING:
                self._hub.role = Role.STANDBY
            with suppress(TimeoutError, StoreError):
                async with asyncio.timeout(LAST_FLUSH_S):
                    await recorder.flush()
                    await records.agents.flush()
            self._hub.leading = None
            await backup.close()
            await resolver.close()

    def _retention_days(self) -> int:
        return self._settings().retention_days

    def _shift_guard(self, step_s: float) -> None:
        if self._hub.leading is not None:
            self._hub.leading.guard = shift(self._hub.leading.guard, step_s)

    def _warn_of_descriptors(self, engines: Sequence[Engine]) -> None:
        """A kept connection for every target and a new one for every slot have to fit. Said when it begins."""
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        needed = sum(len(each) + sum(lane.slots for lane in each.lanes.values()) for each in engines) + RESERVED
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


async def _hold(leadership: Leadership) -> NoReturn:
    """Notice when the lock is lost (a restart of the database), and step down if anybody else led in between."""
    while True:
        cause = await leadership.lost()
        _log.warning("leadership in doubt", cause=cause)
        if not await leadership.regain():
            raise SteppedDown
        _log.info("leadership regained")
