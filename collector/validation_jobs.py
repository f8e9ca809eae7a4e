"""Validation jobs of a leader: asked for by people, carried out by others, watched, and kept in the database.

Decisions, and what was decided against:

- The database first, then memory, then whoever listens: what has been shown is still so after `kill -9`. Steps are
  written in batches, ten a second at most; while the database is away they wait here, the newest of each job.
- One job a pair at a time. Whoever asks for one that is under way joins it, also where two ask at the same moment: the
  row of the pair decides.
- Nobody waits inside: a job is handed to a `Carrier`, which tells of it when there is something to tell. A task a job
  was rejected: ten thousand pairs are ten thousand tasks, each of which can hang on its own. The watch is one look a
  second at all of them (`collector.validation.watched`), and trusts no carrier.
- A carrier that loses a job (the cluster left the fleet, another way to ask was found) gives it back, and whoever is
  to ask now gets it. Only where that is nobody does it fail.
- A job goes with its assignment, by the database's own rule. Memory follows within a second.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import NamedTuple, NoReturn, Protocol
from uuid import UUID, uuid4

import structlog

from collector.location import Assignment
from collector.pauses import Beside, nothing_beside
from collector.validation import LIMITS, Job, Limits, answered, begun, failed, shift, taken_over, watched
from collector.validation_store import ValidationStore
from store.errors import StoreError
from validator.clock import Clock
from validator.model import Pair, Verdict
from validator.reasons import Reason

_log = structlog.get_logger(__name__)

LOOK_EVERY_S = 1.0
"""How often the watch looks, and the database is tried again."""

GATHER_S = 0.1
"""Between two writes: answers that come in that time are one transaction."""

BATCH = 500
"""Jobs in one transaction, or handed out in one turn of the loop."""

AT_ONCE = 50
"""Steps that are told in one turn of the loop."""

MOST_RUNNING = 20_000
"""Jobs under way at once: twice the pairs that the hub is made for."""


class Listener(Protocol):
    """What a carrier tells of its jobs. Jobs that have ended meanwhile may be told of: nothing happens."""

    def begun(self, job: Job) -> None:
        """The question is being asked."""

    def answered(self, job: Job, verdicts: Sequence[Verdict] | None) -> None:
        """There is an answer.

        None = there will be none from here; an empty one = nothing is known yet, ask once more.
        """


class Carrier(Protocol):
    """Carries jobs out: the hub's own engine, or the agents. Never waits."""

    def begin(self, job: Job, listener: Listener) -> bool:
        """Take it; False = there is no room now, and it is offered again.

        A job may be in progress already: by the hub before this one.
        """

    def withdraw(self, job: Job) -> None:
        """Its answer is no longer wanted, or was given."""


class Way(NamedTuple):
    """Who carries out the jobs of a pair, and by which method."""

    carrier: Carrier
    method: str


@dataclass(frozen=True, slots=True)
class Nobody:
    """Nobody can ask about a pair."""

    reason: Reason
    message: str


Choose = Callable[[Pair], Way | Nobody]
"""Who asks about a pair now."""

Assignments = Callable[[UUID], Mapping[UUID, Assignment]]
"""Of a location: who uses it, by cluster. Empty where there is no such location."""


class TooManyJobs(Exception):  # noqa: N818 - an answer, not an error
    """`MOST_RUNNING` are under way."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What became of a request."""

    jobs: Mapping[UUID, Job]
    """By cluster; a pair that is none any more is missing."""
    joined: frozenset[UUID]
    """Clusters whose job was under way already."""


class ValidationJobs:
    """Those of one leader. All methods are to be called on the loop's thread."""

    def __init__(
        self,
        store: ValidationStore,
        clock: Clock,
        assignments: Assignments,
        choose: Choose,
        on_step: Callable[[Job], None],
        limits: Limits = LIMITS,
    ) -> None:
        """`on_step` hears of each step once it is committed."""
        self._store = store
        self._clock = clock
        self._assignments = assignments
        self._choose = choose
        self._on_step = on_step
        self._limits = limits
        self._epoch = 0
        self._led_since = 0.0
        self._jobs: dict[UUID, dict[UUID, Job]] = {}
        """By location and cluster, as the database has them."""
        self._ahead: dict[Pair, Job] = {}
        """How they stand where that is not written yet."""
        self._to_begin: deque[Job] = deque()
        self._to_tell: deque[Job] = deque()
        """Committed steps that nobody has heard of yet."""
        self._carriers: dict[UUID, Carrier] = {}
        """By job: who has it."""
        self._in_doubt: set[UUID] = set()
        """Locations whose jobs may have been begun by a write that gave no answer."""
        self._changed = asyncio.Event()

    async def load(self, epoch: int) -> None:
        """Take over what the database knows, as the leader of `epoch`. Raises `StoreError`."""
        found = await self._store.read()
        self._epoch, self._led_since = epoch, self._clock.now()
        self._jobs, self._ahead = {}, {}
        for job in found:
            self._take(job)
        self._to_tell.clear()

    # -- what people ask

    def of(self, location_id: UUID) -> Sequence[Job]:
        """The last job of each pair of a location, as committed."""
        jobs, assigned = self._jobs.get(location_id, {}), self._assignments(location_id)
        return [job for cluster_id, job in jobs.items() if cluster_id in assigned]

    def is_running(self, location_id: UUID) -> bool:
        """Whether a job of this location is under way."""
        return any(job.is_running for job in self.of(location_id))

    async def ask(
        self, location_id: UUID, clusters: Collection[UUID], by: str, beside: Beside = nothing_beside
    ) -> Asked:
        """Begin a job for each of these clusters, or join the one that there is.

        `beside` is written with them if there is anything to begin. Raises `TooManyJobs`, `StoreError`.
        """
        under_way = {job.pair.cluster_id: job for job in self.of(location_id) if job.is_running}
        jobs = {each: under_way[each] for each in clusters if each in under_way}
        new = {each: uuid4() for each in clusters if each not in under_way}
        if len(new) + sum(job.is_running for each in self._jobs.values() for job in each.values()) > MOST_RUNNING:
            raise TooManyJobs
        if new:
            try:
                found = await self._store.ask(self._epoch, location_id, new, by, self._clock.now(), beside)
            except BaseException:  # it may have been done
                self._in_doubt.add(location_id)
                raise
            for job in found:
                jobs[job.pair.cluster_id] = job
                self._take(job)
        fresh = {cluster_id for cluster_id, job in jobs.items() if job.id == new.get(cluster_id)}
        return Asked(jobs, frozenset(jobs.keys() - fresh))

    def shift(self, by_s: float) -> None:
        """The hub clock was moved: so are the moments of what is under way."""
        self._led_since += by_s
        for pair in [job.pair for jobs in self._jobs.values() for job in jobs.values() if job.is_running]:
            self._jobs[pair.location_id][pair.cluster_id] = shift(self._jobs[pair.location_id][pair.cluster_id], by_s)
        self._ahead = {pair: shift(job, by_s) for pair, job in self._ahead.items()}

    # -- what carriers tell

    def begun(self, job: Job) -> None:
        """See `Listener`."""
        if (newest := self._newest(job)) is not None:
            self._step(newest, begun(newest, self._clock.now()))

    def answered(self, job: Job, verdicts: Sequence[Verdict] | None) -> None:
        """See `Listener`."""
        if (newest := self._newest(job)) is None or not newest.is_running:
            return
        if verdicts:
            self._step(newest, answered(newest, verdicts, self._clock.now()))
        else:
            self._carriers.pop(job.id, None)
            self._to_begin.append(newest)  # at the next look, so that nobody is asked in circles

    # -- how

    async def run(self) -> NoReturn:
        """Until cancelled: hand jobs out, watch them, write their steps."""
        while True:
            self._changed.clear()
            self._forget()
            self._begin()
            self._watch()
            try:
                await self._settle()
                await self._write()
                await self._tell()
            except StoreError as error:
                _log.debug("validation jobs wait for the database", error=error.message)
                await asyncio.sleep(LOOK_EVERY_S)
            else:
                await asyncio.sleep(GATHER_S)
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_EVERY_S):
                        await self._changed.wait()

    def _take(self, job: Job) -> None:
        """A job as the database has it: new here, unless what is known is newer."""
        jobs = self._jobs.setdefault(job.pair.location_id, {})
        known = jobs.get(job.pair.cluster_id)
        if known is not None and known.number >= job.number:
            return
        if known is not None:
            self._drop(known)
        jobs[job.pair.cluster_id] = job
        self._to_tell.append(job)
        self._changed.set()
        if job.is_running:
            self._to_begin.append(job)

    def _newest(self, job: Job) -> Job | None:
        """How the same job stands, written or not; None if another has its place, or nobody."""
        committed = self._jobs.get(job.pair.location_id, {}).get(job.pair.cluster_id)
        newest = self._ahead.get(job.pair, committed)
        return newest if newest is not None and newest.id == job.id else None

    def _step(self, before: Job, after: Job) -> None:
        if after is before:
            return
        self._ahead[after.pair] = after
        self._changed.set()
        if not after.is_running and (carrier := self._carriers.pop(after.id, None)) is not None:
            carrier.withdraw(after)

    def _begin(self) -> None:
        """Give jobs that wait for a carrier to one, as many as a turn of the loop should take."""
        now = self._clock.now()
        for _ in range(min(len(self._to_begin), BATCH)):
            job = self._newest(self._to_begin.popleft())
            if job is None or not job.is_running:
                continue
            if not (old := taken_over(job, now, self._limits)).is_running:
                self._step(job, old)
                continue
            way = self._choose(job.pair)
            if isinstance(way, Nobody):
                if now - self._led_since < self._limits.settling_s:
                    self._to_begin.append(job)
                else:
                    self._step(job, failed(job, way.reason, way.message, now))
                continue
            if way.method != job.method:
                self._step(job, job := replace(job, method=way.method))
            self._carriers[job.id] = way.carrier
            if not way.carrier.begin(job, self):
                del self._carriers[job.id]
                self._to_begin.append(job)

    def _watch(self) -> None:
        now = self._clock.now()
        for jobs in self._jobs.values():
            for committed in jobs.values():
                if committed.is_running:
                    newest = self._ahead.get(committed.pair, committed)
                    self._step(newest, watched(newest, now, self._led_since, self._limits))

    def _forget(self) -> None:
        """What was unassigned or deleted is gone in the database already."""
        for location_id, jobs in list(self._jobs.items()):
            assigned = self._assignments(location_id)
            for cluster_id in jobs.keys() - assigned.keys():
                self._drop(jobs[cluster_id])
            if not jobs:
                del self._jobs[location_id]

    def _drop(self, job: Job) -> None:
        self._jobs[job.pair.location_id].pop(job.pair.cluster_id, None)
        self._ahead.pop(job.pair, None)
        if (carrier := self._carriers.pop(job.id, None)) is not None:
            carrier.withdraw(job)

    async def _settle(self) -> None:
        """Read again what is in doubt. Raises `StoreError`."""
        if doubtful := frozenset(self._in_doubt):
            for job in await self._store.read_again(self._epoch, doubtful):
                self._take(job)
            self._in_doubt -= doubtful

    async def _write(self) -> None:
        """The steps that there are now. Raises `StoreError`."""
        pairs = list(self._ahead)
        for begin in range(0, len(pairs), BATCH):
            some = [self._ahead[pair] for pair in pairs[begin : begin + BATCH] if pair in self._ahead]
            there = await self._store.advance(self._epoch, some)
            for job in some:
                self._written(job, there=job.id in there)

    def _written(self, job: Job, *, there: bool) -> None:
        if self._newest(job) is None:
            return  # meanwhile it has gone
        if not there:
            self._drop(job)
            return
        self._jobs[job.pair.location_id][job.pair.cluster_id] = job
        if self._ahead.get(job.pair) is job:
            del self._ahead[job.pair]
        self._to_tell.append(job)

    async def _tell(self) -> None:
        """Whoever listens, in pieces: each costs the loop a millisecond."""
        while self._to_tell:
            for _ in range(min(len(self._to_tell), AT_ONCE)):
                self._on_step(self._to_tell.popleft())
            await asyncio.sleep(0)
