"""The stages of one question as a waterfall: where the time went, and where it ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.text import Text

from muster.api import schemas
from muster.cli.render.table import DIM
from muster.cli.render.text import duration

BAR_CELLS = 40
"""Most cells of the longest trace."""

_LOOKS = {
    "passed": ("✔", "green", ""),
    "finding": ("▲", "yellow", "finding"),
    "failed": ("✖", "red", "failed here"),
    "unreached": ("·", DIM, "not reached"),
}


def trace_lines(stages: Sequence[schemas.StageTrace], indent: int, width: int) -> list[Text]:
    """One line a stage: glyph, name, duration, and a bar that begins where the stage before ended."""
    reused = [stage.stage for stage in stages if stage.outcome == "reused"]
    asked = [stage for stage in stages if stage.outcome != "reused"]
    total_s = sum(stage.duration_s or 0.0 for stage in asked)
    room = max(8, min(BAR_CELLS, width - indent - 44))
    margin = " " * indent
    lines = [Text(f"{margin}↻ kept connection: no {', '.join(reused)} was needed", DIM)] if reused else []
    begun_s = 0.0
    for stage in asked:
        glyph, style, note = _LOOKS.get(stage.outcome, ("?", DIM, stage.outcome))
        taken = "" if stage.duration_s is None else duration(stage.duration_s)
        line = Text.assemble(margin, (f"{glyph} {stage.stage:<10}", style), f"{taken:>9}  ")
        if stage.duration_s is not None and total_s > 0:
            start = min(room - 1, round(begun_s / total_s * room))
            length = max(1, min(room - start, round(stage.duration_s / total_s * room)))
            line.append(" " * start).append("━" * length, style)
            begun_s += stage.duration_s
        line.append(f" {note}" if note else "", style)
        line.rstrip()
        lines.append(line)
    return lines


def evidence_rows(evidence: Mapping[str, str | int | float | bool]) -> dict[str, str]:
    """What was seen, without the durations that the trace shows."""
    shown: dict[str, str] = {}
    for key, value in evidence.items():
        if key.endswith("_ms") and key.removesuffix("_ms") in {"dns", "connect", "tls", "http", "read", "version"}:
            continue
        shown[key] = {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
    return shown
