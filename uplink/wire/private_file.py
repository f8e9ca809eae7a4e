"""Files for nobody else, such as keys and a consent: 0600 in a directory of 0700, ours, written whole or not at all."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class PrivateFileError(OSError):
    """A file can't be read or written safely; the text names it and the remedy."""

    def __str__(self) -> str:
        return self.strerror or ""


def read_private(path: Path, limit: int) -> bytes | None:
    """The content, at most `limit` bytes; None where there is no such file. Raises `PrivateFileError`.

    What is checked is what was opened: a file that is exchanged in between is not read.
    """
    with opened(path, os.O_RDONLY) as descriptor:
        if descriptor is None:
            return None
        with os.fdopen(os.dup(descriptor), "rb") as file:
            content = file.read(limit + 1)
    if len(content) > limit:
        raise refused(path, f"is longer than {limit} bytes", "It is not ours: move it away")
    return content


def write_private(path: Path, content: bytes) -> None:
    """Write, to the disk, then rename: a power cut leaves the old content or the new. Raises `PrivateFileError`."""
    make_directory(path.parent)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        beside.replace(path)
        sync_directory(path.parent)
    except BaseException as error:
        beside.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise refused(path, error.strerror or "can't be written", "Free space there, or mend the disk") from error
        raise


@contextmanager
def opened(path: Path, flags: int) -> Iterator[int | None]:
    """A descriptor of a file that is ours alone; None where there is none. Raises `PrivateFileError`."""
    if not _checked_directory(path.parent):
        yield None
        return
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
    except FileNotFoundError:
        yield None
        return
    except OSError as error:
        raise refused(path, error.strerror or "can't be opened", "Give it back to our own user") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
            raise refused(path, "is no regular file of ours", "Move it away")
        if mode := stat.S_IMODE(status.st_mode) & 0o177:
            remedy = f"See who else may have read or written it, then chmod 600 {path}"
            raise refused(path, f"has mode {0o600 | mode:04o}", remedy)
        yield descriptor
    finally:
        os.close(descriptor)


def make_directory(directory: Path) -> None:
    """With 0700, if it is not there. Raises `PrivateFileError`, also where others may enter it."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise refused(directory, error.strerror or "can't be made", "Name another data directory") from error
    _checked_directory(directory)


def sync_directory(directory: Path) -> None:
    """Have its entries on the disk, too."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def refused(path: Path, why: str, remedy: str) -> PrivateFileError:
    """The error, with its text."""
    return PrivateFileError(0, f"{path} {why}. {remedy}")


def _checked_directory(directory: Path) -> bool:
    """Whether it is there; if so, it has to be ours alone."""
    try:
        status = directory.lstat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise refused(directory, error.strerror or "can't be read", "Give it back to our own user") from error
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise refused(directory, "is no directory of ours", "Move it away")
    if stat.S_IMODE(status.st_mode) & 0o077:
        mode = stat.S_IMODE(status.st_mode)
        raise refused(directory, f"has mode {mode:04o}", f"See who else may write there, then chmod 700 {directory}")
    return True
