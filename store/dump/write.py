"""Write a dump: one read-only REPEATABLE READ transaction into one zip file, beside whatever the service does."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import BinaryIO

import asyncpg

from store.dump import tables as of
from store.dump.manifest import NAME, Manifest, TablePart
from store.errors import StoreFull, StoreRefused, store_errors
from store.migrate import Applied, MigrationSet, read_migrations

OnProgress = Callable[[str, int], None]
"""Called with a table's name and the bytes that have come since the last call."""

COPY_TIMEOUT_S = 3600.0
"""For one table: ten years of a large fleet's history on a slow disk."""
MARGIN_BYTES = 64 * 1024 * 1024
"""Free space below which a dump is not begun."""

_APPLIED = "SELECT package, number, name, sha256, min_code_version FROM schema_migrations ORDER BY package, number"


async def write_dump(
    url: str,
    path: Path,
    sets: Sequence[MigrationSet],
    *,
    release: str,
    schema_version: int,
    overwrite: bool = False,
    on_progress: OnProgress = lambda _, __: None,
) -> Manifest:
    """Dump our tables into `path` (mode 0600), which appears whole or not at all.

    Raises `StoreRefused` (the file exists, nothing of ours in the database, a schema of a newer release), `StoreFull`
    and `StoreUnavailable`.
    """
    with (
        store_errors(f"dump to {path}"),
        _whole_file(path, overwrite=overwrite) as file,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive,
    ):
        connection = await of.connect(url, "muster-dump")
        try:
            manifest = await _copy_all(connection, archive, sets, release, schema_version, on_progress)
        finally:
            await connection.close(timeout=5.0)
        archive.writestr(NAME, manifest.to_json())
    return manifest


@contextmanager
def _whole_file(path: Path, *, overwrite: bool) -> Iterator[BinaryIO]:
    """A file for the block, which gets its name when all of it is on the disk."""
    if path.exists() and not overwrite:
        raise StoreRefused(f"{path} exists. Choose another name, or replace it with --force.")
    if not path.parent.is_dir():
        raise StoreRefused(f"there is no directory {path.parent}. Make it, or dump elsewhere.")
    half = path.with_name(f"{path.name}.part-{os.getpid()}")
    try:
        with os.fdopen(os.open(half, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w+b") as file:
            room = os.fstatvfs(file.fileno())
            if room.f_bavail * room.f_frsize < MARGIN_BYTES:
                raise StoreFull(f"there is hardly any space left for {path}. Free some, or dump elsewhere.")
            yield file
            file.flush()
            os.fsync(file.fileno())
        half.replace(path)
    finally:
        half.unlink(missing_ok=True)


async def _copy_all(
    connection: asyncpg.Connection[asyncpg.Record],
    archive: zipfile.ZipFile,
    sets: Sequence[MigrationSet],
    release: str,
    schema_version: int,
    on_progress: OnProgress,
) -> Manifest:
    migrations = read_migrations(sets)
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        if not await connection.fetchval(f"SELECT to_regclass('{of.BOOK}') IS NOT NULL"):
            raise StoreRefused("there is nothing to dump: no Muster has ever used this database.")
        applied = tuple(Applied(**row) for row in await connection.fetch(_APPLIED))
        known = {(migration.package, migration.number) for migration in migrations}
        if unknown := [row for row in applied if (row.package, row.number) not in known]:
            raise StoreRefused(
                f"a newer release has used this database ({unknown[-1].package}/{unknown[-1].name}), and this one does "
                "not know what it has added. Dump it with that release."
            )
        columns = await of.columns_of(connection, of.made_by(migrations))
        names = await of.in_order(connection, columns)
        await connection.execute(f"LOCK TABLE {of.listed(names)} IN ACCESS SHARE MODE")
        parts = [await _copy(connection, archive, name, columns[name], partial(on_progress, name)) for name in names]
        return Manifest(
            release=release,
            schema_version=schema_version,
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            postgresql=".".join(str(part) for part in connection.get_server_version()[:2]),
            migrations=applied,
            tables=tuple(parts),
            partitions=await of.partitions_of(connection, names),
            sequences=await of.sequences_of(connection, names),
        )


async def _copy(
    connection: asyncpg.Connection[asyncpg.Record],
    archive: zipfile.ZipFile,
    name: str,
    columns: tuple[str, ...],
    on_bytes: Callable[[int], None],
) -> TablePart:
    digest, size = hashlib.sha256(), 0
    part = TablePart(name, columns, 0, 0, "")
    with archive.open(part.member, "w", force_zip64=True) as member:

        async def take(data: bytes) -> None:
            nonlocal size
            digest.update(data)
            member.write(data)
            size += len(data)
            on_bytes(len(data))

        tag = await connection.copy_from_query(
            f'SELECT {of.listed(columns)} FROM "{name}"',  # noqa: S608 - names from the catalogue
            output=take,
            format="text",
            encoding="utf-8",
            timeout=COPY_TIMEOUT_S,
        )
    return replace(part, rows=int(tag.split()[-1]), size_bytes=size, sha256=digest.hexdigest())
