"""One of several instances leads: hot standby by a PostgreSQL session advisory lock.

The lock lives exactly as long as the connection that took it, so a kill -9 of the leader frees it at once and a
standby, which asks every second, takes over within seconds. A lease row was considered: it needs clocks, renewals,
and a takeover time that is the lease's length.

A lock alone can't stop a leader that was frozen and wakes up. The epoch does: the new leader increments it,
every write of a leader checks it in its own transaction (`SELECT epoch FROM leadership FOR SHARE`), and a
write with an old epoch does not commit. FOR SHARE and not FOR KEY SHARE, which would not conflict with the increment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import asyncpg

from store.address import parse_address
from store.errors import StoreError, StoreFull, StoreRefused, StoreUnavailable, store_errors
from store.pool import CONNECT_TIMEOUT_S, Row, server_settings

POLL_S = 1.0
"""Between two attempts on the lock; the takeover's largest part."""
HEARTBEAT_S = 1.0
HEARTBEAT_TIMEOUT_S = 3.0
"""Longest silence of the lock's connection before it counts as lost."""

_TRY_LOCK = "SELECT pg_try_advisory_lock($1)"
_EPOCH = "SELECT epoch FROM leadership"
_LEAD = "UPDATE leadership SET epoch = epoch + 1, holder = $1, since = now() RETURNING epoch"


class Leadership:
    """This instance's claim to lead. Owns one connection, never one of the pool; used by one task."""

    def __init__(self, url: str, key: int, *, holder: str, application_name: str = "muster-leader") -> None:
        """`holder` is who we are, for people (host and process id); `key` names the lock in this database."""
        self._address = parse_address(url)
        self._key = key
        self._holder = holder
        self._application_name = application_name
        self._what = f"leadership in database {self._address}"
        self._connection: asyncpg.Connection[Row] | None = None
        self._gone = asyncio.Event()
        self._epoch: int | None = None

    @property
    def epoch(self) -> int | None:
        """The epoch that this instance leads in, or led in last; None before it ever led."""
        return self._epoch

    async def acquire(self, on_wait: Callable[[str], None]) -> int:
        """Wait until this instance leads; gives its epoch.

        `on_wait` is called with the cause when waiting begins and when the cause changes, not each second. A database
        that is away or can't be written to is waited for as well; `StoreRefused` and defects are raised.
        """
        told = ""
        while True:
            try:
                if await self._try_lock():
                    self._epoch = epoch = await self._ask(_LEAD, self._holder)
                    return epoch
                cause = "another instance leads; this one is its hot standby"
            except (StoreUnavailable, StoreFull) as error:
                await self.close()  # the lock too, if it was held: another instance may fare better
                cause = error.message
            except BaseException:
                self._drop()
                raise
            if cause != told:
                on_wait(cause)
                told = cause
            await asyncio.sleep(POLL_S)

    async def lost(self) -> str:
        """Return, with the cause, once the connection that holds the lock is gone; until then it is asked each second.

        From then on another instance may lead: hold back writes and call `regain`.
        """
        while True:
            try:
                async with asyncio.timeout(HEARTBEAT_S):
                    await self._gone.wait()
                cause = f"{self._what}: the server closed the connection"
            except TimeoutError:
                try:
                    await self._ask("SELECT 1")
                except StoreError as error:
                    cause = error.message
                else:
                    continue
            self._drop()
            return cause

    async def regain(self) -> bool:
        """After `lost`: True once this instance holds the lock again and nobody else led in between.

        False = someone else leads or led: step down and forget what was in memory. A database that is away is waited
        for without end; cancel to give up.
        """
        if self._epoch is None:
            raise RuntimeError("regain() without ever having led")
        while True:
            try:
                held = await self._try_lock()
                if await self._ask(_EPOCH) != self._epoch:
                    self._drop()
                    return False
                if held:
                    return True
                # The lock is taken, the epoch is ours: our own old session that the server has not noticed yet to be
                # dead, or a new leader before its first write. The next look tells.
            except StoreUnavailable:
                self._drop()
            except BaseException:
                self._drop()
                raise
            await asyncio.sleep(POLL_S)

    async def close(self) -> None:
        """Give up the lock, if held. Bounded; never raises a `StoreError`."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            await connection.close(timeout=HEARTBEAT_TIMEOUT_S)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
            connection.terminate()

    async def _try_lock(self) -> bool:
        if self._connection is None or self._connection.is_closed():
            self._drop()
            self._gone = gone = asyncio.Event()
            with store_errors(self._what):
                self._connection = await asyncpg.connect(
                    self._address.url,
                    timeout=CONNECT_TIMEOUT_S,
                    command_timeout=HEARTBEAT_TIMEOUT_S,
                    server_settings=server_settings(self._application_name),
                )
            self._connection.add_termination_listener(lambda _: gone.set())
        return bool(await self._ask(_TRY_LOCK, self._key))

    async def _ask(self, sql: str, *args: object) -> int:
        if self._connection is None:
            raise StoreUnavailable(f"{self._what}: not connected.")
        with store_errors(self._what):
            async with asyncio.timeout(HEARTBEAT_TIMEOUT_S):
                answer: int | None = await self._connection.fetchval(sql, *args)
        if answer is None:
            raise StoreRefused(f"{self._what}: the table leadership has lost its row. Restore it from a backup.")
        return answer

    def _drop(self) -> None:
        """Without a word to the server: it may not listen."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()
