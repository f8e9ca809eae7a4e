"""The parent's side of the simulated fleet's process: start it, talk to it, be sure that it is gone."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_READY_TIMEOUT_S = 120.0
"""10,000 clusters with their contexts take about 15 s of CPU, and a busy machine takes longer."""
_COMMAND_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 5.0
_MAX_LINE_BYTES = 16 * 1024 * 1024
"""The ready line has 150 bytes a cluster."""


class FleetError(Exception):
    """The simulated fleet could not be started, or refused a command."""


@dataclass(frozen=True, slots=True)
class RunningCluster:
    """A cluster as it was when the fleet became ready."""

    name: str
    server: str
    uid: str
    behaviour: str


class RunningFleet:
    """A simulated fleet in a child process. One command at a time."""

    def __init__(self, process: asyncio.subprocess.Process, ready: dict[str, Any]) -> None:
        self._process = process
        self._asking = asyncio.Lock()
        self._asked = 0
        self.pid = process.pid
        """For readings of its CPU and memory from outside."""
        self.source = Path(ready["source"])
        """The static source's file."""
        self.dns_port: int = ready["dns_port"]
        """UDP port on 127.0.0.1 of a name server that knows the clusters that go by name."""
        self.clusters: Mapping[str, RunningCluster] = {row["name"]: RunningCluster(**row) for row in ready["clusters"]}

    async def set_behaviour(self, name: str, behaviour: str) -> float:
        """Change a cluster; gives the instant, on `time.monotonic()`, at which it is done. Raises `FleetError`."""
        return await self._at({"set": name, "behaviour": behaviour})

    async def add(self, name: str, behaviour: str = "healthy") -> float:
        """Add a cluster, also to the static source. Gives the instant. Raises `FleetError`."""
        return await self._at({"add": name, "behaviour": behaviour})

    async def remove(self, name: str) -> float:
        """Remove a cluster, also from the static source. Gives the instant. Raises `FleetError`."""
        return await self._at({"remove": name})

    async def rotate_token(self, name: str) -> float:
        """From now on the cluster refuses the token in its file. Gives the instant. Raises `FleetError`."""
        return await self._at({"rotate": name})

    async def deliver_token(self, name: str) -> float:
        """Put the token that it accepts into its file. Gives the instant. Raises `FleetError`."""
        return await self._at({"deliver": name})

    async def seen(self, name: str) -> Mapping[str, int]:
        """How many `connections`, `handshakes` and `requests` the cluster has had. Raises `FleetError`."""
        answer = await self._ask({"seen": name})
        return {key: answer[key] for key in ("connections", "handshakes", "requests")}

    async def _at(self, command: dict[str, str]) -> float:
        return float((await self._ask(command))["at"])

    async def _ask(self, command: dict[str, str]) -> dict[str, Any]:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        async with self._asking, asyncio.timeout(_COMMAND_TIMEOUT_S):
            self._asked += 1
            stdin.write(json.dumps({**command, "id": self._asked}).encode() + b"\n")
            answer: dict[str, Any] = {}
            while answer.get("id") != self._asked:  # the answer of a command that was given up may come first
                line = await stdout.readline()
                if not line:
                    raise FleetError("the simulated fleet has ended")
                answer = json.loads(line)
        if "error" in answer:
            raise FleetError(f"{command}: {answer['error']}")
        return answer


@asynccontextmanager
async def running_fleet(
    directory: Path,
    *,
    seed: int = 0,
    clusters: int = 0,
    dead: float = 0.3,
    groups: Sequence[tuple[int, str]] = (),
    buckets: int = 0,
    shared_listener: bool = False,
    warm: bool = False,
) -> AsyncIterator[RunningFleet]:
    """A fleet in a child process: the demo's plot (`clusters`, `dead`), or `groups` of (count, behaviour), or both.

    Clusters of groups are called `<behaviour>-00001` and so on; with `buckets`, each has a Velero with so many
    locations. Call it from the main thread: the child dies with the thread that started it. Raises `FleetError` if it
    does not come up.
    """
    command = [sys.executable, "-m", "muster.demo.process", "--parent", str(os.getpid()), "--directory", str(directory)]
    command += ["--seed", str(seed), "--clusters", str(clusters), "--dead", str(dead)]
    command += [part for count, behaviour in groups for part in ("--group", f"{count}:{behaviour}")]
    command += ["--buckets", str(buckets)]
    command += ["--shared-listener"] * shared_listener + ["--warm"] * warm
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=_MAX_LINE_BYTES,
        start_new_session=True,  # Ctrl-C is for the parent, which then ends the child in order
    )
    try:
        yield RunningFleet(process, await _ready(process))
    finally:
        await _stop(process)


async def _ready(process: asyncio.subprocess.Process) -> dict[str, Any]:
    assert process.stdout is not None
    try:
        async with asyncio.timeout(_READY_TIMEOUT_S):
            line = await process.stdout.readline()
    except TimeoutError:
        raise FleetError(f"the simulated fleet is not ready after {_READY_TIMEOUT_S:.0f} s") from None
    if not line:
        raise FleetError("the simulated fleet ended before it was ready; its stderr says why")
    ready: dict[str, Any] = json.loads(line)
    return ready


async def _stop(process: asyncio.subprocess.Process) -> None:
    """End of stdin asks it to end; SIGKILL makes it."""
    assert process.stdin is not None
    process.stdin.close()
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STOP_TIMEOUT_S):
                await process.wait()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    await process.wait()
