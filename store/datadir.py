"""The embedded database's place on disk: made once, whole or not at all.

    <data dir>/muster.lock            flock of the instance that may run
    <data dir>/postgresql/data        PGDATA
    <data dir>/postgresql/password    of the user postgres, 0600
    <data dir>/postgresql/server.log  bounded by `EmbeddedPostgres`
    <data dir>/postgresql/run         the socket, where that path is short enough

`postgresql` is made under another name and renamed when it is complete: an initdb that was killed half-way, or a full
disk, can't leave a directory behind that blocks the next start.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from pathlib import Path

from store.binaries import Binaries
from store.child import Identity, run
from store.errors import StoreError, StoreFull, StoreRefused
from store.owner import first_closed_directory, hand_over, initdb_identity

INITDB_TIMEOUT_S = 120.0
"""It takes half a second on a good disk."""
_OURS = ("muster.lock", "postgresql", "programs-")
_NEW = "postgresql.new-"


class DataDir:
    """Paths in a data directory, and how it comes to be. Its caller holds the lock."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.lock = root / "muster.lock"
        self.home = root / "postgresql"
        self.cluster = self.home / "data"
        self.log = self.home / "server.log"
        self.run_dir = self.home / "run"
        self._password = self.home / "password"

    def major(self) -> int | None:
        """PostgreSQL's major version that made the data; None = there is none yet."""
        if not self.home.exists():
            return None
        try:
            return int((self.cluster / "PG_VERSION").read_text())
        except (FileNotFoundError, ValueError) as error:
            raise StoreRefused(
                f"{self.home} exists, but {self.cluster} is not a PostgreSQL data directory. "
                "Restore it from a backup, or move it away to start afresh."
            ) from error

    def password(self) -> str:
        """The password of the user postgres."""
        try:
            return self._password.read_text(encoding="ascii").strip()
        except (FileNotFoundError, UnicodeDecodeError) as error:
            raise self.wrong_password() from error

    def wrong_password(self) -> StoreRefused:
        """What to say where the database does not accept what the file says."""
        return StoreRefused(
            f"{self._password} does not hold the password of the database in {self.cluster}. Restore it from a backup "
            f"of {self.home}."
        )

    def open_to(self, identity: Identity) -> None:
        """Let the server's user in. Only the data directory is changed, and only if nothing but ours is in it."""
        closed = first_closed_directory(self.root, identity)
        if closed == self.root and all(path.name.startswith(_OURS) for path in self.root.iterdir()):
            os.chown(self.root, -1, identity.gid)
            self.root.chmod(self.root.stat().st_mode | 0o010)
            closed = first_closed_directory(self.root, identity)
        if closed:
            raise StoreRefused(
                f"PostgreSQL does not run as root, and its user (id {identity.uid}) may not enter {closed}. Choose a "
                f"data directory elsewhere, or `chmod o+x {closed}` if others may pass through it."
            )

    async def create(self, binaries: Binaries, identity: Identity | None, lock_fd: int) -> None:
        """Make the database, unless it exists. Raises `StoreFull`, `StoreRefused`, or `StoreUnavailable` (too slow)."""
        if self.home.exists():
            return
        maker = initdb_identity(identity)
        new = self._begin(maker)
        code, output = await run(
            [
                binaries.initdb,
                *("--pgdata", new / "data", "--username", "postgres", "--pwfile", new / "password"),
                *("--encoding", "UTF8", "--locale", "C.UTF-8", "--auth", "scram-sha-256"),
                *("--data-checksums", "--no-instructions"),
            ],
            maker,
            timeout_s=INITDB_TIMEOUT_S,
            keep_open=[lock_fd],
        )
        if code != 0:
            shutil.rmtree(new, ignore_errors=True)
            raise ended_badly("initdb", output)
        self._finish(new, identity)

    def _begin(self, maker: Identity | None) -> Path:
        for leftover in self.root.glob(f"{_NEW}*"):
            shutil.rmtree(leftover)
        new = Path(tempfile.mkdtemp(prefix=_NEW, dir=self.root))
        cluster, password = new / "data", new / "password"
        cluster.mkdir(mode=0o700)
        password.touch(mode=0o600)
        password.write_text(secrets.token_urlsafe(32), encoding="ascii")
        if maker:
            os.chown(new, -1, maker.gid)
            new.chmod(0o710)
            os.chown(cluster, maker.uid, maker.gid)
            os.chown(password, maker.uid, maker.gid)
        return new

    def _finish(self, new: Path, identity: Identity | None) -> None:
        if identity:
            hand_over(new / "data", identity)
            os.chown(new / "password", 0, 0)
        _sync(new / "password")
        _sync(new)
        new.rename(self.home)
        _sync(self.root)

    def forget_stale_pid(self) -> None:
        """Remove `postmaster.pid` where it names a process that is not this server.

        PostgreSQL does so itself, unless the process id was given to another process of the same user meanwhile, as is
        usual in containers: then it would refuse to start for ever. We hold the lock, which every former
        server held too, so there is none; the check of the working directory is for one that was started by hand.
        """
        pid_file = self.cluster / "postmaster.pid"
        try:
            pid = int(pid_file.read_text().partition("\n")[0])
            its_directory = Path(f"/proc/{pid}/cwd").readlink()
        except (OSError, ValueError):
            return  # no such file or process, or not Linux: PostgreSQL knows what to do
        if its_directory != self.cluster.resolve():
            pid_file.unlink()


def ended_badly(what: str, output: str) -> StoreError:
    """What it means that a program of PostgreSQL failed with this output."""
    lines = [line for line in output.splitlines() if line.strip()]
    telling = [line for line in lines if "FATAL" in line or "PANIC" in line or "error:" in line]
    said = (telling or lines or ["nothing"])[-1]
    if "No space left on device" in output or "Disk quota exceeded" in output:
        return StoreFull(f"{what} failed: {said}. Free space on the data directory's disk.")
    return StoreRefused(f"{what} failed: {said}. Mend what it names, or set MUSTER_DATABASE_URL.")


def _sync(path: Path) -> None:
    """To the disk, so that a power cut can't leave a database without its password."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
