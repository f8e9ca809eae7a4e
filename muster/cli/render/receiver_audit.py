"""The receiver's audit log as a table, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from rich.text import Text

from muster.cli.render.table import DIM, Column, table
from muster.cli.render.text import local, squeezed
from muster.escape import escaped
from uplink.receiver.audit import Line

WHAT_CELLS = 60
"""Of what was decided, in a table that is not wide."""


def audit_table(lines: Sequence[Line], *, wide: bool) -> list[Text]:
    """One line an act."""
    names = ["WHEN", "WHO", "ACTION", "ORGANISATION"]
    names += ["INSTALLATION", "DOOR", "FROM", "ID", "WHAT"] if wide else ["WHAT"]
    return table([Column(name) for name in names], [_cells(line, wide=wide) for line in lines])


def _cells(line: Line, *, wide: bool) -> list[Text | str]:
    what = escaped(" ".join(f"{name}={value}" for name, value in line.about.items()))
    cells: list[Text | str] = [
        Text(local(datetime.fromtimestamp(line.at, UTC)), DIM),
        escaped(line.who),
        Text(escaped(line.action), "yellow" if line.action.endswith(".refuse") else ""),
        escaped(line.org_id or "-"),
    ]
    if not wide:
        return [*cells, squeezed(what, WHAT_CELLS)]
    installation = str(line.installation_id or "-")
    return [*cells, installation, escaped(line.door), escaped(line.source), str(line.id), what]
