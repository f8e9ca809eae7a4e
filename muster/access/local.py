"""The token that a running service leaves in a file for its own user.

Whoever can read the file is the user that runs the service, or root: both could read its memory and its database as
well, so the token may do everything. It is new at each start.
"""

from __future__ import annotations

import ipaddress
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from muster.access.secret import digest, new_secret, new_token


class LocalTokenError(OSError):
    """The file can't be left; the text names the directory and the remedy."""

    def __str__(self) -> str:
        return self.strerror or ""


class LocalToken:
    """One instance's."""

    def __init__(self, secret: str | None = None) -> None:
        self._secret = secret or new_token()
        self._sha256 = digest(self._secret)

    def is_(self, secret: str) -> bool:
        """Whether it is this one."""
        return digest(secret) == self._sha256

    @contextmanager
    def left(self, host: str, port: int) -> Iterator[Path]:
        """The file, for the length of the block. Raises `LocalTokenError`."""
        try:
            path = token_path(reached_at(host), port)
        except RuntimeError as error:
            raise _refused(Path("~"), "is nowhere: there is no home directory") from error
        directory = path.parent
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            _check(directory)
            _write(path, self._secret)
        except OSError as error:
            if isinstance(error, LocalTokenError):
                raise
            raise _refused(directory, error.strerror or str(error)) from error
        try:
            yield path
        finally:
            with suppress(OSError):  # somebody was faster
                if path.read_text().strip() == self._secret:
                    path.unlink()


def token_path(host: str, port: int) -> Path:
    """Where the service that listens there leaves its token. `host` as in the URL, without brackets."""
    return _runtime_dir() / f"{host.replace(':', '_')}-{port}.token"


def _runtime_dir() -> Path:
    """$MUSTER_RUNTIME_DIR, else what the system has for files that live as long as a process."""
    if named := os.environ.get("MUSTER_RUNTIME_DIR"):
        return Path(named)
    if session := os.environ.get("XDG_RUNTIME_DIR"):
        return Path(session, "muster")
    return Path("/run/muster") if os.geteuid() == 0 else Path.home() / ".local/state/muster"


def reached_at(host: str) -> str:
    """The address by which this machine reaches a service that listens on all addresses."""
    address = ipaddress.ip_address(host)
    if not address.is_unspecified:
        return host
    return "127.0.0.1" if address.version == 4 else "::1"


def _check(directory: Path) -> None:
    """Nobody else may own the directory or write to it: they could put a token of their own there, or read ours."""
    status = directory.lstat()
    if not stat.S_ISDIR(status.st_mode):
        raise _refused(directory, "is no directory")
    if status.st_uid != os.geteuid():
        raise _refused(directory, f"belongs to uid {status.st_uid}, not to us ({os.geteuid()})")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise _refused(directory, f"can be written by others (mode {stat.S_IMODE(status.st_mode):04o})")


def _write(path: Path, secret: str) -> None:
    """All of it or nothing, whoever looks."""
    beside = path.with_name(f".{path.name}.{new_secret()[:8]}")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(f"{secret}\n")
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def _refused(directory: Path, why: str) -> LocalTokenError:
    return LocalTokenError(
        0, f"no local token: {directory} {why}. Name a directory of your own with MUSTER_RUNTIME_DIR (mode 0700)"
    )
