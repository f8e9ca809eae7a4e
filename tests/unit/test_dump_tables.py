"""A dump knows every table of ours: what migrations may make is what `store/dump` understands."""

from __future__ import annotations

import re

import pytest

from muster.storage import SCHEMA_VERSION, migration_sets
from store.dump.manifest import migrations_of, read_manifest
from store.dump.tables import made_by
from store.errors import StoreRefused
from store.migrate import read_migrations


def test_migrations_make_tables_and_indexes_and_nothing_else() -> None:
    """A view, a type, a function or a sequence of its own would stay behind when a dump replaces what is there."""
    for migration in read_migrations(migration_sets()):
        made = re.findall(r"^\s*CREATE (?:OR REPLACE )?(?:UNIQUE |UNLOGGED )?(\w+)", migration.sql, re.MULTILINE)
        assert set(made) <= {"TABLE", "INDEX"}, f"{migration.label} makes {set(made)}: teach store/dump/restore.py"
        assert "RENAME TO" not in migration.sql, f"{migration.label}: teach store/dump/tables.py"


def test_every_table_is_found() -> None:
    found = made_by(read_migrations(migration_sets()))
    assert {"leadership", "clusters", "check_states", "transitions", "api_tokens", "audit_log"} <= set(found)
    assert len(found) == len(set(found))


def test_a_manifest_that_is_none_is_refused() -> None:
    for raw in (b"", b"[]", b"{}", b'{"format": "muster-dump"}', b"\xff", b'{"format": "muster-dump", "version": []}'):
        with pytest.raises(StoreRefused):
            read_manifest(raw)


def test_a_dump_without_migrations_is_of_an_empty_schema() -> None:
    empty = (
        b'{"format": "muster-dump", "version": 1, "release": "0.1.0", "schema_version": 1, "created_at": "",'
        b'"postgresql": "18.1", "migrations": [], "tables": [], "partitions": [], "sequences": []}'
    )
    ours = read_migrations(migration_sets())
    assert migrations_of(read_manifest(empty), ours, SCHEMA_VERSION, "0.1.0") == []
