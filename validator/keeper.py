"""Fetches credentials beside the probes, so that reachability never waits for an exec plugin.

A probe that finds no credential in hand asks without one and leaves a note here. A few workers fetch, each source
once at a time; then whoever asked is told, and probes again at once (DESIGN: a 401 is refreshed and retried at once).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from weakref import WeakKeyDictionary

import structlog

from validator.clock import Clock
from validator.credentials import CredentialError, CredentialSource
from validator.reasons import Reason

_log = structlog.get_logger(__name__)

WORKERS = 16
"""Fetches at once: more than exec plugins may run at once (8), so that hung plugins never hold up token files."""

AGAIN_AFTER_S = 10.0
"""A source is fetched at most this often: neither a broken plugin nor a token that stays refused may make a storm."""


class CredentialKeeper:
    """The queue of wanted credentials and the last failure of each source, for as long as anybody has that source."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wanted: dict[CredentialSource, list[Callable[[], None]]] = {}
        self._queue: asyncio.Queue[CredentialSource] = asyncio.Queue()
        # Weak, because a source is shared by targets that come and go: what is known of it outlasts any one of them.
        self._fetched: WeakKeyDictionary[CredentialSource, tuple[float, CredentialError | None]] = WeakKeyDictionary()

    def want(self, source: CredentialSource, then: Callable[[], None]) -> None:
        """Have `source` fetched soon and `then` called after it, well or ill. Costs nothing when repeated."""
        last = self._fetched.get(source)
        if last and 0 <= self._clock.now() - last[0] < AGAIN_AFTER_S:  # below 0 the clock was set back
            return
        waiting = self._wanted.get(source)
        if waiting is None:
            self._wanted[source] = [then]
            self._queue.put_nowait(source)  # bounded by the number of sources: each is in it at most once
        elif then not in waiting:
            waiting.append(then)

    def failure(self, source: CredentialSource) -> CredentialError | None:
        """Why `source` has nothing to give, as of its last fetch; None while that is open or went well."""
        last = self._fetched.get(source)
        return last[1] if last else None

    async def run(self) -> None:
        """Fetch until cancelled."""
        async with asyncio.TaskGroup() as group:
            for number in range(WORKERS):
                group.create_task(self._work(), name=f"credential-keeper:{number}")

    async def _work(self) -> None:
        while True:
            await self._fetch(await self._queue.get())

    async def _fetch(self, source: CredentialSource) -> None:
        error: CredentialError | None = None
        try:
            await source.fetch(self._clock.now())
        except CredentialError as failure:
            error = CredentialError(failure.reason, failure.message)  # without the frames, which hold the source
        except Exception as defect:  # noqa: BLE001 - one source's defect must not end them all
            _log.exception("credential source broke its contract", source=type(source).__name__)
            error = CredentialError(Reason.CREDENTIAL_UNAVAILABLE, f"unforeseen {type(defect).__name__}")
        self._fetched[source] = (self._clock.now(), error)
        for then in self._wanted.pop(source, []):
            then()
