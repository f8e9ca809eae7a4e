"""Committed changes of health."""

from __future__ import annotations

from pydantic import AwareDatetime

from muster.api.schemas.document import Document


class Transition(Document):
    """One committed change of a check's health."""

    id: int
    """Rises; where a reader of events goes on."""
    at: AwareDatetime
    """When it was noticed."""
    since: AwareDatetime
    """When the condition began."""
    cluster_id: str
    cluster_name: str
    """The name that it had then."""
    location_id: str | None = None
    """Where the check is of a backup location as it works from the cluster; null = it is of the cluster itself."""
    location_name: str | None = None
    """The name that it had then."""
    check: str
    from_health: str
    to_health: str
    reason: str | None
    """Why; null = nothing is wrong any more."""
    stage: str | None
    message: str
    evidence: dict[str, str | int | float | bool]
    """Of the answer that decided."""
    flapping: bool
    """It changed to and fro."""
    collapsed: int
    """Changes in between that were never committed, because the database was away."""


class TransitionPage(Document):
    """Transitions, newest first."""

    next: int | None
    """Give it as `before` for the next page; null = this was the last."""
    oldest: AwareDatetime | None = None
    """The oldest change of any cluster that is kept: what was before it is not known. null = nothing is kept yet."""
    transitions: tuple[Transition, ...]
