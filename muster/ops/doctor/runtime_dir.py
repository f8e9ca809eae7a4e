"""Whether the service's own user, and nobody else, gets its local token."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path

from muster.ops.doctor.finding import Finding, ok, problem, warning


@dataclass(frozen=True, slots=True)
class EntrySeen:
    """A directory or a file."""

    path: Path
    uid: int
    mode: int
    """Permission bits."""


def look(token: Path) -> tuple[EntrySeen | None, EntrySeen | None]:
    """The runtime directory and the token file in it; None for what is not there. Raises `OSError`."""
    return _entry(token.parent), _entry(token)


def _entry(path: Path) -> EntrySeen | None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    return EntrySeen(path, found.st_uid, stat.S_IMODE(found.st_mode))


def judge(directory: EntrySeen | None, token: EntrySeen | None, *, us: int, running: bool) -> Finding:
    """Pure. `us` is our user id; `running` whether a service answers."""
    if directory is None:
        missing = "there is no runtime directory yet; the service makes it at its start"
        if not running:
            return ok("local token", missing)
        return warning("local token", missing, "Ask as the service's user, or with --token-file FILE.")
    for entry in (directory, token):
        if entry is not None and entry.uid not in {us, 0} and us != 0:
            return warning(
                "local token",
                f"{entry.path} belongs to uid {entry.uid}",
                "Ask as that user, or with --token-file FILE.",
            )
        if entry is not None and entry.mode & (stat.S_IWGRP | stat.S_IWOTH):
            return problem(
                "local token", f"others may write to {entry.path} (mode {entry.mode:04o})", f"chmod go-w {entry.path}"
            )
    if token is not None and token.mode & (stat.S_IRGRP | stat.S_IROTH):
        return problem(
            "local token",
            f"others may read {token.path} (mode {token.mode:04o})",
            f"chmod 600 {token.path}, and restart the service: its token is new at each start.",
        )
    if token is None and running:
        return warning(
            "local token", f"the service has left none in {directory.path}", "Its log says why; use --token-file FILE."
        )
    return ok("local token", f"{directory.path} is {directory.mode:04o}{', token 0600' if token else ''}")
