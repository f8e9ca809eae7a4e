"""The matrix on one screen: how many pairs are how, the worst rows, and what they have in common with what to do."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from rich.cells import cell_len
from rich.text import Text

from muster.api import schemas
from muster.cli.render.bar import fleet_bar, legend
from muster.cli.render.health import LOOKS, badge, look
from muster.cli.render.matrix_grid import grid
from muster.cli.render.status import Screen
from muster.cli.render.table import DIM, GAP, HEAD, Column, table
from muster.cli.render.text import count, cut, local, span, squeezed, until
from muster.escape import escaped

MIN_ROWS = 3
"""However small the screen."""

CAUSES_SHARE = 0.4
"""Of a screen, at most, for what pairs have in common: without rows it would be a riddle."""

SCREEN_REMEDY = 2
"""Lines of a remedy on a screen: more causes are better there than more words."""

PROSE = 110
"""Longer lines of a remedy are hard to read."""

MIN_NAME = 8
MIN_MESSAGE = 18

_ATTENTION = {health: rank for rank, health in enumerate(LOOKS)}


@dataclass(frozen=True, slots=True)
class View:
    """What somebody wants to see."""

    wide: bool
    """One pair a line, with everything."""
    problems: bool
    """Only what is not healthy."""
    filtered: bool
    """Only some clusters, or locations, or the like."""
    matching: Mapping[str, int]
    """Pairs by health, without those that a filter of health keeps out."""


def matrix_lines(
    head: schemas.MatrixPage,
    cells: Sequence[schemas.MatrixCell],
    view: View,
    screen: Screen,
    where: str,
    footer: str = "",
) -> list[Text]:
    """The screen. `cells` come row by row, the worst row first; where it is wide, in any order."""
    tail = [Text(), *(Text(line, DIM) for line in footer.splitlines())] if footer else []
    if not sum(head.counts.values()):
        return [_nothing(filtered=view.filtered), *tail]
    lines = [_title(head, cells, screen.width, where), fleet_bar(head.counts, screen.width, colour=screen.colour)]
    lines += [legend(head.counts), Text()]
    if view.wide:
        return [*lines, *(wide_table(cells, head.now) if cells else [_fine(head)]), *tail]
    room = None if screen.height is None else screen.height - len(lines) - len(tail)
    causes = list(_causes(head, screen.width, None if room is None else int(room * CAUSES_SHARE)))
    rows_room = None if room is None else max(MIN_ROWS, room - len(causes) - 3)  # titles, what is left out, a blank
    shown, rows, command = _rows(head, cells, screen.width, rows_room)
    lines += [*rows, *_left_out(view, shown, command, screen.width)]
    return [*lines, *([Text(), *causes] if causes else []), *tail]


def cells_table(cells: Sequence[schemas.MatrixCell], now: datetime, width: int) -> list[Text]:
    """One line a pair; names share what the rest leaves, and the message gets what is over, if that is worth it."""
    bare = table(_COLUMNS, [_cells(cell, now, 0, width // 4) for cell in cells])
    titles = sum(cell_len(title) for title in ("CLUSTER", "LOCATION"))
    names = max(MIN_NAME, (width - max(line.cell_len for line in bare) + titles) // 2)
    rows = [_cells(cell, now, names, width // 4) for cell in cells]
    room = width - max(line.cell_len for line in table(_COLUMNS, rows)) - GAP
    if room < MIN_MESSAGE:
        return table(_COLUMNS, rows)
    with_message = [[*row, Text(cut(_said(cell), room), DIM)] for row, cell in zip(rows, cells, strict=True)]
    return table((*_COLUMNS, Column("MESSAGE")), with_message)


def wide_table(cells: Sequence[schemas.MatrixCell], now: datetime) -> list[Text]:
    """Everything, uncut: for wide screens, pagers and grep."""
    columns = (
        *_COLUMNS,
        Column("METHOD"),
        Column("LAST OK", right=True),
        Column("STAGE"),
        Column("PROVIDER"),
        Column("ACCOUNT"),
        Column("CHECK"),
        Column("SINCE"),
        Column("MESSAGE"),
    )
    rows: list[list[Text | str]] = [
        [
            *_cells(cell, now, 10_000, 10_000),
            escaped(cell.method or "-"),
            until(now, cell.last_success_at) or Text("never", DIM),
            escaped(cell.stage or "-"),
            escaped(cell.provider),
            escaped(cell.account or "-"),
            escaped(cell.check or "-"),
            "-" if cell.since is None else local(cell.since),
            escaped(_said(cell)),
        ]
        for cell in cells
    ]
    return table(columns, rows)


_COLUMNS = (
    Column("HEALTH"),
    Column("CLUSTER"),
    Column("LOCATION"),
    Column("REASON"),
    Column("FOR", right=True),
    Column("AGE", right=True),
)


def _cells(cell: schemas.MatrixCell, now: datetime, name_cells: int, reason_cells: int) -> list[Text | str]:
    return [
        badge(cell.health, flapping=cell.flapping),
        squeezed(cell.cluster, name_cells),
        squeezed(cell.location, name_cells),
        cut(cell.reason or "-", reason_cells),
        until(now, cell.since) or "-",
        Text(span(cell.age_s) or "-", DIM),
    ]


def _said(cell: schemas.MatrixCell) -> str:
    was = f"was {cell.last_known}" if cell.last_known else ""
    return "; ".join(part for part in (was, cell.message) if part)


def _title(head: schemas.MatrixPage, cells: Sequence[schemas.MatrixCell], width: int, where: str) -> Text:
    title = Text(f"{count(head.clusters, 'cluster')}, {count(len(head.locations), 'location')}", HEAD)
    total = sum(head.counts.values())
    oldest = max((cell.age_s for cell in cells if cell.age_s is not None), default=None)
    flapping = sum(cell.flapping for cell in cells)
    facts = [
        count(total, "pair") if head.total in {0, total} else f"{head.total:,} of {count(total, 'pair')}",
        *([f"oldest fact here {span(oldest)} old"] if oldest is not None else []),
        *([f"{flapping:,} flapping (~)"] if flapping else []),
        where,
    ]
    while facts and title.cell_len + sum(len(fact) + 3 for fact in facts) > width:
        facts.pop()  # the least important ones are last
    return title.append("".join(f" · {fact}" for fact in facts), "not bold dim")


def _rows(
    head: schemas.MatrixPage, cells: Sequence[schemas.MatrixCell], width: int, room: int | None
) -> tuple[Sequence[schemas.MatrixCell], list[Text], str]:
    """As many rows as there is room for; of a screen that is too narrow, as many pairs that are not well.

    And what shows the others.
    """
    if not cells:
        return [], [_fine(head)], ""
    rows = dict.fromkeys(cell.cluster_id for cell in cells)
    kept = set(list(rows)[:room])
    shown = [cell for cell in cells if cell.cluster_id in kept]
    if (drawn := grid(head.locations, shown, width)) is not None:
        return shown, drawn, "--all"
    troubled = sorted((c for c in cells if c.health != "Healthy"), key=lambda c: _ATTENTION.get(c.health, -1))
    if not troubled:
        return [], [_fine(head)], ""
    return troubled[:room], cells_table(troubled[:room], head.now, width), "-o wide"


def _left_out(view: View, shown: Sequence[schemas.MatrixCell], command: str, width: int) -> Iterator[Text]:
    """What the screen leaves out, by health, and how to see it."""
    rest = Counter(view.matching)
    rest.subtract(cell.health for cell in shown)
    left = {health: number for health, number in rest.items() if number > 0}
    if shown and left:
        line = Text.assemble(("… and ", DIM), legend(left))
        hint = f"   (`{command}` shows them)"
        wanted = not view.problems or left.keys() - {"Healthy"}
        yield line.append(hint if wanted and line.cell_len + len(hint) <= width else "", DIM)


def _causes(head: schemas.MatrixPage, width: int, room: int | None) -> Iterator[Text]:
    """As many as fit into `room` lines; those after them are counted."""
    lines: list[Text] = []
    for number, cause in enumerate(head.causes):
        told = list(_cause(cause, head.now, width, None if room is None else SCREEN_REMEDY))
        if room is not None and number and len(lines) + len(told) > room:
            more = sum(each.pairs for each in head.causes[number:])
            lines.append(Text(f"… and {count(more, 'pair')} for {count(len(head.causes) - number, 'more cause')}", DIM))
            break
        lines += told
    yield from lines


def _cause(cause: schemas.MatrixCause, now: datetime, width: int, most: int | None) -> Iterator[Text]:
    seen = look(cause.health)
    line = Text.assemble((f"{seen.glyph} ", seen.style), (cut(cause.text, width - 2), HEAD))
    age = f"   for {until(now, cause.since)}" if cause.since is not None else ""
    if cause.pairs > max(cause.clusters, cause.locations) and "pair" not in cause.text:
        age += f"   {count(cause.pairs, 'pair')}"
    yield line.append(age if line.cell_len + len(age) <= width else "", DIM)
    of_cluster = cause.scope == "cluster"
    total = cause.locations if of_cluster else cause.clusters
    if total > 1:
        yield Text(f"  {_named(cause.location_names if of_cluster else cause.cluster_names, total, width - 2)}", DIM)
    if cause.remedy and cause.health != "Suspended":
        room = max(20, min(width, PROSE) - 4)
        more = f" … {escaped(cause.docs or '')}".rstrip()
        parts = textwrap.wrap(escaped(cause.remedy), room, max_lines=most, placeholder=more, break_on_hyphens=False)
        for number, part in enumerate(parts):
            yield Text(f"  {' ' if number else '→'} {part}")


def _named(names: Sequence[str], total: int, width: int) -> str:
    """As many names as fit; the others are counted."""
    for told in range(len(names), 1, -1):
        rest = f" and {total - told:,} more" if total > told else ""
        if len(line := ", ".join(map(escaped, names[:told])) + rest) <= width:
            return line
    return cut(f"{names[0]} and {total - 1:,} more", width)


def _fine(head: schemas.MatrixPage) -> Text:
    total = sum(head.counts.values())
    if head.counts.get("Healthy") != total:  # and those that are not were not asked for
        return Text("No pair matches.")
    return Text(f"✔ All {count(total, 'pair')} are healthy.", "green")


def _nothing(*, filtered: bool) -> Text:
    if filtered:
        return Text("No pair of a cluster and a location matches.")
    return Text("No cluster uses a backup location. `muster locations assign NAME CLUSTER` lets one.")
