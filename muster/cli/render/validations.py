"""Validation jobs of a location as a table, worst first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from muster.cli.render.table import DIM, GAP, HEAD, Column, table, widths_of
from muster.cli.render.text import cut, duration, squeezed
from muster.escape import escaped

if TYPE_CHECKING:
    from muster.cli.location_validating import Outcome

MIN_MESSAGE = 18
NAME_CELLS = 48

_LOOKS = {
    "Failed": ("✖", "red"),
    "gone": ("?", "magenta"),
    "InProgress": ("◌", "cyan"),
    "Pending": ("◌", "cyan"),
    "Valid": ("✔", "green"),
}
"""Worst first."""

_COLUMNS = (
    Column("STATE"),
    Column("CLUSTER"),
    Column("REASON"),
    Column("TOOK", right=True, style=DIM),
)


def validations_lines(location: str, outcomes: Sequence[Outcome], width: int) -> list[Text]:
    """What came of them in numbers, and a line each; the message gets what is left of `width`."""
    counts = Counter(map(_word, outcomes))
    told = ", ".join(f"{counts[word]:,} {word}" for word in _order(counts)) or "nothing to validate"
    lines = [Text(escaped(location), HEAD).append(f"  {told}", "not bold")]
    if not outcomes:
        return lines
    order = list(_order(counts))
    ordered = sorted(outcomes, key=lambda each: (order.index(_word(each)), each.job.cluster or each.job.cluster_id))
    rows = [_cells(each) for each in ordered]
    room = width - sum(cells + GAP for cells in widths_of([[Text(c.title) for c in _COLUMNS], *rows]))
    columns = list(_COLUMNS)
    if room >= MIN_MESSAGE:
        columns.append(Column("MESSAGE"))
        for row, each in zip(rows, ordered, strict=True):
            row.append(Text(cut(each.job.message, room), DIM))
    return [*lines, *table(columns, rows)]


def _word(outcome: Outcome) -> str:
    return "gone" if outcome.gone else outcome.job.state


def _order(counts: Counter[str]) -> list[str]:
    """Worst first; words of another release last."""
    return sorted(counts, key=lambda word: (list(_LOOKS).index(word) if word in _LOOKS else len(_LOOKS), word))


def _cells(outcome: Outcome) -> list[Text]:
    glyph, style = _LOOKS.get(_word(outcome), ("?", ""))
    job = outcome.job
    took = None if job.ended_at is None else (job.ended_at - job.asked_at).total_seconds()
    return [
        Text(f"{glyph} {escaped(_word(outcome))}", style),
        Text(squeezed(job.cluster or job.cluster_id, NAME_CELLS)),
        Text(escaped(job.reason or "-")),
        Text("-" if took is None or outcome.gone else duration(took), DIM),
    ]
