"""The beat of the event streams: what is told by the clock and not by a change."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NoReturn

from muster.events import Event, Events

BEAT_S = 1.0
"""The picture is looked at as often, and told at most as often."""

HEARTBEAT_EVERY_S = 15.0
"""Under the 30 s after which some proxies close a silent connection. It also finds clients that have vanished."""

MakeEvent = Callable[[], Awaitable[Event | None]]


class Pulse:
    """Publishes what `fleet` gives each second, if anything, and what `heartbeat` gives now and then."""

    def __init__(
        self,
        events: Events,
        fleet: MakeEvent,
        heartbeat: Callable[[int], Event],
        *,
        beat_s: float = BEAT_S,
        heartbeat_every_s: float = HEARTBEAT_EVERY_S,
    ) -> None:
        """`fleet` gives the picture as an event, None where it means the same as before.

        `heartbeat` is given the position: one event for all readers, with no timer of their own.
        """
        self._events = events
        self._fleet = fleet
        self._heartbeat = heartbeat
        self._beat_s = beat_s
        self._heartbeat_every_s = heartbeat_every_s

    async def run(self) -> NoReturn:
        """Until cancelled. Without a reader nothing is made."""
        loop = asyncio.get_running_loop()
        due = 0.0
        while True:
            await asyncio.sleep(self._beat_s)
            if not self._events.readers:
                continue
            if (event := await self._fleet()) is not None:
                self._publish(event)
            if loop.time() >= due:
                due = loop.time() + self._heartbeat_every_s
                self._publish(self._heartbeat(self._events.position))

    def _publish(self, event: Event) -> None:
        if self._events.readers:  # not while the last one has left, or leadership was lost
            self._events.publish(event)
