"""Columns of text. rich's own table is not used: it takes seconds for 10,000 rows and pads the last column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text

GAP = 2
"""Cells between two columns."""

HEAD = "bold"
DIM = "dim"


@dataclass(frozen=True, slots=True)
class Column:
    """Title and side."""

    title: str
    right: bool = False
    style: str = ""


def table(columns: Sequence[Column], rows: Sequence[Sequence[Text | str]], indent: int = 0) -> list[Text]:
    """Aligned lines, the titles first. The last column is not padded, nothing is cut or wrapped."""
    cells = [
        [Text(c, column.style) if isinstance(c, str) else c for c, column in zip(r, columns, strict=True)] for r in rows
    ]
    head = [Text(column.title, HEAD) for column in columns]
    widths = widths_of([head, *cells])
    return [_line(columns, row, widths, indent) for row in [head, *cells]]


def widths_of(rows: Sequence[Sequence[Text]]) -> list[int]:
    """The width that each column needs."""
    return [max(cell.cell_len for cell in column) for column in zip(*rows, strict=True)]


def _line(columns: Sequence[Column], row: Sequence[Text], widths: Sequence[int], indent: int) -> Text:
    line = Text(" " * indent)
    for number, (column, cell, width) in enumerate(zip(columns, row, widths, strict=True)):
        padding = " " * (width - cell.cell_len)
        last = number == len(columns) - 1
        if column.right:
            line.append(padding)
        line.append_text(cell)
        if not last:
            line.append(("" if column.right else padding) + " " * GAP)
    line.rstrip()
    return line
