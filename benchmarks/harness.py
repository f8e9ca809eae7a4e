"""What the benchmarks share: the service as a child, its CPU and memory with all its children, a scraper, quantiles."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import platform
import resource
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psutil

MAX_LINE_BYTES = 32 * 1024 * 1024


@dataclass(slots=True)
class Seen:
    """One verdict as the child reported it."""

    at: float
    name: str
    check: str
    lane: str
    outcome: str
    lateness_s: float
    skipped: int
    took_s: float
    """From the moment the slot was held."""


@dataclass(slots=True)
class MusterChild:
    """The service under measurement."""

    process: asyncio.subprocess.Process
    url: str = ""
    token: str = field(default="", repr=False)
    """What the service has left for its own user."""
    seen: list[Seen] = field(default_factory=list)
    counted: int = 0
    """Verdicts so far, where the child runs quietly."""
    reported: set[int] = field(default_factory=set)
    """Numbers of the verdicts of agents that it has recorded."""

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def headers(self) -> dict[str, str]:
        """What a request has to show."""
        return {"Authorization": f"Bearer {self.token}"}

    async def follow(self) -> None:
        """Read what the child reports, until it ends."""
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            report: Any = json.loads(line)
            if isinstance(report, list):
                self.seen += [Seen(*row) for row in report]
                self.counted += len(report)
            elif "verdicts" in report:
                self.counted = report["verdicts"]
            elif "reported" in report:
                self.reported.update(report["reported"])

    async def first_picture(self, names: set[str], within_s: float) -> float:
        """Wait until each of `names` has had its first verdict; gives the instant. Raises TimeoutError."""
        async with asyncio.timeout(within_s):
            have: set[str] = set()
            looked = 0
            while True:
                while looked < len(self.seen):
                    have.add(self.seen[looked].name)
                    looked += 1
                    if names <= have:
                        return self.seen[looked - 1].at
                if self.process.returncode is not None:
                    raise SystemExit(f"the service has ended with {self.process.returncode}")
                await asyncio.sleep(0.05)


@asynccontextmanager
async def muster_child(
    source: Path | None,
    *,
    interval_s: float,
    timeout_s: float,
    renew_after_s: float = 300.0,
    quiet: bool = False,
    home: Path | None = None,
    more: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
) -> AsyncIterator[MusterChild]:
    """`benchmarks.hub` over the clusters of a static source, on an embedded database of its own.

    `home` keeps it for another child after this one; `more` are options of the module, `environ` variables of its
    own.
    """
    with contextlib.ExitStack() as cleanup:
        directory = str(home or cleanup.enter_context(tempfile.TemporaryDirectory(prefix="muster-bench-")))
        Path(directory).chmod(0o711)  # noqa: ASYNC240 - once; as root the database runs as another user
        command = [sys.executable, "-m", "benchmarks.hub", *(["--source", str(source)] if source else []), *more]
        command += ["--data-dir", f"{directory}/data", "--interval", str(interval_s), "--timeout", str(timeout_s)]
        command += ["--renew-after", str(renew_after_s)] + ["--quiet"] * quiet
        variables = {**os.environ, **(environ or {}), "MUSTER_RUNTIME_DIR": f"{directory}/run"}
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, limit=MAX_LINE_BYTES, env=variables
        )
        assert process.stdout is not None
        async with asyncio.timeout(60):
            ready = json.loads(await process.stdout.readline())
        (token,) = Path(directory, "run").glob("*.token")  # noqa: ASYNC240 - once
        child = MusterChild(process, ready["ready"], token.read_text().strip())
        following = asyncio.create_task(child.follow(), name="follow")
        try:
            yield child
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(15):
                    await process.wait()
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await following


@asynccontextmanager
async def scraper(child: MusterChild, every_s: float) -> AsyncIterator[list[int]]:
    """Scrape `/metrics` for ever; gives the list of the answers' sizes in bytes."""
    sizes: list[int] = []

    async def scrape() -> None:
        async with aiohttp.ClientSession(headers=child.headers) as session:
            while True:
                await asyncio.sleep(every_s)
                with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                    async with session.get(f"{child.url}/metrics", timeout=aiohttp.ClientTimeout(every_s)) as answer:
                        sizes.append(len(await answer.read()))

    task = asyncio.create_task(scrape(), name="scraper")
    try:
        yield sizes
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def family(pid: int) -> list[psutil.Process]:
    """A process and all that it started."""
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def cpu_s(pids: Sequence[int]) -> float:
    """User and system seconds of these processes and all that they started, the ended ones they waited for included."""
    total = 0.0
    for pid in pids:
        for process in family(pid):
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
    return total


def waited_for_core_s(pid: int) -> float:
    """How long the main thread of a process, which is our loop, was ready to run and had no core.

    What others on the machine do is in every lateness; this tells how much of it.
    """
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9


def pss_mib(pids: Sequence[int]) -> float:
    """Proportional memory in MiB: pages that PostgreSQL's processes share are counted once."""
    total = 0
    for pid in pids:
        for process in family(pid):
            with contextlib.suppress(psutil.NoSuchProcess):
                total += process.memory_full_info().pss
    return total / 2**20


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of all are not above; 0.0 of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def lateness_of_all_ticks(seen: Sequence[Seen], interval_s: float) -> list[float]:
    """Due -> answer for every tick that was due, the skipped ones with the answer that finally came."""
    return [s.lateness_s - k * interval_s for s in seen for k in range(s.skipped + 1)]


def raise_limits() -> None:
    """The fleets and the peers need descriptors."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def machine() -> str:
    """One line about where this was measured."""
    return f"{platform.system()} {platform.release()}, Python {platform.python_version()}, {psutil.cpu_count()} cores"


def result(**figures: object) -> None:
    """The last line."""
    print(json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in figures.items()}), flush=True)
