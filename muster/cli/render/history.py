"""Transitions as a table, newest first."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from muster.api import schemas
from muster.cli.render.health import badge
from muster.cli.render.table import DIM, GAP, Column, table, widths_of
from muster.cli.render.text import cut, local, squeezed
from muster.escape import escaped

MIN_MESSAGE = 18
NAME_CELLS = 32


def history_table(changes: Sequence[schemas.Transition], width: int, *, wide: bool) -> list[Text]:
    """One line a change; the message gets what is left of `width`, all of it when `wide`."""
    columns = [Column("WHEN", style=DIM), Column("CLUSTER"), Column("CHECK"), Column("CHANGE"), Column("REASON")]
    if wide:
        columns += [Column("STAGE"), Column("SINCE"), Column("COLLAPSED", right=True), Column("ID", right=True)]
    rows = [_cells(change, wide=wide) for change in changes]
    head = [Text(column.title) for column in columns]
    room = 10_000 if wide else width - sum(cells + GAP for cells in widths_of([head, *rows]))
    if room >= MIN_MESSAGE:
        columns.append(Column("MESSAGE"))
        for row, change in zip(rows, changes, strict=True):
            row.append(Text(cut(change.message, room), DIM))
    return table(columns, rows)


def _cells(change: schemas.Transition, *, wide: bool) -> list[Text]:
    turn = Text.assemble(badge(change.from_health), (" → ", DIM), badge(change.to_health, flapping=change.flapping))
    cells = [
        Text(local(change.at), DIM),
        Text(escaped(change.cluster_name) if wide else squeezed(change.cluster_name, NAME_CELLS)),
        Text(escaped(change.check)),
        turn,
        Text(escaped(change.reason or "-")),
    ]
    if wide:
        cells += [
            Text(change.stage or "-"),
            Text(local(change.since)),
            Text(str(change.collapsed)),
            Text(str(change.id)),
        ]
    return cells
