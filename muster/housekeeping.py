"""Every hour: months of history to come are made, and what is older than the retention goes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NoReturn

import structlog

from collector.history import History
from collector.pauses import Pauses
from muster.access.access import Access
from muster.idempotency import Idempotency
from store.errors import StoreError
from validator.clock import HubClock

_log = structlog.get_logger(__name__)

HOUSEKEEPING_EVERY_S = 3600.0


async def keep_house(
    history: History, pauses: Pauses, access: Access, clock: HubClock, retention_days: Callable[[], int]
) -> NoReturn:
    """Until cancelled; a database that is away is waited for."""
    while True:
        await asyncio.sleep(HOUSEKEEPING_EVERY_S)
        try:
            await history.keep_partitions(clock.now(), retention_days())
            await pauses.keep(retention_days())
            await access.keep_house(clock.now(), retention_days())
            await Idempotency(access.store, clock).forget(clock.now())
        except StoreError as error:
            _log.warning("housekeeping waits for the database", error=error.message)
