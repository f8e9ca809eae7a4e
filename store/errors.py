"""What can go wrong with the store, told apart by what the caller has to do.

asyncpg raises some 250 classes, `OSError` and `TimeoutError`; nobody above this package should know them. They are
mapped once, at the edge, by SQLSTATE (stable, untranslated) and not by text. The class says what to do:
`StoreUnavailable` = try again later, `StoreRefused` = a person has to act, `StoreFull` = reads go on and writes
do not, `StoreConflict` = a constraint says no. A plain `StoreError` is a defect of ours or a damaged database.
"""

# ruff: noqa: N818 - "Unavailable" says more than "UnavailableError", and the base class has the suffix
from __future__ import annotations

import errno
import ssl
from collections.abc import Generator
from contextlib import contextmanager

import asyncpg

MAX_MESSAGE_CHARS = 500
"""Bound of a message, as for verdicts: one screen line wrapped a few times."""


class StoreError(Exception):
    """Something is wrong with the store. `message` is for people: one bounded line, no password, says what to do."""

    def __init__(self, message: str) -> None:
        self.message = one_line(message)
        super().__init__(self.message)


class StoreUnavailable(StoreError):
    """Not now: refused, closed, starting, shutting down, too slow, too many connections, lost a lock race."""


class StoreRefused(StoreError):
    """Not ever, until a person acts: credentials, permissions, names, URL, schema or server version."""


class StoreFull(StoreError):
    """The server can't write: disk full, quota, or read-only. Reads may still work."""


class StoreConflict(StoreError):
    """A constraint says no. `constraint` is its name, so that the caller can tell which."""

    def __init__(self, message: str, constraint: str | None = None) -> None:
        super().__init__(message)
        self.constraint = constraint


def one_line(text: str) -> str:
    """Without control characters and bounded by `MAX_MESSAGE_CHARS`: what a server says is not trusted to be short."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= MAX_MESSAGE_CHARS else line[: MAX_MESSAGE_CHARS - 1] + "…"


_WAIT = "It is tried again; if it stays, see whether PostgreSQL runs and its log"
_UNAVAILABLE = {
    "57P01": _WAIT,  # admin_shutdown
    "57P02": _WAIT,  # crash_shutdown
    "57P03": _WAIT,  # cannot_connect_now: starting up, shutting down, recovering
    "57P05": _WAIT,  # idle_session_timeout
    "25P03": "A transaction was held idle for too long",
    "25P04": "A transaction took too long",
    "53200": "The server is out of memory: give it more, or lower its settings",
    "53300": "Raise max_connections, or close other clients of this database",
    "57014": "The statement was cancelled, mostly because it was too slow: see the load and the locks of the server",
    "55P03": "Another session holds the lock: see pg_stat_activity",
    "40001": "It met another transaction and is tried again",
    "40P01": "It met another transaction and is tried again",
}
_REFUSED = {
    "28P01": "Correct the user or the password in MUSTER_DATABASE_URL",
    "28000": "Correct the user in MUSTER_DATABASE_URL, or the server's pg_hba.conf",
    "3D000": "Create the database, or correct its name in MUSTER_DATABASE_URL",
    "57P04": "The database was dropped: restore it, or correct its name in MUSTER_DATABASE_URL",
    "42501": "GRANT the role what it lacks; Muster needs to own its schema",
    "42704": "Correct the parameters after the ? in MUSTER_DATABASE_URL, or use a PostgreSQL >= 15",
    "08P01": "Connect straight to PostgreSQL: poolers that share sessions can't carry session locks and settings",
}
_FULL = {
    "53100": "Free space on the database server's disk",
    "25006": "The server is read-only: a replica, or out of space. Point MUSTER_DATABASE_URL at the primary",
}
_SCHEMA_MOVED = "The schema changed under a prepared statement; it is tried again"


@contextmanager
def store_errors(what: str) -> Generator[None]:
    """Map what asyncpg, the sockets and the files raise inside the block; `what` starts the message.

    The cause is chained. Our own errors and cancellation pass as they are.
    """
    try:
        yield
    except (
        OSError,  # TimeoutError is one
        asyncpg.PostgresError,
        asyncpg.InterfaceError,
        asyncpg.InternalClientError,
    ) as error:
        raise store_error(what, error) from error


def store_error(what: str, error: Exception) -> StoreError:
    """The error of ours that says what `error` means; pure."""
    if isinstance(error, asyncpg.PostgresError):
        return _from_server(what, error)
    if isinstance(error, OSError):
        return _from_system(what, error)
    if isinstance(error, asyncpg.OutdatedSchemaCacheError):
        return StoreUnavailable(f"{what}: {_SCHEMA_MOVED}.")
    if isinstance(error, asyncpg.TargetServerAttributeNotMatched):
        return StoreUnavailable(f"{what}: {error}. Check which of the servers is the primary.")
    if isinstance(error, asyncpg.InternalClientError):
        # A dying server's last FATAL, unread by anyone, leaves a connection in a state that asyncpg calls a bug of its
        # own ("cannot switch to state 15"). The connection is dropped, the next one is good.
        return StoreUnavailable(f"{what}: {error}. {_WAIT}.")
    if isinstance(error, asyncpg.exceptions.ClientConfigurationError):
        return StoreRefused(f"{what}: {error}. Correct MUSTER_DATABASE_URL.")
    if isinstance(error, asyncpg.InterfaceError) and not isinstance(error, ValueError) and _says_closed(error):
        return StoreUnavailable(f"{what}: {error}. {_WAIT}.")
    return StoreError(f"{what}: {error}. This is a defect; report it with the log line.")


def _says_closed(error: asyncpg.InterfaceError) -> bool:
    """Asyncpg has one class for "you closed it", "the server closed it" and misuse; only the text differs."""
    text = str(error)
    return "clos" in text or "released back to the pool" in text


def _from_server(what: str, error: asyncpg.PostgresError) -> StoreError:
    state = getattr(error, "sqlstate", None) or ""
    text = f"{what}: {error.args[0] if error.args else type(error).__name__}"
    if state in _UNAVAILABLE:
        return StoreUnavailable(f"{text}. {_UNAVAILABLE[state]}.")
    if state in _REFUSED:
        return StoreRefused(f"{text}. {_REFUSED[state]}.")
    if state in _FULL or "could not extend" in text or "No space left" in text:
        return StoreFull(f"{text}. {_FULL.get(state, _FULL['53100'])}.")
    if state.startswith("23"):
        return StoreConflict(f"{text}.", getattr(error, "constraint_name", None))
    if state.startswith("08"):
        return StoreUnavailable(f"{text}. {_WAIT}.")
    if isinstance(error, asyncpg.InvalidCachedStatementError):
        return StoreUnavailable(f"{text}. {_SCHEMA_MOVED}.")
    if state.startswith("22"):  # the text quotes the value, which may be private; the chained cause has it
        text = f"{what}: a value does not fit its column: {type(error).__name__}"
    return StoreError(f"{text} (SQLSTATE {state or 'unknown'}). This is a defect; report it with the server's log.")


def _from_system(what: str, error: OSError) -> StoreError:
    if isinstance(error, TimeoutError) and error.errno is None:
        return StoreUnavailable(f"{what}: no answer before the deadline. {_WAIT}.")
    if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return StoreRefused(f"{what}: TLS: {error.strerror or error}. Correct sslmode or sslrootcert in the URL.")
    text = f"{what}: {error.strerror or error}"
    if error.filename is not None:
        text += f" ({error.filename})"
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
        return StoreFull(f"{text}. Free space there.")
    if isinstance(error, PermissionError):
        return StoreRefused(f"{text}. Give Muster's user access to it.")
    if error.errno in (errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG):
        return StoreRefused(f"{text}. Correct the path.")
    return StoreUnavailable(f"{text}. {_WAIT}.")
