"""Events as lines that come one by one: columns are as wide as most names, since the next name is not known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from rich.cells import cell_len
from rich.text import Text

from muster.api import schemas
from muster.cli.errors import NotReachable
from muster.cli.render.bar import legend
from muster.cli.render.health import badge
from muster.cli.render.table import DIM
from muster.cli.render.text import cut, local, squeezed
from muster.escape import escaped

NAME_CELLS = 28
TURN_CELLS = 27
"""`○ Unreachable → ✖ Unhealthy`."""

MIN_MESSAGE = 18


def event_line(name: str, data: Mapping[str, Any], width: int, *, wide: bool) -> Text | None:
    """One line; None for what is for programs only. Raises `NotReachable` for what can't be read."""
    try:
        if name == "transition":
            return _transition(schemas.Transition.model_validate(data), width)
        if name == "fleet" and wide:
            fleet = schemas.FleetChanged.model_validate(data)
            return Text.assemble((f"{local(fleet.now)}  ", DIM), legend(fleet.counts))
    except ValidationError:
        raise NotReachable(f"the event {name!r} can't be read: it is of another release of Muster") from None
    return None


def _transition(change: schemas.Transition, width: int) -> Text:
    turn = Text.assemble(badge(change.from_health), (" → ", DIM), badge(change.to_health, flapping=change.flapping))
    name = squeezed(change.cluster_name, NAME_CELLS)
    line = Text.assemble(
        (f"{local(change.at)}  ", DIM),
        name + " " * (NAME_CELLS - cell_len(name) + 2),
        turn,
        " " * max(2, TURN_CELLS - turn.cell_len + 2),
        escaped(change.reason or ""),
    )
    room = width - line.cell_len - 2
    if change.message and room >= MIN_MESSAGE:
        line.append("  ").append(cut(change.message, room), DIM)
    line.rstrip()
    return line
