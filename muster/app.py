"""The service's composition root: builds everything, starts every task by name, stops it all in order.

Read it from `App.run` down: wait for the database, wait for leadership, then lead: `muster/leading.py`, where
`validator/engine.py` asks, `collector/recorder.py` writes and `muster/intake.py` keeps the targets in step with the
sources. The first task that dies ends the service; losing leadership to another instance ends only the leading.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from importlib.metadata import version
from typing import NoReturn

import structlog
import uvloop

from collector.metrics import FleetMetrics
from collector.writer import CrashPoint
from muster.access.access import Access
from muster.access.hosts import Hosts
from muster.access.local import LocalTokenError
from muster.access.tls import ServerTls, TlsFilesError
from muster.agents.listener import AgentListener
from muster.api.server import ApiServer
from muster.direct import DirectSettings
from muster.ending import ENDING, Ending, Stopped
from muster.hub import Hub, Role
from muster.leading import Leader, SteppedDown
from muster.logs import configure_logs
from muster.ops.notify import Notifier, keep_told
from muster.pair_probes import direct_settings
from muster.process import prepare_process
from muster.reload import Reloader
from muster.settings import Loading, Settings
from muster.sources import make_sources
from muster.storage import database_url, open_database, open_telemetry_database
from muster.telemetry import aim_of, make_telemetry
from store.errors import StoreError, StoreUnavailable
from store.leader import Leadership
from validator.clock import HubClock
from validator.discovery.source import Source
from validator.engine import Sink
from validator.net.resolver import CaresResolver
from validator.probes.settings import ApiServerSettings

_log = structlog.get_logger(__name__)

AGENT_TLS = ("MUSTER_AGENT_TLS_CERTIFICATE", "MUSTER_AGENT_TLS_KEY")

LEADER_LOCK = 0x6D757374  # "must"
"""Key of the advisory lock that the leader holds."""


def serve(settings: Settings, loading: Loading | None = None) -> int:
    """Run the service until SIGTERM or SIGINT; gives the exit code. Everything is built in here."""
    prepare_process()
    notifier = Notifier.from_environment(os.environ, os.getpid())
    app = App(settings, make_sources(settings), loading=loading, notifier=notifier)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        code = runner.run(app.run(partial(_show_link, app) if sys.stdout.isatty() else lambda _: None))
    for number in ENDING:  # the loop has let go of them, and one more must not turn an orderly end into a death
        signal.signal(number, signal.SIG_IGN)
    return code


def _show_link(app: App, url: str) -> None:
    """To the terminal and to nothing that is kept: whoever reads it may log in."""
    link = app.access.operator_link(url)
    sys.stdout.write(f"Log in with a browser: {link}\nIt works once, for ten minutes; `muster login` makes another.\n")
    sys.stdout.flush()


class App:
    """One instance of the service.

    The seams: `sources` and `make_resolver` (tests, the demo), `probing`, `asking` and `observe` (benchmarks: how API
    servers and storage are asked, and one more taker of verdicts), `clock` and `at` (tests step the wall clock, and
    kill the process at named points of the recorder).
    """

    def __init__(
        self,
        settings: Settings,
        sources: Sequence[Source],
        *,
        probing: ApiServerSettings | None = None,
        asking: Callable[[Settings], DirectSettings] = direct_settings,
        observe: Sink = lambda _: None,
        make_resolver: Callable[[], CaresResolver] = CaresResolver,
        clock: HubClock | None = None,
        at: CrashPoint = lambda _: None,
        loading: Loading | None = None,
        notifier: Notifier | None = None,
    ) -> None:
        self._settings = settings
        self._loading = loading
        self._notifier = notifier or Notifier(None)
        self._ending = Ending(self._stopping)
        self._clock = clock or HubClock()
        self._hosts = Hosts(settings.hosts, behind_proxy=settings.behind_proxy)
        self.access = Access(self._clock, self._hosts, session_s=settings.session_s)
        self._tls: ServerTls | None = None
        self._agent_tls: ServerTls | None = None
        self.hub = Hub(self._clock, version("muster"))
        self.hub.agent_url = settings.agents_call
        self.metrics = FleetMetrics(self.hub, interval_s=settings.interval_s, otlp_endpoint=settings.otlp_endpoint)
        self._telemetry = make_telemetry(
            self.hub,
            lambda: self.metrics.verdicts,
            settings.data_dir / "telemetry",
            os.environ,
            lambda: aim_of(self._settings),
            ca_file=settings.telemetry_ca_file,
            proxy=settings.telemetry_proxy,
            secret=settings.telemetry_secret,
            in_cluster=settings.in_cluster,
        )
        self._leader = Leader(
            lambda: self._settings,
            sources,
            self.hub,
            self.metrics,
            self.access,
            probing=probing
            or ApiServerSettings(
                timeout_s=settings.timeout_s, read_timeout_s=settings.timeout_s / 2, read_every=settings.read_every
            ),
            asking=asking,
            observe=observe,
            make_resolver=make_resolver,
            at=at,
            beside=self._telemetry.lead,
        )

    async def run(self, ready: Callable[[str], None] = lambda _: None) -> int:
        """Serve until a signal; `ready` is told the API's URL. Gives the exit code, having said what went wrong."""
        with self._ending:
            return await self._run(ready)
        return 0  # cut off

    async def _run(self, ready: Callable[[str], None]) -> int:
        code = 0
        async with AsyncExitStack() as cleanup:
            cleanup.callback(self.metrics.close)
            try:
                self._tls = self._read_tls()
                api = ApiServer(
                    self.hub,
                    self.metrics.render,
                    *self._settings.listen_address,
                    access=self.access,
                    tls=None if self._tls is None else self._tls.context,
                    telemetry=self._telemetry,
                )
                await api.start()
                cleanup.push_async_callback(api.stop)
                if (listener := self._agent_listener()) is not None:
                    await listener.start()
                    cleanup.push_async_callback(listener.stop)
                    _log.info("listening for agents", url=listener.url)
            except (OSError, TlsFilesError) as error:
                _log.error("cannot listen", error=str(error))
                return 1
            try:
                cleanup.enter_context(self.access.local.left(*api.address))
            except LocalTokenError as error:
                _log.warning("the CLI needs --token-file", error=str(error))
            ready(api.url)
            _log.info("listening", url=api.url)
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._ending.wait(), name="signals")
                    tasks.create_task(self.metrics.run(), name="otlp")
                    tasks.create_task(api.pulse.run(), name="pulse")
                    if self._notifier.enabled:
                        tasks.create_task(keep_told(self._notifier, self.hub), name="service-manager")
                    if self._tls is not None:
                        tasks.create_task(self._tls.run(), name="tls")
                    if self._agent_tls is not None:
                        tasks.create_task(self._agent_tls.run(), name="agent-tls")
                    if self._loading is not None:
                        load = self._notifier.reloading()(self._loading.settings)
                        reloader = Reloader(self._settings, load, self._reconfigure, file=self._loading.file)
                        tasks.create_task(reloader.run(), name="settings")
                    tasks.create_task(self._serve(tasks, cleanup, api), name="serve")
            except* Stopped:
                _log.info("stopped")
            except* StoreError as errors:
                _log.error("the database refuses", error=str(errors.exceptions[0]))
                code = 1
        return code

    def _read_tls(self) -> ServerTls | None:
        certificate, key = self._settings.tls_certificate, self._settings.tls_key
        return None if certificate is None or key is None else ServerTls(certificate, key, self._clock)

    def _agent_listener(self) -> AgentListener | None:
        """Raises `TlsFilesError`."""
        settings = self._settings
        certificate, key = settings.agent_tls_certificate, settings.agent_tls_key
        if settings.agent_address is None or certificate is None or key is None:
            return None
        self._agent_tls = ServerTls(certificate, key, self._clock, AGENT_TLS)
        return AgentListener(self.hub, *settings.agent_address, self._agent_tls.context)

    def _reconfigure(self, settings: Settings, changed: frozenset[str]) -> None:
        """Take up new settings. What asks `self._settings` each time needs nothing more."""
        self._settings = settings
        self._hosts.allow(settings.hosts)
        if self._tls is not None and settings.tls_certificate is not None and settings.tls_key is not None:
            self._tls.use(settings.tls_certificate, settings.tls_key)
        if self._agent_tls is not None and settings.agent_tls_certificate and settings.agent_tls_key:
            self._agent_tls.use(settings.agent_tls_certificate, settings.agent_tls_key)
        self.hub.agent_url = settings.agents_call
        if "log_level" in changed:
            configure_logs(settings.log_level, settings.log_format)

    # -- waiting

    async def _serve(self, tasks: asyncio.TaskGroup, cleanup: AsyncExitStack, api: ApiServer) -> NoReturn:
        url = await database_url(self._settings, tasks, cleanup, self._stand_by)
        db = await open_database(url, self._wait)
        cleanup.push_async_callback(db.close)
        cleanup.push_async_callback(api.stop)  # before it: what is under way still asks the database
        self.access.store.open(db)
        tasks.create_task(self.access.tokens.run(), name="tokens")
        tasks.create_task(self._telemetry.run(partial(open_telemetry_database, url)), name="telemetry")
        leadership = Leadership(url, LEADER_LOCK, holder=f"{socket.gethostname()}:{os.getpid()}")
        cleanup.push_async_callback(leadership.close)
        while True:
            epoch = await leadership.acquire(self._stand_by)
            try:
                await self._leader.run(db, leadership, epoch)
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
        self.hub.events.end("the service stops")
        self._notifier.stopping()

    def _stand_by(self, cause: str) -> None:
        self.hub.role = Role.STANDBY
        self._wait(cause)
