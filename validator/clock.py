"""The hub clock: seconds since the epoch that never jump under a running process.

Ages, `since` and staleness are differences, so a wall clock that is stepped by an hour would
either make the whole fleet stale at once or hide staleness for an hour. The hub clock is the wall
clock at start plus monotonic time. A step of the wall clock is noticed (`step_s`), and the owner of
the facts moves them and the clock together (`follow`), so that every age stays what it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

STEP_S = 2.0
"""Smallest disagreement that counts as a step. NTP slews at most 500 ppm, which the kernel applies to
CLOCK_MONOTONIC as well, so honest drift between the two stays in milliseconds."""


class Clock(Protocol):
    """What most code needs to know of time."""

    def now(self) -> float:
        """Seconds since the epoch, hub clock."""
        ...


class HubClock:
    """The one clock of a running service; `wall` and `monotonic` are seams for tests."""

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._offset = wall() - monotonic()

    def now(self) -> float:
        """Seconds since the epoch; advances only as monotonic time does."""
        return self._offset + self._monotonic()

    def step_s(self) -> float:
        """How far the wall clock has been stepped away since the last `follow`; 0.0 below `STEP_S`."""
        step = self._wall() - self.now()
        return step if abs(step) >= STEP_S else 0.0

    def follow(self, step_s: float) -> None:
        """Take the step. The caller shifts every stored instant by the same amount in the same breath."""
        self._offset += step_s


class FakeClock:
    """Shipped double: time moves only when told."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self._now = now

    def now(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        self._now += seconds
