"""The agent's composition root: the validator in a tenant's cluster, with a hub in place of a store.

Read it from `Agent.run` down. It imports neither PostgreSQL nor the API nor the service's settings, and of the clouds'
SDKs only those that its locations need, when they are first asked (a test says so): a pod has 192 MiB.
"""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from importlib.metadata import version
from types import MappingProxyType

import structlog
import uvloop

from muster.agent_health import Health
from muster.agent_settings import AgentSettings
from muster.ending import ENDING, Ending, Stopped
from muster.process import keep_large_blocks_apart
from validator.agent.assignment import Assignments
from validator.agent.buffer import Buffer
from validator.agent.clouds import Clouds, CloudSettings
from validator.agent.hub import HubLink
from validator.agent.pairing import FIRST_ROUND_S, Pairing
from validator.agent.probing import LocationProbes
from validator.agent.report import Reporter
from validator.agent.standing import Standing
from validator.agent.syncing import AgentSyncs, Syncs
from validator.agent.wire import Assignment
from validator.clock import HubClock
from validator.file_thread import FileThread
from validator.net.policy import ConnectPolicy
from validator.net.resolver import CaresResolver
from validator.net.sdk_session import SdkSessions
from validator.probes.aws_clients import AwsSettings
from validator.probes.azure_clouds import CLOUDS

_log = structlog.get_logger(__name__)

FLUSH_S = 3.0
"""After SIGTERM, for what the hub has not been told; a pod has 30 s, a person at a terminal less patience."""


def run_agent(agent: Agent) -> int:
    """Run it until SIGTERM or SIGINT; gives the exit code."""
    keep_large_blocks_apart()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        code = runner.run(agent.run())
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)
    return code


def cloud_settings(settings: AgentSettings) -> CloudSettings:
    """What these settings say of the clouds."""
    return CloudSettings(
        azure=MappingProxyType({each: CLOUDS[each] for each in settings.azure}),
        aws=AwsSettings(allowed_endpoints=settings.allowed_endpoints),
    )


class Agent:
    """One agent.

    The seams are for tests and emulators: `clouds` and `policy` (what may be asked, and where), `environ` (the
    injected identity), `syncs` (who lists backups), `first_round_s` (within which a new location is asked first).
    """

    def __init__(
        self,
        settings: AgentSettings,
        *,
        clouds: CloudSettings | None = None,
        policy: ConnectPolicy | None = None,
        environ: Mapping[str, str] = os.environ,
        syncs: Syncs | None = None,
        first_round_s: float = FIRST_ROUND_S,
    ) -> None:
        self._settings = settings
        self._clouds = clouds or cloud_settings(settings)
        self._policy = policy or ConnectPolicy()
        self._environ = environ
        self._syncs = syncs
        self._first_round_s = first_round_s
        self._ending = Ending(lambda: None, hangs="the hub or a storage")
        self.standing = Standing()

    async def run(self, ready: Callable[[int], None] = lambda _: None) -> int:
        """Ask and report until a signal; `ready` is told the health port (0 = none). Gives the exit code."""
        with self._ending:
            return await self._run(ready)
        return 0  # cut off

    async def _run(self, ready: Callable[[int], None]) -> int:
        settings = self._settings
        async with AsyncExitStack() as cleanup:
            try:
                tls = _storage_tls(settings)
            except (OSError, ssl.SSLError) as error:
                _log.error("--storage-ca-file can't be used", file=str(settings.storage_ca_file), error=str(error))
                return 1
            clock = HubClock(monotonic=_since_boot)
            resolver = CaresResolver()
            cleanup.push_async_callback(resolver.close)
            sessions = SdkSessions(self._policy, resolver, tls)
            cleanup.push_async_callback(sessions.close)
            clouds = Clouds(
                self._clouds, environ=self._environ, sessions=sessions, clock=clock, files=FileThread("cloud-files")
            )
            cleanup.push_async_callback(clouds.close)
            hub = HubLink(
                settings.hub,
                settings.cluster_id,
                token_file=settings.token_file,
                ca_file=settings.ca_file,
                resolver=resolver,
                files=FileThread("hub-files"),
            )
            cleanup.push_async_callback(hub.close)
            buffer = Buffer(settings.buffer, clock)
            reporter = Reporter(
                hub,
                buffer,
                self.standing,
                agent_version=version("muster"),
                assignment=lambda: assignments.version,
            )
            probes = LocationProbes(str(settings.cluster_id), clouds)
            syncs = self._syncs or AgentSyncs(clouds, clock)
            pairing = Pairing(
                settings.cluster_id, probes, buffer, reporter.wake, syncs, clock, first_round_s=self._first_round_s
            )

            def take(assignment: Assignment) -> None:
                reporter.heartbeat_s = assignment.pacing.heartbeat_s
                reporter.wake()
                pairing.take(assignment)

            assignments = Assignments(hub, settings.cluster_id, take, self.standing)
            try:
                ready(await self._listen(cleanup))
            except OSError as error:
                _log.error("cannot listen for the kubelet", error=str(error))
                return 1
            _log.info("started", hub=settings.hub, cluster=str(settings.cluster_id))
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._ending.wait(), name="signals")
                    tasks.create_task(assignments.run(), name="assignment")
                    tasks.create_task(pairing.run(), name="pairs")
                    tasks.create_task(reporter.run(), name="report")
            except* Stopped:
                await reporter.flush(FLUSH_S)
                _log.info("stopped")
        return 0

    async def _listen(self, cleanup: AsyncExitStack) -> int:
        if self._settings.health_listen is None:
            return 0
        health = Health(lambda: (self.standing.ready, str(self.standing)))
        port = await health.start(*self._settings.health_listen)
        cleanup.callback(health.close)
        _log.info("listening", port=port)
        return port


def _since_boot() -> float:
    """Monotonic, and goes on while a machine sleeps: else what was seen before would be reported as fresh."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def _storage_tls(settings: AgentSettings) -> ssl.SSLContext:
    """The system's roots, and those of the house. Raises OSError or ssl.SSLError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_default_certs()
    if settings.storage_ca_file is not None:
        context.load_verify_locations(cafile=settings.storage_ca_file)
    return context
