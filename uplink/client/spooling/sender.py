"""Sends what waits: in order, one request in flight, by the status table of G5 (`uplink.wire.verdicts`).

A batch leaves the spool only on a proper 200, or when the receiver itself has said that it will never take it. Whatever
else answers (a portal, a proxy, a server that is ill) holds everything and loses nothing.

A batch that fails several times is set aside only if an empty request succeeds right then: so it is the batch. Else it
is the endpoint, and a captive portal that answers 200 for a night would quarantine the queue batch by batch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random
from typing import NoReturn

import structlog

from store.errors import StoreError
from uplink.client.consent.dictionary import Dictionary
from uplink.client.consent.record import Given
from uplink.client.consent.streams import Stream
from uplink.client.encoding.batch import Batch
from uplink.client.encoding.halve import allowed, halved
from uplink.client.network.line import Line, Reply
from uplink.client.network.skew import skew_s
from uplink.client.network.unreached import Obstacle, Unreached
from uplink.client.spooling.copies import Copies
from uplink.client.spooling.gate import Gate
from uplink.client.spooling.pace import Pace
from uplink.client.spooling.spool import Backlog, CrashPoint, Spool, SpoolClosed, Waiting
from uplink.wire import names
from uplink.wire.errors import WireError
from uplink.wire.otlp import CONTENT_TYPE, ENCODING, Signal, pack, read_accepted, read_refusal
from uplink.wire.verdicts import Act, verdict
from validator.clock import Clock
from validator.file_thread import FileThread

_log = structlog.get_logger(__name__)

POST_S = 60.0
"""For one request: 1 MiB that does not compress, at 150 kbit/s."""

POISON = 3
"""Failures of one batch in a row; then the control decides."""

SMALLEST_BYTES = 16 * 1024
"""Unpacked. What finds less than this too large is no receiver: a single record is smaller."""

LOOK_S = 5.0
"""Between two looks into an empty spool, in case that nobody has woken us."""

AWAY_S = 0.2
"""Between two questions to a database that is away, or a gate that is shut."""

WORK_S = 30.0
"""For filtering and packing one batch on the thread."""

COMPLAIN_S = 600.0
"""Between two lines of the log about it. A receiver that paces us (429) fails every other request for a while."""

_FOR_PEOPLE = frozenset({Obstacle.IDENTITY, Obstacle.PROXY, Obstacle.TLS, Obstacle.SETTINGS})
"""What does not mend by itself."""


@dataclass(frozen=True, slots=True)
class Sending:
    """How it goes, for people."""

    word: str = "off"
    """`off`, `silent` (the database forbids it), `enrolling`, `active`, `degraded` (tried again), `held` (somebody has
    to do something)."""
    detail: str = ""
    backlog: Backlog = field(default_factory=Backlog)
    last_success_at: float | None = None
    next_attempt_at: float | None = None
    clock_skew_s: float | None = None
    """Of our clock against the endpoint's, to the second; positive: ours is ahead."""
    sent_batches: int = 0
    """Since this process began."""
    sent_records: int = 0
    no_copy: str = ""
    """Why `sent/` lacks the last batch."""


class Sender:
    """Of one instance, while it leads: `run` is its task."""

    def __init__(
        self,
        spool: Spool,
        gate: Gate,
        line: Callable[[], Line | None],
        dictionary: Dictionary,
        clock: Clock,
        copies: Copies,
        *,
        refused: Callable[[int], None] = lambda _: None,
        pace: Pace | None = None,
        random: Random | None = None,
        at: CrashPoint = lambda _: None,
    ) -> None:
        """`line` gives the connection of the newest certificate. `refused` is told, once, which one is not accepted."""
        self._spool = spool
        self._gate = gate
        self._line = line
        self._dictionary = dictionary
        self._clock = clock
        self._copies = copies
        self._refused = refused
        self._pace = pace or Pace()
        self._random = random or Random()  # noqa: S311 - spreads load, keeps no secret
        self._at = at
        self._working = FileThread("uplink-sending")
        self._posting = asyncio.Lock()
        self._woken = asyncio.Event()
        self._again = asyncio.Event()
        self._failures = 0
        self._told_refused: int | None = None
        self._complained = False
        self._complain_at = 0.0
        self._state = Sending()

    @property
    def state(self) -> Sending:
        """Now."""
        if self._gate.given is None:
            return replace(self._state, word="off", detail=self._gate.why, next_attempt_at=None)
        if not self._gate.is_open():
            return replace(self._state, word="silent", detail=self._gate.why, next_attempt_at=None)
        return self._state

    def wake(self) -> None:
        """Something was added."""
        self._woken.set()

    def try_again(self) -> None:
        """There is another certificate, or somebody has mended something: wait for nothing."""
        self._failures = 0
        self._again.set()
        self._woken.set()

    async def run(self) -> NoReturn:
        """Until it is cancelled. While the gate is shut it sleeps."""
        while True:
            await self._gate.opened()
            self._woken.clear()
            try:
                wait_s = await self.step()
            except (StoreError, TimeoutError, SpoolClosed) as error:
                self._say("degraded", f"the database is away: {error}")
                await asyncio.sleep(AWAY_S)
                continue
            if wait_s is None:
                await self._until(self._woken, LOOK_S)
            elif wait_s > 0:
                await self._pause(wait_s)

    async def step(self) -> float | None:
        """Send one batch; gives the seconds to wait before the next, None where there is nothing to send.

        Before anything is sent raises `StoreError` and, where our own thread is stuck, `TimeoutError`. `SpoolClosed`.
        """
        standing, line = self._gate.standing, self._line()
        if standing is None or (given := standing.given) is None:
            return AWAY_S
        self._state = replace(self._state, backlog=await self._spool.backlog())
        if line is None:
            self._say("enrolling")
            return None
        streams = [stream for stream in Stream if standing.allows(stream)]
        waiting = await self._spool.next(given, streams)
        if waiting is None:
            await self._spool.bound(self._clock.now())
            self._say("active")
            return None
        if not await self._allowed(waiting, given):
            return 0.0
        batch = waiting.batch
        await self._copies.keep(batch, waiting.packed, self._clock.now())
        async with self._posting:
            if not await self._gate.ask() or self._gate.given is not given:
                return AWAY_S
            self._at("before send")
            try:
                reply = await line.post(batch.signal.path, waiting.packed, _headers(batch), POST_S)
            except Unreached as error:
                return self._unreached(error, line)
        self._at("after answer")
        try:
            return await self._answered(batch, reply, line, given)
        except (StoreError, TimeoutError) as error:
            # What came of it can't be written down, so it goes again: not five times a second until somebody has room.
            self._failures += 1
            wait_s = max(AWAY_S, self._pace.backoff_s(self._failures, self._random))
            return self._wait("degraded", f"a batch was answered, and the database does not take it: {error}", wait_s)

    async def _allowed(self, waiting: Waiting, given: Given) -> bool:
        """Whether the consent allows all of it now; if not, it was replaced or has gone, so look again.

        What this process has encoded under this very decision is not looked at again, which would double the cost; what
        another has, or somebody has written into the table, is.
        """
        batch = waiting.batch
        if waiting.ours and batch.epoch == given.epoch:
            return True
        try:
            left = await self._working.run(lambda: allowed(batch, given, self._dictionary), WORK_S)
        except WireError:
            await self._spool.quarantine(batch.id, "damaged: it can't be read")
            return False
        if left is None:
            await self._spool.drop(batch.id, "not-consented")
        elif left is not batch:
            await self._spool.replace(given, batch.id, [left], batch.records - left.records)
        return left is batch

    async def _answered(self, batch: Batch, reply: Reply, line: Line, given: Given) -> float:
        """Do what the table says; gives the seconds to wait."""
        act = verdict(reply.status, reply.content_type)
        self._see_clock(reply)
        if act is Act.DONE:
            if (taken := _taken(batch.signal, reply)) is not None:
                return await self._done(batch, *taken)
            act = Act.FAILED
        said = f"the endpoint answers {reply.status}"
        if act is Act.HALVE and len(batch.raw) > SMALLEST_BYTES:
            return await self._halve(batch, given)
        if act is Act.DROP:
            code, _ = read_refusal(reply.body)
            await self._spool.drop(batch.id, "refused")
            self._failures = 0
            _log.warning("a batch was refused", batch=str(batch.id), status=reply.status, code=code)
            return 0.0
        self._failures += 1
        if act is Act.WAIT:
            wait_s = self._pace.wait_s(reply.retry_after, self._failures, self._random, self._clock.now())
            return self._wait("degraded", said, wait_s)
        if act is Act.REENROL:
            self._tell_refused(line)
            said = f"{said}: it does not accept our certificate"
            return self._wait("held", said, self._pace.held_s(self._failures, self._random))
        if act is Act.HOLD:
            said = f"{said}, and not as a receiver does: see the proxy, the endpoint's address and the certificate"
            return self._wait("held", said, self._pace.held_s(self._failures, self._random))
        if await self._spool.failed(batch.id) >= POISON and await self._control(batch.signal, line):
            await self._spool.quarantine(batch.id, f"it was answered {reply.status} {POISON} times")
            self._failures = 0
            return 0.0
        return self._wait("degraded", said, self._pace.backoff_s(self._failures, self._random))

    async def _done(self, batch: Batch, rejected: int, message: str) -> float:
        rejected = min(rejected, batch.records)
        await self._spool.received(batch.id, rejected)
        if rejected or message:
            _log.warning("the endpoint has rejected records", batch=str(batch.id), rejected=rejected)
        if self._complained:
            self._complained = False
            _log.info("telemetry is received again")
        self._failures = 0
        self._state = replace(
            self._state,
            last_success_at=self._clock.now(),
            sent_batches=self._state.sent_batches + 1,
            sent_records=self._state.sent_records + batch.records - rejected,
            no_copy=self._copies.trouble,
        )
        self._say("active")
        return 0.0

    async def _halve(self, batch: Batch, given: Given) -> float:
        parts = await self._working.run(lambda: halved(batch), WORK_S)
        if parts is None or not await self._spool.replace(given, batch.id, parts):
            await self._spool.drop(batch.id, "refused")
        self._failures = 0
        return 0.0

    async def _control(self, signal: Signal, line: Line) -> bool:
        """Whether the endpoint takes an empty request, as OTLP wants it to: then it is the batch that is wrong."""
        async with self._posting:
            if not await self._gate.ask():
                return False
            try:
                headers = {"Content-Type": CONTENT_TYPE, "Content-Encoding": ENCODING}
                reply = await line.post(signal.path, pack(b""), headers, POST_S)
            except Unreached:
                return False
        return verdict(reply.status, reply.content_type) is Act.DONE and _taken(signal, reply) is not None

    async def forget(self) -> int:
        """Have the other side delete what it has: one authenticated DELETE. Gives the status.

        Nothing is posted meanwhile, and what was posted before is answered first. Raises `Unreached`,
        also where there is no certificate or the gate is shut.
        """
        async with self._posting:
            line = self._line()
            if line is None or not await self._gate.ask():
                raise Unreached(Obstacle.SETTINGS, "there is no certificate to ask with, or nothing may be sent now")
            return (await line.delete(names.FORGET_PATH, POST_S)).status

    # -- what people see

    def _unreached(self, error: Unreached, line: Line) -> float:
        """What was cut when the gate shut is no failure."""
        if error.obstacle is Obstacle.SILENCED or not self._gate.is_open():
            return AWAY_S
        self._failures += 1
        if error.obstacle is Obstacle.IDENTITY:
            self._tell_refused(line)
        if error.obstacle in _FOR_PEOPLE:
            return self._wait("held", str(error), self._pace.held_s(self._failures, self._random))
        return self._wait("degraded", str(error), self._pace.backoff_s(self._failures, self._random))

    def _tell_refused(self, line: Line) -> None:
        if self._told_refused != line.generation:
            self._told_refused = line.generation
            self._refused(line.generation)

    def _wait(self, word: str, detail: str, wait_s: float) -> float:
        now = asyncio.get_running_loop().time()
        if now >= self._complain_at:
            self._complained, self._complain_at = True, now + COMPLAIN_S
            _log.warning("telemetry is not received", detail=detail, wait_s=round(wait_s))
        self._state = replace(self._state, word=word, detail=detail, next_attempt_at=self._clock.now() + wait_s)
        return wait_s

    def _say(self, word: str, detail: str = "") -> None:
        self._state = replace(self._state, word=word, detail=detail, next_attempt_at=None)

    def _see_clock(self, reply: Reply) -> None:
        if (seen := skew_s(reply.date, self._clock.now())) is not None:
            self._state = replace(self._state, clock_skew_s=seen)

    async def _pause(self, wait_s: float) -> None:
        """Broken off by a new certificate, and by the end of the consent."""
        self._again.clear()
        deadline = asyncio.get_running_loop().time() + wait_s
        while (left := deadline - asyncio.get_running_loop().time()) > 0 and self._gate.given is not None:
            if await self._until(self._again, min(left, LOOK_S)):
                return

    async def _until(self, event: asyncio.Event, within_s: float) -> bool:
        try:
            async with asyncio.timeout(within_s):
                return await event.wait()
        except TimeoutError:
            return False


def _taken(signal: Signal, reply: Reply) -> tuple[int, str] | None:
    """How many records a proper 200 rejects, and its message; None where it can't be read: then it is no proper one."""
    if (reply.content_encoding or "identity").strip().lower() != "identity":
        return None
    try:
        return read_accepted(signal, reply.body)
    except WireError:
        return None


def _headers(batch: Batch) -> dict[str, str]:
    return {"Content-Type": CONTENT_TYPE, "Content-Encoding": ENCODING, names.BATCH_ID: str(batch.id)}
