"""Health over time on one line: a cell is a while, and shows the worst that there was in it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from rich.text import Text

from muster.cli.render.health import LOOKS, look

_WORST_FIRST = {health: rank for rank, health in enumerate(LOOKS)}

Change = tuple[float, str]
"""From when on (seconds since the epoch), and what it became."""


def worst_in_cells(changes: Sequence[Change], until: float, begin: float, end: float, cells: int) -> list[str | None]:
    """Health of each of `cells` equal whiles from `begin` to `end`; None where nothing is known.

    `changes` are oldest first, and what the last one says was so `until` then: what nobody has told of is not shown.
    """
    width_s = max(end - begin, 1e-9) / cells
    worst: list[str | None] = [None] * cells
    for (at, health), (ends, _) in pairwise([*changes, (until, "")]):
        first = int((max(at, begin) - begin) / width_s)
        last = int((min(max(ends, at), end) - begin) / width_s)
        for cell in range(max(0, first), min(last, cells - 1) + 1):
            worst[cell] = health if (known := worst[cell]) is None else min(known, health, key=rank)
    return worst


def rank(health: str) -> int:
    """0 = what people look at first."""
    return _WORST_FIRST.get(health, len(_WORST_FIRST))


def strip(healths: Sequence[str | None], *, colour: bool) -> Text:
    """Blocks; without colours the glyph of each health."""
    return Text(no_wrap=True).join(_cell(health, colour=colour) for health in healths)


def _cell(health: str | None, *, colour: bool) -> Text:
    if health is None:
        return Text("·", "bright_black")
    seen = look(health)
    return Text("█" if colour else seen.glyph, seen.style)
