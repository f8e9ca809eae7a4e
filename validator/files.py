"""Reading a file that may be anything: bounded, never hanging, and judged by what was opened, not by its path.

Symlinks are followed, because that is how Kubernetes mounts ConfigMaps and Secrets; so every check is made on the
opened descriptor, where no swap can come in between.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

_CHUNK_BYTES = 1024 * 1024
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


class FileError(Exception):
    """A file can't be used. `message` names the file, `remedy` says what to do; neither holds its content."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class FileContent:
    """What was read, and whether its owner may be believed."""

    text: str = field(repr=False)
    foreign_because: str | None
    """Why the file is not the operator's own; None = it is (owner we or root, not writable by others)."""


def read_file(path: Path, max_bytes: int) -> FileContent:
    """Read a whole text file. Blocks on a hung file system, so call it in a `FileThread`. Raises `FileError`."""
    # O_NONBLOCK: opening a FIFO without a writer would hang for ever.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        raise _explained(path, error) from error
    try:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            kind = "a directory" if stat.S_ISDIR(before.st_mode) else "no regular file (a FIFO, device or socket)"
            raise FileError(f"{path} is {kind}", "Name a regular file, or a symlink to one.")
        data = _read_bounded(descriptor, path, max_bytes)
        after = os.fstat(descriptor)
    except OSError as error:
        raise _explained(path, error) from error
    finally:
        os.close(descriptor)
    if (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size):
        raise FileError(f"{path} was being written while it was read", "Nothing; it is read again shortly.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FileError(
            f"{path} is no UTF-8 text, at byte {error.start}", "Check that it is the right file."
        ) from error
    return FileContent(text, _foreign_because(before))


def _read_bounded(descriptor: int, path: Path, max_bytes: int) -> bytes:
    parts: list[bytes] = []
    left = max_bytes + 1
    while left > 0 and (part := os.read(descriptor, min(left, _CHUNK_BYTES))):
        parts.append(part)
        left -= len(part)
    if left <= 0:
        raise FileError(f"{path} is larger than {max_bytes} bytes", "Check that it is the right file; split it if so.")
    return b"".join(parts)


def _foreign_because(status: os.stat_result) -> str | None:
    if status.st_uid not in (os.geteuid(), 0):
        return f"it belongs to uid {status.st_uid}, who is neither the hub's user nor root"
    if status.st_mode & _WRITABLE_BY_OTHERS:
        return f"its mode {stat.S_IMODE(status.st_mode):04o} lets others write it"
    return None


def _explained(path: Path, error: OSError) -> FileError:
    match error.errno:
        case errno.ENOENT | errno.ENOTDIR:
            if path.is_symlink():
                return FileError(f"{path} is a symlink to nothing", "Restore its target, or correct the link.")
            return FileError(f"{path} does not exist", "Create it, correct the path, or take it out of the list.")
        case errno.EACCES | errno.EPERM:
            return FileError(
                f"{path} may not be read by the hub's user",
                f"Give uid {os.geteuid()} read access to it and search access to its directories.",
            )
        case errno.ELOOP:
            return FileError(f"{path} is a symlink that leads in a circle", "Point it at the real file.")
        case _:
            return FileError(f"{path} can't be read: {error.strerror}", "Check the path and the file system.")
