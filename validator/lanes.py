"""Bounded slots for one kind of target: who waits, who is in."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class LaneSlots(Generic[T]):
    """A first-in first-out queue before a bounded number of slots. Synchronous: it is only ever used on one loop."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        """How many may be in at once; may be changed at any time (a fleet grows)."""
        self.busy = 0
        """How many are in."""
        self._waiting: deque[T] = deque()

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def offer(self, item: T) -> None:
        """Put an item in the queue; bounded by the fleet, since a target waits in one place at a time."""
        self._waiting.append(item)

    def admit(self) -> T | None:
        """Take the next item and a slot for it, or None when there is no item or no slot."""
        if not self._waiting or self.busy >= self.slots:
            return None
        self.busy += 1
        return self._waiting.popleft()

    def leave(self) -> None:
        """Give a slot back."""
        self.busy -= 1
