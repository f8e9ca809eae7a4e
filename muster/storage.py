"""The service's database: the user's own or the embedded one, opened, migrated, and kept running."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NoReturn

import structlog

import collector
import muster
import store
from muster.settings import Settings
from store.embedded import EmbeddedPostgres
from store.errors import StoreError, StoreUnavailable
from store.migrate import MigrationSet, migrate
from store.pool import Database
from uplink.client.spooling.epochs import SPOOL_MIGRATIONS

_log = structlog.get_logger(__name__)

SCHEMA_VERSION = 1
"""What this code can work with: it refuses a database whose schema asks for more."""

START_AGAIN_S = 2.0
"""Between two attempts to start the embedded PostgreSQL again."""


_PACKAGES = {"store": store, "collector": collector, "muster": muster}
"""Each owns its tables; in the order in which they are made."""


async def database_url(
    settings: Settings, tasks: asyncio.TaskGroup, cleanup: AsyncExitStack, on_wait: Callable[[str], None]
) -> str:
    """The user's database, or the embedded one, started and from now on kept running by a task of `tasks`.

    Raises `StoreError`.
    """
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    embedded = EmbeddedPostgres(settings.data_dir)
    url = await embedded.start(on_wait=on_wait)
    cleanup.push_async_callback(embedded.stop)
    tasks.create_task(_keep_running(embedded), name="embedded-postgres")
    return url


async def open_database(url: str, on_wait: Callable[[str], None]) -> Database:
    """Wait for the database and bring its schema up to date. Raises `StoreRefused` when waiting would not help."""
    sets = migration_sets()
    while True:
        try:
            db = await Database.open(url)
            applied = await migrate(db, sets, SCHEMA_VERSION)
        except StoreUnavailable as error:
            on_wait(error.message)
            await asyncio.sleep(1.0)
            continue
        if applied:
            _log.info("schema migrated", applied=applied)
        return db


async def open_telemetry_database(url: str) -> Database:
    """A pool of telemetry's own: others may keep theirs busy for the half second after which telemetry falls silent.

    Raises `StoreError`.
    """
    return await Database.open(url, connections=3, application_name="muster-telemetry")


def migration_sets() -> list[MigrationSet]:
    """Every package's migrations."""
    ours = [MigrationSet(name, Path(package.__path__[0]) / "migrations") for name, package in _PACKAGES.items()]
    return [*ours, SPOOL_MIGRATIONS]


async def _keep_running(embedded: EmbeddedPostgres) -> NoReturn:
    """Start our PostgreSQL again when it dies under us.

    What keeps it from starting (a full disk) is waited for: the picture goes on from memory, and would end with us.
    """
    while True:
        cause = await embedded.exited()
        _log.error("the embedded PostgreSQL has died; starting it again", cause=cause)
        told: type[StoreError] | None = None  # not the text, which has the time in it
        pause_s = 0.5
        while embedded.pid is None:
            await asyncio.sleep(pause_s)
            pause_s = START_AGAIN_S
            try:
                await embedded.start(on_wait=lambda cause: _log.info("waiting", cause=cause))
            except StoreError as error:
                if type(error) is not told:
                    _log.error("the embedded PostgreSQL does not start", error=error.message)
                told = type(error)
