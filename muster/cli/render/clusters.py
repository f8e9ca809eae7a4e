"""Clusters as a table: worst first, one line each."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.text import Text

from muster.api import schemas
from muster.cli.render.health import badge
from muster.cli.render.table import DIM, GAP, Column, table
from muster.cli.render.text import cut, span, squeezed, until
from muster.escape import escaped

NAME_SHARE = 0.28
"""Of the screen's width, for names; at least `MIN_NAME` cells."""
MIN_NAME = 24
MIN_MESSAGE = 18
"""A message with less room than this says nothing; the reason says enough."""

_COLUMNS = (
    Column("HEALTH"),
    Column("CLUSTER"),
    Column("REASON"),
    Column("SINCE", right=True),
    Column("LAST OK", right=True),
    Column("AGE", right=True),
)


def clusters_table(clusters: Sequence[schemas.Cluster], now: datetime, width: int) -> list[Text]:
    """Lines that fit into `width` cells; the message gets what is left, if that is worth it."""
    name_cells = max(MIN_NAME, int(width * NAME_SHARE))
    rows = [_cells(cluster, now, name_cells) for cluster in clusters]
    taken = sum(max((len(column.title), *(row[i].cell_len for row in rows))) + GAP for i, column in enumerate(_COLUMNS))
    room = width - taken
    if room < MIN_MESSAGE:
        return table(_COLUMNS, rows)
    with_message = [[*row, Text(cut(_said(cluster), room), DIM)] for row, cluster in zip(rows, clusters, strict=True)]
    return table((*_COLUMNS, Column("MESSAGE")), with_message)


def wide_table(clusters: Sequence[schemas.Cluster], now: datetime) -> list[Text]:
    """Everything, uncut: for wide screens, pagers and grep."""
    columns = (
        *_COLUMNS,
        Column("CHECK"),
        Column("STAGE"),
        Column("SOURCE"),
        Column("LIFECYCLE"),
        Column("ENDPOINT"),
        Column("ID"),
        Column("LABELS"),
        Column("MESSAGE"),
    )
    rows: list[list[Text | str]] = [
        [
            *_cells(cluster, now, 10_000),
            cluster.check or "-",
            cluster.stage or "-",
            escaped(cluster.source),
            escaped(cluster.lifecycle),
            escaped(cluster.endpoint),
            cluster.id,
            escaped(",".join(f"{key}={value}" for key, value in sorted(cluster.labels.items()))) or "-",
            escaped(_said(cluster)),
        ]
        for cluster in clusters
    ]
    return table(columns, rows)


def _cells(cluster: schemas.Cluster, now: datetime, name_cells: int) -> list[Text]:
    never = Text("-" if cluster.health in {"Healthy", "Suspended"} and cluster.age_s is None else "never", DIM)
    last_ok = Text(until(now, cluster.last_success_at)) if cluster.last_success_at else never
    return [
        badge(cluster.health, flapping=cluster.flapping),
        Text(squeezed(cluster.name, name_cells)),
        Text(escaped(cluster.reason or "-")),
        Text(until(now, cluster.since) or "-"),
        last_ok,
        Text(span(cluster.age_s) or "-", DIM),
    ]


def _said(cluster: schemas.Cluster) -> str:
    """The message without the endpoint that it begins with, after what was known last where nothing is known now."""
    message = cluster.message.removeprefix("https://").removeprefix(cluster.endpoint.removeprefix("https://"))
    message = message.removeprefix(":").lstrip() if message != cluster.message else message
    was = f"was {cluster.last_known}" if cluster.last_known else ""
    # Where a lifecycle suspends it as well, the message is about that.
    paused = f"paused by {cluster.pause.by}: {cluster.pause.reason}" if cluster.pause else ""
    return "; ".join(part for part in (was, message, paused if cluster.reason != "Paused" else "") if part)
