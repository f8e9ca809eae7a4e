"""A child process that records verdicts and dies where it is told: the recorder's own small composition root.

    python -m tests.support.crashing DATABASE_URL SEED ROUNDS [STEP NTH]

It leads as the service does, prints `leading`, then one line of JSON for each transition that it publishes, in the same
breath. At the NTH time that the recorder passes STEP it kills itself; without one it works until ROUNDS are over.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from uuid import UUID

import structlog

from collector.recorder import Recorder
from collector.transition import Transition
from store.leader import Leadership
from store.pool import Database
from tests.support.collecting import AT_ONCE, QUERIES, verdict
from validator.clock import HubClock
from validator.model import Check
from validator.reasons import Health, Reason

LOCK = 0x7465_7374
ANSWERS = (None, None, Reason.CONNECT_TIMEOUT, Reason.NOT_READY, Reason.CLOCK_SKEW, Reason.HUB_OUT_OF_DESCRIPTORS)
VERDICTS = 20
"""Of one round, which ends with a flush."""


@dataclass
class Child:
    """How one came to its end, and what it had published by then."""

    code: int | None
    published: list[Transition] = field(default_factory=list)


class Running:
    """A child as its parent sees it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def leading(self) -> None:
        """Wait until it leads."""
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        assert line == b"leading\n", line

    def kill(self) -> None:
        """From outside, at whatever moment this is."""
        self._process.kill()

    async def ended(self) -> Child:
        """Wait for its end. A line that was cut off was not published."""
        assert self._process.stdout is not None
        lines = (await self._process.stdout.read()).split(b"\n")
        return Child(await self._process.wait(), [_parsed(line) for line in lines[:-1]])


async def start_child(url: str, seed: int, rounds: int, step: str = "", nth: int = 0) -> Running:
    """Start one; it is the caller's to wait for."""
    arguments = (url, str(seed), str(rounds), *((step, str(nth)) if step else ()))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.crashing", *arguments), stdout=asyncio.subprocess.PIPE
    )
    running = Running(process)
    await running.leading()
    return running


def _parsed(line: bytes) -> Transition:
    said = json.loads(line)
    return Transition(
        id=said["id"],
        at=0.0,
        cluster_id=UUID(said["cluster"]),
        cluster_name="",
        check=said["check"],
        from_health=Health(said["from"]),
        to_health=Health(said["to"]),
        since=0.0,
        reason=None,
        stage=None,
        message="",
        evidence={},
        flapping=False,
        collapsed=0,
        changes=said["changes"],
    )


def _publish(told: Transition) -> None:
    said = {
        "id": told.id,
        "cluster": str(told.cluster_id),
        "check": told.check,
        "from": told.from_health,
        "to": told.to_health,
        "changes": told.changes,
    }
    _say(json.dumps(said))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def _main(url: str, seed: int, rounds: int, step: str, nth: int) -> None:
    random, passed, clock = Random(seed), Counter[str](), HubClock()

    def at(here: str) -> None:
        passed[here] += 1
        if here == step and passed[here] == nth:
            os.kill(os.getpid(), signal.SIGKILL)

    database = await Database.open(url)
    leadership = Leadership(url, LOCK, holder=f"{os.getpid()}")
    recorder = Recorder(database, QUERIES, clock, AT_ONCE, names=str, publish=_publish, at=at)
    await recorder.load(await leadership.acquire(lambda _: None), grace_s=30.0)
    clusters = [row["id"] for row in await database.fetch("SELECT id FROM clusters ORDER BY name")]
    _say("leading")
    for _ in range(rounds):
        for cluster in random.choices(clusters, k=VERDICTS):
            check = random.choice([Check.APISERVER, Check.CREDENTIAL])
            recorder.record([verdict(cluster, clock.now(), random.choice(ANSWERS), check=check)])
            await asyncio.sleep(0)
        await recorder.flush()
    while recorder._dirty:
        await recorder.flush()
    await leadership.close()
    await database.close()


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    _, url_, seed_, rounds_, *where = sys.argv
    asyncio.run(_main(url_, int(seed_), int(rounds_), where[0] if where else "", int(where[1]) if where else 0))
