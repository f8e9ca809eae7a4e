"""What a probe found, made fit to be kept and shown. A hostile server has a say in messages and evidence.

PostgreSQL refuses NUL characters, lone surrogates and NaN; terminals obey escape sequences; a row of megabytes holds up
the rows of everybody else. So every verdict is cleaned once, where it is made; whoever takes verdicts relies on it.
"""

from __future__ import annotations

from validator.model import Evidence
from validator.printable import MAX_WORD_CHARS, printable

MAX_EVIDENCE_ITEMS = 64
"""Three times what the fullest probe gives."""

MAX_EVIDENCE_CHARS = 1000
"""Of one value; the longest honest one lists eight failing checks."""

MAX_EVIDENCE_NUMBER = 2**53
"""JSON's numbers are exact up to here; no duration, size or count comes near it."""


def clean_text(text: str, limit: int) -> str:
    """One line, no control characters, at most `limit` characters."""
    return text if text.isprintable() and len(text) <= limit else printable(text, limit)


def clean_evidence(evidence: Evidence) -> Evidence:
    """The same object where there is nothing to clean, which is nearly always; 1 µs then."""
    if len(evidence) <= MAX_EVIDENCE_ITEMS and all(_fit(key, value) for key, value in evidence.items()):
        return evidence
    items = list(evidence.items())[:MAX_EVIDENCE_ITEMS]
    return {clean_text(key, MAX_WORD_CHARS): _cleaned(value) for key, value in items}


def _fit(key: str, value: object) -> bool:
    if not key.isprintable() or len(key) > MAX_WORD_CHARS:
        return False
    if isinstance(value, str):
        return value.isprintable() and len(value) <= MAX_EVIDENCE_CHARS
    return isinstance(value, int | float) and -MAX_EVIDENCE_NUMBER <= value <= MAX_EVIDENCE_NUMBER  # NaN is not


def _cleaned(value: str | float) -> str | float:
    if isinstance(value, str):
        return clean_text(value, MAX_EVIDENCE_CHARS)
    return value if _fit("", value) else "out of range"
