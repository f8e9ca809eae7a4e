"""What the last reading made, kept so that an entry that did not change gives the same object again.

The same `CredentialSource` means: nothing is dialled anew and no plugin runs, though the file around it changed. Keys
are digests of the entry's content, because the content holds secrets and is large.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Memo(Generic[T]):
    """Two generations: what this reading used, and what the one before did."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._before: dict[bytes, T] = {}
        self._now: dict[bytes, T] = {}

    def get(self, content: object, make: Callable[[], T]) -> T:
        """The object made of this content (anything that JSON can say); exceptions of `make` pass and are not kept."""
        key = hashlib.blake2b(json.dumps(content, sort_keys=True, default=str).encode(), digest_size=16).digest()
        value = self._now.get(key)
        if value is None:
            value = self._before.get(key)
        if value is None:
            value = make()
        self._now[key] = value
        return value

    def turn(self, *, complete: bool) -> None:
        """A reading ends. After an incomplete one the unused are kept as well, as their file may come back."""
        if complete or len(self._before) + len(self._now) > self._most:
            self._before = self._now
        else:
            self._before |= self._now
        self._now = {}
