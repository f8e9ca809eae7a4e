"""Names that stand for names: a keyed hash, whose key stays here and goes with the consent."""

from __future__ import annotations

import hmac
import re

CHARS = 16
"""Hex digits: 64 bits. Among a million names two are alike with a chance of one in forty million."""

PATTERN = re.compile(rf"[a-z]+-[0-9a-f]{{{CHARS}}}")


class Pseudonyms:
    """Of one consent. The same name has the same pseudonym for as long as the consent lasts, and another one after."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def name(self, kind: str, name: str) -> str:
        """E.g. `cluster-5f0c31a2d4e6b8f0`."""
        told = f"{kind}\0{name}".encode(errors="replace")
        return f"{kind}-{hmac.new(self._key, told, 'sha256').hexdigest()[:CHARS]}"
