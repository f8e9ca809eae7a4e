"""A bound on how often something may happen."""

from __future__ import annotations


class Bucket:
    """`burst` at once, then one every `every_s`. Starts full."""

    def __init__(self, burst: int, every_s: float) -> None:
        self._burst = burst
        self._every_s = every_s
        self._left = float(burst)
        self._at: float | None = None

    def take(self, now: float) -> bool:
        """Take one; False when there is none left."""
        if self._at is not None:
            self._left = min(self._burst, self._left + max(0.0, now - self._at) / self._every_s)
        self._at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True
