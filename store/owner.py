"""Who owns the embedded database's files, and where they are by default.

PostgreSQL refuses to run as root. `nobody` is shared with other services, which could then read our files, and a user
of our own would need `useradd`, which changes the machine. So as root a numeric user without a name is taken:

- The range 65520 to 65529 is given out by nobody: Debian reserves 65000-65533, systemd's dynamic users end at 65519,
  and it fits into the 65536 ids of a usual user namespace. (65532 is popular in containers.)
- Of these the first that has neither a user nor a group entry on this machine. Existing data keep their owner.
- `postgres` itself does not mind a nameless user, but `initdb` looks its user up and fails. So `initdb`, and only
  that, runs with a named user's id (`nobody`) and *our* group, behind a directory that only our group may enter:
  other processes of `nobody` can neither reach the files nor trace the process. Then the files are handed over.
"""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path

from store.child import Identity
from store.errors import StoreRefused

PRIVATE_IDS = range(65520, 65530)
NAMED_USERS = ("nobody", "daemon", "bin")
"""For `initdb` alone; each exists on some distribution, and none owns files."""


def default_data_dir() -> Path:
    """`/var/lib/muster` as root, else `$XDG_DATA_HOME/muster` or `~/.local/share/muster`."""
    if os.geteuid() == 0:
        return Path("/var/lib/muster")
    data_home = os.environ.get("XDG_DATA_HOME", "")
    if data_home.startswith("/"):  # the XDG specification says to ignore relative paths
        return Path(data_home, "muster")
    try:
        return Path.home() / ".local/share/muster"
    except RuntimeError as error:
        raise StoreRefused(
            "there is no home directory to keep the database in. Set XDG_DATA_HOME, name a data directory, "
            "or set MUSTER_DATABASE_URL."
        ) from error


def server_identity(cluster: Path) -> Identity | None:
    """Whom the server on the data directory `cluster` runs as; None = ourselves, because we are not root."""
    if os.geteuid() != 0:
        return None
    if cluster.exists():
        status = cluster.stat()
        if status.st_uid != 0:
            return Identity(status.st_uid, status.st_gid)
    for number in PRIVATE_IDS:
        if not _is_named(number):
            return Identity(number, number)
    raise StoreRefused(
        f"every user id from {PRIVATE_IDS[0]} to {PRIVATE_IDS[-1]} has a name on this machine, and PostgreSQL can't "
        "run as root. Run Muster as an ordinary user, or set MUSTER_DATABASE_URL."
    )


def initdb_identity(server: Identity | None) -> Identity | None:
    """Whom `initdb` runs as. Raises `StoreRefused` where it would find no name for itself."""
    if server is None:
        if not _has_name(os.geteuid()):
            raise StoreRefused(
                f"user id {os.geteuid()} has no entry in /etc/passwd, and initdb needs one. Add it (OpenShift: let the "
                "image's entrypoint do it), run as a user that has one, or set MUSTER_DATABASE_URL."
            )
        return None
    if _has_name(server.uid):
        return server
    for name in NAMED_USERS:
        try:
            return Identity(pwd.getpwnam(name).pw_uid, server.gid)
        except KeyError:
            continue
    raise StoreRefused(
        f"none of the users {', '.join(NAMED_USERS)} exists, and initdb needs one of them. Add one to /etc/passwd, or "
        "set MUSTER_DATABASE_URL."
    )


def hand_over(directory: Path, owner: Identity) -> None:
    """Give a tree to its owner. Links are not followed: they are given themselves."""
    os.chown(directory, owner.uid, owner.gid)
    for parent, directories, files in os.walk(directory):
        for name in directories + files:
            os.chown(Path(parent, name), owner.uid, owner.gid, follow_symlinks=False)


def first_closed_directory(path: Path, identity: Identity) -> Path | None:
    """The first directory on the way to `path`, and `path` itself, that `identity` may not enter, by its mode bits."""
    for directory in (*reversed(path.parents), path):
        status = directory.stat()
        if status.st_uid == identity.uid:
            bit = 0o100
        elif status.st_gid == identity.gid:
            bit = 0o010
        else:
            bit = 0o001
        if not status.st_mode & bit:
            return directory
    return None


def _is_named(number: int) -> bool:
    try:
        grp.getgrgid(number)
    except KeyError:
        return _has_name(number)
    return True


def _has_name(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True
