"""Files that hold a key: 0600 in a directory of 0700, ours, written whole or not at all."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

MAX_BYTES = 256 * 1024


class KeyFileError(OSError):
    """A key can't be read or written safely; the text names the file and the remedy."""

    def __str__(self) -> str:
        return self.strerror or ""


def read_private(path: Path) -> bytes:
    """The content of a file that nobody else can have read. Raises `KeyFileError`.

    What is checked is what was opened: a file that is exchanged in between is not read.
    """
    _check_directory(path.parent)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)  # a FIFO would hang
    except OSError as error:
        raise _refused(path, error.strerror or "can't be opened", "Give us back the file") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
            raise _refused(path, "is no regular file of ours", "Put a file of our own user there")
        if stat.S_IMODE(status.st_mode) & 0o177:
            mode = stat.S_IMODE(status.st_mode)
            raise _refused(
                path, f"has mode {mode:04o}", f"Others may have read it: replace the key, or chmod 600 {path}"
            )
        return os.read(descriptor, MAX_BYTES)
    finally:
        os.close(descriptor)


def write_private(path: Path, content: bytes) -> None:
    """Write, to the disk, then rename: a power cut leaves the old content or the new. Raises `KeyFileError`."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise _refused(path.parent, error.strerror or "can't be made", "Name another directory") from error
    _check_directory(path.parent)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        beside.replace(path)
        _sync(path.parent)
    except BaseException as error:
        beside.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise _refused(path, error.strerror or "can't be written", "Free space, or name another place") from error
        raise


def _check_directory(directory: Path) -> None:
    try:
        status = directory.lstat()
    except OSError as error:
        raise _refused(directory, error.strerror or "can't be read", "Make it with `muster receiver init`") from error
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise _refused(directory, "is no directory of ours", "Put a directory of our own user there")
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise _refused(directory, f"has mode {stat.S_IMODE(status.st_mode):04o}", f"Run chmod 700 {directory}")


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refused(path: Path, why: str, remedy: str) -> KeyFileError:
    return KeyFileError(0, f"{path} {why}. {remedy}")
