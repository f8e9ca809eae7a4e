"""Whether an embedded database runs already, and where: for commands beside the service."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from store.datadir import DataDir
from store.embedded import PORT
from store.errors import StoreRefused, store_errors


def user_of(data_dir: Path) -> int | None:
    """Process id of the instance that uses the data directory; None = nobody does.

    The lock tells, not the number in its file, which stays behind after a kill -9. Raises `StoreRefused` where it may
    not be looked at.
    """
    with store_errors("embedded PostgreSQL"), suppress(FileNotFoundError):
        lock_fd = os.open(DataDir(data_dir.absolute()).lock, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock_fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(os.pread(lock_fd, 20, 0).decode(errors="replace").strip() or "0")
        finally:
            os.close(lock_fd)
    return None


def running_url(data_dir: Path) -> str | None:
    """URL of the embedded database that another process keeps running; None = nobody does, or it is still starting.

    The socket's directory is read from `postmaster.pid` (its fifth line), since a long path makes it a temporary one.
    Raises `StoreRefused` where the files may not be read: only the service's own user and root may.
    """
    directory = DataDir(data_dir.absolute())
    if user_of(data_dir) is None:
        return None
    with store_errors("embedded PostgreSQL"), suppress(FileNotFoundError):
        lines = (directory.cluster / "postmaster.pid").read_text().splitlines()
        if len(lines) < 5 or not lines[4].startswith("/"):
            return None
        host = quote(lines[4], safe="")
        return f"postgresql://postgres:{directory.password()}@/postgres?host={host}&port={PORT}"
    return None


def exists(data_dir: Path) -> bool:
    """Whether there is an embedded database in the data directory, running or not. Raises `StoreRefused`."""
    with store_errors("embedded PostgreSQL"):
        return DataDir(data_dir.absolute()).major() is not None


def must_exist(data_dir: Path) -> None:
    """Raise `StoreRefused` where there is no embedded database: a command that reads must not make an empty one."""
    if not exists(data_dir):
        raise StoreRefused(
            f"there is no database in {data_dir}. Name the service's data directory with --data-dir or "
            "MUSTER_DATA_DIR, or its database with MUSTER_DATABASE_URL."
        )
