"""The fleet's picture for the API: made at most twice a second, however many ask.

A picture of 10,000 clusters holds the loop for tens of milliseconds; a few impatient clients could make probes late.
It says which moment it is of, so every age in it is true.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from collector.fleet import ClusterView, FleetSnapshot
from muster.api.present import ATTENTION
from muster.api.problems import Kind, ProblemError
from muster.hub import Hub, Leading
from validator.reasons import Health

REUSE_S = 0.5
"""How long a picture is used again. A person's eye and a watch of two seconds notice nothing of it."""


@dataclass(frozen=True)
class Picture:
    """One moment."""

    leading: Leading
    snapshot: FleetSnapshot

    @cached_property
    def by_health(self) -> Mapping[Health, tuple[ClusterView, ...]]:
        """In the order of attention; within one health as in the snapshot."""
        groups: dict[Health, list[ClusterView]] = {health: [] for health in ATTENTION}
        for view in self.snapshot.clusters:
            groups[view.health].append(view)
        return {health: tuple(views) for health, views in groups.items()}


class Pictures:
    """The newest picture."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._last: Picture | None = None
        self._making = asyncio.Lock()  # held over turns of our own loop, never over network I/O

    def leading(self) -> Leading:
        """What this instance leads with. Raises `ProblemError` where it does not lead."""
        hub = self._hub
        if hub.leading is None:
            cause = f": {hub.waiting_for.rstrip('.')}" if hub.waiting_for else ""
            raise ProblemError(
                Kind.NOT_LEADING,
                f"this instance has no picture of the fleet, since it is {_DOING.get(hub.role, hub.role)}{cause}",
                role=hub.role,
                waiting_for=hub.waiting_for,
            )
        return hub.leading

    async def now(self) -> Picture:
        """The picture, at most `REUSE_S` old. Raises `ProblemError` where this instance does not lead."""
        async with self._making:  # those who come meanwhile wait for the one that is being made
            leading, last, now = self.leading(), self._last, self._hub.clock.now()
            if last is not None and last.leading is leading and 0 <= now - last.snapshot.now < REUSE_S:
                return last
            snapshot = await self._hub.fleet()
            assert snapshot is not None
            self._last = Picture(self.leading(), snapshot)  # refuses where it stepped down meanwhile
            return self._last


_DOING = {"standby": "standing by"}
