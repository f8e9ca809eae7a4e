"""What is old goes, once an hour."""

from __future__ import annotations

import asyncio
from typing import NoReturn

import structlog

from store.errors import StoreError
from uplink.receiver.storing import Store
from validator.clock import Clock

_log = structlog.get_logger(__name__)

EVERY_S = 3600.0
CHUNK = 1000
"""Batches in one statement: 50 MB, a second."""

RETENTION_DAYS = 90

_NAMES = ("retire_logs", "retire_health", "retire_clusters", "retire_certificates", "retire_activations")


class Retention:
    """Of everything that was received, and of certificates and tokens that work no more."""

    def __init__(self, store: Store, clock: Clock, days: int = RETENTION_DAYS) -> None:
        self._store = store
        self._clock = clock
        self._days = days

    async def run(self) -> NoReturn:
        """For ever. What fails is tried again an hour later."""
        while True:
            try:
                if batches := await self.clean():
                    _log.info("retention", batches=batches, days=self._days)
            except StoreError as error:
                _log.warning("retention is put off", error=error.message)
            await asyncio.sleep(EVERY_S)

    async def clean(self) -> int:
        """Gives how many batches went. Raises `StoreError`."""
        before = self._clock.now() - self._days * 86_400
        db, sql = self._store.db, self._store.sql
        batches = 0
        while gone := int(await db.fetchval(sql["retire_batches"], before, CHUNK)):
            batches += gone
        for name in _NAMES:
            await db.execute(sql[name], before)
        return batches
