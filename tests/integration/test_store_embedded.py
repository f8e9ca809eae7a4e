"""The embedded PostgreSQL with real processes: who it runs as, and what survives which death."""

# ruff: noqa: ASYNC110, ASYNC240 - other processes are waited for, and only the file system tells what they do
from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psutil
import pytest
import uvloop

from store.child import spawn
from store.embedded import MAX_LOG_BYTES, EmbeddedPostgres
from store.errors import StoreRefused
from store.owner import PRIVATE_IDS, server_identity
from store.pool import Database
from tests.support.need import need
from tests.support.postgres import private_directory, process_tree

Loop = Callable[[], asyncio.AbstractEventLoop]

HOLD = """
import asyncio, sys
from pathlib import Path
from store.embedded import EmbeddedPostgres
async def main():
    postgres = EmbeddedPostgres(Path(sys.argv[1]))
    print(await postgres.start(lambda cause: print("waits:", cause, flush=True)), postgres.pid, flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""
"""An instance that starts its PostgreSQL and does nothing but hold it."""


@pytest.fixture
def data_dir() -> Iterator[Path]:
    directory = private_directory()
    yield directory
    subprocess.run(["rm", "-rf", directory], check=True)


@asynccontextmanager
async def running(data_dir: Path, run_dir: Path | None = None) -> AsyncIterator[tuple[EmbeddedPostgres, str]]:
    server = EmbeddedPostgres(data_dir, run_dir=run_dir)
    try:
        yield server, await server.start()
    finally:
        await server.stop()


@asynccontextmanager
async def another_instance(data_dir: Path) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOLD, data_dir, stdin=DEVNULL, stdout=PIPE, cwd=Path.cwd()
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def told(process: Process) -> list[str]:
    assert process.stdout
    return (await asyncio.wait_for(process.stdout.readline(), 20)).decode().split()


async def ask(url: str, sql: str) -> object:
    database = await Database.open(url)
    try:
        return await database.fetchval(sql)
    finally:
        await database.close()


async def until_gone(*pids: int, within_s: float = 5) -> None:
    async with asyncio.timeout(within_s):
        while any(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in pids):
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_it_starts_dies_restarts_and_stops_under_either_loop(data_dir: Path, loop_factory: Loop) -> None:
    async def life() -> None:
        server = EmbeddedPostgres(data_dir)
        url = await server.start()
        assert await ask(url, "CREATE TABLE t AS SELECT 'kept' AS what") is None
        first = server.pid
        assert first
        watching = asyncio.create_task(server.exited(log_check_s=0.1))
        await asyncio.sleep(0.3)
        assert not watching.done()
        os.kill(first, signal.SIGKILL)
        assert "was killed by SIGKILL" in await asyncio.wait_for(watching, 2)
        assert server.pid is None
        assert await server.start() == url
        assert server.pid not in (None, first)
        assert await ask(url, "SELECT what FROM t") == "kept"
        tree = process_tree(server.pid or 0)
        await server.stop()
        assert server.pid is None
        assert not [process for process in tree if process.is_running()]

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(life())


async def test_only_its_owner_reaches_it(data_dir: Path) -> None:
    async with running(data_dir) as (server, url):
        assert server.pid
        postmaster = psutil.Process(server.pid)
        assert not [one for one in postmaster.net_connections("inet") if one.status == psutil.CONN_LISTEN]
        socket_dir = Path(parse_qs(urlsplit(url).query)["host"][0])
        assert stat.S_IMODE(socket_dir.stat().st_mode) == 0o700
        home = data_dir / "postgresql"
        assert stat.S_IMODE((home / "data").stat().st_mode) == 0o700
        assert stat.S_IMODE(home.stat().st_mode) & 0o007 == 0
        for name in ("password", "server.log"):
            assert stat.S_IMODE((home / name).stat().st_mode) == 0o600
        password = urlsplit(url).password
        assert password
        assert (home / "password").read_text() == password
        assert password not in " ".join(postmaster.cmdline()) + str(postmaster.environ())
        with pytest.raises(StoreRefused, match="password"):
            await Database.open(url.replace(password, "guess"))


async def test_as_root_it_runs_as_a_private_user(data_dir: Path) -> None:
    need(os.geteuid() == 0, "dropping root needs root")
    async with running(data_dir) as (server, _):
        assert server.pid
        owner = (data_dir / "postgresql" / "data").stat()
        assert owner.st_uid in PRIVATE_IDS
        postmaster = psutil.Process(server.pid)
        assert set(postmaster.uids()) == {owner.st_uid}
        assert set(postmaster.gids()) == {owner.st_gid}
        groups = Path(f"/proc/{server.pid}/status").read_text().partition("Groups:")[2].partition("\n")[0]
        assert groups.strip() == ""


async def test_its_settings_are_small_and_safe(data_dir: Path) -> None:
    async with running(data_dir) as (server, url):
        for name, value in {"fsync": "on", "shared_buffers": "32MB", "jit": "off", "data_checksums": "on"}.items():
            assert await ask(url, f"SHOW {name}") == value
        assert os.getsid(server.pid or 0) != os.getsid(0), "Ctrl-C must not reach it"


async def test_variables_of_other_postgresql_programs_do_not_matter(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"PGPORT": "1", "PGDATA": "/nowhere", "PGHOST": "nowhere", "PGOPTIONS": "-c work_mem=1"}.items():
        monkeypatch.setenv(name, value)
    async with running(data_dir) as (_, url):
        assert await ask(url, "SELECT 1") == 1


async def test_a_socket_path_that_is_too_long_is_replaced(data_dir: Path) -> None:
    async with running(data_dir, run_dir=data_dir / ("x" * 90)) as (server, url):
        run_dir = Path(parse_qs(urlsplit(url).query)["host"][0])
        assert data_dir not in run_dir.parents
        assert stat.S_IMODE(run_dir.stat().st_mode) == 0o700
        os.kill(server.pid or 0, signal.SIGKILL)
        await server.exited()
        assert await server.start() == url
    assert not run_dir.exists()


async def test_kill_9_of_the_parent_ends_the_server_and_the_next_start_works(data_dir: Path) -> None:
    async with another_instance(data_dir) as other:
        url, pid = await told(other)
        await ask(url, "CREATE TABLE t AS SELECT 'kept' AS what")
        other.kill()
        await until_gone(int(pid))
    async with running(data_dir) as (_, again):
        assert again == url
        assert await ask(again, "SELECT what FROM t") == "kept"


async def test_kill_9_of_everything_and_the_next_start_works(data_dir: Path) -> None:
    async with another_instance(data_dir) as other:
        url, pid = await told(other)
        await ask(url, "CREATE TABLE t AS SELECT 'kept' AS what")
        for process in process_tree(int(pid)):
            process.kill()
        other.kill()
    assert (data_dir / "postgresql" / "data" / "postmaster.pid").exists()
    async with running(data_dir) as (_, again):
        assert await ask(again, "SELECT what FROM t") == "kept"


async def test_a_second_instance_waits_and_takes_over_after_a_kill_9(data_dir: Path) -> None:
    async with another_instance(data_dir) as first:
        await told(first)
        async with another_instance(data_dir) as second:
            words = await told(second)
            assert words[:3] == ["waits:", "process", f"{first.pid},"]
            first.kill()
            killed = time.monotonic()
            url, _ = await told(second)
            assert time.monotonic() - killed < 5
            assert await ask(url, "SELECT 1") == 1


async def test_a_waiting_instance_can_be_cancelled(data_dir: Path) -> None:
    async with running(data_dir) as (_, url):
        causes: list[str] = []
        standby = EmbeddedPostgres(data_dir)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.2):
                await standby.start(causes.append)
        assert len(causes) == 1
        assert f"process {os.getpid()}, or its PostgreSQL, uses {data_dir}" in causes[0]
        assert await ask(url, "SELECT 1") == 1


async def test_an_initdb_that_was_killed_half_way_blocks_nothing(data_dir: Path) -> None:
    async with another_instance(data_dir) as other:
        async with asyncio.timeout(10):
            while not list(data_dir.glob("postgresql.new-*/data/base")):
                await asyncio.sleep(0.002)
        other.kill()
    assert not (data_dir / "postgresql").exists()
    async with running(data_dir) as (_, url):
        assert await ask(url, "SELECT 1") == 1
    assert not list(data_dir.glob("postgresql.new-*"))


async def test_a_cancelled_first_start_leaves_no_process_and_no_lock(data_dir: Path) -> None:
    server = EmbeddedPostgres(data_dir)
    starting = asyncio.create_task(server.start())
    async with asyncio.timeout(10):
        while not list(data_dir.glob("postgresql.new-*/data/base")):
            await asyncio.sleep(0.002)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    async with running(data_dir) as (_, url):
        assert await ask(url, "SELECT 1") == 1


async def test_a_stale_pid_file_that_names_another_process_of_its_user_blocks_nothing(data_dir: Path) -> None:
    async with running(data_dir) as (server, _):
        os.kill(server.pid or 0, signal.SIGKILL)
        await server.exited()
        identity = server_identity(data_dir / "postgresql" / "data")
        sleeper = await spawn(["/bin/sleep", "60"], identity, death_signal=signal.SIGKILL, output=DEVNULL)
        pid_file = data_dir / "postgresql" / "data" / "postmaster.pid"
        lines = pid_file.read_text().splitlines()
        pid_file.write_text("\n".join([str(sleeper.pid), *lines[1:]]) + "\n")
        try:
            assert await ask(await server.start(), "SELECT 1") == 1
        finally:
            sleeper.kill()
            await sleeper.wait()


async def test_data_of_another_major_version_are_refused_and_kept(data_dir: Path) -> None:
    async with running(data_dir):
        pass
    version = data_dir / "postgresql" / "data" / "PG_VERSION"
    real = version.read_text()
    version.write_text("14\n")
    with pytest.raises(StoreRefused, match=r"made by PostgreSQL 14, and this machine has PostgreSQL .*\d.*pg_dump"):
        await EmbeddedPostgres(data_dir).start()
    version.write_text(real)
    async with running(data_dir) as (_, url):
        assert await ask(url, "SELECT 1") == 1


async def test_data_that_were_changed_by_hand_say_why_they_do_not_start(data_dir: Path) -> None:
    async with running(data_dir):
        pass
    (data_dir / "postgresql" / "data" / "postgresql.conf").write_text("no_such_setting = 1\n")
    with pytest.raises(StoreRefused, match="configuration file"):
        await EmbeddedPostgres(data_dir).start()


async def test_a_lost_password_is_told_with_its_file(data_dir: Path) -> None:
    async with running(data_dir):
        pass
    (data_dir / "postgresql" / "password").write_text("another")
    with pytest.raises(StoreRefused, match="postgresql/password does not hold the password"):
        await EmbeddedPostgres(data_dir).start()


async def test_a_directory_that_the_servers_user_can_not_enter_is_refused_and_not_changed(data_dir: Path) -> None:
    need(os.geteuid() == 0, "only a server with another user than ours can be locked out")
    data_dir.chmod(0o755)
    closed = data_dir / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(StoreRefused, match=f"may not enter {closed}"):
        await EmbeddedPostgres(closed / "data").start()
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    foreign = data_dir / "foreign"
    foreign.mkdir(mode=0o700)
    (foreign / "letters").touch()
    with pytest.raises(StoreRefused, match=f"may not enter {foreign}"):
        await EmbeddedPostgres(foreign).start()
    assert stat.S_IMODE(foreign.stat().st_mode) == 0o700


async def test_a_data_directory_that_is_a_file_is_refused(data_dir: Path) -> None:
    (data_dir / "file").touch()
    with pytest.raises(StoreRefused, match=f"{data_dir}/file"):
        await EmbeddedPostgres(data_dir / "file").start()


async def test_its_log_is_bounded(data_dir: Path) -> None:
    async with running(data_dir) as (server, _):
        log = data_dir / "postgresql" / "server.log"
        with log.open("ab") as file:
            file.write(b"x" * (MAX_LOG_BYTES + 1))
        watching = asyncio.create_task(server.exited(log_check_s=0.05))
        async with asyncio.timeout(3):
            while log.stat().st_size > MAX_LOG_BYTES:
                await asyncio.sleep(0.02)
        os.kill(server.pid or 0, signal.SIGINT)
        assert "ended with exit code 0" in await asyncio.wait_for(watching, 5)
        assert "shut down" in log.read_text(errors="replace"), "the server goes on writing after the cut"


async def test_a_server_that_does_not_stop_is_aborted_in_time(data_dir: Path) -> None:
    async with running(data_dir) as (server, _):
        tree = process_tree(server.pid or 0)
        tree[0].suspend()
        began = time.monotonic()
        await server.stop()
        assert time.monotonic() - began < 5
        await until_gone(*(process.pid for process in tree))


async def test_it_is_started_from_the_main_thread_only(data_dir: Path) -> None:
    """Else it would be told to stop when that thread ends."""
    errors: list[BaseException] = []

    def elsewhere() -> None:
        try:
            asyncio.run(EmbeddedPostgres(data_dir).start())
        except RuntimeError as error:
            errors.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    await asyncio.to_thread(thread.join)
    assert "main thread" in str(errors[0])
