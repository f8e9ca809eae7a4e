"""Flap detection: whether the answers to one check come and go.

Hysteresis hides a check that fails every other time: its health never moves. This looks at the raw answers instead.
The method is Icinga 2's (`checkable-flapping.cpp`): a window of the last 20 answers, a bit for each that
differed from the one before, the newest weighing 1.18 and the oldest 0.8, so that a check that calms down
is believed a little sooner. Icinga weighs in floats; here the weights are integers in 1/50, the score is exact,
and twenty slots of weight 1 make `FULL_SCORE`.

What differs from Icinga, on purpose:

- An answer counts by its side: Healthy, Degraded, or down. Unhealthy and Unreachable are one side: a cluster that is
  down in changing ways is down all the time, and calling it flapping would hide that.
- An answer that leads to Unknown (the hub had no descriptor left) says nothing about the cluster, so it
  takes no slot.
"""

from __future__ import annotations

from dataclasses import dataclass

from validator.reasons import Health

SLOTS = 20
"""Length of the window, in answers; Icinga's."""

NEWEST_WEIGHT = 59
"""Weight of the newest slot in 1/50 (1.18); each older one weighs 1/50 less, the oldest 40/50 (0.8)."""

FULL_SCORE = 50 * SLOTS
"""Score that counts as a share of 1: all twenty slots at weight 1, as in Icinga."""

_WINDOW = (1 << SLOTS) - 1


@dataclass(frozen=True, slots=True)
class Flap:
    """What the window of one check holds. Kept in the store, so that a restart forgets nothing."""

    bits: int = 0
    """A bit per slot, bit 0 the newest: 1 = that answer was on another side than the one before it."""
    flapping: bool = False
    last: Health | None = None
    """Side of the newest answer: Healthy, Degraded or Unhealthy (= down). None before the first."""


NO_FLAP = Flap()


def record(flap: Flap, answer: Health, *, enter: float, leave: float) -> Flap:
    """The window after one more raw answer.

    Flapping starts when the weighted share of changes is above `enter` and ends when it is no longer above `leave`.
    A quiet check, by far the most common case, gets its own `Flap` back.
    """
    if answer is Health.UNKNOWN:
        return flap
    side = Health.UNHEALTHY if answer is Health.UNREACHABLE else answer
    changed = flap.last is not None and flap.last is not side
    if not changed and not flap.bits and flap.last is side:
        return flap
    bits = (flap.bits << 1 | changed) & _WINDOW
    return Flap(bits, share(bits) > (leave if flap.flapping else enter), side)


def share(bits: int) -> float:
    """Weighted share of changes in the window, 0 to 0.99."""
    score = 0
    while bits:
        lowest = bits & -bits
        score += NEWEST_WEIGHT + 1 - lowest.bit_length()
        bits ^= lowest
    return score / FULL_SCORE
