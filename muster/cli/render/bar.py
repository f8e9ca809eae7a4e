"""The fleet as one bar, and what its pieces are."""

from __future__ import annotations

from collections.abc import Mapping

from rich.text import Text

from muster.cli.render.health import LOOKS, look

MAX_CELLS = 120
"""A longer bar is no clearer."""


def cells(counts: Mapping[str, int], width: int) -> dict[str, int]:
    """How many of `width` cells each count gets: at least one where there is anything, the rest by share.

    Largest remainder; what the guaranteed cells cost is taken from the largest piece.
    """
    there = {name: number for name, number in counts.items() if number > 0}
    total = sum(there.values())
    if not total or width < len(there):
        return {}
    exact = {name: number * width / total for name, number in there.items()}
    given = {name: max(1, int(share)) for name, share in exact.items()}
    for name in sorted(there, key=lambda n: exact[n] - int(exact[n]), reverse=True):
        if sum(given.values()) >= width:
            break
        given[name] += 1
    while sum(given.values()) > width:
        given[max(given, key=lambda n: given[n])] -= 1
    return given


def fleet_bar(counts: Mapping[str, int], width: int, *, colour: bool) -> Text:
    """Worst on the left. Without colours the pieces are drawn with their health's glyph."""
    ordered = {name: counts[name] for name in (*LOOKS, *(n for n in counts if n not in LOOKS)) if name in counts}
    bar = Text(no_wrap=True)
    for name, number in cells(ordered, min(width, MAX_CELLS)).items():
        seen = look(name)
        bar.append(("█" if colour else seen.glyph) * number, seen.style)
    return bar


def legend(counts: Mapping[str, int]) -> Text:
    """`○ 3 unreachable   ▲ 2 degraded   ✔ 195 healthy`: whatever is there."""
    parts = [
        Text(f"{look(name).glyph} {counts[name]:,} {name.lower()}", look(name).style)
        for name in (*LOOKS, *(n for n in counts if n not in LOOKS))
        if counts.get(name)
    ]
    return Text("   ").join(parts)
