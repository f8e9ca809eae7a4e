"""Committed changes of health."""

from __future__ import annotations

from pydantic import AwareDatetime

from muster.api.schemas.document import Document


class Transition(Document):
    """One committed change of a check's health."""

    id: int
    at: AwareDatetime
    """When it was noticed."""
    since: AwareDatetime
    """When the condition began."""
    cluster_id: str
    cluster_name: str
    check: str
    from_health: str
    to_health: str
    reason: str | None
    stage: str | None
    message: str
    evidence: dict[str, str | int | float | bool]
    flapping: bool
    collapsed: int
    """Changes in between that were never committed, because the database was away."""


class TransitionPage(Document):
    """Transitions, newest first."""

    next: int | None
    """Give it as `before` for the next page; null = this was the last."""
    transitions: tuple[Transition, ...]
