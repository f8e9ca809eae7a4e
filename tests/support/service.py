"""`muster run` as people run it: a child process over real sources, asked through its API, its CLI and signals.

Everything here is synchronous, so that one service and one fleet can be shared by the tests of a module, and every
wait is bounded. The children die with the test run, however that ends.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import asyncpg
import psutil
import pytest

import store
from muster.demo.running import RunningCluster, RunningFleet, running_fleet
from store.embedded import EmbeddedPostgres
from tests.support.postgres import private_directory
from tests.support.runtime import local_bearer

T = TypeVar("T")
Json = dict[str, Any]

INTERVAL_S = 1.0
TIMEOUT_S = 0.9
"""As fast as the settings allow: hysteresis takes three answers, and a test should not take a minute."""

READY_S = 30.0
"""Three seconds on an idle machine: imports, `initdb`, migrations."""
GONE_S = 5.0
"""What is promised after SIGTERM."""

LOG_LINES = 40
"""Shown of the log when something is not as it should be."""

_TRAMPOLINE = Path(store.__path__[0]) / "trampoline.py"
_REPOSITORY = Path(__file__).parents[2]


def until(condition: Callable[[], T], within_s: float, what: str) -> T:
    """Ask again and again; gives the first answer that is true. Fails with the last one."""
    deadline = time.monotonic() + within_s
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            pytest.fail(f"not within {within_s:g} s: {what}; last seen: {answer!r}")
        time.sleep(0.05)


@dataclass(frozen=True, slots=True)
class Ran:
    """A command that has ended."""

    code: int
    out: str
    err: str


class Service:
    """One running instance."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self.log_path = log
        self._url = ""

    # -- what it says

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def log(self) -> str:
        """All that it has written so far."""
        return self.log_path.read_text(errors="replace")

    @property
    def log_end(self) -> str:
        return "\n".join(self.log.splitlines()[-LOG_LINES:])

    def events(self, event: str) -> list[Json]:
        """Log lines of one event."""
        lines = (json.loads(line) for line in self.log.splitlines() if line.startswith("{"))
        return [line for line in lines if line["event"] == event]

    @property
    def url(self) -> str:
        """Where the API listens; known as soon as it does."""
        if not self._url:
            self._url = until(self._listening, READY_S, "the API listens")
        return self._url

    def _listening(self) -> str:
        if self.process.poll() is not None:
            pytest.fail(f"the service ended with {self.process.returncode}:\n{self.log_end}")
        listening = self.events("listening")
        return str(listening[0]["url"]) if listening else ""

    # -- the API

    def get(self, path: str) -> tuple[int, bytes]:
        """Status and body."""
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=10)
        try:
            connection.request("GET", path, headers=local_bearer(self.url))
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def json(self, path: str) -> Json:
        """A document; fails for anything but 200."""
        status, body = self.get(path)
        assert status == 200, f"{path}: {status} {body!r}"
        document: Json = json.loads(body)
        return document

    def ready(self) -> bool:
        """Whether it leads."""
        if self.process.poll() is not None:
            pytest.fail(f"the service ended with {self.process.returncode}:\n{self.log_end}")
        try:
            return self.get("/readyz")[0] == 200
        except OSError:
            return False

    def waits_for(self) -> str:
        """What a service that is not ready says that it waits for."""
        status, body = self.get("/readyz")
        return str(json.loads(body)["detail"]) if status == 503 else ""

    def fleet(self) -> Json:
        return self.json("/api/v1/fleet")

    def clusters(self) -> dict[str, Json]:
        """Every cluster by name."""
        return {cluster["name"]: cluster for cluster in self.json("/api/v1/clusters?limit=5000")["clusters"]}

    def cluster(self, name: str) -> Json:
        return self.json(f"/api/v1/clusters/{quote(name, safe='')}")

    def health(self, name: str) -> str:
        """Of one cluster; empty while there is none of this name."""
        return str(self.clusters().get(name, {}).get("health", ""))

    def history(self) -> list[Json]:
        """Every transition, oldest first."""
        pages: list[Json] = []
        before: int | None = None
        while True:
            page = self.json("/api/v1/transitions?limit=1000" + (f"&before={before}" if before else ""))
            pages += page["transitions"]
            before = page["next"]
            if before is None:
                return pages[::-1]

    # -- the CLI

    def cli(self, *arguments: str) -> Ran:
        """Run a command against this service."""
        return muster(*arguments, server=self.url)

    # -- the end

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> float:
        """Ask it to end, and see that it ends well; gives the seconds that it took."""
        asked = time.monotonic()
        self.send(number)
        self.process.wait(3 * GONE_S)
        assert self.process.returncode == 0, f"exit code {self.process.returncode}:\n{self.log_end}"
        return time.monotonic() - asked

    def kill(self) -> None:
        """As kill -9 does."""
        self.process.kill()
        self.process.wait()

    def tree(self) -> list[psutil.Process]:
        """The service and all that it has started."""
        service = psutil.Process(self.pid)
        return [service, *service.children(recursive=True)]


@contextmanager
def running_service(
    *options: str | Path,
    data_dir: Path | None = None,
    database_url: str | None = None,
    environ: Mapping[str, str] | None = None,
    command: Sequence[str] = ("-m", "muster", "run"),
    wrapped: Sequence[str] = (),
    interval_s: float = INTERVAL_S,
    timeout_s: float = TIMEOUT_S,
    ready: bool = True,
) -> Iterator[Service]:
    """An instance for the length of the block, which ends it unless the test has.

    It keeps its data in the database of that URL, in `data_dir`, or in a directory of its own. `ready` waits until it
    leads; `wrapped` is a program that starts the rest of its arguments. Its log is printed at the end, where pytest
    shows it if the test failed.
    """
    with own_directory() as own:
        settings = {
            "MUSTER_DATABASE_URL": database_url or "",
            "MUSTER_DATA_DIR": str(data_dir or own / "data"),
            "MUSTER_LISTEN": "127.0.0.1:0",
            "MUSTER_INTERVAL_S": str(interval_s),
            "MUSTER_TIMEOUT_S": str(timeout_s),
        }
        log = own / "service.log"
        with log.open("wb") as stderr:
            process = subprocess.Popen(
                dying_with_us(*wrapped, sys.executable, *command, *map(str, options)),
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
                env=environment({**settings, **(environ or {})}),
            )
        service = Service(process, log)
        try:
            if ready:
                until(service.ready, READY_S, "the service leads")
            yield service
            if process.poll() is None:
                service.stop()
        finally:
            with suppress(subprocess.TimeoutExpired):
                if process.poll() is None:
                    process.send_signal(signal.SIGCONT)
                    process.terminate()
                    process.wait(GONE_S)
            if process.poll() is None:
                service.kill()
            sys.stdout.write(f"--- end of the log of service {process.pid}:\n{service.log_end}\n")


def dying_with_us(*command: str | Path) -> list[str]:
    """The command, ended by the kernel when this process ends. Start it from the main thread."""
    we = (os.getpid(), -1, -1, int(signal.SIGTERM))
    return [sys.executable, "-I", "-S", str(_TRAMPOLINE), *map(str, we), *(str(part) for part in command)]


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """Ours, without what would change the service, and with `more`. Local tokens are left where tests look for them."""
    ours = {key: value for key, value in os.environ.items() if not key.startswith(("MUSTER_", "PG", "OTEL_"))}
    more = {"MUSTER_RUNTIME_DIR": os.environ.get("MUSTER_RUNTIME_DIR", ""), **more}
    for key in ("KUBECONFIG", "COLUMNS", "NO_COLOR", "DO_NOT_TRACK"):
        ours.pop(key, None)
    for key in [key for key in ours if key.lower() in ("http_proxy", "https_proxy", "all_proxy", "no_proxy")]:
        del ours[key]
    return {**ours, "PYTHONPATH": str(_REPOSITORY), **{key: value for key, value in more.items() if value}}


def muster(*arguments: str, server: str = "", environ: Mapping[str, str] | None = None) -> Ran:
    """Run a command of the CLI to its end."""
    done = subprocess.run(
        [sys.executable, "-m", "muster", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env=environment({"MUSTER_SERVER": server, **(environ or {})}),
    )
    return Ran(done.returncode, done.stdout, done.stderr)


@contextmanager
def own_directory() -> Iterator[Path]:
    """A directory that PostgreSQL's user can reach; removed once nobody uses what is in it any more."""
    directory = private_directory()
    directory.chmod(0o711)
    try:
        yield directory
    finally:
        with suppress(pytest.fail.Exception):
            until(lambda: not users_of(directory), 10, "nobody uses the directory any more")
        shutil.rmtree(directory, ignore_errors=True)


def users_of(directory: Path) -> list[psutil.Process]:
    """Processes that name the directory in their command line or work in it, such as its PostgreSQL."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if any(str(directory) in part for part in process.cmdline()) or process.cwd().startswith(str(directory)):
                found.append(process)
    return [process for process in found if process.pid != os.getpid()]


class OwnPostgres:
    """A server for one test, which may kill, freeze and start it."""

    def __init__(self, runner: asyncio.Runner, directory: Path) -> None:
        self._runner = runner
        self._server = EmbeddedPostgres(directory)
        self.url = self.start()

    @property
    def pid(self) -> int:
        assert self._server.pid is not None
        return self._server.pid

    def start(self) -> str:
        return self._runner.run(self._server.start())

    def kill(self) -> None:
        """As kill -9 does."""
        os.kill(self.pid, signal.SIGKILL)
        self._runner.run(self._server.exited())

    def stop(self) -> None:
        self._runner.run(self._server.stop())


@contextmanager
def postgres_of_its_own() -> Iterator[OwnPostgres]:
    """One that runs."""
    with own_directory() as directory, _runner() as runner:
        server = OwnPostgres(runner, directory)
        try:
            yield server
        finally:
            server.stop()


def embedded_url(data_dir: Path) -> str:
    """The URL of the database that a service keeps in this directory."""
    home = data_dir / "postgresql"
    password = (home / "password").read_text().strip()
    return f"postgresql://postgres:{password}@/postgres?host={quote(str(home / 'run'), safe='')}&port=5432"


def rows(url: str, sql: str, *arguments: object) -> list[asyncpg.Record]:
    """What a query gives."""

    async def fetch() -> list[asyncpg.Record]:
        connection = await asyncpg.connect(url, timeout=10)
        try:
            return await connection.fetch(sql, *arguments, timeout=10)
        finally:
            await connection.close(timeout=5)

    with _runner() as runner:
        return runner.run(fetch())


# -- the fleet


class Fleet:
    """A simulated fleet for tests that are not async."""

    def __init__(self, runner: asyncio.Runner, running: RunningFleet) -> None:
        self._runner = runner
        self._running = running
        self.source = running.source
        """The static source's file."""

    @property
    def clusters(self) -> Mapping[str, RunningCluster]:
        """As they were at the start."""
        return self._running.clusters

    def set(self, name: str, behaviour: str) -> None:
        self._do(self._running.set_behaviour(name, behaviour))

    def add(self, name: str, behaviour: str = "healthy") -> None:
        self._do(self._running.add(name, behaviour))

    def remove(self, name: str) -> None:
        self._do(self._running.remove(name))

    def rotate(self, name: str) -> None:
        """From now on the cluster refuses the token in its file."""
        self._do(self._running.rotate_token(name))

    def deliver(self, name: str) -> None:
        """Put the token that it accepts into its file."""
        self._do(self._running.deliver_token(name))

    def seen(self, name: str) -> Mapping[str, int]:
        """How many `connections`, `handshakes` and `requests` the cluster has had."""
        return self._do(self._running.seen(name))

    def token(self, name: str) -> str:
        """What is in its token file."""
        return (self.source.parent / "tokens" / name).read_text()

    def _do(self, command: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(command)


@contextmanager
def simulated(*groups: tuple[int, str]) -> Iterator[Fleet]:
    """A fleet of (count, behaviour) in a process of its own; clusters are called `healthy-00001` and so on."""
    with tempfile.TemporaryDirectory(prefix="muster-fleet-") as name, _runner() as runner:
        running = running_fleet(Path(name), seed=1, groups=groups)
        fleet = Fleet(runner, runner.run(running.__aenter__()))
        try:
            yield fleet
        finally:
            runner.run(running.__aexit__(None, None, None))


def _runner() -> asyncio.Runner:
    """With a loop factory, so that it leaves the loop of pytest-asyncio alone."""
    return asyncio.Runner(loop_factory=asyncio.new_event_loop)


# -- history


def assert_chain(history: Sequence[Json]) -> None:
    """Each check's transitions begin where the one before ended: none is lost, none is there twice."""
    stands: dict[tuple[str, str], str] = {}
    for change in history:
        subject = change["cluster_id"], change["check"]
        assert change["from_health"] == stands.get(subject, "Unknown"), f"{subject}: {change} after {stands}"
        assert change["to_health"] != change["from_health"], change
        stands[subject] = change["to_health"]
    ids = [change["id"] for change in history]
    assert ids == sorted(set(ids))
