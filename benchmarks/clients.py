"""Clients of the API in a process of their own, so that their CPU is not the service's.

They stand for other machines: where processors are few they give way (nice 10) to the service and to its fleet.

`python -m benchmarks.clients` reads commands from stdin, one JSON document a line, and answers each with a line:
`{"run": JOB, "clients": N, "seconds": S}` (closed loops; `{"done": {KIND: N}}`), `{"open": N}` (event streams;
`{"open": N}` once each has had its `hello`), `{"count": true}` (`{"changes": N}` received on them so far), `{"close":
true}`. What is asked without success ends it. The service's token comes in the environment, as `MUSTER_BENCH_TOKEN`.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any

import aiohttp
import uvloop

from benchmarks.harness import MusterChild

TOKEN = "MUSTER_BENCH_TOKEN"
PAGE = 100
PAGES_EACH = 5
"""Of one list, one after the other, as somebody who scrolls."""

STAYS_S = 0.2

LISTS: tuple[dict[str, str], ...] = (
    {},
    {"health": "Unhealthy"},
    {"health": "Healthy"},
    {"label": "team in (t1,t3,t5),env!=test"},
    {"name": "-000"},
    {"sort": "name"},
    {"sort": "age"},
    {"health": "Healthy", "label": "!legacy", "sort": "-since"},
)
"""What is asked: no filter, by health, by label, by text, sorted, and several of these."""

TRANSITION = b"event: transition\n"

Client = Callable[[aiohttp.ClientSession, Counter[str]], AsyncIterator[None]]


class Clients:
    """The parent's side."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def run(self, job: str, clients: int, seconds: float) -> Counter[str]:
        """Requests that were answered, by kind; each that was begun is answered when this returns."""
        done = (await self._ask({"run": job, "clients": clients, "seconds": seconds}))["done"]
        return Counter(done)

    async def open(self, viewers: int) -> None:
        """Open streams of events."""
        await self._ask({"open": viewers})

    async def changes(self) -> int:
        """How many the streams have received in all."""
        return int((await self._ask({"count": True}))["changes"])

    async def close(self) -> None:
        """Close the streams."""
        await self._ask({"close": True})

    async def _ask(self, command: dict[str, object]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        line = await self._process.stdout.readline()
        if not line:
            raise SystemExit("the clients have ended; their stderr says why")
        answer: dict[str, Any] = json.loads(line)
        return answer


@asynccontextmanager
async def clients_of(hub: MusterChild) -> AsyncIterator[Clients]:
    """Clients of one service."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.clients", hub.url),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, TOKEN: hub.token},
    )
    try:
        yield Clients(process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


# -- the child's side


async def pages(session: aiohttp.ClientSession, done: Counter[str]) -> AsyncIterator[None]:
    """Lists, page by page."""
    for asked in itertools.cycle(random.sample(LISTS, len(LISTS))):
        after: str | None = None
        for number in range(1, PAGES_EACH + 1):
            query = {**asked, "limit": str(PAGE), **({} if after is None else {"after": after})}
            page = await _json(session, "/api/v1/clusters", query)
            done["page"] += 1
            done["clusters"] += len(page["clusters"])
            yield
            if page["total"] < (number + 1) * PAGE:  # only full pages: those of two fleets are to be compared
                break
            after = page["next"]


async def not_modified(session: aiohttp.ClientSession, done: Counter[str]) -> AsyncIterator[None]:
    """The fleet in numbers, known already."""
    known = ""
    while True:
        async with session.get("/api/v1/fleet", headers={"If-None-Match": known}) as answer:
            await answer.read()
            known = answer.headers["ETag"]
            done[str(answer.status)] += 1
        yield


async def fleet(session: aiohttp.ClientSession, done: Counter[str]) -> AsyncIterator[None]:
    """The fleet in numbers, anew each time."""
    while True:
        await _json(session, "/api/v1/fleet")
        done["fleet"] += 1
        yield


async def cluster(session: aiohttp.ClientSession, done: Counter[str]) -> AsyncIterator[None]:
    """One cluster after the other, by name."""
    names = await _names(session)
    while True:
        await _json(session, f"/api/v1/clusters/{random.choice(names)}")
        done["cluster"] += 1
        yield


async def history(session: aiohttp.ClientSession, done: Counter[str]) -> AsyncIterator[None]:
    """Changes of one cluster, changes of all."""
    names = await _names(session)
    while True:
        await _json(session, f"/api/v1/clusters/{random.choice(names)}/history", {"limit": "100"})
        await _json(session, "/api/v1/transitions", {"limit": "100"})
        done["history"] += 2
        yield


async def availability(session: aiohttp.ClientSession, done: Counter[str]) -> AsyncIterator[None]:
    """Of one cluster, of all."""
    names = await _names(session)
    while True:
        await _json(session, f"/api/v1/clusters/{random.choice(names)}/availability")
        await _json(session, "/api/v1/availability")
        done["availability"] += 2
        yield


async def events(session: aiohttp.ClientSession, done: Counter[str]) -> AsyncIterator[None]:
    """Somebody who opens the stream, stays for a moment and leaves: the service only notices at the next event."""
    while True:
        async with session.get("/api/v1/events") as stream:
            await stream.content.readuntil(b"\n\n")
            await asyncio.sleep(STAYS_S)
        done["events"] += 1
        yield


async def validate(session: aiohttp.ClientSession, done: Counter[str]) -> AsyncIterator[None]:
    """Asks one cluster after the other."""
    names = await _names(session)
    while True:
        url = f"/api/v1/clusters/{random.choice(names)}/validate"
        async with session.post(url, raise_for_status=False) as stream:
            await stream.read()
        done["validate" if stream.status == 200 else "refused"] += 1
        if stream.status == 503:  # more than are allowed in a second
            await asyncio.sleep(0.05)
        yield


JOBS: dict[str, tuple[Client, ...]] = {
    "pages": (pages,),
    "304": (not_modified,),
    "mixed": (pages, fleet, cluster, history, availability, events, validate, pages),
}


class Viewers:
    """Open streams."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._tasks: list[asyncio.Task[None]] = []
        self.changes = 0

    async def open(self, viewers: int) -> None:
        """Returns when each has had its first piece."""
        ready = [asyncio.Event() for _ in range(viewers)]
        self._tasks = [asyncio.create_task(self._view(event), name="viewer") for event in ready]
        await asyncio.wait_for(asyncio.gather(*(event.wait() for event in ready)), 30)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _view(self, ready: asyncio.Event) -> None:
        tail = b""
        async with self._session.get("/api/v1/events", timeout=aiohttp.ClientTimeout(None)) as stream:
            async for piece in stream.content.iter_any():
                ready.set()
                seen = tail + piece
                self.changes += seen.count(TRANSITION)
                tail = seen[-len(TRANSITION) + 1 :]


async def _loop(client: Client, session: aiohttp.ClientSession, until: float, done: Counter[str]) -> None:
    requests = client(session, done)
    async for _ in requests:
        if monotonic() >= until:
            return


async def _json(session: aiohttp.ClientSession, path: str, query: dict[str, str] | None = None) -> Any:
    async with session.get(path, params=query) as answer:
        return json.loads(await answer.read())


async def _names(session: aiohttp.ClientSession) -> list[str]:
    page = await _json(session, "/api/v1/clusters", {"sort": "name", "limit": "5000"})
    return [each["name"] for each in page["clusters"]]


async def serve(url: str) -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer)
    async with aiohttp.ClientSession(
        url,
        headers={"Authorization": f"Bearer {os.environ[TOKEN]}"},
        connector=aiohttp.TCPConnector(limit=0),
        raise_for_status=True,
    ) as session:
        viewers = Viewers(session)
        while line := await reader.readline():
            _say(await _obey(json.loads(line), session, viewers))


async def _obey(command: dict[str, Any], session: aiohttp.ClientSession, viewers: Viewers) -> dict[str, Any]:
    match command:
        case {"run": job, "clients": count, "seconds": seconds}:
            done: Counter[str] = Counter()
            until = monotonic() + seconds
            async with asyncio.TaskGroup() as group:
                for client in itertools.islice(itertools.cycle(JOBS[job]), count):
                    group.create_task(_loop(client, session, until, done), name=f"client:{job}")
            return {"done": done}
        case {"open": count}:
            await viewers.open(count)
            return {"open": count}
        case {"close": True}:
            await viewers.close()
    return {"changes": viewers.changes}


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    os.nice(10)
    uvloop.run(serve(sys.argv[1]))
