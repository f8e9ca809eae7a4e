"""What is in a dump: its first page, and whether this release may restore it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from store.errors import StoreRefused
from store.migrate import Applied, Migration, plan

FORMAT = "muster-dump"
VERSION = 1
"""Of the file's layout. A higher one is of a newer release."""
NAME = "manifest.json"
MAX_BYTES = 4 * 1024 * 1024
"""Of a manifest; a hundred tables with ten years of partitions have some 30 KB."""

_TABLE = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_BOUND = re.compile(r"DEFAULT|FOR VALUES FROM \('[0-9 :+TZ.-]+'\) TO \('[0-9 :+TZ.-]+'\)")


@dataclass(frozen=True, slots=True)
class TablePart:
    """One table's rows."""

    name: str
    columns: tuple[str, ...]
    rows: int
    size_bytes: int
    sha256: str

    @property
    def member(self) -> str:
        """Its name in the file."""
        return f"tables/{self.name}.copy"


@dataclass(frozen=True, slots=True)
class Partition:
    """A table that was made at run time, to hold a part of another one's rows."""

    name: str
    parent: str
    bound: str
    """As PostgreSQL writes it, e.g. `FOR VALUES FROM ('2026-01-01 00:00:00+00') TO (…)`."""


@dataclass(frozen=True, slots=True)
class Counter:
    """Where the numbers of a column go on."""

    table: str
    column: str
    last: int
    called: bool


@dataclass(frozen=True, slots=True)
class Manifest:
    """The whole."""

    release: str
    schema_version: int
    created_at: str
    postgresql: str
    migrations: tuple[Applied, ...]
    tables: tuple[TablePart, ...]
    """In the order in which they can be filled: what refers to another comes after it."""
    partitions: tuple[Partition, ...]
    sequences: tuple[Counter, ...]

    @property
    def size_bytes(self) -> int:
        """Of all rows, unpacked."""
        return sum(table.size_bytes for table in self.tables)

    def to_json(self) -> bytes:
        """For the file."""
        return json.dumps({"format": FORMAT, "version": VERSION, **asdict(self)}, indent=1).encode()


def read_manifest(raw: bytes) -> Manifest:
    """Parse it, believing nothing. Raises `StoreRefused`."""
    try:
        document: dict[str, Any] = json.loads(raw)
        if document.pop("format") != FORMAT:
            raise StoreRefused("the file is not a dump of Muster: its manifest is another program's.")
        if (version := int(document.pop("version"))) > VERSION:
            raise StoreRefused(
                f"the dump has layout {version}, made by the newer release {document.get('release', '?')}; this "
                f"release reads up to {VERSION}. Restore it with that one."
            )
        manifest = Manifest(
            release=str(document["release"]),
            schema_version=int(document["schema_version"]),
            created_at=str(document["created_at"]),
            postgresql=str(document["postgresql"]),
            migrations=tuple(Applied(**row) for row in document["migrations"]),
            tables=tuple(TablePart(**{**row, "columns": tuple(row["columns"])}) for row in document["tables"]),
            partitions=tuple(Partition(**row) for row in document["partitions"]),
            sequences=tuple(Counter(**row) for row in document["sequences"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreRefused(f"the dump's manifest can't be read ({type(error).__name__}): take another dump.") from error
    _check_names(manifest)
    return manifest


def migrations_of(manifest: Manifest, ours: Sequence[Migration], code_version: int, release: str) -> list[Migration]:
    """The migrations under which the rows were written, from this release's own files; pure.

    Raises `StoreRefused` where this release does not have them all, which is: where the dump is of a newer one.
    """
    known = {(migration.package, migration.number): migration for migration in ours}
    unknown = [row for row in manifest.migrations if (row.package, row.number) not in known]
    if unknown or manifest.schema_version > code_version:
        what = f"with {unknown[-1].package}/{unknown[-1].name}" if unknown else f"version {manifest.schema_version}"
        raise StoreRefused(
            f"the dump is of a newer release: {manifest.release} wrote it, and its schema ({what}) is unknown to this "
            f"release, {release}. Restore it with Muster {manifest.release} or later."
        )
    plan(ours, manifest.migrations, code_version)  # refuses a changed file, and a floor above this code
    wanted = {(row.package, row.number) for row in manifest.migrations}
    return [migration for migration in ours if (migration.package, migration.number) in wanted]


def _check_names(manifest: Manifest) -> None:
    """Names and bounds become part of statements; what is not of our making is refused."""
    names = [
        *(name for table in manifest.tables for name in (table.name, *table.columns)),
        *(name for part in manifest.partitions for name in (part.name, part.parent)),
        *(name for sequence in manifest.sequences for name in (sequence.table, sequence.column)),
    ]
    if any(not isinstance(name, str) or not _TABLE.fullmatch(name) for name in names):
        raise StoreRefused("the dump's manifest has a name that no table of Muster has: take another dump.")
    if any(not _BOUND.fullmatch(part.bound) for part in manifest.partitions):
        raise StoreRefused("the dump's manifest has a partition that is not a range of time: take another dump.")
