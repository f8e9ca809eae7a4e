"""When to ask whom: pure arithmetic, `now` is an argument, all times in seconds on one monotonic scale.

A target is due at `phase + k * interval`. The phase is a hash of its id, so that 10,000 targets spread evenly and a
restart, a new replica or a reload makes no burst (as Prometheus does: scrape/target.go, offset). Ticks that pass
while a target waits or is being asked are not queued; they are counted, and they count as lateness.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID


class Lane(StrEnum):
    """A bounded share of the probe slots. The living never queue behind the dead."""

    LIVE = "live"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class ScheduleSettings:
    """How often, and how patiently."""

    interval_s: float = 30.0
    """Period of a target that answers."""
    timeout_s: float = 10.0
    """Longest that one ask may hold a slot."""
    confirm: int = 3
    """Unanswered asks at the normal interval, the first one included, before backoff: as many as health waits for."""
    backoff_max_s: float = 300.0
    """Longest period of a target that has been dead for long; also the cap on a server's Retry-After."""
    first_round_s: float | None = None
    """Within this time a new target is asked first, where nobody wants to wait for a long interval. None: the interval.
    """
    confirm_within_s: float | None = None
    """An answer that says something else than the one before is asked for again within this time, until `confirm` in a
    row say the same: with a long interval three of them would take most of an hour. None: at the interval.
    """
    allowance_factor: float = 2.1
    """A fact stands for so many effective periods (plus one timeout): one answer may be missed, not two."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Where a target stands: its lane, and how many asks in a row went unanswered."""

    unanswered: int = 0

    @property
    def lane(self) -> Lane:
        """The dead lane from the first unanswered ask on, back at the first answer."""
        return Lane.DEAD if self.unanswered else Lane.LIVE

    def after(self, *, unanswered: bool) -> Pace:
        """The pace after one more ask."""
        return Pace(self.unanswered + 1) if unanswered else _LIVELY


_LIVELY = Pace()


def phase_s(target: UUID, interval_s: float) -> float:
    """The target's offset within its interval, the same on every host and after every restart."""
    digest = hashlib.blake2b(target.bytes, digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64 * interval_s


def period_s(pace: Pace, settings: ScheduleSettings) -> float:
    """Time between two asks: the interval while lively or being confirmed, then doubling up to the cap."""
    doublings = max(0, pace.unanswered - settings.confirm + 1)
    backoff_s = min(settings.interval_s * 2.0 ** min(doublings, 16), settings.backoff_max_s)
    return max(settings.interval_s, backoff_s)


def tick_at_or_after(moment: float, phase: float, interval_s: float) -> float:
    """The first tick of the grid `phase + k * interval` that is not before `moment`."""
    ticks = math.ceil((moment - phase) / interval_s - 1e-9)
    return phase + ticks * interval_s


FIRST_ROUND = 0.85
"""A new target is asked this much sooner than at its first tick: with what starting costs, a whole fleet that begins at
once still has its first picture within one interval (and a timeout), at a rate only a fifth above the usual one."""


def first_due(now: float, phase: float, interval_s: float, first_round_s: float | None = None) -> float:
    """When a target that is new at `now` is asked first; from then on it goes by its ticks."""
    hurry = 1.0 if first_round_s is None else min(1.0, first_round_s / interval_s)
    return now + FIRST_ROUND * hurry * (tick_at_or_after(now, phase, interval_s) - now)


def next_due(
    due: float, now: float, phase: float, pace: Pace, settings: ScheduleSettings, retry_after_s: float | None = None
) -> float:
    """The tick that is asked next, after the ask of tick `due` was answered at `now`.

    On the grid, about one period after `due` (half an interval of slack, since `due` is off the grid where someone
    hastened it), never in the past, and never sooner than the server asked for.
    """
    earliest = max(due + period_s(pace, settings) - settings.interval_s / 2, now)
    if retry_after_s is not None:
        earliest = max(earliest, now + min(retry_after_s, settings.backoff_max_s))
    return tick_at_or_after(earliest, phase, settings.interval_s)


def skipped_ticks(due: float, answered: float, interval_s: float) -> int:
    """Ticks that fell due after `due` and before the answer, and so were never asked."""
    return max(0, math.ceil((answered - due) / interval_s) - 1)


def allowance_s(settings: ScheduleSettings, effective_period_s: float) -> float:
    """How long a fact stands that is renewed every `effective_period_s`."""
    return settings.allowance_factor * effective_period_s + settings.timeout_s


SPARE_SLOTS = 64
"""Beyond what the law asks for: hastened asks, and a few at once by chance."""


def live_slots(fleet: int, settings: ScheduleSettings, descriptors: int) -> int:
    """Size of the live lane: enough that even if every target used its whole timeout, none would wait.

    By the shared-slot law (N >= C * period / timeout stalls C slots), that is fleet x timeout / period, with the period
    of the first round, which is the shortest: a fleet that starts with everything dead is the worst case. Never more
    than half the descriptors.
    """
    needed = math.ceil(fleet * settings.timeout_s / (settings.interval_s * FIRST_ROUND)) + SPARE_SLOTS
    return max(1, min(needed, descriptors // 2))


def dead_slots(fleet: int, settings: ScheduleSettings, descriptors: int) -> int:
    """Size of the dead lane: a quarter of the live one, and at least 32.

    Its size sets how fast a recovery is seen: with all N targets dead one round takes N x timeout / slots, which for
    the defaults is 4 intervals, less than the longest backoff.
    """
    return max(1, min(max(32, live_slots(fleet, settings, descriptors) // 4), descriptors // 4))
