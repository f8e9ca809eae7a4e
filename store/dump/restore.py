"""Restore a dump: all of it in one transaction, or nothing.

While it runs it holds the leader's lock, so no instance leads, and the migrations' lock, so none changes the schema.
"""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import asyncpg

from store.dump import tables as of
from store.dump.manifest import MAX_BYTES, NAME, Manifest, TablePart, migrations_of, read_manifest
from store.dump.write import COPY_TIMEOUT_S, OnProgress
from store.errors import StoreRefused, store_errors
from store.migrate import BOOK_SQL, LOCK_KEY, MIGRATION_TIMEOUT_S, RECORD_SQL, Migration, MigrationSet, read_migrations

CHUNK_BYTES = 256 * 1024
TABLE_LOCK_TIMEOUT_S = 10.0
"""For the old tables: a standby only reads them, and briefly."""

_TRY_LOCK = "SELECT pg_try_advisory_lock($1)"
_HOLDER = "SELECT holder FROM leadership"
_LEADERSHIP = "UPDATE leadership SET epoch = greatest(epoch, $1) + 1, holder = 'restore', since = now()"


@contextmanager
def open_dump(path: Path) -> Iterator[tuple[zipfile.ZipFile, Manifest]]:
    """A dump's file and manifest. Raises `StoreRefused` for what is none, is cut off, or is of a newer layout."""
    with store_errors(f"dump {path}"):
        try:
            with zipfile.ZipFile(path) as archive:
                try:
                    with archive.open(NAME) as member:
                        raw = member.read(MAX_BYTES + 1)
                except KeyError:
                    raise StoreRefused(f"{path} is a zip file, but no dump of Muster.") from None
                if len(raw) > MAX_BYTES:
                    raise StoreRefused(f"{path} is no dump of Muster: its manifest is larger than {MAX_BYTES} bytes.")
                yield archive, read_manifest(raw)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
            raise StoreRefused(f"{path} is no dump of Muster, or it is cut off or damaged ({error}).") from error
        except FileNotFoundError as error:
            raise StoreRefused(f"{path} does not exist.") from error


async def restore_dump(
    url: str,
    path: Path,
    sets: Sequence[MigrationSet],
    *,
    release: str,
    schema_version: int,
    leader_key: int,
    replace: bool = False,
    on_begin: Callable[[Manifest], None] = lambda _: None,
    on_progress: OnProgress = lambda _, __: None,
) -> Manifest:
    """Put a dump's rows into the database, with the schema that they were written under; migrate afterwards.

    Only tables of ours are touched. Raises `StoreRefused` (a service leads, the dump is of a newer release, there are
    data already and `replace` is not said, a damaged file) or what the database says; then nothing has changed.
    """
    ours = read_migrations(sets)
    with open_dump(path) as (archive, manifest):
        wanted = migrations_of(manifest, ours, schema_version, release)
        on_begin(manifest)
        with store_errors("restore"):
            connection = await of.connect(url, "muster-restore")
            try:
                await _take_locks(connection, leader_key)
                async with connection.transaction():
                    await connection.execute(f"SET LOCAL lock_timeout = '{TABLE_LOCK_TIMEOUT_S:.0f}s'")
                    await _make_room(connection, ours, replace=replace)
                    await _make_schema(connection, wanted)
                    await _fill(connection, archive, manifest, wanted, on_progress)
                await connection.execute("ANALYZE")
            finally:
                await connection.close(timeout=5.0)  # and the locks with it
    return manifest


async def _take_locks(connection: asyncpg.Connection[asyncpg.Record], leader_key: int) -> None:
    if not await connection.fetchval(_TRY_LOCK, leader_key):
        holder = await connection.fetchval(_HOLDER)
        raise StoreRefused(
            f"a service leads on this database ({holder}), and would go on with a picture that is not the dump's. "
            "Stop every instance, restore, and start them again."
        )
    if not await connection.fetchval(_TRY_LOCK, LOCK_KEY):
        raise StoreRefused("an instance is migrating this database at the moment. Stop every instance, then restore.")


async def _make_room(
    connection: asyncpg.Connection[asyncpg.Record], ours: Sequence[Migration], *, replace: bool
) -> None:
    """Drop our tables. Without CASCADE: a view that somebody made on them is named, and stays."""
    have = await of.columns_of(connection, [*of.made_by(ours), of.BOOK])
    if not have:
        return
    if not replace:
        raise StoreRefused(
            "the database holds data of Muster already. Dump them first if they matter, then restore with --replace."
        )
    if of.BOOK in have:
        rows = await connection.fetch(f"SELECT package, number, name FROM {of.BOOK} ORDER BY package, number")  # noqa: S608 - a constant
        known = {(migration.package, migration.number) for migration in ours}
        if unknown := [row for row in rows if (row["package"], row["number"]) not in known]:
            raise StoreRefused(
                f"a newer release has used this database ({unknown[-1]['package']}/{unknown[-1]['name']}), and this "
                "one does not know all that there is to replace. Restore with that release, or into an empty database."
            )
    if "leadership" in have:
        await connection.execute(
            "CREATE TEMPORARY TABLE former ON COMMIT DROP AS SELECT epoch FROM leadership"  # the fence must not go back
        )
    await connection.execute(f"DROP TABLE {of.listed(have)}")


async def _make_schema(connection: asyncpg.Connection[asyncpg.Record], migrations: Sequence[Migration]) -> None:
    await connection.execute(BOOK_SQL)
    for row in migrations:
        await connection.execute(row.sql, timeout=MIGRATION_TIMEOUT_S)
        await connection.execute(RECORD_SQL, row.package, row.number, row.name, row.sha256, row.min_code_version)


async def _fill(
    connection: asyncpg.Connection[asyncpg.Record],
    archive: zipfile.ZipFile,
    manifest: Manifest,
    migrations: Sequence[Migration],
    on_progress: OnProgress,
) -> None:
    have = await of.columns_of(connection, of.made_by(migrations))
    for table in manifest.tables:
        if table.name not in have or not set(table.columns) <= set(have[table.name]):
            raise StoreRefused(f"the dump has a table {table.name} that its own schema has not: take another dump.")
    there = {part.name for part in await of.partitions_of(connection, have)}
    for part in manifest.partitions:
        if part.name not in there and part.parent in have:
            await connection.execute(f'CREATE TABLE "{part.name}" PARTITION OF "{part.parent}" {part.bound}')
    await connection.execute(f"TRUNCATE {of.listed(have)}")  # what migrations put in comes from the dump
    for table in manifest.tables:
        await _copy(connection, archive, table, partial(on_progress, table.name))
    for sequence in manifest.sequences:
        await connection.execute(
            "SELECT setval(pg_get_serial_sequence($1, $2), $3, $4)",
            sequence.table,
            sequence.column,
            sequence.last,
            sequence.called,
        )
    if "leadership" in have:
        former = await connection.fetchval("SELECT to_regclass('pg_temp.former') IS NOT NULL")
        epoch = await connection.fetchval("SELECT epoch FROM pg_temp.former") if former else 0
        await connection.execute(_LEADERSHIP, epoch or 0)


async def _copy(
    connection: asyncpg.Connection[asyncpg.Record],
    archive: zipfile.ZipFile,
    table: TablePart,
    on_bytes: Callable[[int], None],
) -> None:
    digest, size = hashlib.sha256(), 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal size
        with archive.open(table.member) as member:
            while chunk := member.read(CHUNK_BYTES):
                digest.update(chunk)
                size += len(chunk)
                if size > table.size_bytes:
                    raise StoreRefused(f"the dump is damaged: {table.name} is longer than its manifest says.")
                on_bytes(len(chunk))
                yield chunk

    try:
        tag = await connection.copy_to_table(
            table.name,
            source=chunks(),
            columns=list(table.columns),
            format="text",
            encoding="utf-8",
            timeout=COPY_TIMEOUT_S,
        )
    except KeyError:
        raise StoreRefused(f"the dump is damaged: {table.member} is missing.") from None
    except asyncpg.DataError as error:
        raise StoreRefused(f"the dump is damaged: a row of {table.name} can't be read.") from error
    if (digest.hexdigest(), int(tag.split()[-1])) != (table.sha256, table.rows):
        raise StoreRefused(f"the dump is damaged: the rows of {table.name} are not those that were dumped.")
