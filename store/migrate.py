"""Numbered migrations, applied in order, each in one transaction with its row in `schema_migrations`.

Forward only. An old release runs on a newer schema (its rows are simply unknown to it), unless a migration
says otherwise in its header: `-- min_code_version: N` refuses code whose schema version is lower. So a rolling upgrade
and a way back are the normal case, and a migration that breaks old code has to say so.

alembic and yoyo were considered: both are synchronous, bring a second driver and a second idea of a transaction.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from store.errors import StoreError, StoreRefused, StoreUnavailable
from store.pool import Database, Session

LOCK_KEY = 0x6D75_7374_6572_0001
""""muster" and a number: session advisory locks are one namespace per database, shared with strangers."""
LOCK_WAIT_S = 300.0
"""How long another instance's migrations are waited for: a long one rewrites a table."""
LOCK_POLL_S = 0.2
MIGRATION_TIMEOUT_S = 300.0
"""For one migration's statements."""
TABLE_LOCK_TIMEOUT_S = 5.0
"""For each table lock that a migration takes: waiting longer would queue the running leader's writes behind it."""

_FILE = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")
_FLOOR = re.compile(r"^--\s*min_code_version:\s*(\d+)\s*$", re.MULTILINE)

BOOK_SQL = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    package text NOT NULL,
    number integer NOT NULL,
    name text NOT NULL,
    sha256 text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    min_code_version integer NOT NULL,
    PRIMARY KEY (package, number)
)
"""
_EXISTS = "SELECT to_regclass('schema_migrations') IS NOT NULL"
_APPLIED = "SELECT package, number, name, sha256, min_code_version FROM schema_migrations ORDER BY package, number"
RECORD_SQL = (
    "INSERT INTO schema_migrations (package, number, name, sha256, min_code_version) VALUES ($1, $2, $3, $4, $5)"
)
_TRY_LOCK = "SELECT pg_try_advisory_lock($1)"
_UNLOCK = "SELECT pg_advisory_unlock($1)"
_HOLDER = """
SELECT format('process %s (%s) from %s since %s', a.pid, a.application_name,
              coalesce(host(a.client_addr), 'this machine'), date_trunc('second', a.backend_start))
FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND (l.classid::bigint << 32) | l.objid::bigint = $1
"""


@dataclass(frozen=True, slots=True)
class MigrationSet:
    """The migrations of one package: `directory` holds files named `NNNN_what.sql`."""

    package: str
    directory: Path


STORE_MIGRATIONS = MigrationSet("store", Path(__file__).with_name("migrations"))
"""The store's own: the table that `Leadership` needs."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file, read."""

    package: str
    number: int
    name: str
    sql: str
    sha256: str
    min_code_version: int

    @property
    def label(self) -> str:
        """`package/NNNN_what`, for people."""
        return f"{self.package}/{self.name}"


@dataclass(frozen=True, slots=True)
class Applied:
    """One row of `schema_migrations`."""

    package: str
    number: int
    name: str
    sha256: str
    min_code_version: int


async def migrate(
    db: Database,
    sets: Sequence[MigrationSet],
    code_version: int,
    *,
    lock_wait_s: float = LOCK_WAIT_S,
    table_lock_timeout_s: float = TABLE_LOCK_TIMEOUT_S,
) -> list[str]:
    """Bring the schema up to date; gives the labels of what was applied now.

    Two instances that start at once apply each migration once: the whole runs under one session advisory lock, and
    the loser of the race finds nothing left to do. Raises `StoreRefused` (schema too new, a changed or misplaced file),
    `StoreUnavailable` (another instance held the lock for too long; it is named), or what a migration itself met.
    """
    migrations = read_migrations(sets)
    async with db.session() as session, _lock(session, lock_wait_s):
        if not await session.fetchval(_EXISTS):
            await session.execute(BOOK_SQL)
        applied = [Applied(**row) for row in await session.fetch(_APPLIED)]
        pending = plan(migrations, applied, code_version)
        for migration in pending:
            await _apply(session, migration, table_lock_timeout_s)
    return [migration.label for migration in pending]


async def outstanding(db: Database, sets: Sequence[MigrationSet], code_version: int) -> list[str]:
    """Labels of what `migrate` would apply now; changes nothing. Raises as `migrate` does."""
    applied: list[Applied] = []
    if await db.fetchval(_EXISTS):
        applied = [Applied(**row) for row in await db.fetch(_APPLIED)]
    return [migration.label for migration in plan(read_migrations(sets), applied, code_version)]


def read_migrations(sets: Sequence[MigrationSet]) -> list[Migration]:
    """All migrations in order: set by set, by number. Raises `StoreRefused` that names the file."""
    migrations: list[Migration] = []
    for migration_set in sets:
        try:
            paths = sorted(path for path in migration_set.directory.iterdir() if path.suffix == ".sql")
        except OSError as error:
            raise StoreRefused(
                f"migrations of {migration_set.package}: {migration_set.directory}: {error.strerror}. "
                "Reinstall Muster: its package data is missing."
            ) from error
        numbers: dict[int, str] = {}
        for path in paths:
            match = _FILE.fullmatch(path.name)
            if not match:
                raise StoreRefused(f"migration {path} is not named NNNN_what.sql. Rename it.")
            number = int(match[1])
            if number in numbers:
                raise StoreRefused(f"migrations {numbers[number]} and {path.name} share a number. Renumber one.")
            numbers[number] = path.name
            sql = path.read_text(encoding="utf-8")  # newlines are normalised: a checkout on Windows hashes the same
            digest = hashlib.sha256(sql.encode()).hexdigest()
            floor = max((int(found) for found in _FLOOR.findall(sql)), default=0)
            migrations.append(Migration(migration_set.package, number, path.stem, sql, digest, floor))
    return migrations


def plan(migrations: Sequence[Migration], applied: Sequence[Applied], code_version: int) -> list[Migration]:
    """What has to be applied; pure. Raises `StoreRefused` where this code must not touch this schema."""
    newest = max(applied, key=lambda row: row.min_code_version, default=None)
    if newest and newest.min_code_version > code_version:
        raise StoreRefused(
            f"the database's schema is newer than this release of Muster: since {newest.package}/{newest.name} it "
            f"needs schema version {newest.min_code_version} or later, and this release has {code_version}. "
            "Start the newer release that ran here before, or restore a backup from before the upgrade."
        )
    known = {(row.package, row.number): row for row in applied}
    highest: dict[str, int] = {}
    for row in applied:
        highest[row.package] = max(highest.get(row.package, 0), row.number)
    pending: list[Migration] = []
    for migration in migrations:
        row_here = known.get((migration.package, migration.number))
        if row_here is None:
            if migration.number < highest.get(migration.package, 0):
                raise StoreRefused(
                    f"migration {migration.label}.sql comes before {highest[migration.package]:04d}, which is already "
                    "applied. Give it the next free number."
                )
            if migration.min_code_version > code_version:
                raise StoreRefused(
                    f"migration {migration.label}.sql asks for schema version {migration.min_code_version}, above this "
                    f"release's own {code_version}. This is a defect; report it."
                )
            pending.append(migration)
        elif (row_here.name, row_here.sha256) != (migration.name, migration.sha256):
            raise StoreRefused(
                f"migration {migration.label}.sql is not the file that was applied to this database (as "
                f"{row_here.name}, sha256 {row_here.sha256[:12]}…). Restore the file and put the change into a new one."
            )
    return pending


async def _apply(session: Session, migration: Migration, table_lock_timeout_s: float) -> None:
    try:
        async with session.transaction():
            await session.execute(f"SET LOCAL lock_timeout = '{table_lock_timeout_s:.3f}s'")
            await session.execute(migration.sql, timeout_s=MIGRATION_TIMEOUT_S)
            row = migration
            await session.execute(RECORD_SQL, row.package, row.number, row.name, row.sha256, row.min_code_version)
    except StoreError as error:
        raise type(error)(f"migration {migration.label}.sql was rolled back: {error.message}") from error


@asynccontextmanager
async def _lock(session: Session, wait_s: float) -> AsyncIterator[None]:
    """Hold the advisory lock. Polled, not waited for in the server: a wait there would look like a hung statement."""
    deadline = asyncio.get_running_loop().time() + wait_s
    while not await session.fetchval(_TRY_LOCK, LOCK_KEY):
        if asyncio.get_running_loop().time() > deadline:
            holder = await session.fetchval(_HOLDER, LOCK_KEY) or "another session"
            raise StoreUnavailable(
                f"{holder} has been migrating this database for over {wait_s:.0f} s. "
                "Wait for it, or end it if it is dead (pg_terminate_backend)."
            )
        await asyncio.sleep(LOCK_POLL_S)
    try:
        yield
    finally:
        with suppress(StoreError):  # the connection is gone, and the lock with it
            await session.execute(_UNLOCK, LOCK_KEY)
