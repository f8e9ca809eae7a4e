"""The audit log as a table, newest first."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from muster.api import schemas
from muster.cli.render.table import DIM, Column, table
from muster.cli.render.text import local, squeezed
from muster.escape import escaped

SUBJECT_CELLS = 40

_COLUMNS = (Column("WHEN", style=DIM), Column("WHO"), Column("ACTION"), Column("SUBJECT"), Column("OUTCOME"))
_MORE = (Column("ROLE"), Column("KIND"), Column("FROM"), Column("ID", right=True), Column("BEFORE"), Column("AFTER"))


def audit_table(entries: Sequence[schemas.AuditEntry], *, wide: bool) -> list[Text]:
    """One line a write."""
    columns = (*_COLUMNS, *_MORE) if wide else _COLUMNS
    return table(columns, [_cells(entry, wide=wide) for entry in entries])


def _cells(entry: schemas.AuditEntry, *, wide: bool) -> list[Text | str]:
    cells: list[Text | str] = [
        local(entry.at),
        escaped(entry.who),
        escaped(entry.action),
        escaped(entry.subject) if wide else squeezed(entry.subject, SUBJECT_CELLS),
        Text(escaped(entry.outcome.rpartition("/")[2]), "" if entry.outcome == "done" else "yellow"),
    ]
    if wide:
        cells += [
            escaped(entry.role),
            escaped(entry.kind),
            escaped(entry.source),
            str(entry.id),
            _data(entry.before),
            _data(entry.after),
        ]
    return cells


def _data(values: Mapping[str, Any] | None) -> str:
    return "-" if values is None else escaped(json.dumps(values))
