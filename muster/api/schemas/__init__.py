"""What the API answers and takes: one class a document. Instants are RFC 3339 in UTC, durations are seconds, in `_s`.

Enumerations are open: a reader must expect healths, reasons and stages that it does not know, hence plain strings.
Fields are added and never renamed within `/api/v1`.
"""

from __future__ import annotations

from muster.api.schemas.access import (
    AuditEntry,
    AuditPage,
    Body,
    Session,
    SessionCode,
    SessionCreate,
    Token,
    TokenCreate,
    TokenCreated,
    TokenPage,
)
from muster.api.schemas.actions import LogLevel, PauseRequest, ValidateEvent, ValidateRequest
from muster.api.schemas.agents import Agent, AgentDetail, AgentInstall, AgentPage, AgentRegistration
from muster.api.schemas.availability import Availability, Bucket, Shares
from muster.api.schemas.clusters import (
    Answer,
    Check,
    Cluster,
    ClusterDetail,
    ClusterPage,
    Pause,
    StageTrace,
    Streak,
)
from muster.api.schemas.document import Document
from muster.api.schemas.events import Bye, Dropped, FleetChanged, Hello
from muster.api.schemas.fleet import Fleet, Guard, Lane, Lanes, SourceProblem, Store
from muster.api.schemas.history import Transition, TransitionPage
from muster.api.schemas.locations import (
    AssignedCluster,
    Location,
    LocationAssignment,
    LocationAssignmentChange,
    LocationCreate,
    LocationDetail,
    LocationPage,
)
from muster.api.schemas.matrix import MatrixCause, MatrixCell, MatrixCellDetail, MatrixColumn, MatrixPage
from muster.api.schemas.problem import Problem
from muster.api.schemas.syncs import Inventory, InventoryGroup, Sync, SyncRequest, SyncStatus
from muster.api.schemas.telemetry import (
    Telemetry,
    TelemetryAudit,
    TelemetryAuditEntry,
    TelemetryConsent,
    TelemetryField,
    TelemetryLink,
    TelemetryOn,
    TelemetryPreview,
    TelemetryStream,
    TelemetryTerms,
)
from muster.api.schemas.validations import (
    AskedValidationJob,
    ValidationJob,
    ValidationJobPage,
    ValidationRequest,
    ValidationsAsked,
    ValidationStep,
)

__all__ = [
    "Agent",
    "AgentDetail",
    "AgentInstall",
    "AgentPage",
    "AgentRegistration",
    "Answer",
    "AskedValidationJob",
    "AssignedCluster",
    "AuditEntry",
    "AuditPage",
    "Availability",
    "Body",
    "Bucket",
    "Bye",
    "Check",
    "Cluster",
    "ClusterDetail",
    "ClusterPage",
    "Document",
    "Dropped",
    "Fleet",
    "FleetChanged",
    "Guard",
    "Hello",
    "Inventory",
    "InventoryGroup",
    "Lane",
    "Lanes",
    "Location",
    "LocationAssignment",
    "LocationAssignmentChange",
    "LocationCreate",
    "LocationDetail",
    "LocationPage",
    "LogLevel",
    "MatrixCause",
    "MatrixCell",
    "MatrixCellDetail",
    "MatrixColumn",
    "MatrixPage",
    "Pause",
    "PauseRequest",
    "Problem",
    "Session",
    "SessionCode",
    "SessionCreate",
    "Shares",
    "SourceProblem",
    "StageTrace",
    "Store",
    "Streak",
    "Sync",
    "SyncRequest",
    "SyncStatus",
    "Telemetry",
    "TelemetryAudit",
    "TelemetryAuditEntry",
    "TelemetryConsent",
    "TelemetryField",
    "TelemetryLink",
    "TelemetryOn",
    "TelemetryPreview",
    "TelemetryStream",
    "TelemetryTerms",
    "Token",
    "TokenCreate",
    "TokenCreated",
    "TokenPage",
    "Transition",
    "TransitionPage",
    "ValidateEvent",
    "ValidateRequest",
    "ValidationJob",
    "ValidationJobPage",
    "ValidationRequest",
    "ValidationStep",
    "ValidationsAsked",
]
