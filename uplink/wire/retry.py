"""`Retry-After`, as both sides mean it (RFC 9110 section 10.2.3)."""

from __future__ import annotations

import math
from datetime import UTC
from email.utils import parsedate_to_datetime

from uplink.wire.bounds import MAX_RETRY_AFTER_S, MIN_RETRY_AFTER_S, RETRY_AFTER_S


def retry_after_s(header: str | None, now: float) -> float:
    """How long to wait, from seconds or a date; what is absurd is brought into bounds.

    What is absent or can't be read is `RETRY_AFTER_S`. A date is taken against our own clock: the skew is bounded with
    the rest.
    """
    if header is None:
        return RETRY_AFTER_S
    text = header.strip()
    try:
        seconds = float(text) if text.lstrip("+-").isdigit() and text.isascii() else _until(text, now)
    except (ValueError, TypeError, OverflowError):
        return RETRY_AFTER_S
    return min(max(seconds, MIN_RETRY_AFTER_S), MAX_RETRY_AFTER_S)


def retry_after_header(seconds: float) -> str:
    """Whole seconds: strongSwan's client reads nothing else."""
    return str(math.ceil(min(max(seconds, MIN_RETRY_AFTER_S), MAX_RETRY_AFTER_S)))


def _until(text: str, now: float) -> float:
    moment = parsedate_to_datetime(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now
