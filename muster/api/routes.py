"""The one route table: every path of the service, family by family."""

from __future__ import annotations

from muster.api.fleet import FleetReads
from muster.api.history import HistoryReads
from muster.api.machines import Machines, RenderMetrics
from muster.api.names import Names
from muster.api.picture import Pictures
from muster.api.table import Route
from muster.hub import Hub
from validator.health import HealthSettings


def route_table(hub: Hub, render_metrics: RenderMetrics, health: HealthSettings) -> list[Route]:
    """Every path. The rows with `role=None` are all that answer without a token."""
    pictures = Pictures(hub)
    names = Names(hub, pictures)
    return [
        *Machines(pictures, render_metrics).routes(),
        *FleetReads(hub, pictures, names, health).routes(),
        *HistoryReads(pictures, names).routes(),
    ]
