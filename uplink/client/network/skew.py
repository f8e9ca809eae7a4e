"""How far our clock is from the other side's, as its answers tell: a wrong clock makes good certificates bad ones."""

from __future__ import annotations

from contextlib import suppress
from email.utils import parsedate_to_datetime


def skew_s(date: str | None, now: float) -> float | None:
    """From an answer's `Date`, to the second; positive: ours is ahead. None where it does not say.

    The header has whole seconds, cut off, so half of one is what a right clock seems to be ahead.
    """
    with suppress(ValueError, TypeError, OverflowError):
        if date is not None:
            return round(now - parsedate_to_datetime(date).timestamp() - 0.5)
    return None
