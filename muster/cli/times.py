"""Times as people type them: `2h`, `18:00`, `2026-12-01`, `2026-12-01T18:00`. Where no zone is said it is theirs."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

MAX_S = 10 * 366 * 86_400
"""Longest span: ten years. More is a typing error."""

_UNITS_S = {"s": 1, "m": 60, "min": 60, "h": 3_600, "d": 86_400, "w": 7 * 86_400}
_PART = re.compile(r"(\d{1,9})\s*(min|s|m|h|d|w)", re.ASCII | re.IGNORECASE)
_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)", re.ASCII)


def seconds(text: str) -> int:
    """A span like `90s`, `2h`, `1h30m`, `7d`. Raises `ValueError`, whose text says what is possible."""
    spaceless = text.replace(" ", "")
    parts = _PART.findall(spaceless)
    if not parts or "".join(number + unit for number, unit in parts) != spaceless:
        raise ValueError(f"{text[:40]!r} is no span of time; write e.g. 90s, 30m, 2h, 1h30m, 7d or 2w")
    total_s = sum(int(number) * _UNITS_S[unit.lower()] for number, unit in parts)
    if not 0 < total_s <= MAX_S:
        raise ValueError(f"{text[:40]!r} is not between a second and ten years")
    return total_s


def moment(text: str, now: datetime, *, ahead: bool) -> datetime:
    """A time: a span from `now`, a time of day (the next one, or the last one), or a date. `now` has a zone.

    `ahead` says on which side of `now` it lies. Raises `ValueError`, whose text says what is possible.
    """
    text = text.strip()
    if _PART.match(text.replace(" ", "")):
        span = timedelta(seconds=seconds(text))
        return now + span if ahead else now - span
    if clock := _CLOCK.fullmatch(text):
        found = now.replace(hour=int(clock[1]), minute=int(clock[2]), second=0, microsecond=0)
        if ahead and found <= now:
            return found + timedelta(days=1)
        return found - timedelta(days=1) if not ahead and found > now else found
    try:
        found = datetime.fromisoformat(text)
        found = found if found.tzinfo else found.replace(tzinfo=None).astimezone()
    except (ValueError, OverflowError):
        raise ValueError(
            f"{text[:40]!r} is no time; write e.g. 2h, 18:00, 2026-12-01, 2026-12-01T18:00 or 2026-12-01T18:00Z"
        ) from None
    if ahead != (found > now) and found != now:
        raise ValueError(f"{text[:40]!r} is {'over' if ahead else 'still to come'}")
    return found
