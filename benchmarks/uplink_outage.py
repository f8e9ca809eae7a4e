"""The endpoint is away for 88 hours, and what has become of every batch then.

The clock is made to go, all else is real: gathering, the spool with its bounds, the sender, and the receiver once it
is back. The bound in bytes is made so small that some of it has to go.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from benchmarks.uplink_client import Spec, client
from benchmarks.uplink_fleet import MadeFleet
from store.pool import Database
from uplink.client.consent.record import Given
from uplink.client.consent.streams import Stream
from uplink.client.encoding.batch import Batch
from uplink.client.network.line import Line, Reply
from uplink.client.network.unreached import Obstacle, Unreached
from uplink.client.spooling.spool import Bounds, Spool
from uplink.wire.names import BATCH_ID
from uplink.wire.otlp import pack
from validator.clock import FakeClock

HOURS = 88
CLUSTERS = 50
CHANGES = 5

ROOM_BYTES = 2900
"""For each look, which makes a batch of metrics and one of logs: four fifths of what they take."""


@dataclass(slots=True)
class Away:
    """A line to the endpoint, for as long as `is_away` is false; knows what was acknowledged."""

    line: Line
    is_away: bool = True
    delivered: list[str] = field(default_factory=list)

    @property
    def generation(self) -> int:
        return self.line.generation

    async def post(self, path: str, body: bytes, headers: Mapping[str, str], deadline_s: float) -> Reply:
        if self.is_away:
            raise Unreached(Obstacle.CONNECT, "refused")
        reply = await self.line.post(path, body, headers, deadline_s)
        if reply.status == 200:
            self.delivered.append(headers[BATCH_ID])
        return reply

    async def delete(self, path: str, deadline_s: float) -> Reply:
        return await self.line.delete(path, deadline_s)


@dataclass(frozen=True, slots=True)
class Made:
    """A batch, as it came into the spool."""

    id: UUID
    records: int
    bytes: int


class Watched(Spool):
    """Knows what it was given."""

    def __init__(self, db: Database, bounds: Bounds) -> None:
        super().__init__(db, bounds)
        self.made: list[Made] = []

    async def add(
        self,
        given: Given,
        batches: Iterable[Batch],
        now: float,
        marks: Mapping[Stream, Any] | None = None,
        drops: Mapping[str, int] | None = None,
    ) -> None:
        some = list(batches)
        self.made += [Made(each.id, each.records, len(pack(each.raw))) for each in some]
        await super().add(given, some, now, marks, drops)


@dataclass(frozen=True, slots=True)
class Outcome:
    """All ones: as it should be."""

    made: int
    """Batches."""
    inside: int
    """Of these, the newest that fit into the bound."""
    delivered_ratio: float
    """Of those inside, the share that was acknowledged in their order, and nothing else was."""
    counted_ratio: float
    """Of the records outside, the share that was counted as lost."""


async def outage(spec: Spec, looks: int) -> Outcome:
    """`looks` in 88 hours; in production it is one a minute."""
    fleet, clock = MadeFleet(CLUSTERS, CHANGES, restless=False), FakeClock(time.time() - HOURS * 3600)
    bounds, lines, spools = Bounds(bytes=ROOM_BYTES * looks), list[Away](), list[Watched]()

    def line_of(line: Line) -> Line:
        lines.append(Away(line))
        return lines[0]

    def spool_of(db: Database) -> Spool:
        spools.append(Watched(db, bounds))
        return spools[0]

    async with client(spec, fleet, clock, spool_of=spool_of, line_of=line_of) as own:
        for number in range(looks):
            clock.advance(HOURS * 3600 / looks)
            fleet.go_on(clock.now())
            await own.filler.fill(own.standing, now_all=True)
            if number % (looks // HOURS) == 0:
                await own.sender.step()
        lines[0].is_away = False
        while (wait_s := await own.sender.step()) is not None:  # noqa: ASYNC110 - as the sender's own loop does
            await asyncio.sleep(wait_s)  # the receiver takes 600 at once, and then 20 a second (429)
        lost = sum((await spools[0].counts()).values())
    made, inside, used = spools[0].made, list[Made](), 0
    for each in reversed(made):
        if (used := used + each.bytes) > bounds.bytes:
            break
        inside.insert(0, each)
    outside = sum(each.records for each in made[: len(made) - len(inside)])
    in_order = [str(each.id) for each in inside] == lines[0].delivered
    return Outcome(len(made), len(inside), float(in_order), lost / outside if outside else float(not lost))
