"""The one way to PostgreSQL: a small pool in which every acquire and every statement has a deadline.

asyncpg's pool does the pooling. What is added: one deadline for waiting, connecting and asking together
(asyncpg's `timeout` bounds the statement only), errors of our own at the edge, and a release that can neither hang nor
turn an answer that was already received into a failure.

A transaction is never held across other network I/O: besides being a rule, the server ends it
(`idle_in_transaction_session_timeout`), so that a frozen instance can't keep a lock from its successor.
"""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import asyncpg

from store.address import Address, parse_address
from store.errors import StoreError, store_errors

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Row: TypeAlias = asyncpg.Record
    Connection: TypeAlias = asyncpg.Connection[Row] | PoolConnectionProxy[Row]
else:  # the classes are generic in the stubs only
    Row = asyncpg.Record
    Connection = asyncpg.Connection

T = TypeVar("T")
Ask: TypeAlias = Callable[[Connection, float], Awaitable[T]]
"""A statement with its arguments, waiting for a connection and the seconds it may take."""

CONNECT_TIMEOUT_S = 5.0
"""A handshake takes milliseconds; a busy server on a slow network a second."""
RELEASE_TIMEOUT_S = 2.0
"""For the reset of a connection that goes back; a slower one is dropped, and the next call makes a new one."""
CLOSE_TIMEOUT_S = 2.0
"""Of the 5 s in which the service has to be gone after SIGTERM."""
IDLE_TRANSACTION_S = 10
"""After this the server rolls back a transaction whose client is silent, and its locks are free."""


def server_settings(application_name: str) -> dict[str, str]:
    """Settings of every session of ours. With the keepalives a client whose host vanished is gone after 11 s."""
    return {
        "application_name": application_name,
        "idle_in_transaction_session_timeout": f"{IDLE_TRANSACTION_S}s",
        "tcp_keepalives_idle": "5",
        "tcp_keepalives_interval": "2",
        "tcp_keepalives_count": "3",
    }


async def prepare_connection(connection: Connection) -> None:
    """Make `jsonb` what Python's json says it is. NaN is refused here, because PostgreSQL would refuse it later."""
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        encoder=lambda value: json.dumps(value, allow_nan=False, separators=(",", ":")),
        decoder=json.loads,
    )


class Statements(ABC):
    """The four ways to ask. `timeout_s` bounds the whole call; every method raises `StoreError`s only."""

    async def fetch(self, sql: str, *args: object, timeout_s: float | None = None) -> list[Row]:
        """All rows. The caller's SQL bounds their number."""
        return await self._call(lambda connection, s: connection.fetch(sql, *args, timeout=s), timeout_s)

    async def fetchrow(self, sql: str, *args: object, timeout_s: float | None = None) -> Row | None:
        """The first row, or None."""
        return await self._call(lambda connection, s: connection.fetchrow(sql, *args, timeout=s), timeout_s)

    async def fetchval(self, sql: str, *args: object, timeout_s: float | None = None) -> Any:
        """The first column of the first row, or None."""
        return await self._call(lambda connection, s: connection.fetchval(sql, *args, timeout=s), timeout_s)

    async def execute(self, sql: str, *args: object, timeout_s: float | None = None) -> str:
        """Run a statement (several, where there are no arguments); gives PostgreSQL's tag, e.g. `UPDATE 3`."""
        return await self._call(lambda connection, s: connection.execute(sql, *args, timeout=s), timeout_s)

    @abstractmethod
    async def _call(self, ask: Ask[T], timeout_s: float | None) -> T: ...


class Session(Statements):
    """One connection, held for the length of a block. Not for several tasks at once."""

    def __init__(self, connection: Connection, what: str, statement_timeout_s: float) -> None:
        self._connection = connection
        self._what = what
        self._statement_timeout_s = statement_timeout_s

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """Commit at the end of the block, roll back on any exception.

        A `StoreUnavailable` from the commit itself means *unknown*: it may have happened. Compare-and-swap in the
        statements makes trying again harmless.
        """
        transaction = self._connection.transaction()
        await self._bounded(transaction.start, self._statement_timeout_s)
        try:
            yield
        except BaseException:
            with suppress(StoreError):  # the connection is broken: the server rolls back by itself
                await self._bounded(transaction.rollback, RELEASE_TIMEOUT_S)
            raise
        await self._bounded(transaction.commit, self._statement_timeout_s)

    async def _call(self, ask: Ask[T], timeout_s: float | None) -> T:
        within_s = self._statement_timeout_s if timeout_s is None else timeout_s
        return await self._bounded(lambda: ask(self._connection, within_s), within_s)

    async def _bounded(self, ask: Callable[[], Awaitable[T]], within_s: float) -> T:
        """The timeout of asyncpg does not cover its waiting for an earlier statement's cancellation; this does."""
        with store_errors(self._what):
            async with asyncio.timeout(within_s):
                return await ask()


class Database(Statements):
    """A bounded pool. Broken connections are dropped; the call after that gets a new one.

    There is no retry inside: whether a statement that met a dying server may be repeated is the caller's to know.
    """

    def __init__(self, pool: asyncpg.Pool[Row], address: Address, statement_timeout_s: float) -> None:
        self._pool = pool
        self._what = f"database {address}"
        self._statement_timeout_s = statement_timeout_s

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        connections: int = 6,
        statement_timeout_s: float = 10.0,
        application_name: str = "muster",
    ) -> Database:
        """Connect once, so that a wrong URL, password or an absent server is told at start and not at the first use.

        The pool keeps no minimum of connections: asyncpg would replace them in a background task of its own, and
        nobody owns that. Raises `StoreUnavailable` or `StoreRefused`.
        """
        address = parse_address(url)
        with store_errors(f"database {address}"):
            pool = await asyncpg.create_pool(
                address.url,
                min_size=0,
                max_size=connections,
                max_inactive_connection_lifetime=300.0,
                timeout=CONNECT_TIMEOUT_S,
                command_timeout=statement_timeout_s,
                init=prepare_connection,
                server_settings=server_settings(application_name),
            )
        database = cls(pool, address, statement_timeout_s)
        try:
            await database.fetchval("SELECT 1")
        except BaseException:
            pool.terminate()
            raise
        return database

    @asynccontextmanager
    async def session(self, *, timeout_s: float | None = None) -> AsyncIterator[Session]:
        """One connection for several statements without a transaction; `timeout_s` is for getting it."""
        with store_errors(f"{self._what}: getting a connection"):
            async with asyncio.timeout(self._statement_timeout_s if timeout_s is None else timeout_s):
                connection = await self._pool.acquire()
        try:
            yield Session(connection, self._what, self._statement_timeout_s)
        finally:
            # What can go wrong here went wrong after the answer; asyncpg has dropped the connection then.
            with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
                await self._pool.release(connection, timeout=RELEASE_TIMEOUT_S)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Session]:
        """A connection in a transaction; see `Session.transaction`."""
        async with self.session() as session, session.transaction():
            yield session

    async def close(self) -> None:
        """Wait `CLOSE_TIMEOUT_S` for what is under way, then cut it off."""
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._pool.close()
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
            self._pool.terminate()

    async def _call(self, ask: Ask[T], timeout_s: float | None) -> T:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (self._statement_timeout_s if timeout_s is None else timeout_s)
        async with self.session(timeout_s=deadline - loop.time()) as session:
            return await session._call(ask, deadline - loop.time())  # noqa: SLF001 - the same class family, one file
