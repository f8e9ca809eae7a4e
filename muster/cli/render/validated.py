"""What validations brought: one in full, several as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from muster.cli.render.cluster import prose
from muster.cli.render.health import badge, look
from muster.cli.render.probe import check_lines
from muster.cli.render.table import DIM, GAP, HEAD, Column, table, widths_of
from muster.cli.render.text import cut, duration, squeezed
from muster.escape import escaped

if TYPE_CHECKING:
    from muster.cli.validating import Validated

MIN_MESSAGE = 18
NAME_CELLS = 48

_COLUMNS = (
    Column("ANSWER"),
    Column("CLUSTER"),
    Column("REASON"),
    Column("HEALTH"),
    Column("TOOK", right=True, style=DIM),
)


def validated_lines(validated: Validated, width: int) -> list[Text]:
    """The trace and the evidence of each check, then what it means for the cluster."""
    lines = [Text(squeezed(validated.name, 80), HEAD), *check_lines(validated.checks, width), Text()]
    if validated.ended == "late":
        late = validated.message or f"No answer within {duration(validated.took_s)}: it goes on without you."
        return [*lines, *prose(late, 0, width)]
    if validated.health is not None:
        health = Text.assemble(("The cluster is ", DIM), badge(validated.health))
        if validated.reason:
            health.append(f"   {escaped(validated.reason)}", look(validated.health).style)
        lines.append(health)
    if validated.message:
        lines += prose(validated.message, 2, width)
    if validated.joined:
        lines.append(Text("It was being asked already: this is that answer.", DIM))
    return lines


def validated_table(asked: Sequence[Validated], width: int) -> list[Text]:
    """One line a cluster; the message gets what is left of `width`."""
    rows = [_cells(each) for each in asked]
    room = width - sum(cells + GAP for cells in widths_of([[Text(c.title) for c in _COLUMNS], *rows]))
    columns = list(_COLUMNS)
    if room >= MIN_MESSAGE:
        columns.append(Column("MESSAGE"))
        for row, each in zip(rows, asked, strict=True):
            row.append(Text(cut(_message(each), room), DIM))
    return table(columns, rows)


def _cells(validated: Validated) -> list[Text]:
    worst = validated.worst
    match validated.ended:
        case "done" if worst is not None and worst.answer is not None:
            answer = Text(f"✖ {escaped(worst.answer.outcome)}", "red")
        case "done" if worst is not None:
            answer = badge(worst.health)
        case "done":
            answer = Text("✔ pass", "green")
        case ended:
            answer = Text(f"? {escaped(ended)}", "magenta")
    reason = validated.reason if worst is None else worst.answer.reason if worst.answer else worst.reason
    return [
        answer,
        Text(squeezed(validated.name, NAME_CELLS)),
        Text(escaped(reason or "-")),
        badge(validated.health) if validated.health else Text("-"),
        Text(duration(validated.took_s), DIM),
    ]


def _message(validated: Validated) -> str:
    worst = validated.worst
    said = validated.message if worst is None else worst.answer.message if worst.answer else worst.message
    return said or validated.message
