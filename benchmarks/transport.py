"""What one GET on a kept TLS connection costs the client: the probe's own transport against aiohttp's client.

200 targets with a CA each, on uvloop, five turns each in alternation; CPU of this process alone, medians.
The figures stand in docs/decisions/0003-probe-transport.md.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import process_time

import aiohttp
import uvloop

from benchmarks.harness import machine, raise_limits, result
from muster.demo.running import running_fleet
from validator.discovery.source import Sighting
from validator.discovery.static import StaticSource
from validator.net.dialer import Dialer, StageDeadlines, Trace
from validator.net.http1 import HttpConnection
from validator.net.resolver import CaresResolver
from validator.net.tls import TlsContexts

TARGETS = 200
AT_ONCE = 20

Ask = Callable[[Sighting], Awaitable[int]]


async def main(*, quick: bool) -> None:
    rounds, turns = (10, 3) if quick else (50, 5)
    print(f"{machine()}; {TARGETS} targets, {rounds} GETs each a turn", flush=True)
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as directory:
        async with running_fleet(Path(directory), groups=[(TARGETS, "healthy")], warm=True) as fleet:
            source = StaticSource(fleet.source)
            reading = await anext(aiter(source.readings()))
            contexts = TlsContexts()
            dialer = Dialer(CaresResolver(), contexts, StageDeadlines())
            connections: dict[str, HttpConnection] = {}
            for sighting in reading.sightings:
                until = asyncio.get_running_loop().time() + 10
                connections[sighting.name] = (await dialer.dial(sighting.endpoint, None, Trace(), until)).connection

            async def ours(sighting: Sighting) -> int:
                host = sighting.endpoint.url.removeprefix("https://")
                request = f"GET /readyz HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\n\r\n".encode()
                async with asyncio.timeout(10):
                    return (await connections[sighting.name].exchange(request)).status

            connector = aiohttp.TCPConnector(limit=0)
            async with aiohttp.ClientSession(connector=connector) as session:

                async def theirs(sighting: Sighting) -> int:
                    async with session.get(
                        f"{sighting.endpoint.url}/readyz",
                        ssl=contexts.get(sighting.endpoint, None),
                        allow_redirects=False,
                        timeout=aiohttp.ClientTimeout(10),
                    ) as answer:
                        await answer.read()
                        return answer.status

                sides = {"own transport": ours, "aiohttp": theirs}
                for ask in sides.values():
                    await turn(ask, reading.sightings, 1)
                costs: dict[str, list[float]] = {name: [] for name in sides}
                for _ in range(turns):
                    for name, ask in sides.items():
                        costs[name].append(await turn(ask, reading.sightings, rounds))
            for connection in connections.values():
                connection.abort()
    medians = {name: statistics.median(values) * 1e6 for name, values in costs.items()}
    for name, median in medians.items():
        print(f"{name}: {median:.0f} µs CPU a GET ({min(costs[name]) * 1e6:.0f} to {max(costs[name]) * 1e6:.0f})")
    result(benchmark="transport", own_to_aiohttp=medians["own transport"] / medians["aiohttp"])


async def turn(ask: Ask, sightings: tuple[Sighting, ...], rounds: int) -> float:
    """CPU seconds a GET, over `rounds` of each target, a few at once."""

    async def walk(part: tuple[Sighting, ...]) -> None:
        for _ in range(rounds):
            for sighting in part:
                if await ask(sighting) != 200:
                    raise SystemExit(f"{sighting.name} does not answer 200")

    begin = process_time()
    async with asyncio.TaskGroup() as group:
        for number in range(AT_ONCE):
            group.create_task(walk(sightings[number::AT_ONCE]), name=f"walk:{number}")
    return (process_time() - begin) / (rounds * len(sightings))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    raise_limits()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(quick=parser.parse_args().quick))
