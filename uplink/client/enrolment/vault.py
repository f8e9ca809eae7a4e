"""Where the identity lies: a file of 0600 in a directory of 0700, or whatever else keeps a secret.

What is overwritten or destroyed is written over first. On a disk that writes elsewhere each time (flash, copy on write,
snapshots) that proves nothing; certificates that live for days are the answer to that.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol, TypeVar

from uplink.client.enrolment.identity import MAX_IDENTITY_BYTES
from uplink.wire.private_file import (
    PrivateFileError,
    make_directory,
    opened,
    read_private,
    refused,
    sync_directory,
    write_private,
)
from validator.file_thread import FileThread

FILE: Final = "identity.json"
DEADLINE_S: Final = 5.0
"""Of one act. A disk that takes longer counts as one that can't be written."""

T = TypeVar("T")


class Vault(Protocol):
    """Keeps one document. Its acts happen in the order in which they are called, also when nobody waits any more.

    `SecretVault` is the other one: a Kubernetes Secret.
    """

    @property
    def place(self) -> str:
        """For people."""
        ...

    async def read(self) -> bytes | None:
        """None: there is none. Raises `PrivateFileError` for what others may read, too."""
        ...

    async def write(self, document: bytes) -> None:
        """All of it or nothing, and lasting. Raises `PrivateFileError`: then the one before is still there.

        Or already this one, where what keeps it did not answer in time.
        """
        ...

    async def destroy(self) -> None:
        """Also what a crash has left beside it. Raises `PrivateFileError`; makes nothing where there is nothing."""
        ...


class FileVault:
    """In a directory that is for nothing else."""

    def __init__(self, directory: Path) -> None:
        """Makes nothing yet."""
        self._directory = directory
        self._path = directory / FILE
        self._files = FileThread("telemetry-identity")

    @property
    def place(self) -> str:
        return str(self._path)

    async def read(self) -> bytes | None:
        return await self._run(self._read)

    async def write(self, document: bytes) -> None:
        await self._run(lambda: self._write(document))

    async def destroy(self) -> None:
        await self._run(self._destroy)

    async def _run(self, job: Callable[[], T]) -> T:
        try:
            return await self._files.run(job, DEADLINE_S)
        except TimeoutError:
            raise PrivateFileError(0, f"{self._directory} did not answer within {DEADLINE_S:g} s") from None

    def _read(self) -> bytes | None:
        found = read_private(self._path, MAX_IDENTITY_BYTES)
        self._sweep(keep=self._path)
        return found

    def _write(self, document: bytes) -> None:
        """The old content is written over after the rename, through a descriptor that outlives its name."""
        make_directory(self._directory)
        with opened(self._path, os.O_RDWR) as old:
            write_private(self._path, document)
            if old is not None:
                with suppress(OSError):  # the new one counts already
                    _write_over(old)

    def _destroy(self) -> None:
        self._sweep(keep=None)

    def _sweep(self, keep: Path | None) -> None:
        """Remove what is in the directory: a file that was not renamed yet has a key in it, too."""
        try:
            found = [path for path in self._directory.iterdir() if path != keep]
        except FileNotFoundError:
            return
        except OSError as error:
            why = error.strerror or "can't be read"
            raise refused(self._directory, why, "Remove it before the service starts again") from error
        for path in found:
            try:
                _write_over_file(path)
                path.unlink(missing_ok=True)
            except OSError as error:
                raise refused(path, error.strerror or "can't be removed", "Remove it by hand") from error
        if found:
            sync_directory(self._directory)


def _write_over_file(path: Path) -> None:
    """As well as it can be: what can't be opened is removed all the same. A link is not followed."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            _write_over(descriptor)
        finally:
            os.close(descriptor)


def _write_over(descriptor: int) -> None:
    os.pwrite(descriptor, os.urandom(min(os.fstat(descriptor).st_size, MAX_IDENTITY_BYTES)), 0)
    os.fsync(descriptor)
