"""Agents as a table."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from muster.api import schemas
from muster.cli.render.table import DIM, Column, table
from muster.cli.render.text import local
from muster.escape import escaped


def agents_table(agents: Sequence[schemas.Agent], *, wide: bool) -> list[Text]:
    """One line an agent."""
    columns = [
        Column("CLUSTER"),
        Column("LAST REPORT"),
        Column("RELEASE"),
        Column("CLOCK", right=True),
        Column("DROPPED", right=True),
    ]
    if wide:
        columns += [
            Column("REACHED"),
            Column("ACCOUNT"),
            Column("KEYS"),
            Column("REGISTERED"),
            Column("BY"),
            Column("ID"),
        ]
    return table(columns, [[*_row(each), *(_more(each) if wide else ())] for each in agents])


def _row(agent: schemas.Agent) -> list[Text | str]:
    return [
        escaped(agent.cluster),
        Text("never", DIM) if agent.last_report_at is None else local(agent.last_report_at),
        escaped(agent.version or "-"),
        "-" if agent.clock_skew_s is None else f"{agent.clock_skew_s:+.1f} s",
        f"{agent.dropped:,}",
    ]


def _more(agent: schemas.Agent) -> list[Text | str]:
    return [
        "by the hub" if agent.reachable else "by its agent",
        escaped(f"{agent.namespace}/{agent.service_account}"),
        escaped(", ".join(agent.key_ids)) or "read by the hub",
        local(agent.registered_at),
        escaped(agent.registered_by),
        agent.cluster_id,
    ]
