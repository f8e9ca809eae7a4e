"""What asyncpg and the system raise becomes one of five errors that say what to do."""

from __future__ import annotations

import asyncio
import errno
import ssl

import asyncpg
import pytest
from asyncpg import exceptions

from store.errors import (
    MAX_MESSAGE_CHARS,
    StoreConflict,
    StoreError,
    StoreFull,
    StoreRefused,
    StoreUnavailable,
    store_error,
    store_errors,
)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (exceptions.AdminShutdownError("terminating connection"), StoreUnavailable),
        (exceptions.CrashShutdownError("crash"), StoreUnavailable),
        (exceptions.CannotConnectNowError("the database system is starting up"), StoreUnavailable),
        (exceptions.TooManyConnectionsError("too many clients already"), StoreUnavailable),
        (exceptions.QueryCanceledError("canceling statement"), StoreUnavailable),
        (exceptions.DeadlockDetectedError("deadlock detected"), StoreUnavailable),
        (exceptions.SerializationError("could not serialize"), StoreUnavailable),
        (exceptions.IdleInTransactionSessionTimeoutError("idle"), StoreUnavailable),
        (exceptions.ConnectionDoesNotExistError("connection was closed in the middle"), StoreUnavailable),
        (exceptions.InterfaceError("connection is closed"), StoreUnavailable),
        (exceptions.OutdatedSchemaCacheError("schema"), StoreUnavailable),
        (exceptions.InvalidCachedStatementError("cached statement plan is invalid"), StoreUnavailable),
        (exceptions.TargetServerAttributeNotMatched("none is primary"), StoreUnavailable),
        (exceptions.InternalClientError("cannot switch to state 15"), StoreUnavailable),
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), StoreUnavailable),
        (FileNotFoundError(errno.ENOENT, "No such file or directory"), StoreUnavailable),
        (TimeoutError(), StoreUnavailable),
        (ssl.SSLEOFError(), StoreUnavailable),
        (exceptions.InvalidPasswordError("password authentication failed"), StoreRefused),
        (exceptions.InvalidAuthorizationSpecificationError("no pg_hba.conf entry"), StoreRefused),
        (exceptions.InvalidCatalogNameError("no such database"), StoreRefused),
        (exceptions.InsufficientPrivilegeError("permission denied"), StoreRefused),
        (exceptions.ProtocolViolationError("unsupported startup parameter"), StoreRefused),
        (exceptions.ClientConfigurationError("sslmode parameter must be one of"), StoreRefused),
        (ssl.SSLCertVerificationError(1, "certificate verify failed"), StoreRefused),
        (PermissionError(errno.EACCES, "Permission denied"), StoreRefused),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "/data"), StoreRefused),
        (exceptions.DiskFullError("could not extend file"), StoreFull),
        (exceptions.ReadOnlySQLTransactionError("cannot execute INSERT"), StoreFull),
        (exceptions.PostgresIOError("could not write: No space left on device"), StoreFull),
        (OSError(errno.ENOSPC, "No space left on device"), StoreFull),
        (exceptions.UniqueViolationError("duplicate key"), StoreConflict),
        (exceptions.CheckViolationError("violates check constraint"), StoreConflict),
        (exceptions.ForeignKeyViolationError("violates foreign key"), StoreConflict),
        (exceptions.PostgresSyntaxError("syntax error"), StoreError),
        (exceptions.DataError("invalid input for query argument $1"), StoreError),
        (exceptions.InterfaceError("the server expects 1 argument for this query, 2 were passed"), StoreError),
    ],
)
def test_each_kind_of_error_says_what_to_do(error: Exception, expected: type[StoreError]) -> None:
    mapped = store_error("database db.example/muster", error)
    assert type(mapped) is expected
    assert mapped.message.startswith("database db.example/muster: ")
    assert mapped.message == str(mapped)


def test_the_cause_is_chained() -> None:
    cause = ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
    with pytest.raises(StoreUnavailable) as caught, store_errors("here"):
        raise cause
    assert caught.value.__cause__ is cause


def test_a_message_is_one_bounded_line() -> None:
    error = asyncpg.PostgresError("bad\nthings\x1b[31m " + "x" * 10_000)
    message = store_error("here", error).message
    assert len(message) <= MAX_MESSAGE_CHARS
    assert message.isprintable()


def test_our_own_errors_pass_as_they_are() -> None:
    ours = StoreRefused("no")
    with pytest.raises(StoreRefused) as caught, store_errors("elsewhere"):
        raise ours
    assert caught.value is ours


@pytest.mark.parametrize("error", [asyncio.CancelledError(), KeyError("a defect")])
def test_cancellation_and_defects_of_the_caller_pass_as_they_are(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, store_errors("here"):
        raise error
    assert caught.value is error


def test_a_value_that_does_not_fit_is_not_quoted() -> None:
    error = exceptions.InvalidTextRepresentationError('invalid input syntax for type integer: "canary"')
    message = store_error("here", error).message
    assert "InvalidTextRepresentation" in message
    assert "canary" not in message
