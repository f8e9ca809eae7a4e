"""Validation jobs in tests: of a hub without a database, on a real one, and a carrier that does what it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import cast
from uuid import UUID

import collector
from collector.locations import Locations
from collector.validation import LIMITS, Job, JobState, Limits
from collector.validation_jobs import Listener, Nobody, ValidationJobs, Way
from collector.validation_store import ValidationStore
from muster.validating import assignments_of
from store.pool import Database
from store.sql import load_queries
from tests.support.collecting import verdict
from tests.support.locations import LocationBench, new_location
from validator.clock import Clock
from validator.model import Check, Pair, Verdict
from validator.reasons import Reason

VALIDATION_QUERIES = load_queries(Path(collector.__path__[0]) / "validations.sql")
NOBODY = Nobody(Reason.NO_ASKER, "nobody asks: install the agent")


def made_up_validations(locations: Locations, clock: Clock) -> ValidationJobs:
    """Those of a hub without a database: there are none."""
    store = ValidationStore(cast("Database", None), {})
    return ValidationJobs(store, clock, partial(assignments_of, locations), lambda _: NOBODY, lambda _: None)


def answer_of(pair: Pair, reason: Reason | None = None, check: Check = Check.LOCATION, text: str = "") -> Verdict:
    """A verdict about a pair: a pass, or what the reason's row says."""
    found = verdict(pair.cluster_id, 0.0, reason, check=check, message=text, evidence={"method": "direct"})
    return replace(found, location_id=pair.location_id)


@dataclass
class Told:
    """A carrier that keeps what it gets until the test says what becomes of it."""

    taken: dict[Pair, tuple[Job, Listener]] = field(default_factory=dict)
    withdrawn: list[Pair] = field(default_factory=list)
    has_room: bool = True

    def begin(self, job: Job, listener: Listener) -> bool:
        if self.has_room:
            self.taken[job.pair] = (job, listener)
        return self.has_room

    def withdraw(self, job: Job) -> None:
        self.withdrawn.append(job.pair)
        self.taken.pop(job.pair, None)

    def begun(self, *pairs: Pair) -> None:
        for pair in pairs:
            job, listener = self.taken[pair]
            listener.begun(job)

    def answer(self, pair: Pair, verdicts: Sequence[Verdict] | None) -> None:
        job, listener = self.taken[pair]
        listener.answered(job, verdicts)


class ValidationBench:
    """Jobs that lead, on a real database with one location that some clusters use."""

    def __init__(
        self,
        db: Database,
        choose: Callable[[Pair], Way | Nobody] | None = None,
        limits: Limits = LIMITS,
        locations: LocationBench | None = None,
    ) -> None:
        self.locations = locations or LocationBench(db)
        self.db, self.time = db, self.locations.time
        self.carrier = Told()
        self.told: list[Job] = []
        self.location_id = UUID(int=0)
        self.jobs = ValidationJobs(
            ValidationStore(db, VALIDATION_QUERIES),
            self.time.clock,
            partial(assignments_of, self.locations.locations),
            choose or (lambda _: Way(self.carrier, "direct")),
            self.told.append,
            limits,
        )

    async def lead(self) -> ValidationBench:
        await self.locations.lead()
        await self.jobs.load(await self.db.fetchval("SELECT epoch FROM leadership"))
        if self.locations.locations.known:
            [self.location_id] = self.locations.locations.known
        return self

    async def with_location(self, clusters: Sequence[UUID], name: str = "backups") -> list[Pair]:
        made = await self.locations.locations.create(new_location(name, *clusters))
        self.location_id = made.id
        return [Pair(each, made.id) for each in clusters]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.jobs.run(), name="validations")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled(), task

    def states(self) -> dict[Pair, JobState]:
        return {job.pair: job.state for job in self.jobs.of(self.location_id)}

    async def rows(self) -> dict[Pair, str]:
        rows = await self.db.fetch("SELECT cluster_id, location_id, state FROM validation_jobs")
        return {Pair(row["cluster_id"], row["location_id"]): row["state"] for row in rows}

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not holds():  # noqa: ASYNC110 - memory has no event
                await asyncio.sleep(0.01)
