"""A value that expires (a token, role credentials), fetched once for everybody who waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from validator.clock import Clock
from validator.net.failure import ProbeFailure
from validator.reasons import Reason, Stage

T = TypeVar("T")

RENEW_BEFORE_S = 300.0
"""A value with less left than this is fetched anew; while that fails, the old one is used to its end."""


class Renewed(Generic[T]):
    """One value for many probes. The SDKs' own caches were rejected.

    botocore holds a lock across the fetch, and gcloud-aio cancels everybody's fetch when one waiter is cancelled,
    retries for minutes, and leaves background tasks that nobody owns.
    """

    def __init__(
        self, name: str, fetch: Callable[[], Awaitable[tuple[T, float]]], *, clock: Clock, deadline_s: float
    ) -> None:
        self._name = name
        self._fetch = fetch
        """Gives the value and the instant (hub clock) at which it expires."""
        self._clock = clock
        self._deadline_s = deadline_s
        self._value: T | None = None
        self._expires_at = 0.0
        self._fetching: asyncio.Task[T] | None = None

    async def get(self) -> T:
        """The value, fetched where there is none that is good for a while. Raises `ProbeFailure`."""
        left_s = self._expires_at - self._clock.now()
        if self._value is not None and left_s > RENEW_BEFORE_S:
            return self._value
        if self._fetching is None:
            self._fetching = asyncio.create_task(self._renew(), name=f"renew:{self._name}")
            self._fetching.add_done_callback(self._fetched)
        try:
            return await asyncio.shield(self._fetching)
        except ProbeFailure as failure:
            if self._value is not None and left_s > 0:
                return self._value
            # Each waiter gets one of its own: a traceback that is shared grows with every raise.
            raise ProbeFailure(
                failure.reason,
                failure.message,
                failure.stage_,
                failure.evidence,
                unanswered=failure.unanswered,
                retry_after_s=failure.retry_after_s,
            ) from None

    def forget(self, value: T) -> None:
        """This value was refused: the next `get` fetches another. A newer one stays."""
        if value is self._value:
            self._value = None

    def close(self) -> None:
        """End a fetch that is under way; who waits for it is cancelled."""
        if self._fetching is not None:
            self._fetching.cancel()

    async def _renew(self) -> T:
        try:
            async with asyncio.timeout(self._deadline_s):
                value, expires_at = await self._fetch()
        except TimeoutError:
            raise ProbeFailure(
                Reason.STORAGE_TIMEOUT,
                f"no {self._name} within {self._deadline_s:.0f} s",
                Stage.IDENTITY,
                unanswered=True,
            ) from None
        self._value, self._expires_at = value, expires_at
        return value

    def _fetched(self, task: asyncio.Task[T]) -> None:
        self._fetching = None
        if not task.cancelled():
            task.exception()  # seen, even where every waiter has gone meanwhile
