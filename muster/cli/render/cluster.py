"""One cluster: what is wrong and what to do first, then each check with its trace, then what the cluster is."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from datetime import datetime

from rich.cells import cell_len
from rich.text import Text

from muster.api import schemas
from muster.cli.render.health import badge, look
from muster.cli.render.table import DIM, HEAD
from muster.cli.render.text import ago, local, span, squeezed, until
from muster.cli.render.trace import evidence_rows, trace_lines
from muster.escape import escaped

MAX_WIDTH = 110
"""Longer lines of prose are hard to read."""


def cluster_lines(cluster: schemas.ClusterDetail, width: int) -> list[Text]:
    """Everything, top down."""
    width = min(width, MAX_WIDTH)
    lines = [_title(cluster), *_verdict(cluster, width)]
    for check in cluster.checks:
        lines += [Text(), *_check(check, cluster, width)]
    return [*lines, Text(), Text("ABOUT", HEAD), *pairs(_about(cluster), 2, width)]


def remedy_lines(remedy: str | None, docs: str | None, indent: int, width: int) -> Iterator[Text]:
    """What to do, and where it is explained."""
    if remedy:
        yield Text(" " * indent).append("What to do", HEAD)
        yield from prose(remedy, indent, width)
        if docs:
            yield Text(" " * indent + escaped(docs), DIM)


def prose(text: str, indent: int, width: int) -> list[Text]:
    """Wrapped lines."""
    wrapped = textwrap.wrap(escaped(text), max(20, min(width, MAX_WIDTH) - indent), break_on_hyphens=False)
    return [Text(" " * indent + line) for line in wrapped]


def pairs(rows: Mapping[str, str], indent: int, width: int) -> list[Text]:
    """Keys and values, aligned; long values go on below themselves."""
    key_cells = max((cell_len(key) for key in rows), default=0)
    lines: list[Text] = []
    for key, value in rows.items():
        room = max(20, min(width, MAX_WIDTH) - indent - key_cells - 2)
        parts = textwrap.wrap(escaped(value), room, break_on_hyphens=False) or [""]
        for number, part in enumerate(parts):
            shown = escaped(key) if number == 0 else ""
            lines.append(Text(" " * indent).append(f"{shown:<{key_cells}}  ", DIM).append(part))
    return lines


def evidence_pairs(evidence: Mapping[str, str | int | float | bool], now: datetime, width: int) -> list[Text]:
    """What was seen, aligned, without the durations that the trace shows."""
    rows = evidence_rows(evidence)
    if "certificate_expires" in rows:
        rows["certificate_expires"] += _in_days(rows["certificate_expires"], now)
    return pairs(rows, 2, width)


def _title(cluster: schemas.ClusterDetail) -> Text:
    line = Text.assemble((squeezed(cluster.name, 80), HEAD), "   ", badge(cluster.health))
    if cluster.reason:
        line.append(f"   {escaped(cluster.reason)}", look(cluster.health).style)
        if cluster.stage and cluster.stage not in {"hub", "source"}:
            line.append(f" at {escaped(cluster.stage)}", DIM)
    if cluster.flapping:
        line.append("   flapping: its answers come and go", "yellow")
    return line


def _verdict(cluster: schemas.ClusterDetail, width: int) -> Iterator[Text]:
    if cluster.message:
        yield from prose(cluster.message, 2, width)
    facts = [f"last success {ago(cluster.now, cluster.last_success_at)}"]
    if cluster.since is not None:
        facts.insert(0, f"since {until(cluster.now, cluster.since)} ({local(cluster.since)})")
    if cluster.last_known:
        facts.append(f"last known {cluster.last_known}")
    if cluster.age_s is not None:
        facts.append(f"fact {span(cluster.age_s)} old")
    if cluster.source == "agent":
        facts.append("its agent reports by itself")
    else:
        facts.append("being asked now" if cluster.next_due_s is None else f"next check in {span(cluster.next_due_s)}")
    if cluster.pending:
        facts.append("not yet written to the database")
    yield from (Text(line.plain, DIM) for line in prose(" · ".join(facts), 2, width))
    if cluster.remedy:
        yield Text()
        yield from remedy_lines(cluster.remedy, cluster.docs, 2, width)


def _check(check: schemas.Check, cluster: schemas.ClusterDetail, width: int) -> Iterator[Text]:
    line = Text.assemble((f"CHECK {escaped(check.check)}   ", HEAD), badge(check.health))
    if check.reason:
        line.append(f"   {escaped(check.reason)}", look(check.health).style)
    line.append(f"   since {until(cluster.now, check.since)}", DIM)
    if check.flapping:
        line.append("   flapping", "yellow")
    yield line
    if check.message != cluster.message:  # else it stands at the top
        yield from prose(check.message, 2, width)
    yield from _pending(check)
    if check.answer is not None and check.answer.stages:
        yield from trace_lines(check.answer.stages, 2, width)
    yield from evidence_pairs(check.evidence, cluster.now, width)


def _pending(check: schemas.Check) -> Iterator[Text]:
    streak, answer = check.streak, check.answer
    if streak is None or answer is None:
        return
    what = f"{answer.outcome}{f' ({answer.reason})' if answer.reason else ''}"
    yield Text(
        escaped(f"  {streak.answers} of {streak.needed} answers towards {streak.towards}: the newest is {what}"),
        look(streak.towards).style,
    )


def _about(cluster: schemas.ClusterDetail) -> dict[str, str]:
    rows = {
        "id": cluster.id,
        "endpoint": cluster.endpoint,
        "source": cluster.source,
        "lifecycle": cluster.lifecycle,
        "pause": _pause(cluster.pause),
        "uid": cluster.external_uid or "not read yet",
        "also known as": ", ".join(cluster.also_known_as),
        "labels": ", ".join(f"{key}={value}" for key, value in sorted(cluster.labels.items())),
        "first seen": f"{local(cluster.first_seen_at)} ({ago(cluster.now, cluster.first_seen_at)})",
    }
    return {key: value for key, value in rows.items() if value}


def _pause(pause: schemas.Pause | None) -> str:
    if pause is None:
        return ""
    end = f"until {local(pause.until)}" if pause.until else "until somebody resumes it"
    return f"by {pause.by} since {local(pause.since)}, {end}: {pause.reason}"


def _in_days(moment: str, now: datetime) -> str:
    try:
        left_s = (datetime.fromisoformat(moment) - now).total_seconds()
    except (ValueError, TypeError):
        return ""
    return f" (in {span(left_s)})" if left_s > 0 else f" ({span(-left_s)} ago)"
