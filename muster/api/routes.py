"""The one route table: every path of the service, family by family."""

from __future__ import annotations

from muster.access.access import Access
from muster.api.access import AccessRoutes
from muster.api.agents import AgentRoutes
from muster.api.availability import AvailabilityReads
from muster.api.events import EventStreams
from muster.api.fleet import FleetReads
from muster.api.history import HistoryReads
from muster.api.location_assignment import AssignmentRoutes
from muster.api.location_desk import LocationDesk
from muster.api.locations import LocationRoutes
from muster.api.machines import Machines, RenderMetrics
from muster.api.matrix import MatrixReads
from muster.api.names import Names
from muster.api.openapi import OpenApi
from muster.api.operations import Operations
from muster.api.pages import LoginPage
from muster.api.pauses import PauseActions
from muster.api.picture import Pictures
from muster.api.syncs import SyncRoutes
from muster.api.table import Route
from muster.api.telemetry import TelemetryRoutes
from muster.api.validate import ValidateActions
from muster.api.validation_jobs import ValidationRoutes
from muster.hub import Hub
from muster.idempotency import Idempotency
from uplink.client.telemetry import Telemetry
from validator.health import HealthSettings


def route_table(
    hub: Hub,
    pictures: Pictures,
    render_metrics: RenderMetrics,
    health: HealthSettings,
    access: Access,
    telemetry: Telemetry | None = None,
) -> list[Route]:
    """Every path. The rows with `role=None` are all that answer without a token. No `telemetry`, no paths of it."""
    names = Names(hub, pictures)
    idempotency = Idempotency(access.store, hub.clock)
    desk = LocationDesk(pictures, names, access.audit)
    table = [
        *Machines(pictures, render_metrics).routes(),
        *FleetReads(hub, pictures, names, health).routes(),
        *HistoryReads(hub.clock, pictures, names).routes(),
        *AvailabilityReads(hub.clock, pictures, names).routes(),
        *EventStreams(hub, pictures, names).routes(),
        *ValidateActions(hub, pictures, names, health).routes(),
        *PauseActions(hub, pictures, names, health, access.audit, idempotency).routes(),
        *LocationRoutes(hub.clock, desk, idempotency).routes(),
        *AssignmentRoutes(hub.clock, desk).routes(),
        *ValidationRoutes(hub.clock, pictures, desk).routes(),
        *SyncRoutes(hub.clock, pictures, desk).routes(),
        *MatrixReads(hub.clock, pictures, names, health).routes(),
        *AgentRoutes(hub, pictures, names, access.audit, idempotency).routes(),
        *AccessRoutes(access).routes(),
        *Operations(access.audit).routes(),
        *([] if telemetry is None else TelemetryRoutes(telemetry, access.audit).routes()),
        *LoginPage().routes(),
    ]
    return OpenApi(table, hub.version).routes
