"""The simulated fleet as a process of its own, so that its CPU and its faults are not the service's.

`python -m muster.demo.process --help` says how to start it. It answers on stdout, a JSON line each: first

    {"ready": true, "source": FILE, "dns_port": PORT,
     "clusters": [{"name": …, "server": …, "uid": …, "behaviour": …}, …]}

then one line for each line on stdin: `{"id": …, "at": SECONDS}` (CLOCK_MONOTONIC, the same in every process of the
machine) or `{"id": …, "error": TEXT}`; the id is the command's own, if it has one. Commands:
`{"set": NAME, "behaviour": TEXT}`, `{"add": NAME, "behaviour": TEXT}`, `{"remove": NAME}`, `{"rotate": NAME}` (the
server takes the next token only), `{"deliver": NAME}` (and the token file has it), `{"seen": NAME}` (adds the counts).

It ends when stdin ends, on SIGTERM, and by the kernel's hand when its parent dies.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import uvloop

from muster.demo import backups
from muster.demo.dns import Trouble, name_server
from muster.demo.dying import die_with
from muster.demo.fleet import SimulatedFleet
from muster.demo.script import Act, Change, timeline
from muster.demo.source_file import write_token

SOURCE_NAME = "fleet.yaml"
"""The static source's file, in the directory given."""

_MAX_LINE_BYTES = 64 * 1024


class FleetControl:
    """Does what the plot and the lines on stdin ask, and keeps the files true."""

    def __init__(self, fleet: SimulatedFleet, source: Path) -> None:
        self._fleet = fleet
        self._source = source

    async def handle(self, line: bytes) -> dict[str, Any]:
        """Carry out one command line; what goes wrong is in the answer."""
        number = None
        try:
            command = json.loads(line)
            number = command.pop("id", None)
            verb = next(iter(command))
            extra = await self._obey(verb, command[verb], command.get("behaviour", "healthy"))
        except (ValueError, TypeError, LookupError, AttributeError, StopIteration, OSError) as error:
            return {"id": number, "error": str(error) or type(error).__name__}
        return {"id": number, "at": time.monotonic(), **extra}

    async def _obey(self, verb: str, name: str, behaviour: str) -> dict[str, Any]:
        match verb:
            case "set":
                await self._fleet.set_behaviour(name, behaviour)
            case "add":
                await self._fleet.add(name, behaviour)
                self._fleet.write_static_source(self._source)
            case "remove":
                await self._fleet.remove(name)
                self._fleet.write_static_source(self._source)
            case "rotate":
                await self._fleet.set_behaviour(name, "old-token-rejected")
            case "deliver":
                await self._deliver(name)
            case "seen":
                return asdict(self._fleet.seen(name))
            case _:
                raise ValueError(f"unknown command {verb!r}")
        return {}

    async def follow(self, changes: Iterator[Change]) -> None:
        """Play the plot, in real time, until cancelled."""
        loop = asyncio.get_running_loop()
        start = loop.time()
        for change in changes:
            await asyncio.sleep(start + change.at_s - loop.time())
            await self._play(change)

    async def _play(self, change: Change) -> None:
        name = change.member.name
        match change.act:
            case Act.BEHAVE:
                await self._fleet.set_behaviour(name, change.behaviour)
            case Act.ROTATE:
                await self._deliver(name)
            case Act.JOIN:
                await self._fleet.add(name, labels=change.member.labels, resources=_resources(name))
                self._fleet.write_static_source(self._source)
            case Act.LEAVE:
                await self._fleet.remove(name)
                self._fleet.write_static_source(self._source)

    async def _deliver(self, name: str) -> None:
        write_token(self._source, self._fleet.rotate_token(name))
        await self._fleet.set_behaviour(name, "healthy")


def main() -> None:
    """Entry point of the child."""
    options = _options()
    die_with(options.parent, signal.SIGKILL)
    _allow_descriptors()
    uvloop.run(_run(options))


async def _run(options: argparse.Namespace) -> None:
    async with SimulatedFleet(seed=options.seed, shared_listener=options.shared_listener) as fleet:
        source = options.directory / SOURCE_NAME
        control = FleetControl(fleet, source)
        plot = timeline(options.seed, options.clusters, options.dead)
        for member in plot.members:
            await fleet.add(
                member.name, plot.initial[member.name], labels=member.labels, resources=_resources(member.name)
            )
        records = await _add_named(fleet) if options.clusters else {}
        velero = (
            {backups.VELERO_LIST: partial(backups.well, backups.buckets(options.buckets))} if options.buckets else {}
        )
        for count, behaviour in options.group:
            for number in range(1, count + 1):
                await fleet.add(
                    f"{behaviour.replace(':', '-').replace('.', '-')}-{number:05d}", behaviour, resources=velero
                )
        if options.warm:
            fleet.warm()
        fleet.write_static_source(source)
        gc.freeze()  # or a full collection over 10,000 clusters would hold every answer for 0.1 s
        async with name_server(records) as names, asyncio.TaskGroup() as group:
            _say({"ready": True, "source": str(source), "dns_port": names.port, "clusters": _summary(fleet)})
            story = group.create_task(control.follow(plot.changes), name="plot") if options.clusters else None
            await _until_told_to_stop(control)
            if story is not None:
                story.cancel()


def _resources(name: str) -> dict[bytes, Callable[[float], bytes]]:
    return {backups.VELERO_LIST: partial(backups.velero_answer, name)}


async def _add_named(fleet: SimulatedFleet) -> dict[str, tuple[str, ...] | Trouble]:
    """Add the plot's clusters that go by a name, and give what its name server says of them.

    Three can't be found; of the fourth the IPv6 address is dead (where the machine has IPv6; else it is simply well).
    """
    records: dict[str, tuple[str, ...] | Trouble] = {}
    troubles = (Trouble.NXDOMAIN, Trouble.SERVFAIL, Trouble.HANG, None)
    for number, trouble in enumerate(troubles, 1):
        cluster = await fleet.add(f"named-westeurope-{number:02d}", by_name=True, labels={"tenant": "named"})
        records[cluster.dns_name] = trouble or (cluster.address, "::1")
    return records


async def _until_told_to_stop(control: FleetControl) -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=_MAX_LINE_BYTES)
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, reader.feed_eof)
    try:
        while line := await reader.readline():
            _say(await control.handle(line))
    finally:
        transport.close()


def _summary(fleet: SimulatedFleet) -> list[dict[str, str]]:
    return [
        {"name": c.name, "server": c.server, "uid": c.uid, "behaviour": c.behaviour.name}
        for c in fleet.clusters.values()
    ]


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m muster.demo.process", description="Runs a simulated fleet.")
    parser.add_argument("--directory", type=Path, required=True, help="where the static source and the tokens go")
    parser.add_argument("--seed", type=int, default=0, help="of names, tokens, UIDs and the plot")
    parser.add_argument("--clusters", type=int, default=0, help="clusters of the demo's plot")
    parser.add_argument("--dead", type=float, default=0.3, help="share of them that is dead")
    parser.add_argument("--group", type=_group, action="append", default=[], metavar="COUNT:BEHAVIOUR")
    parser.add_argument("--buckets", type=int, default=0, help="that the Velero of each cluster of a group has")
    parser.add_argument("--shared-listener", action="store_true", help="one socket for all: for thousands of clusters")
    parser.add_argument("--warm", action="store_true", help="make all TLS contexts before saying ready")
    parser.add_argument("--parent", type=int, default=0, metavar="PID", help="die with this process")
    return parser.parse_args()


def _group(text: str) -> tuple[int, str]:
    count, _, behaviour = text.partition(":")
    return int(count), behaviour or "healthy"


def _allow_descriptors() -> None:
    """Take what the hard limit gives: the usual soft limit, 1,024, is too little for 1,000 clusters."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    main()
