"""Whether the database answers, how fast, and what is in it."""

from __future__ import annotations

import time
from dataclasses import dataclass

from muster.ops.doctor.finding import Finding, ok, problem, size, warning
from store.errors import StoreError, StoreRefused
from store.migrate import MigrationSet, outstanding
from store.pool import Database

OLDEST = 150_000
"""PostgreSQL 15: the oldest that is tested."""
SLOW_S = 0.1
"""For a question without an answer to look for; the service asks some each second."""
FEW_CONNECTIONS = 10
"""An instance takes seven, and a standby another seven."""

_ABOUT = """
SELECT current_setting('server_version_num')::int AS number, current_setting('server_version') AS version,
       pg_database_size(current_database()) AS size_bytes,
       extract(epoch FROM clock_timestamp())::float8 AS now,
       current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
         - (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')::int AS free_connections,
       pg_is_in_recovery() AS replica
"""
_CLUSTERS = "SELECT count(*) FROM clusters WHERE gone_at IS NULL"


@dataclass(frozen=True, slots=True)
class DatabaseSeen:
    """One that answers."""

    version: str
    number: int
    size_bytes: int
    ahead_s: float
    """Of our clock."""
    latency_s: float
    free_connections: int
    replica: bool
    outstanding: tuple[str, ...]
    """Migrations that this release would apply."""
    clusters: int | None


async def look(url: str, sets: list[MigrationSet], schema_version: int) -> DatabaseSeen:
    """Ask it. Raises `StoreError`."""
    database = await Database.open(url, connections=1, application_name="muster-doctor")
    try:
        await database.fetchval("SELECT 1")
        began = time.monotonic()
        await database.fetchval("SELECT 1")
        latency_s = time.monotonic() - began
        about = await database.fetchrow(_ABOUT)
        assert about is not None
        ahead_s = about["now"] - time.time()
        missing = tuple(await outstanding(database, sets, schema_version))
        fresh = any(label.startswith("collector/0001") for label in missing)
        return DatabaseSeen(
            version=about["version"],
            number=about["number"],
            size_bytes=about["size_bytes"],
            ahead_s=ahead_s,
            latency_s=latency_s,
            free_connections=about["free_connections"],
            replica=about["replica"],
            outstanding=missing,
            clusters=None if fresh else await database.fetchval(_CLUSTERS),
        )
    finally:
        await database.close()


def judge(seen: DatabaseSeen, where: str) -> list[Finding]:
    """Pure. `where` names the database without its password."""
    about = f"{where}: PostgreSQL {seen.version}, {size(seen.size_bytes)}, answers in {seen.latency_s * 1000:.1f} ms"
    findings = [_answers(seen, about)]
    if seen.outstanding:
        missing = ", ".join(seen.outstanding)
        findings.append(
            warning("schema", f"not yet applied: {missing}", "`muster run` applies it; `muster db migrate` beforehand.")
        )
    else:
        findings.append(ok("schema", "as this release has it"))
    return findings


def _answers(seen: DatabaseSeen, about: str) -> Finding:
    if seen.replica:
        return problem("database", f"{about}; it is a replica, which can't be written to", "Name the primary.")
    if seen.number < OLDEST:
        return problem("database", about, "Use PostgreSQL 15 or newer.")
    if seen.free_connections < FEW_CONNECTIONS:
        return warning(
            "database", f"{about}; {seen.free_connections} connections free", "Raise max_connections, or close others."
        )
    if seen.latency_s > SLOW_S:
        return warning("database", about, "Put it nearer, or see what keeps it busy (pg_stat_activity).")
    return ok("database", about)


def judge_error(error: StoreError, where: str) -> Finding:
    """Pure. The store's errors end with their remedy."""
    said = error.message if where in error.message else f"{where}: {error.message}"
    retry = "Correct what it names." if isinstance(error, StoreRefused) else "Start it, or correct MUSTER_DATABASE_URL."
    return problem("database", said, retry)
