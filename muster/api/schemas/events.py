"""What `/api/v1/events` streams: the data of each server-sent event, by its name."""

from __future__ import annotations

from pydantic import AwareDatetime

from muster.api.schemas.document import Document


class Hello(Document):
    """`hello`: the first event of every stream."""

    now: AwareDatetime
    version: str
    """Release of the service."""
    generation: int
    """As in `/api/v1/fleet`."""
    resumed: bool
    """All since `Last-Event-ID` follows. False although one was sent = too much has passed: read the fleet anew."""


class FleetChanged(Document):
    """`fleet`: the picture means something else now; at most one a second."""

    now: AwareDatetime
    generation: int
    """As in `/api/v1/fleet`."""
    counts: dict[str, int]
    """Clusters by health, worst first."""


class Dropped(Document):
    """`dropped`: the reader was too slow. It is the last event: connect again with `Last-Event-ID`."""

    events: int
    """How many were not sent."""


class Bye(Document):
    """`bye`: this stream ends for a reason of the service's. Connect again with `Last-Event-ID`."""

    why: str
    """One sentence."""
