"""What people and programs ask the service to do."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from muster.api.schemas.access import Body
from muster.api.schemas.clusters import Check
from muster.api.schemas.document import Document


class PauseRequest(Body):
    """Take a cluster out of judgement."""

    reason: Annotated[str, Field(min_length=1, max_length=500)]
    """Why; everybody sees it."""
    until: AwareDatetime | None = None
    """null = until somebody resumes it."""


class ValidateRequest(Body):
    """Ask a cluster now."""

    timeout_s: Annotated[float, Field(gt=0, le=120)] = 30.0
    """How long to stream; the question itself has the service's own deadlines."""


class ValidateEvent(Document):
    """A line of the stream (application/x-ndjson) that answers a validation."""

    event: str
    """`asking` (at once), `checked` (one a check), then one of `done`, `late` (no answer within `timeout_s`)."""
    at: AwareDatetime
    joined: bool = False
    """With `asking`: somebody else's validation was under way, and this is its answer."""
    check: Check | None = None
    """With `checked`."""
    health: str | None = None
    """With `done`: the cluster's health, which a single answer need not have changed (hysteresis)."""
    reason: str | None = None
    """With `done`: why; null = nothing is wrong."""
    message: str = ""
    """A sentence; may be empty. With `late`: why there is no answer."""


class LogLevel(Body):
    """How much the service logs, until it ends or its settings are read again."""

    level: Literal["debug", "info", "warning", "error"]
    """Least level that is logged."""
