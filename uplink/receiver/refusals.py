"""Refused enrolments and renewals in the audit log, as many as it has room for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import structlog

from store.errors import StoreError
from uplink.receiver.audit import STRANGER, Action, By, Door, note
from uplink.receiver.limits import Buckets
from uplink.receiver.storing import Store

_log = structlog.get_logger(__name__)

BURST: Final = 60
EVERY_S: Final = 60.0
"""Of one organisation, and of all strangers together: 60 at once, then one a minute. Anybody can cause them, and the
log never gets shorter."""

NOT_NOTED: Final = "refusals not in the audit log"
"""Name of what is counted."""


@dataclass(slots=True)
class Seen:
    """What is known so far of somebody at the door."""

    source: str
    """Their address."""
    who: str = STRANGER
    organisation: str | None = None
    installation: UUID | None = None


class Refusals:
    """Of one receiver."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._buckets = Buckets(BURST, EVERY_S)

    async def note(self, action: Action, seen: Seen, now: float, **about: Any) -> None:
        """Raises nothing: the refusal stands, whether it can be noted or not."""
        try:
            if self._buckets.wait_s(seen.organisation or "", now):
                await self._store.count(NOT_NOTED)
                return
            await note(
                self._store,
                self._store.db,
                By(seen.who, Door.EST, seen.source),
                action,
                now,
                seen.organisation,
                seen.installation,
                **about,
            )
        except StoreError as error:
            _log.warning("a refusal is not in the audit log", error=error.message)
