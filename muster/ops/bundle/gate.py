"""The last gate: what looks like a secret does not leave, wherever it came from."""

from __future__ import annotations

import re
from collections.abc import Iterable

from muster.logs import MASK

_PATTERNS = (
    re.compile(r"muster_[A-Za-z0-9_-]{43}"),
    re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(\.[A-Za-z0-9_-]*)?"),  # a JWT
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
    re.compile(r"(?<=://)[^\s/?#@\"]+(?=@)"),
    re.compile(r"(?i)(?<=bearer )[A-Za-z0-9+/=._~-]{4,}|(?<=basic )[A-Za-z0-9+/=._~-]{8,}"),
    re.compile(r"(?i)(?<=password=)[^&\s\"]+"),
)


def without_secrets(text: str, known: Iterable[str] = ()) -> str:
    """The text, with what looks like a secret and every `known` one masked."""
    for secret in sorted(filter(None, known), key=len, reverse=True):
        text = text.replace(secret, MASK)
    for pattern in _PATTERNS:
        text = pattern.sub(MASK, text)
    return text
