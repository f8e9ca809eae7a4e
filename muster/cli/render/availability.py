"""Availability: the number, what it is made of, and a bar of blocks over time."""

from __future__ import annotations

from collections.abc import Iterator
from math import floor

from rich.text import Text

from muster.api import schemas
from muster.cli.render.table import DIM, HEAD, Column, table
from muster.cli.render.text import count, local, span, squeezed

MAX_BLOCKS = 96
"""On one line."""

STAMP_CELLS = 18
"""`2026-11-21 12:00  `."""

_PARTLY = "▁▂▃▄▅▆▇"
"""The full block is for 100 % alone: one lost second is seen."""

UNKNOWN = "·"
PAUSED = "‖"


def availability_lines(found: schemas.Availability, name: str, width: int, *, colour: bool) -> list[Text]:
    """For people."""
    title = Text.assemble((squeezed(name, 60), HEAD), "   ", (percent(found.availability), _style(found.availability)))
    title.append(f"   {local(found.begin)} to {local(found.end)}", DIM)
    return [title, Text(_made_of(found), DIM), Text(), *_bar(found, width), *_key(found, colour=colour)]


def buckets_table(found: schemas.Availability) -> list[Text]:
    """One line a step."""
    columns = (
        Column("FROM", style=DIM),
        *(Column(title, right=True) for title in ("AVAILABLE", "UP", "DOWN", "UNKNOWN", "PAUSED")),
    )
    return table(
        columns,
        [
            [
                local(bucket.begin),
                Text(percent(bucket.availability), _style(bucket.availability)),
                *(span(s) if s else "-" for s in (bucket.up_s, bucket.down_s, bucket.unknown_s, bucket.paused_s)),
            ]
            for bucket in found.buckets
        ],
    )


def percent(share: float | None) -> str:
    """Rounded down: nothing short of all the time is 100 %."""
    if share is None:
        return "unknown"
    return "100 %" if share >= 1 else f"{floor(share * 100_000) / 1000:.3f} %"


def block(bucket: schemas.Shares) -> tuple[str, str]:
    """A character for one step, and its style."""
    share = bucket.availability
    if share is None:
        return (PAUSED, "bright_black") if bucket.paused_s > bucket.unknown_s else (UNKNOWN, "magenta")
    return ("█" if share >= 1 else _PARTLY[min(len(_PARTLY) - 1, int(share * len(_PARTLY)))]), _style(share)


def _style(share: float | None) -> str:
    if share is None:
        return "magenta"
    return "green" if share >= 1 else "yellow" if share >= 0.5 else "red"


def _made_of(found: schemas.Availability) -> str:
    outages = count(found.outages, "outage") if found.outages else "no outage"
    parts = [f"{outages}, the longest {span(found.longest_outage_s)}" if found.outages else outages]
    total_s = found.up_s + found.down_s + found.unknown_s + found.paused_s
    for seconds, what in ((found.down_s, "down"), (found.unknown_s, "not known"), (found.paused_s, "paused")):
        if seconds and total_s:
            share = seconds / total_s * 100
            parts.append(f"{what} {f'{share:.1f}' if share >= 0.1 else '< 0.1'} % of the time")
    return " · ".join(parts)


def _bar(found: schemas.Availability, width: int) -> Iterator[Text]:
    """Lines of blocks, each after the time with which it begins."""
    room = max(12, min(MAX_BLOCKS, width - STAMP_CELLS))
    for first in range(0, len(found.buckets), room):
        some = found.buckets[first : first + room]
        line = Text(f"{some[0].begin.astimezone():%Y-%m-%d %H:%M}  ", DIM)
        for bucket in some:
            line.append_text(Text(*block(bucket)))
        yield line


def _key(found: schemas.Availability, *, colour: bool) -> Iterator[Text]:
    """What the characters mean, of those that are there."""
    there = {block(bucket)[0] for bucket in found.buckets}
    said = [f"a block is {_length(found.step_s)}"]
    said += ["█ all of it"] if not colour and "█" in there else []
    said += ["the lower, the less it answered"] if there & set(_PARTLY) else []
    said += [f"{UNKNOWN} not known"] if UNKNOWN in there else []
    said += [f"{PAUSED} paused"] if PAUSED in there else []
    yield Text(" " * STAMP_CELLS + " · ".join(said), DIM)


def _length(seconds: int) -> str:
    for unit, size_s in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds % size_s == 0 and seconds >= size_s:
            return f"{seconds // size_s} {unit}"
    return f"{seconds} s"
