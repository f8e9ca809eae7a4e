"""Server-sent events, as the HTML standard has them (section 9.2.6), from lines to events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from muster.cli.errors import NotReachable

MAX_DATA_CHARS = 1024 * 1024
"""Of one event: a transition with all its evidence has some 10,000."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event."""

    event: str
    """Its name; `message` where it has none. Empty = a comment: the other side lives."""
    data: str = ""
    id: str = ""
    """The id that stands after it, for `Last-Event-ID`; empty = there has been none."""


def events_of(lines: Iterable[str]) -> Iterator[Event]:
    """The events, and one without a name for each comment. Raises `NotReachable` for one that has no end."""
    event, last_id, size = "", "", 0
    data: list[str] = []
    for line in lines:
        if not line:
            if data:
                yield Event(event or "message", "\n".join(data), last_id)
            event, data, size = "", [], 0
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "":
                yield Event("", id=last_id)
            case "event":
                event = value
            case "data":
                size += len(value)
                if size > MAX_DATA_CHARS:
                    raise NotReachable("an event of the service is larger than any of Muster's")
                data.append(value)
            case "id" if "\0" not in value:
                last_id = value
