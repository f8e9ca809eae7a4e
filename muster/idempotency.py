"""Requests that may be sent twice (IETF draft httpapi-idempotency-key): done once, answered the same again.

Only what was done is kept. A request that was refused has done nothing: sent again it is tried again, and may be
refused for another reason by then. What was done by an instance that died before it could keep the answer is tried
again too, after `ABANDONED_S`; whatever takes a key must stand that (a second pause finds the first one).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import NamedTuple, Protocol

import structlog

from store.errors import StoreError
from store.pool import Statements
from validator.clock import Clock

_log = structlog.get_logger(__name__)

KEPT_S = 86_400.0
"""How long a key stands for its request."""

ABANDONED_S = 60.0
"""A request that is under way for longer than this is nobody's any more: no handler takes so long."""

WAIT_S = 10.0
"""For the same request, sent twice at once, to be answered the first time."""


class Kept(NamedTuple):
    """An answer."""

    status: int
    body: bytes


class KeyConflict(Exception):  # noqa: N818 - an answer, not an error
    """The key can't be used for this request, or not yet. The text says what to do."""


class KeyStore(Protocol):
    """Where keys are; `muster.access.store.AccessStore` is one."""

    @property
    def db(self) -> Statements:
        """Raises `StoreUnavailable` until it is open."""
        ...

    @property
    def sql(self) -> Mapping[str, str]:
        """The statements."""
        ...


class Idempotency:
    """One an instance."""

    def __init__(self, store: KeyStore, clock: Clock, wait_s: float = WAIT_S) -> None:
        """`wait_s` is for tests."""
        self._store = store
        self._clock = clock
        self._wait_s = wait_s
        self._under_way: dict[tuple[str, str], asyncio.Event] = {}

    async def once(
        self, key: str, principal: str, route: str, body: bytes, act: Callable[[], Awaitable[Kept]]
    ) -> tuple[Kept, bool]:
        """What `act` gives, or what it gave the first time; and whether it was the latter.

        The same request at the same time waits for the first one, without a connection to the database. Raises
        `KeyConflict`, `StoreError`, and whatever `act` raises.
        """
        slot = (principal, key)
        try:
            async with asyncio.timeout(self._wait_s):
                while (first := self._under_way.get(slot)) is not None:
                    await first.wait()
        except TimeoutError:
            raise KeyConflict("The first request with this key is still under way. Send it again later.") from None
        done = self._under_way[slot] = asyncio.Event()
        try:
            return await self._once(slot, route, hashlib.sha256(body).digest(), act)
        finally:
            del self._under_way[slot]
            done.set()

    async def forget(self, now: float) -> None:
        """Drop keys that stand for nothing any more. Raises `StoreError`."""
        await self._store.db.execute(self._store.sql["forget_keys"], now - KEPT_S)

    async def _once(
        self, slot: tuple[str, str], route: str, sha256: bytes, act: Callable[[], Awaitable[Kept]]
    ) -> tuple[Kept, bool]:
        principal, key = slot
        db, sql, now = self._store.db, self._store.sql, self._clock.now()
        claim = (key, principal, route, sha256, now, now - KEPT_S, now - ABANDONED_S)
        if await db.fetchval(sql["claim_key"], *claim) is None:
            row = await db.fetchrow(sql["find_key"], key, principal)
            if row is not None and (row["route"], row["body_sha256"]) != (route, sha256):
                raise KeyConflict("This key was used for another request. Make a new one for each thing to be done.")
            if row is None or row["status"] is None:
                raise KeyConflict("The first request with this key is under way elsewhere. Send it again in a minute.")
            return Kept(row["status"], row["body"]), True
        try:
            kept = await act()
        except Exception:  # where it is cancelled nobody knows what was done: the claim stands until it is abandoned
            with suppress(StoreError):
                await db.execute(sql["free_key"], key, principal)
            raise
        try:
            await db.execute(sql["keep_answer"], key, principal, *kept)
        except StoreError as error:
            _log.warning("an answer could not be kept for its Idempotency-Key", route=route, error=error.message)
        return kept, False
