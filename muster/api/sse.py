"""Server-sent events on the wire, as the HTML standard has them (section 9.2)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from collector.transition import Transition
from muster.api import present, schemas
from muster.events import Event, Kind

MEDIA_TYPE: Final = "text/event-stream"


def transition_event(change: Transition) -> Event:
    """A committed change; its id is where a reader goes on."""
    return Event(
        encoded(Kind.TRANSITION, present.transition(change), position=change.id),
        change.id,
        Kind.TRANSITION,
        change.cluster_id,
        (change.from_health, change.to_health),
    )


def fleet_event(document: schemas.FleetChanged, position: int) -> Event:
    """The picture means something else; without an id, since it is no point to go on from."""
    return Event(encoded(Kind.FLEET, document), position, Kind.FLEET)


def heartbeat(position: int) -> Event:
    """A comment, which clients skip, after an id, which they keep.

    So a reader of few things need not go back to the last one that it was sent, which may be weeks ago.
    """
    return Event(f"id: {position}\n: heartbeat\n\n".encode(), position)


def encoded(
    name: str, document: schemas.Document, *, position: int | None = None, again_ms: int | None = None
) -> bytes:
    """One event. `again_ms` tells a browser how long to wait before it connects again."""
    lines: Collection[str] = (
        *((f"id: {position}",) if position is not None else ()),
        *((f"retry: {again_ms}",) if again_ms is not None else ()),
        f"event: {name}",
        f"data: {document.model_dump_json()}",  # JSON has its line breaks escaped
    )
    return ("\n".join(lines) + "\n\n").encode()
