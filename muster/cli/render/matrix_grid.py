"""Clusters as rows, backup locations as columns: in each cell a shape, a word, and how old the fact is.

The wider the terminal, the more of each reason is shown; where not even short words fit, there is no grid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from rich.cells import cell_len
from rich.text import Text

from muster.api import schemas
from muster.cli.render.health import look
from muster.cli.render.table import DIM, GAP, HEAD
from muster.cli.render.text import cut, span, squeezed
from muster.escape import escaped

NAME_SHARE = 0.26
"""Of the screen's width, for the clusters' names; at least `MIN_NAME` cells."""
MIN_NAME = 18

SHORT: Mapping[str, str] = MappingProxyType(
    {
        "Unreachable": "down",
        "Unhealthy": "fails",
        "Unknown": "unkn",
        "Degraded": "weak",
        "Suspended": "off",
        "Healthy": "ok",
    }
)
"""Where there is no room for reasons; the line of counts has the same shapes with their healths in full."""

ABSENT = Text("·", DIM)
"""The cluster does not use the location."""


ABSENCE = Text("· does not use it", DIM)


class _Form(NamedTuple):
    """How much is told."""

    reason: int
    """Cells for a reason; 0 = the short word instead."""
    title: int
    """Cells for a location's name."""


_FORMS = (_Form(32, 40), _Form(26, 20), _Form(16, 18), _Form(11, 16), _Form(0, 14), _Form(0, 10))


class _Cell(NamedTuple):
    mark: Text
    word: str
    age: str


def grid(columns: Sequence[schemas.MatrixColumn], cells: Sequence[schemas.MatrixCell], width: int) -> list[Text] | None:
    """Lines, the titles first, in the order in which clusters come; None where it does not fit into `width`."""
    rows: dict[str, dict[str, schemas.MatrixCell]] = {}
    for cell in cells:
        rows.setdefault(cell.cluster_id, {})[cell.location_id] = cell
    name_cells = max(MIN_NAME, int(width * NAME_SHARE))
    names = [squeezed(next(iter(row.values())).cluster, name_cells) for row in rows.values()]
    head = max(cell_len(name) for name in [*names, "CLUSTER"])
    for form in _FORMS:
        drawn = [_column(column, [row.get(column.id) for row in rows.values()], form) for column in columns]
        if head + sum(GAP + lines[0].cell_len for lines in drawn) <= width:
            first = [Text(f"{'CLUSTER':<{head}}", HEAD), *(Text(n + " " * (head - cell_len(n))) for n in names)]
            lines = [_joined(line) for line in zip(first, *drawn, strict=True)]
            return [*lines, ABSENCE] if len(cells) < len(rows) * len(columns) else lines
    return None


def _column(column: schemas.MatrixColumn, cells: Sequence[schemas.MatrixCell | None], form: _Form) -> list[Text]:
    """Title and cells, each of the same width."""
    told = [None if cell is None else _told(cell, form) for cell in cells]
    word = max((cell_len(each.word) for each in told if each is not None), default=0)
    age = max((len(each.age) for each in told if each is not None), default=0)
    title = squeezed(column.name, form.title)
    width = max(cell_len(title), 2 + word + 1 + age)
    lines = [Text(title, HEAD), *(_drawn(each, width - 3 - age, age) for each in told)]
    for line in lines:
        line.append(" " * (width - line.cell_len))
    return lines


def _told(cell: schemas.MatrixCell, form: _Form) -> _Cell:
    seen = look(cell.health)
    if cell.health == "Healthy" or not form.reason:
        word = SHORT.get(cell.health, escaped(cell.health)[:5].lower())
    else:
        word = cut(cell.reason or cell.health, form.reason)
    return _Cell(Text(seen.glyph, seen.style), f"{word}{'~' if cell.flapping else ''}", span(cell.age_s) or "-")


def _drawn(cell: _Cell | None, word: int, age: int) -> Text:
    if cell is None:
        return ABSENT.copy()
    padded = cell.word + " " * (word - cell_len(cell.word))
    style = cell.mark.style
    return Text.assemble(cell.mark, " ", (padded, style), " ", (f"{cell.age:>{age}}", DIM))


def _joined(parts: Sequence[Text]) -> Text:
    line = Text(" " * GAP).join(parts)
    line.rstrip()
    return line
