"""The fleet on one screen: how many are how, what is wrong with the hub itself, then the worst first."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.text import Text

from muster.api import schemas
from muster.cli.render.bar import fleet_bar, legend
from muster.cli.render.clusters import clusters_table, wide_table
from muster.cli.render.table import DIM
from muster.cli.render.text import count, cut, duration, span, until
from muster.escape import escaped

WARNING = "yellow"

MAX_REASONS = 6
MAX_PROBLEMS = 3
"""Source problems on the screen; `-o json` has them all."""

MIN_ROWS = 3
"""However small the screen: fewer rows are no list."""


@dataclass(frozen=True, slots=True)
class Screen:
    """What there is room for."""

    width: int
    height: int | None = None
    """None = as many lines as it takes: a pipe or a file."""
    colour: bool = True


def status_lines(
    fleet: schemas.Fleet,
    clusters: Sequence[schemas.Cluster],
    screen: Screen,
    where: str,
    footer: str = "",
    *,
    wide: bool = False,
) -> list[Text]:
    """The screen. `clusters` are those to list, worst first; what does not fit is counted."""
    head = [*_head(fleet, screen, where), *(line for w in _warnings(fleet) for line in _wrapped(w, screen.width))]
    tail = [Text(line, DIM) for line in footer.splitlines()]
    if not fleet.total:
        return [*head, Text(), Text("No cluster is known. Name a source, e.g. `muster run --kubeconfig FILE`."), *tail]
    room = None if screen.height is None else max(MIN_ROWS, screen.height - len(head) - len(tail) - 5)
    listed = clusters[:room]
    lines = [*head, Text()]
    if listed:
        table = wide_table(listed, fleet.now) if wide else clusters_table(listed, fleet.now, screen.width)
        lines += [*table, *_unlisted(fleet, listed, screen.width)]
    else:
        lines.append(Text(f"✔ All {count(fleet.total, 'cluster')} are healthy.", "green"))
    return [*lines, *tail]


def _head(fleet: schemas.Fleet, screen: Screen, where: str) -> Iterator[Text]:
    late = fleet.lanes.live.lateness_p99_s
    facts = [
        fleet.role,
        f"oldest fact {span(fleet.oldest_fact_age_s)} old" if fleet.oldest_fact_age_s is not None else "no fact yet",
        *([f"{fleet.flapping:,} flapping (~)"] if fleet.flapping else []),
        *([f"lateness p99 {duration(late)}"] if late is not None else []),
        where,
        f"v{fleet.version}",
    ]
    title = Text(count(fleet.total, "cluster"), "bold")
    room = screen.width - title.cell_len
    while facts and sum(len(fact) + 3 for fact in facts) > room:
        facts.pop()  # the least important ones are last
    yield title.append("".join(f" · {fact}" for fact in facts), "not bold dim")
    if fleet.total:
        yield fleet_bar(fleet.counts, screen.width, colour=screen.colour)
        yield legend(fleet.counts)
    if fleet.reasons:
        yield Text(_why(fleet.reasons, screen.width), DIM)


def _why(reasons: Mapping[str, int], width: int) -> str:
    """The most frequent reasons, as many as fit; the others are counted."""
    told = [f"{escaped(reason)} {number:,}" for reason, number in reasons.items()]
    for shown in range(min(MAX_REASONS, len(told)), 0, -1):
        rest = len(told) - shown
        line = "why: " + " · ".join([*told[:shown], *([count(rest, "other reason")] if rest else [])])
        if len(line) <= width:
            return line
    return cut(f"why: {told[0]}", width)


def _warnings(fleet: schemas.Fleet) -> Iterator[str]:
    if fleet.store.degraded_since is not None:
        yield (
            f"The database has taken nothing for {until(fleet.now, fleet.store.degraded_since)}. What is shown is "
            "right and goes on from memory; history waits."
        )
    if fleet.guard.holding:
        yield f"Alerts have been held for {until(fleet.now, fleet.guard.since)}. {fleet.guard.why}"
    if fleet.lanes.live.waiting:
        yield (
            f"{count(fleet.lanes.live.waiting, 'live cluster')} wait for a slot: the hub is short of CPU or "
            "descriptors, and answers are late."
        )
    for problem in fleet.source_problems[:MAX_PROBLEMS]:
        yield f"Source {problem.source}: {problem.where}: {problem.message.rstrip('.')}. {problem.remedy}"
    if fleet.source_problems_total > MAX_PROBLEMS:
        more = count(fleet.source_problems_total - MAX_PROBLEMS, "more source problem")
        yield f"{more}: see `muster status -o json`."


def _wrapped(sentence: str, width: int) -> list[Text]:
    """At most two lines of it."""
    room = max(20, min(width, 140) - 2)
    lines = textwrap.wrap(escaped(sentence), room, max_lines=2, placeholder="…", break_on_hyphens=False)
    return [Text(f"{' ' if number else '!'} {line}", WARNING) for number, line in enumerate(lines)]


def _unlisted(fleet: schemas.Fleet, listed: Sequence[schemas.Cluster], width: int) -> Iterator[Text]:
    """What the list leaves out, by health, and how to see it, if there is room for that."""
    left = dict(fleet.counts)
    for cluster in listed:
        left[cluster.health] = left.get(cluster.health, 0) - 1
    healthy = max(0, left.pop("Healthy", 0))
    rest = {health: number for health, number in left.items() if number > 0}
    for counts, prefix, command in ((rest, "… and ", "muster clusters"), ({"Healthy": healthy}, "", "--all")):
        if any(counts.values()):
            line = Text.assemble((prefix, DIM), legend(counts))
            hint = f"   (`{command}` lists them)"
            yield line.append(hint if line.cell_len + len(hint) <= width else "", DIM)
