"""The receiver's composition root: builds everything, starts every task by name, stops it all in order."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import NoReturn

import structlog

from store.embedded import EmbeddedPostgres
from store.errors import StoreUnavailable
from store.running import running_url
from uplink.receiver.authority import Authority
from uplink.receiver.batches import Batches
from uplink.receiver.enrolment import Enrolments
from uplink.receiver.est import EstDoor
from uplink.receiver.forward import Forwarder
from uplink.receiver.front import Front
from uplink.receiver.generations import Generations
from uplink.receiver.headers import HeadersFile
from uplink.receiver.ingest import OtlpDoor
from uplink.receiver.peers import Peers
from uplink.receiver.refusals import Refusals
from uplink.receiver.retention import Retention
from uplink.receiver.server import ReceiverServer
from uplink.receiver.settings import ReceiverSettings
from uplink.receiver.storing import Store
from validator.clock import Clock, HubClock
from validator.net.connections import Connections

_log = structlog.get_logger(__name__)


class Receiver:
    """One instance, on a store that is open. `clock` and `connections` are seams for tests."""

    def __init__(
        self,
        settings: ReceiverSettings,
        authority: Authority,
        store: Store,
        *,
        clock: Clock | None = None,
        connections: Connections | None = None,
    ) -> None:
        """Raises `FrontError`, `HeadersError`, and `ValueError` for a backend that is no URL."""
        clock = clock or HubClock()
        peers = Peers(store)
        self._batches = Batches(store, quota_bytes=settings.quota_mib * 1024**2, forwards=settings.forward is not None)
        refusals = Refusals(store)
        self.front = Front(authority, settings.hosts, clock, settings.tls_files)
        self.generations = Generations(authority, settings.authority_dir, self.front.follow)
        enrolments = Enrolments(
            store,
            self.generations,
            refusals,
            lifetime_days=settings.lifetime_days,
            ask_again_s=settings.ask_again_s,
        )
        self.otlp = OtlpDoor(self._batches, peers, clock)
        routes = [
            *EstDoor(enrolments, peers, refusals, self.generations, clock).routes(),
            *self.otlp.routes(),
        ]
        self.server = ReceiverServer(routes, self.front, *settings.address, connections)
        self.retention = Retention(store, clock, settings.retention_days)
        self._forwarder: Forwarder | None = None
        if settings.forward is not None:
            file = settings.forward_headers_file
            headers = None if file is None else HeadersFile(file)
            self._forwarder = Forwarder(store, self._batches, settings.forward, clock, headers)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Serve for the length of the block; gives the URL. Raises `ListenError`."""
        await self.server.start()
        try:
            async with asyncio.TaskGroup() as tasks:
                kept = [
                    tasks.create_task(self.front.run(), name="receiver-certificate"),
                    tasks.create_task(self.generations.run(), name="receiver-generations"),
                    tasks.create_task(self.retention.run(), name="receiver-retention"),
                ]
                if self._forwarder is not None:
                    kept.append(tasks.create_task(self._forwarder.run(), name="receiver-forward"))
                yield self.server.url
                for task in kept:
                    task.cancel()
        finally:
            await self.server.stop()


@asynccontextmanager
async def database(settings: ReceiverSettings) -> AsyncIterator[Store]:
    """The user's own database; else the embedded one, beside a receiver that runs or started for the block.

    Raises `StoreError`.
    """
    async with AsyncExitStack() as cleanup:
        if settings.database_url is not None:
            url = settings.database_url.get_secret_value()
        elif (beside := running_url(settings.database_dir)) is not None:
            url = beside
        else:
            settings.data_dir.mkdir(parents=True, exist_ok=True)
            embedded = EmbeddedPostgres(settings.database_dir)
            url = await embedded.start(on_wait=_do_not_wait)
            cleanup.push_async_callback(embedded.stop)
        store = await Store.open(url)
        cleanup.push_async_callback(store.close)
        yield store


async def run(settings: ReceiverSettings, ready: Callable[[str], None] = lambda _: None) -> None:
    """Serve until SIGTERM or SIGINT; `ready` is told the URL. Raises what starting may raise."""
    authority = Authority.load(settings.authority_dir)
    async with database(settings) as store, Receiver(settings, authority, store).serving() as url:
        _log.info("receiver listens", url=url, pid=os.getpid(), forward=settings.forward is not None)
        ready(url)
        await _signal()
        _log.info("receiver ends")


async def _signal() -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()


def _do_not_wait(cause: str) -> NoReturn:
    raise StoreUnavailable(f"the receiver's embedded database is being started or stopped: {cause}. Try again.")
