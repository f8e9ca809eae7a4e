"""The audit log: every write, also one that was refused; who, what, from where, before and after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog

from muster.access.principal import Principal
from muster.access.secret import without_tokens
from muster.access.store import AccessStore
from store.errors import StoreError
from store.pool import Statements
from validator.clean import clean_text
from validator.clock import Clock

_log = structlog.get_logger(__name__)

DONE = "done"

NOTE_S = 1.0
"""How long somebody is kept waiting for an entry that need not be written."""

MAX_PAGE = 1000
"""Most entries in one answer."""

MAX_CHARS = 1000
"""Of any text of an entry; the longest honest one is the reason of a pause."""

_NO_ID = 2**63 - 1
"""Above every id."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of it."""

    id: int
    at: float
    who: str
    kind: str
    role: str
    source: str
    action: str
    subject: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    outcome: str


class Audit:
    """Append-only."""

    def __init__(self, store: AccessStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def write(
        self,
        by: Principal,
        action: str,
        subject: str,
        before: Mapping[str, Any] | None,
        after: Mapping[str, Any] | None,
        outcome: str = DONE,
        *,
        within: Statements | None = None,
        timeout_s: float | None = None,
    ) -> None:
        """Add an entry. `before` and `after` hold no secrets: what is written here is read by every admin.

        `within` is the transaction of the write itself: both are committed, or neither. What is done outside the
        database is written here first, and done only then. Raises `StoreError`: then it must not be done.
        """
        await (within or self._store.db).execute(
            self._store.sql["write_audit"],
            self._clock.now(),
            _text(by.name),
            by.kind.value,
            by.role.value,
            _text(by.source),
            _text(action),
            _text(subject),
            _clean(before),
            _clean(after),
            outcome,
            timeout_s=timeout_s,
        )

    async def note(self, by: Principal, action: str, subject: str, outcome: str = DONE) -> None:
        """Add an entry if that can be had within `NOTE_S`; else the log has it. Raises nothing.

        For what was refused, which is safe without a record, and for sessions: they have to be had while the database
        is away, since that is when people look.
        """
        try:
            await self.write(by, action, subject, None, None, outcome, timeout_s=NOTE_S)
        except StoreError as error:
            _log.warning(
                "not in the audit log",
                action=action,
                subject=_text(subject),
                who=by.name,
                source=by.source,
                outcome=outcome,
                error=error.message,
            )

    async def page(
        self,
        limit: int,
        before: int | None = None,
        *,
        who: str | None = None,
        action: str | None = None,
        subject: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> list[Entry]:
        """Newest first; `before` is the last id of the page before. Raises `StoreError`."""
        rows = await self._store.db.fetch(
            self._store.sql["audit"],
            min(limit, MAX_PAGE),
            _NO_ID if before is None else before,
            who,
            action,
            subject,
            since,
            until,
        )
        return [Entry(**row) for row in rows]

    async def forget(self, before: float) -> None:
        """Drop what is older. Raises `StoreError`."""
        await self._store.db.execute(self._store.sql["forget_audit"], before)


def _clean(values: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if values is None:
        return None
    return {key: _text(item) if isinstance(item, str) else item for key, item in values.items()}


def _text(text: str) -> str:
    """PostgreSQL refuses NUL characters and lone surrogates; terminals obey escape sequences."""
    return clean_text(without_tokens(text), MAX_CHARS)
