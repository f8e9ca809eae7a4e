"""What a receiver has of one organisation: how well its clusters are and were, and what it said last."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.text import Text

from muster.cli.render.bar import fleet_bar, legend
from muster.cli.render.health import badge, look
from muster.cli.render.receiver import size
from muster.cli.render.status import Screen
from muster.cli.render.strip import rank, strip, worst_in_cells
from muster.cli.render.table import DIM, HEAD, Column, table
from muster.cli.render.text import ago, count, local, span, squeezed
from muster.escape import escaped
from uplink.receiver.view import MAX_CHANGES, SINCE_S, Change, Cluster, LogLine, OrgView
from uplink.wire import names

ROWS = 20
"""Clusters, and as many log records; `wide` has all."""

CELLS = 24
ID_CELLS = 13
"""`3f2c…4d1e8a90`: enough to tell a few hundred apart; `wide` has them whole."""

STALE_S = 300.0
"""A client sends its metrics each minute."""

NOT_TOLD = "not told"
"""In place of a health."""

_IDS = frozenset({names.CLUSTER_ID, names.CLUSTER_UID})


def org_lines(view: OrgView, now: datetime, screen: Screen, *, wide: bool = False) -> list[Text]:
    """All of it; lines are cut where they would not fit, unless `wide`."""
    lines = [Text.assemble((escaped(view.id), HEAD), (f" · {size(view.stored_bytes)} stored", DIM))]
    if not view.installations and not view.clusters:
        hint = f"Nothing was received. `muster receiver token create {escaped(view.id)}` lets an installation enrol."
        return [*lines, Text(hint)]
    lines += [Text(), *_installations(view, now, wide=wide)]
    if view.clusters:
        lines += [Text(), *_fleet(view, now, screen), Text(), *_clusters(view, now, screen, wide=wide)]
    if view.logs:
        lines += [Text(), *_logs(view.logs, now, wide=wide)]
    if not wide:
        for line in lines:
            line.truncate(screen.width, overflow="ellipsis")
    return lines


def _installations(view: OrgView, now: datetime, *, wide: bool) -> list[Text]:
    titles = ["INSTALLATION", "LAST RECEIVED", "BATCHES", "CERTIFICATE", *(["SERIAL"] if wide else [])]
    rows: list[list[Text | str]] = [
        [
            str(each.id),
            "never" if each.received_at is None else ago(now, _at(each.received_at)),
            f"{each.batches:,}",
            f"until {local(_at(each.ends_at))}" if each.ends_at is not None else Text("none that works", "yellow"),
            *([escaped(each.serial or "-")] if wide else []),
        ]
        for each in view.installations
    ]
    return table([Column(title) for title in titles], rows)


def _fleet(view: OrgView, now: datetime, screen: Screen) -> Iterator[Text]:
    counts = Counter(each.health or NOT_TOLD for each in view.clusters)
    yield Text(count(len(view.clusters), "cluster"), HEAD)
    yield fleet_bar(counts, screen.width, colour=screen.colour)
    yield legend(counts)
    heard = max(each.last_seen_at for each in view.clusters)
    if now.timestamp() - heard > STALE_S:
        yield Text(f"! Nothing was heard of them for {span(now.timestamp() - heard)}: so it was then.", "yellow")


def _clusters(view: OrgView, now: datetime, screen: Screen, *, wide: bool) -> list[Text]:
    """Worst first, then those that changed last."""
    end = now.timestamp()
    begin = _begin(view, end)
    changed = _by_cluster(view.changes)
    listed = sorted(view.clusters, key=lambda each: (rank(each.health or NOT_TOLD), -_since(each, changed, begin)))
    shown = listed if wide else listed[:ROWS]
    columns = [Column("CLUSTER"), Column("HEALTH"), Column("SINCE", right=True)]
    columns += [Column(f"THE LAST {span(end - begin)}".upper()), Column("WHAT IT IS")]
    rows: list[list[Text | str]] = []
    for each in shown:
        changes = changed.get(each.uid) or ([(begin, each.health)] if each.health else [])
        healths = worst_in_cells(changes, each.health_at or begin, begin, end, CELLS)
        rows.append(
            [
                _id(each.uid, wide=wide),
                Text(NOT_TOLD, DIM) if each.health is None else badge(each.health),
                span(end - _since(each, changed, begin)) if each.health else "-",
                strip(healths, colour=screen.colour),
                Text(_said(each.attributes), DIM),
            ]
        )
    lines = table(columns, rows)
    if rest := Counter(each.health or NOT_TOLD for each in listed[len(shown) :]):
        lines.append(Text.assemble(("… and ", DIM), legend(rest), ("   (`-o wide` lists them)", DIM)))
    return lines


def _logs(logs: Sequence[LogLine], now: datetime, *, wide: bool) -> list[Text]:
    columns = [Column("WHEN", right=True), Column("CLUSTER"), Column("WHAT"), Column("MORE")]
    return table(columns, [[*_log(each, now, wide=wide)] for each in (logs if wide else logs[:ROWS])])


def _log(record: LogLine, now: datetime, *, wide: bool) -> Iterator[Text | str]:
    told = record.attributes
    yield local(_at(record.at)) if wide else ago(now, _at(record.at))
    yield _id(str(told.get(names.CLUSTER_ID) or told.get(names.CLUSTER_UID) or "-"), wide=wide)
    became = told.get("to")
    if isinstance(became, str):
        yield Text(escaped(f"{told.get('from', '?')} → {became}"), look(became).style)
    else:
        yield escaped(record.event or record.severity)
    more = _said({name: value for name, value in told.items() if became is None or name not in {"from", "to"}})
    yield Text(" ".join(part for part in (escaped(record.body), more) if part), DIM)


def _begin(view: OrgView, now: float) -> float:
    """From when on all changes are known: the view has only so many."""
    if len(view.changes) >= MAX_CHANGES:
        return view.changes[-1].at
    return min([now, *(max(each.first_seen_at, now - SINCE_S) for each in view.clusters)])


def _by_cluster(changes: Sequence[Change]) -> dict[str, list[tuple[float, str]]]:
    """Oldest first."""
    found: dict[str, list[tuple[float, str]]] = {}
    for each in reversed(changes):
        found.setdefault(each.uid, []).append((each.at, each.health))
    return found


def _since(cluster: Cluster, changed: Mapping[str, Sequence[tuple[float, str]]], begin: float) -> float:
    changes = changed.get(cluster.uid)
    return changes[-1][0] if changes else begin


def _said(attributes: Mapping[str, Any]) -> str:
    """What is told beside ids, e.g. `version=v1.36.2`; what says no is left out."""
    told = {_short(name): value for name, value in attributes.items() if name not in _IDS and value}
    return escaped(" ".join(f"{name}={value}" for name, value in told.items()))


def _short(name: str) -> str:
    return name.removeprefix("muster.").removeprefix("k8s.").removeprefix("cluster.")


def _id(uid: str, *, wide: bool) -> str:
    return escaped(uid) if wide else squeezed(uid, ID_CELLS)


def _at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
