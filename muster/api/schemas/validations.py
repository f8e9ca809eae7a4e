"""Validation jobs: somebody wants to know now whether a location works from a cluster."""

from __future__ import annotations

from pydantic import AwareDatetime, Field

from muster.api.schemas.access import Body
from muster.api.schemas.document import Document
from muster.api.schemas.locations import Clusters


class ValidationRequest(Body):
    """From which clusters a location is to be validated."""

    clusters: Clusters | None = Field(None, min_length=1)
    """By name or id; null = all that use it."""


class ValidationJob(Document):
    """The last validation of a location from one cluster. It vanishes with the assignment."""

    id: str
    """Of the job."""
    cluster_id: str
    cluster: str | None
    """Its name; null = it is not in the fleet at the moment."""
    state: str
    """`Pending`, `InProgress`, `Valid` or `Failed`."""
    method: str | None
    """Who asks: `agent`, `resource` (what Velero or Stork there say) or `direct` (the hub with its own identity);
    null = not known yet."""
    reason: str | None
    """Why it failed, or what a valid one finds."""
    stage: str | None
    message: str
    remedy: str | None
    """What to do."""
    asked_at: AwareDatetime
    asked_by: str
    began_at: AwareDatetime | None
    """null = it has not begun."""
    ended_at: AwareDatetime | None
    """null = it has not ended."""


class AskedValidationJob(ValidationJob):
    """A job as it is when somebody has asked for it."""

    joined: bool
    """It was under way already."""


class ValidationsAsked(Document):
    """What became of a request to validate."""

    location_id: str
    location: str
    joined: int
    """Jobs that were under way already."""
    validations: tuple[AskedValidationJob, ...]
    """One a cluster, by its name. A cluster that was unassigned in this moment has none."""


class ValidationJobPage(Document):
    """The last validation jobs of a location, by name of the cluster."""

    location_id: str
    location: str
    now: AwareDatetime
    counts: dict[str, int]
    """All jobs of the location by state."""
    total: int
    """How many match."""
    next: str | None
    """Give it as `after` for the next page; null = this was the last."""
    validations: tuple[ValidationJob, ...]


class ValidationStep(ValidationJob):
    """`validation`: a validation job of a pair has gone on. Quick ones may skip `InProgress`."""

    location_id: str
    location: str
