"""Which tables are ours, and what there is to know of them. A database may hold others' tables beside them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from graphlib import TopologicalSorter

import asyncpg

from store.dump.manifest import Counter, Partition
from store.migrate import Migration
from store.pool import Connection

BOOK = "schema_migrations"
"""Written by the migration runner; its rows travel in the manifest."""

ASK_TIMEOUT_S = 30.0

_CREATE = re.compile(r"^CREATE (?:UNLOGGED )?TABLE (?:IF NOT EXISTS )?([a-z_][a-z0-9_]*)", re.MULTILINE)

_COLUMNS = """
SELECT c.relname AS name, array_agg(a.attname::text ORDER BY a.attnum) AS columns
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' AND c.relname = ANY($1::text[])
GROUP BY c.relname
"""
_REFERENCES = """
SELECT c.relname AS name, f.relname AS refers_to
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_class f ON f.oid = k.confrelid
WHERE k.contype = 'f' AND c.relnamespace = current_schema()::regnamespace AND c.oid <> f.oid
"""
_PARTITIONS = """
SELECT c.relname AS name, p.relname AS parent, pg_get_expr(c.relpartbound, c.oid) AS bound
FROM pg_class c JOIN pg_inherits i ON i.inhrelid = c.oid JOIN pg_class p ON p.oid = i.inhparent
WHERE p.relnamespace = current_schema()::regnamespace AND c.relispartition AND c.relkind = 'r'
  AND p.relname = ANY($1::text[])
ORDER BY c.relname
"""
_SERIALS = """
SELECT c.relname AS name, a.attname AS column, pg_get_serial_sequence(quote_ident(c.relname), a.attname) AS sequence
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relnamespace = current_schema()::regnamespace AND c.relname = ANY($1::text[]) AND NOT c.relispartition
  AND a.attnum > 0 AND NOT a.attisdropped
  AND pg_get_serial_sequence(quote_ident(c.relname), a.attname) IS NOT NULL
ORDER BY c.relname, a.attnum
"""


def made_by(migrations: Iterable[Migration]) -> list[str]:
    """Names of the tables that migrations make, partitions too. A test sees that they make nothing but tables."""
    return [name for migration in migrations for name in _CREATE.findall(migration.sql)]


async def columns_of(connection: Connection, names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The tables of these names that exist, with the columns that are stored."""
    found = await connection.fetch(_COLUMNS, list(names), timeout=ASK_TIMEOUT_S)
    return {row["name"]: tuple(row["columns"]) for row in found}


async def in_order(connection: Connection, names: Iterable[str]) -> list[str]:
    """The same names, so that what refers to another comes after it."""
    graph: dict[str, set[str]] = {name: set() for name in sorted(names)}
    for row in await connection.fetch(_REFERENCES, timeout=ASK_TIMEOUT_S):
        if row["name"] in graph and row["refers_to"] in graph:
            graph[row["name"]].add(row["refers_to"])
    return list(TopologicalSorter(graph).static_order())


async def partitions_of(connection: Connection, names: Iterable[str]) -> tuple[Partition, ...]:
    """Every partition of these tables."""
    found = await connection.fetch(_PARTITIONS, list(names), timeout=ASK_TIMEOUT_S)
    return tuple(Partition(row["name"], row["parent"], row["bound"]) for row in found)


async def sequences_of(connection: Connection, names: Iterable[str]) -> tuple[Counter, ...]:
    """Where numbered columns stand."""
    sequences: list[Counter] = []
    for row in await connection.fetch(_SERIALS, list(names), timeout=ASK_TIMEOUT_S):
        stands = await connection.fetchrow(f"SELECT last_value, is_called FROM {row['sequence']}")  # noqa: S608 - quoted by PostgreSQL
        assert stands is not None
        sequences.append(Counter(row["name"], row["column"], stands["last_value"], stands["is_called"]))
    return tuple(sequences)


def listed(names: Iterable[str]) -> str:
    """Quoted, for a statement."""
    return ", ".join(f'"{name}"' for name in names)


async def connect(url: str, application_name: str) -> asyncpg.Connection[asyncpg.Record]:
    """A connection of our own: the pool's deadlines are for statements of milliseconds.

    What decides how values are written is set, since a server may have other defaults.
    """
    return await asyncpg.connect(
        url,
        timeout=10.0,
        command_timeout=300.0,
        statement_cache_size=0,  # tables come and go under it
        server_settings={
            "application_name": application_name,
            "DateStyle": "ISO, YMD",
            "IntervalStyle": "postgres",
            "TimeZone": "UTC",
            "extra_float_digits": "3",
            "bytea_output": "hex",
            "statement_timeout": "0",
            "tcp_keepalives_idle": "5",
            "tcp_keepalives_interval": "2",
            "tcp_keepalives_count": "3",
        },
    )
