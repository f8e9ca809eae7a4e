"""`Retry-After` as the clouds send it."""

from __future__ import annotations


def retry_after_s(value: str | None) -> float | None:
    """Seconds to wait; None without the header. A date, which no cloud sends, counts as absent."""
    text = (value or "").strip()
    return float(text) if text.isdecimal() and text.isascii() and len(text) < 10 else None
