"""Where the token comes from, and to whom it may be shown."""

from __future__ import annotations

import ipaddress
import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path

from muster.access.local import token_path
from muster.cli.errors import BadServer

MAX_BYTES = 4096
"""Of a token file: a token has 50 characters."""

_TOKEN = re.compile(rb"\s*(muster_[A-Za-z0-9_-]{43})\s*")


@dataclass(frozen=True, slots=True)
class Bearer:
    """A token, and where it was found."""

    secret: str = field(repr=False)
    path: Path
    local: bool
    """The service left it for its own user."""


def find_bearer(host: str, port: int, token_file: Path | None) -> Bearer | None:
    """The token for this address: from the file that was named, else from the one that a local service has left.

    None = there is none; the service says whether it wants one. Raises `BadServer` for a file that can't be used.
    """
    if token_file is not None:
        try:
            return Bearer(_read(token_file), token_file, local=False)
        except OSError as error:
            raise BadServer(f"{token_file}: {error.strerror}", "Correct --token-file or MUSTER_TOKEN_FILE.") from error
    if not is_this_machine(host):
        return None
    for address in ("127.0.0.1", "::1") if host == "localhost" else (host,):
        path = token_path(address, port)
        try:
            return Bearer(_read(path), path, local=True)
        except OSError:  # no service has left one here, or it was for another user
            continue
    return None


def is_this_machine(host: str) -> bool:
    """Whether the host is a loopback address or `localhost`: nobody is on the way there."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _read(path: Path) -> str:
    """The token in a file that nobody else may touch. What was opened is judged, not its path. Raises `OSError` too."""
    # O_NONBLOCK: opening a FIFO without a writer would hang for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise BadServer(f"{path} is no regular file", "Name the file that holds the token.")
        if status.st_uid not in {os.geteuid(), 0}:
            raise BadServer(
                f"{path} belongs to uid {status.st_uid}: it is somebody else's token", "Use one of your own."
            )
        if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            mode = f"{stat.S_IMODE(status.st_mode):04o}"
            raise BadServer(f"{path} holds a token, and its mode {mode} lets others at it", f"chmod 600 {path}")
        content = file.read(MAX_BYTES + 1)
    found = _TOKEN.fullmatch(content) if len(content) <= MAX_BYTES else None
    if found is None:
        raise BadServer(
            f"{path} holds no token of Muster", "It is one line: muster_ and 43 characters. See `muster token create`."
        )
    return found[1].decode()
