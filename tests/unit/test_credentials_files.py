"""Credentials in files: read again in time, never on the loop, and every failure names its file."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest

from tests.support.kubeconfigs import client_pair, jwt, write
from tests.support.loops import on_both_loops
from validator.credential_sources.files import REREAD_AFTER_S, SERVE_AT_MOST_S, FileCredential
from validator.credential_sources.spec import CredentialSpec
from validator.credentials import Credential, CredentialError
from validator.file_thread import FileThread
from validator.reasons import Reason

NOW = 1_800_000_000.0
LATER = NOW + REREAD_AFTER_S


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path / "token", "one\n")


@pytest.fixture
def thread() -> FileThread:
    return FileThread("test")


@pytest.fixture
def source(path: Path, thread: FileThread) -> FileCredential:
    return FileCredential(CredentialSpec('user "a" in config', token=path), thread)


async def drain(thread: FileThread) -> None:
    await thread.run(lambda: None, 5)


def token_now(source: FileCredential, now: float) -> str | None:
    credential = source.current(now)
    return credential.token if credential else None


async def failure(source: FileCredential) -> CredentialError:
    with pytest.raises(CredentialError) as caught:
        await source.fetch(NOW)
    assert 'user "a" in config' in caught.value.message
    return caught.value


@on_both_loops
async def test_a_token_is_fetched_once_and_then_at_hand(source: FileCredential) -> None:
    assert source.current(NOW) is None
    credential = await source.fetch(NOW)
    assert credential.token == "one"
    assert source.current(NOW + 1) is credential


async def test_a_renewed_token_is_seen_after_a_minute_and_never_missing(
    source: FileCredential, path: Path, thread: FileThread
) -> None:
    await source.fetch(NOW)
    write(path, "two")
    assert token_now(source, LATER - 1) == "one"
    assert token_now(source, LATER) == "one"  # the re-read runs ahead
    await drain(thread)
    assert token_now(source, LATER + 1) == "two"


async def test_an_unchanged_file_gives_the_same_object(source: FileCredential, thread: FileThread) -> None:
    before = await source.fetch(NOW)
    source.current(LATER)
    await drain(thread)
    assert source.current(LATER) is before
    source.reject(before)
    assert source.current(LATER) is None
    assert await source.fetch(LATER) == before


async def test_a_401_makes_the_file_be_read_at_once(source: FileCredential, path: Path) -> None:
    before = await source.fetch(NOW)
    write(path, "two")
    source.reject(before)
    assert source.current(NOW + 1) is None
    assert (await source.fetch(NOW + 1)).token == "two"


async def test_a_late_401_to_the_former_token_changes_nothing(source: FileCredential) -> None:
    after = await source.fetch(NOW)
    source.reject(Credential("zero"))
    assert source.current(NOW) is after


async def test_a_rejected_token_that_was_read_ahead_is_not_served(source: FileCredential, thread: FileThread) -> None:
    before = await source.fetch(NOW)
    source.current(LATER)
    source.reject(before)
    await drain(thread)
    assert source.current(LATER) is None


async def test_a_vanished_file_is_said_after_a_minute(source: FileCredential, path: Path, thread: FileThread) -> None:
    await source.fetch(NOW)
    os.unlink(path)  # noqa: PTH108 - async code may not use pathlib for it
    source.current(LATER)
    await drain(thread)
    assert source.current(LATER) is None
    error = await failure(source)
    assert error.reason is Reason.CREDENTIAL_UNAVAILABLE
    assert f"{path} does not exist" in error.message


@pytest.mark.parametrize(
    ("text", "says"),
    [("", "token is empty"), (" \n", "token is empty"), ("s3cret s3cret", "HTTP header"), ("s3cret" * 9000, "larger")],
)
async def test_a_bad_token_file_is_named_and_not_quoted(
    source: FileCredential, path: Path, text: str, says: str
) -> None:
    write(path, text)
    error = await failure(source)
    assert says in error.message
    assert str(path) in error.message
    assert "s3cret" not in error.message


@pytest.mark.timeout(5)
async def test_a_fifo_is_no_hang(path: Path, source: FileCredential) -> None:
    os.unlink(path)  # noqa: PTH108 - async code may not use pathlib for it
    os.mkfifo(path)
    assert "no regular file" in (await failure(source)).message


async def test_a_hung_file_system_is_said_and_outlived(path: Path, thread: FileThread) -> None:
    source = FileCredential(CredentialSpec('user "a" in config', token=path), thread, deadline_s=0.05)
    release = threading.Event()
    await source.fetch(NOW)
    thread.submit(release.wait)
    assert token_now(source, LATER) == "one"
    assert token_now(source, NOW + SERVE_AT_MOST_S) is None
    assert "not read within 0.05 s" in (await failure(source)).message
    release.set()
    await drain(thread)
    assert (await source.fetch(NOW)).token == "one"


async def test_a_cancelled_fetch_leaves_nothing_behind(source: FileCredential, thread: FileThread) -> None:
    release = threading.Event()
    thread.submit(release.wait)
    task = asyncio.create_task(source.fetch(NOW))
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    release.set()
    assert (await source.fetch(NOW)).token == "one"


async def test_the_expiry_of_a_jwt_is_known(path: Path, source: FileCredential) -> None:
    write(path, jwt(exp=int(NOW) + 3600))
    assert (await source.fetch(NOW)).expires_at == NOW + 3600


async def test_client_certificate_files_that_do_not_fit_are_named(tmp_path: Path, thread: FileThread) -> None:
    chain = write(tmp_path / "me.crt", client_pair()[0])
    key = write(tmp_path / "me.key", client_pair(1)[1])
    source = FileCredential(CredentialSpec('user "a" in config', chain=chain, key=key), thread)
    error = await failure(source)
    assert error.reason is Reason.CREDENTIAL_UNAVAILABLE  # whoever renews them may be half-way
    assert str(key) in error.message
    write(key, client_pair()[1])
    assert (await source.fetch(NOW)).client_certificate is not None


async def test_many_who_wait_are_served_by_one_reading(source: FileCredential) -> None:
    answers = await asyncio.gather(*(source.fetch(NOW) for _ in range(50)))
    assert len({id(answer) for answer in answers}) == 1
