"""Writes down that this instance leads and looks.

History has the changes of health only. Without this a night in which no hub ran would count as what the evening before
it was: a restart takes over the states, and where the next answer agrees with them, nothing is committed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import NoReturn

from store.errors import StoreError
from store.pool import Database
from validator.clock import Clock

BEAT_S = 10.0
"""Between two rows' updates. Far below the allowance of a fact, which an absence has to outlast to count."""


class Vigil:
    """One instance's watch over the fleet, while it leads."""

    def __init__(self, db: Database, queries: Mapping[str, str], clock: Clock, *, allowance_s: float) -> None:
        """`allowance_s` is how long a fact about a live target stands: a shorter absence hides nothing."""
        self._db = db
        self._sql = queries
        self._clock = clock
        self._allowance_s = max(allowance_s, 3 * BEAT_S)  # a beat that waits for the database is no absence
        self._epoch = 0
        self._id: int | None = None
        self._awake_at = 0.0

    async def begin(self, epoch: int, retention_days: int) -> None:
        """Take up the watch as the leader of `epoch`, and forget those of before the retention. Raises `StoreError`."""
        self._epoch = epoch
        await self._begin()
        await self._db.execute(self._sql["forget_vigils"], self._clock.now() - retention_days * 86400)

    async def run(self) -> NoReturn:
        """Go on with it until cancelled."""
        while True:
            await asyncio.sleep(BEAT_S)
            await self.beat()

    async def beat(self) -> None:
        """Say that the watch goes on.

        While the database is away it goes on all the same, as the engine does. But a process that was frozen for
        longer than a fact stands (a machine that slept) has seen nothing: a new watch begins, and the gap shows.
        """
        asleep_s, self._awake_at = self._clock.now() - self._awake_at, self._clock.now()
        if asleep_s > self._allowance_s:
            self._id = None
        with suppress(StoreError):  # the recorder says that the database is away; the next beat makes up for this one
            if self._id is None:
                await self._begin()
            else:
                await self._db.execute(self._sql["go_on_with_vigil"], self._epoch, self._id, self._clock.now())

    async def _begin(self) -> None:
        self._awake_at = now = self._clock.now()
        self._id = await self._db.fetchval(self._sql["begin_vigil"], self._epoch, now, self._allowance_s)
