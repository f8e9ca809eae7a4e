"""Every check, in the order in which people read them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress

from muster.access.local import reached_at, token_path
from muster.ops.database import reach_running
from muster.ops.doctor import clock, database, descriptors, disk, memory, names, port, runtime_dir, versions
from muster.ops.doctor.finding import Finding, ok, problem, warning
from muster.ops.doctor.service import ServiceSeen
from muster.settings import Settings, SettingsError
from muster.sources import make_sources
from muster.storage import SCHEMA_VERSION, migration_sets
from store.errors import StoreError
from store.running import exists, user_of
from validator.net.resolver import CaresResolver
from validator.schedule import ScheduleSettings


def settings_refused(error: SettingsError) -> list[Finding]:
    """What is left to look at where the settings make no sense."""
    return [
        problem("settings", str(error), "`muster config check` explains each."),
        versions.judge(versions.look(), None),
        memory.judge(memory.look(), None, running=False),
    ]


async def examine(settings: Settings, service: ServiceSeen | None) -> list[Finding]:
    """Look at everything; `service` is what answers at the configured address. A check that fails is a finding."""
    host, number = settings.listen_address
    listening = port.look(host, number)
    if service is None and listening.holder is not None and listening.holder == _embedded_user(settings):
        service = ServiceSeen(listening.address)  # it does not speak to us: its certificate is for another name, say
    stored, about_database = await _database(settings)
    clusters = service.clusters if service is not None else None
    if clusters is None and stored is not None:
        clusters = stored.clusters
    sources = make_sources(settings)
    resolver = CaresResolver()
    try:
        seen = await names.look(sources, resolver)
    finally:
        await resolver.close()
    clusters = seen.clusters if clusters is None else max(clusters, seen.clusters)
    schedule = ScheduleSettings(
        interval_s=settings.interval_s, timeout_s=settings.timeout_s, backoff_max_s=settings.backoff_max_s
    )
    limit = descriptors.look(listening.holder if service is not None else None)
    running = service is not None
    return [
        ok("settings", "they make sense"),
        port.judge(listening, service),
        *about_database,
        _looked("disk", lambda: disk.judge(disk.look(settings.data_dir)))
        if settings.database_url is None
        else ok("disk", "the database is elsewhere, and nothing else is kept"),
        memory.judge(memory.look(), clusters, running=running),
        descriptors.judge(limit, clusters, schedule),
        names.judge_sources(seen, len(sources)),
        names.judge_dns(seen),
        clock.judge(_clocks(stored, service)),
        _looked("local token", lambda: _token(host, number, running=running)),
        versions.judge(versions.look(), service),
    ]


async def _database(settings: Settings) -> tuple[database.DatabaseSeen | None, list[Finding]]:
    where = f"the embedded database in {settings.data_dir}"
    try:
        async with reach_running(settings) as reached:
            if reached is None:
                there = exists(settings.data_dir)
                state = "does not run, since no service does" if there else "is made at the service's first start"
                return None, [ok("database", f"{where} {state}")]
            where = reached.shown
            seen = await database.look(reached.url, migration_sets(), SCHEMA_VERSION)
    except StoreError as error:
        return None, [database.judge_error(error, where)]
    return seen, database.judge(seen, where)


def _embedded_user(settings: Settings) -> int | None:
    with suppress(StoreError):
        return user_of(settings.data_dir)
    return None


def _clocks(stored: database.DatabaseSeen | None, service: ServiceSeen | None) -> dict[str, float]:
    ahead_s = {} if stored is None else {"the database's": stored.ahead_s}
    if service is not None and service.date is not None:
        ahead_s["the service's"] = service.date.timestamp() - time.time()
    return ahead_s


def _token(host: str, number: int, *, running: bool) -> Finding:
    directory, token = runtime_dir.look(token_path(reached_at(host), number))
    return runtime_dir.judge(directory, token, us=os.geteuid(), running=running)


def _looked(check: str, look: Callable[[], Finding]) -> Finding:
    try:
        return look()
    except OSError as error:
        return warning(check, f"can't be looked at: {error.strerror or error}", "Run this as the service's user.")
