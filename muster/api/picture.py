"""The fleet's picture for the API: made at most twice a second, however many ask.

A picture of 10,000 clusters holds the loop for tens of milliseconds; a few impatient clients could make probes late.
It says which moment it is of, so every age in it is true.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass

from collector.fleet import FleetSnapshot
from collector.look import Look
from muster.api.listing import Lists
from muster.api.problems import Kind, ProblemError
from muster.hub import Hub, Leading, Role

REUSE_S = 0.5
"""How long a picture is used again. A person's eye and a watch of two seconds notice nothing of it."""


@dataclass(frozen=True)
class Picture:
    """One moment."""

    leading: Leading
    snapshot: FleetSnapshot
    generation: int
    """Rises with every picture that means something else than the one before."""
    lists: Lists
    """Its clusters by query; they go on with the next picture."""


class Pictures:
    """The newest picture.

    A generation says what a picture means, and nothing of its ages. It is counted where pictures are made, so a fact
    that outlives its allowance raises it as a change of health does, whether or not the recorder has noticed.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._start = secrets.token_hex(4)
        self._look: Look | None = None
        self._about_hub: object = None
        self._last: Picture | None = None
        self._lists = Lists()
        self._making = asyncio.Lock()  # held over turns of our own loop, never over network I/O

    def ready(self) -> None:
        """Raise `ProblemError` where nobody should be sent here: not leading, still to read its sources, or ending."""
        if self._hub.role is not Role.LEADING:
            raise self._refusal()
        self.leading()

    def leading(self) -> Leading:
        """What this instance leads with, to its last moment. Raises `ProblemError` where it does not lead."""
        if self._hub.leading is None:
            raise self._refusal()
        return self._hub.leading

    def _refusal(self) -> ProblemError:
        hub = self._hub
        cause = f": {hub.waiting_for.rstrip('.')}" if hub.waiting_for else ""
        return ProblemError(
            Kind.NOT_LEADING,
            f"this instance has no picture of the fleet, since it is {_DOING.get(hub.role, hub.role)}{cause}",
            role=hub.role,
            waiting_for=hub.waiting_for,
        )

    async def now(self) -> Picture:
        """The picture, at most `REUSE_S` old. Raises `ProblemError` where this instance does not lead."""
        async with self._making:  # those who come meanwhile wait for the one that is being made
            leading, last, now = self.leading(), self._last, self._hub.clock.now()
            if last is not None and last.leading is leading and 0 <= now - last.snapshot.now < REUSE_S:
                return last
            look = Look(self._look)
            snapshot = await self._hub.fleet(look)
            assert snapshot is not None
            leading = self.leading()  # refuses where it stepped down meanwhile
            about_hub = (leading.guard, leading.recorder.degraded_since, self._hub.source_problems())
            changed = look.changed or about_hub != self._about_hub
            generation = (0 if last is None else last.generation) + changed
            self._look, self._about_hub = look, about_hub
            self._lists.turn(snapshot, look.changes)
            self._last = Picture(leading, snapshot, generation, self._lists)
            return self._last

    def tag(self, picture: Picture) -> str:
        """The picture's entity tag, without quotes. Generations begin anew with each instance, hence its own number."""
        return f"{self._start}-{picture.generation}"


_DOING = {"standby": "standing by"}
