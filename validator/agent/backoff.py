"""How long to wait after a failure: doubling, with jitter, and as long as the other side asks for."""

from __future__ import annotations

import random

MAX_RETRY_AFTER_S = 300.0
"""Of what a hub may ask for: longer silence makes its own picture stale."""


class Backoff:
    """Counts failures in a row. Jitter, because a hub that comes back has a thousand agents waiting for it."""

    def __init__(self, first_s: float = 1.0, most_s: float = 60.0) -> None:
        self._first_s = first_s
        self._most_s = most_s
        self._failures = 0

    def failed(self, retry_after_s: float | None = None) -> float:
        """One more failure; gives the seconds to wait, between half and the whole of what has been doubled."""
        pause_s = min(self._first_s * 2.0 ** min(self._failures, 16), self._most_s)
        self._failures += 1
        asked_s = min(retry_after_s or 0.0, MAX_RETRY_AFTER_S)
        return max(pause_s * random.uniform(0.5, 1.0), asked_s * random.uniform(1.0, 1.2))  # noqa: S311 - no secret

    def worked(self) -> None:
        """An answer: the next failure is a first one."""
        self._failures = 0
