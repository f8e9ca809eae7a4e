"""Small pieces of text: spans, dates, names that fit."""

from __future__ import annotations

from datetime import datetime

from rich.cells import cell_len, set_cell_size

from muster.escape import escaped

_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60))


def span(seconds: float | None) -> str:
    """A duration at a glance: `8 s`, `12 min`, `3 h`, `4 d`; two units are never worth the room."""
    if seconds is None:
        return ""
    for unit, size_s in _UNITS:
        if seconds >= 2 * size_s:
            return f"{seconds / size_s:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def until(now: datetime, then: datetime | None) -> str:
    """How long ago, as a span; empty for never."""
    return "" if then is None else span((now - then).total_seconds())


def ago(now: datetime, then: datetime | None) -> str:
    """`12 min ago`, or `never`."""
    return "never" if then is None else f"{until(now, then)} ago"


def local(moment: datetime) -> str:
    """Date and time where the reader is, with the zone."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")


def duration(seconds: float) -> str:
    """A measured time: `0.4 ms`, `12 ms`, `5.0 s`."""
    if seconds >= 1:
        return f"{seconds:.1f} s"
    return f"{seconds * 1000:.1f} ms" if seconds < 0.01 else f"{seconds * 1000:.0f} ms"


def count(number: int, one: str, many: str | None = None) -> str:
    """`1 cluster`, `2,000 clusters`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def cut(text: str, width: int) -> str:
    """The printable beginning of a text, at most `width` cells, with an ellipsis where something is missing."""
    text = escaped(text)
    return text if cell_len(text) <= width else set_cell_size(text, max(0, width - 1)).rstrip() + "…"


def squeezed(name: str, width: int) -> str:
    """A name of at most `width` cells: the middle goes, since long names (ARNs, say) differ at their ends."""
    name = escaped(name)
    if cell_len(name) <= width or width < 5:
        return cut(name, width)
    head = (width - 1) // 3
    tail = name
    while cell_len(tail) > width - 1 - head:
        tail = tail[1:]
    return f"{set_cell_size(name, head)}…{tail}"
