"""The service's composition root: builds everything, starts every task by name, stops it all in order.

Read it from `App.run` down: wait for the database, wait for leadership, then lead. While leading the work is
`validator/engine.py` asking, `collector/recorder.py` writing, `muster/intake.py` keeping the targets in step with the
sources. The first task that dies ends the service; losing leadership to another instance ends only the leading.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn
from uuid import UUID

import structlog
import uvloop

import collector
from collector.cluster import Cluster
from collector.history import History
from collector.inventory import Inventory
from collector.metrics import FleetMetrics
from collector.recorder import Recorder
from collector.transition import Transition
from collector.writer import CrashPoint
from muster.api.server import ApiServer
from muster.ending import ENDING, Ending, Stopped
from muster.guarding import watch_guard
from muster.hub import Hub, Leading, Role
from muster.intake import Intake
from muster.process import prepare_process
from muster.settings import Settings
from muster.sources import make_sources
from muster.storage import database_url, open_database
from store.errors import StoreError, StoreUnavailable
from store.leader import Leadership
from store.pool import Database
from store.sql import load_queries
from validator.clock import HubClock
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

LEADER_LOCK = 0x6D757374  # "must"
"""Key of the advisory lock that the leader holds."""

LAST_FLUSH_S = 2.5
"""Of the 5 s in which the service has to be gone after SIGTERM."""

HOUSEKEEPING_EVERY_S = 3600.0


class SteppedDown(Exception):  # noqa: N818 - not an error
    """Another instance leads now."""


def serve(settings: Settings) -> int:
    """Run the service until SIGTERM or SIGINT; gives the exit code. Everything is built in here."""
    prepare_process()
    app = App(settings, make_sources(settings))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        code = runner.run(app.run())
    for number in ENDING:  # the loop has let go of them, and one more must not turn an orderly end into a death
        signal.signal(number, signal.SIG_IGN)
    return code


class App:
    """One instance of the service.

    The seams: `sources` and `make_resolver` (tests, the demo), `probing` and `observe` (benchmarks: how API servers are
    asked, and one more taker of verdicts), `clock` and `at` (tests step the wall clock, and kill the process at named
    points of the recorder).
    """

    def __init__(
        self,
        settings: Settings,
        sources: Sequence[Source],
        *,
        probing: ApiServerSettings | None = None,
        observe: Sink = lambda _: None,
        make_resolver: Callable[[], CaresResolver] = CaresResolver,
        clock: HubClock | None = None,
        at: CrashPoint = lambda _: None,
    ) -> None:
        self._settings = settings
        self._sources = sources
        self._probing = probing or ApiServerSettings(
            timeout_s=settings.timeout_s, read_timeout_s=settings.timeout_s / 2, read_every=settings.read_every
        )
        self._observe = observe
        self._make_resolver = make_resolver
        self._at = at
        self._too_few_descriptors = False
        self._ending = Ending(self._stopping)
        self._clock = clock or HubClock()
        self._schedule = ScheduleSettings(
            interval_s=settings.interval_s, timeout_s=settings.timeout_s, backoff_max_s=settings.backoff_max_s
        )
        self.hub = Hub(self._clock, version("muster"))
        self.metrics = FleetMetrics(self.hub, interval_s=settings.interval_s, otlp_endpoint=settings.otlp_endpoint)

    async def run(self, ready: Callable[[str], None] = lambda _: None) -> int:
        """Serve until a signal; `ready` is told the API's URL. Gives the exit code, having said what went wrong."""
        with self._ending:
            return await self._run(ready)
        return 0  # cut off

    async def _run(self, ready: Callable[[str], None]) -> int:
        code = 0
        async with AsyncExitStack() as cleanup:
            cleanup.callback(self.metrics.close)
            api = ApiServer(self.hub, self.metrics.render, *self._settings.listen_address)
            try:
                await api.start()
            except OSError as error:
                _log.error("cannot listen", error=str(error))
                return 1
            cleanup.push_async_callback(api.stop)
            ready(api.url)
            _log.info("listening", url=api.url)
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._ending.wait(), name="signals")
                    tasks.create_task(self.metrics.run(), name="otlp")
                    tasks.create_task(self._serve(tasks, cleanup), name="serve")
            except* Stopped:
                _log.info("stopped")
            except* StoreError as errors:
                _log.error("the database refuses", error=str(errors.exceptions[0]))
                code = 1
        return code

    # -- waiting

    async def _serve(self, tasks: asyncio.TaskGroup, cleanup: AsyncExitStack) -> NoReturn:
        url = await database_url(self._settings, tasks, cleanup, self._stand_by)
        db = await open_database(url, self._wait)
        cleanup.push_async_callback(db.close)
        leadership = Leadership(url, LEADER_LOCK, holder=f"{socket.gethostname()}:{os.getpid()}")
        cleanup.push_async_callback(leadership.close)
        while True:
            epoch = await leadership.acquire(self._stand_by)
            try:
                await self._lead(db, leadership, epoch)
            except* SteppedDown:
                _log.warning("stepped down: another instance leads")
            except* StoreUnavailable as errors:  # between the takeover and the first picture
                self._wait(str(errors.exceptions[0]))
                await asyncio.sleep(1.0)

    def _wait(self, cause: str) -> None:
        if cause != self.hub.waiting_for:
            _log.info("waiting", cause=cause)
        self.hub.waiting_for = cause

    def _stopping(self) -> None:
        self.hub.role = Role.STOPPING

    def _stand_by(self, cause: str) -> None:
        self.hub.role = Role.STANDBY
        self._wait(cause)

    # -- leading

    async def _lead(self, db: Database, leadership: Leadership, epoch: int) -> None:
        """Everything that a leader does, until it is cancelled or steps down."""
        settings, clock = self._settings, self._clock
        queries = load_queries(Path(collector.__path__[0]) / "queries.sql")
        inventory = Inventory(db, queries, clock, [source.name for source in self._sources])
        recorder = Recorder(
            db,
            queries,
            clock,
            HealthSettings(),
            names=partial(_name, inventory),
            publish=self._publish,
            on_step=self._shift_guard,
            at=self._at,
        )
        history = History(db, queries)
        await inventory.load(epoch)
        await recorder.load(epoch, grace_s=settings.interval_s + settings.timeout_s)
        await history.keep_partitions(clock.now(), settings.retention_days)

        def sink(verdicts: Sequence[Verdict]) -> None:
            recorder.record(verdicts)
            self.metrics.observe(verdicts)
            self._observe(verdicts)

        engine = Engine(self._schedule, sink, clock)
        keeper = CredentialKeeper(clock)
        resolver = self._make_resolver()
        dialer = Dialer(resolver, TlsContexts(), StageDeadlines())

        def make_probe(cluster: Cluster) -> ApiServerProbe:
            assert cluster.sighting is not None
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

        intake = Intake(
            self._sources,
            inventory,
            recorder,
            engine,
            clock,
            make_probe=make_probe,
            identity_allowance_s=2.1 * settings.interval_s * settings.read_every + settings.timeout_s,
            on_change=partial(self._warn_of_descriptors, engine),
        )
        guarding = GuardSettings(interval_s=settings.interval_s)
        self.hub.leading = leading = Leading(inventory, recorder, engine, history)
        self.hub.role, self.hub.waiting_for = Role.LEADING, ""
        _log.info("leading", epoch=epoch, clusters=len(inventory.clusters))
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(engine.run(), name="engine")
                tasks.create_task(keeper.run(), name="credential-keeper")
                tasks.create_task(recorder.run(), name="recorder")
                tasks.create_task(intake.run(), name="intake")
                tasks.create_task(watch_guard(leading, settings.references, clock, guarding), name="guard")
                tasks.create_task(_keep_house(history, clock, settings.retention_days), name="housekeeping")
                tasks.create_task(_hold(leadership), name="leadership")
        finally:
            if self.hub.role is Role.LEADING:
                self.hub.role = Role.STANDBY
            with suppress(TimeoutError):
                async with asyncio.timeout(LAST_FLUSH_S):
                    await recorder.flush()
            self.hub.leading = None
            await resolver.close()

    def _shift_guard(self, step_s: float) -> None:
        if self.hub.leading is not None:
            self.hub.leading.guard = shift(self.hub.leading.guard, step_s)

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
        """A change is committed: tell the log. Edges, not ticks."""
        _log.info(
            "health changed",
            cluster=transition.cluster_name,
            check=transition.check,
            before=transition.from_health,
            now=transition.to_health,
            reason=transition.reason,
            transition=transition.id,
        )


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


async def _keep_house(history: History, clock: HubClock, retention_days: int) -> NoReturn:
    while True:
        await asyncio.sleep(HOUSEKEEPING_EVERY_S)
        try:
            await history.keep_partitions(clock.now(), retention_days)
        except StoreError as error:
            _log.warning("housekeeping waits for the database", error=error.message)
