"""Bounds on how often and how much at a time, for each key: an address, an organisation."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

MAX_KEYS = 4096
"""Of keys that are remembered. The one that was seen longest ago is forgotten, and begins anew with a full bucket."""


class Buckets:
    """`burst` at once for each key, then one every `every_s`."""

    def __init__(self, burst: int, every_s: float) -> None:
        self._burst = burst
        self._every_s = every_s
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, key: str, now: float) -> float:
        """Take one: 0.0; or how long until there is one, and none is taken."""
        left, at = self._left.pop(key, (float(self._burst), now))
        left = min(self._burst, left + max(0.0, now - at) / self._every_s)
        taken = left >= 1.0
        self._left[key] = (left - 1.0 if taken else left, now)
        if len(self._left) > MAX_KEYS:
            self._left.popitem(last=False)
        return 0.0 if taken else (1.0 - left) * self._every_s


@dataclass(slots=True)
class Busy:
    """How many requests of a key are under way."""

    most: int
    _now: dict[str, int]

    @classmethod
    def of(cls, most: int) -> Busy:
        """Nothing is under way yet."""
        return cls(most, {})

    @contextmanager
    def one(self, key: str) -> Iterator[bool]:
        """One more for the length of the block; False, and not counted, where there are `most`."""
        count = self._now.get(key, 0)
        if count >= self.most:
            yield False
            return
        self._now[key] = count + 1
        try:
            yield True
        finally:
            self._now[key] -= 1
            if not self._now[key]:
                del self._now[key]
