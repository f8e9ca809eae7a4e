"""Text from elsewhere made fit for a message: one line, no control characters, bounded."""

from __future__ import annotations

import re

MAX_WORD_CHARS = 100
"""Bound of a name or path quoted in a message: long enough for an ARN, short enough for a line."""

_JWT = re.compile(r"eyJ[\w-]{8,}\.[\w-]*(\.[\w-]*)?")


def printable(text: str, limit: int = MAX_WORD_CHARS) -> str:
    """The beginning of `text`, on one line; an ellipsis says that it was longer."""
    line = _one_line(text[: limit * 2])
    return line if len(line) <= limit and len(text) <= limit * 2 else line[: limit - 1] + "…"


def printable_tail(text: str, limit: int) -> str:
    """The end of `text`, on one line: where programs say why they gave up. What looks like a JWT is taken out."""
    line = _JWT.sub("[token]", _one_line(text))
    return line if len(line) <= limit else "…" + line[1 - limit :]


def _one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
