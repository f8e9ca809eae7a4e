"""The main loop: every target is asked when it is due, and no target waits for another that is dead.

A target is in exactly one place: on the agenda (a heap by due time), waiting in its lane, or being asked by a task of
its own. `run` moves targets from the agenda to their lanes and from the lanes into tasks; a task asks, makes verdicts,
and puts its target back on the agenda. Nothing else happens here: what an answer means is `validator.health`'s, what
becomes of it is the sink's.

Time here is `time.monotonic`, the scale of `loop.time()`; not that call itself, which uvloop rounds to milliseconds and
reads once a turn of the loop: lateness measured with it would miss what a busy loop adds.
"""

from __future__ import annotations

import asyncio
import heapq
import resource
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from time import monotonic
from typing import Any
from uuid import UUID

import structlog

from validator import schedule
from validator.answer import Answer, Fact, Probe
from validator.clean import clean_evidence, clean_text
from validator.clock import Clock
from validator.lanes import LaneSlots
from validator.model import MAX_MESSAGE_CHARS, Check, Outcome, Pair, SubjectId, Verdict
from validator.reasons import Reason, Stage
from validator.schedule import Lane, Pace, ScheduleSettings

_log = structlog.get_logger(__name__)

ALARM_SLACK_S = 0.0005
"""uvloop rounds timers to whole milliseconds: without this every other alarm is early, finds nothing due, and is set
again (measured: a tenth of an ask's CPU)."""

Sink = Callable[[Sequence[Verdict]], None]
"""Takes verdicts as they come; must not block: whatever is slow belongs behind it."""

Awaited = asyncio.Future[Sequence[Verdict] | None]
"""The verdicts of one ask, after the sink has them; None = there will be none: the target is removed, or all has ended.

No exception, since nobody may be left to retrieve it."""


@dataclass(slots=True, eq=False)
class Target:
    """One probe on the agenda, and where it stands."""

    id: SubjectId
    cluster_id: UUID
    location_id: UUID | None
    """None: the target is the cluster itself."""
    name: str
    probe: Probe
    phase: float
    due: float = 0.0
    """Monotonic time of the tick that is to be answered next."""
    pace: Pace = field(default_factory=Pace)
    task: asyncio.Task[Any] | None = None
    """While it is being asked."""
    removed: bool = False
    again: bool = False
    """Hastened in mid-ask: ask once more when that is over."""
    entry: int = 0
    """Number of its valid agenda entry: older entries in the heap are void."""
    not_before: float = 0.0
    """Monotonic time until which its server has asked to be left alone."""
    said: tuple[tuple[Check, Outcome], ...] = ()
    """What the last answer said, and `alike`: how many in a row said it."""
    alike: int = 0
    awaited: list[Awaited] = field(default_factory=list)
    """Those who wait for the answer to an ask that has not begun yet."""


class Engine:
    """Asks all targets for ever. All methods but `run` are synchronous and must be called on the loop's thread."""

    def __init__(self, settings: ScheduleSettings, sink: Sink, clock: Clock, descriptors: int | None = None) -> None:
        self._settings = settings
        self._sink = sink
        self._clock = clock
        self._descriptors = descriptors or resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._targets: dict[SubjectId, Target] = {}
        self._agenda: list[tuple[float, int, Target]] = []
        self._entries = count(1)
        self._changed = asyncio.Event()
        self.lanes = {lane: LaneSlots[Target](1) for lane in Lane}
        self._resize()

    # -- the loop

    async def run(self) -> None:
        """Ask until cancelled; then every task is cancelled and every connection dropped."""
        try:
            async with asyncio.TaskGroup() as tasks:
                while True:
                    self._changed.clear()
                    for target in self._take_due(monotonic()):
                        self.lanes[target.pace.lane].offer(target)
                    for lane, slots in self.lanes.items():
                        while admitted := slots.admit():
                            tasks.create_task(self._ask(admitted, lane), name=f"ask:{admitted.name}")
                    await self._sleep_until_due()
        finally:
            for target in self._targets.values():
                target.probe.close()
                _tell(target.awaited, None)

    async def _ask(self, target: Target, lane: Lane) -> None:
        target.task = asyncio.current_task()  # not before: a task that is cancelled unstarted would keep its slot
        awaited, target.awaited = target.awaited, []  # who comes from now on waits for the next ask
        try:
            if not target.removed:  # while it waited
                started = monotonic()
                answer = await self._answer(target)
                _tell(awaited, self._settle(target, lane, answer, started, monotonic()))
        finally:
            target.task = None
            target.awaited[:0] = (each for each in awaited if not each.done())  # cancelled: the new probe will answer
            self.lanes[lane].leave()
            if len(self.lanes[lane]):
                self._changed.set()
            if target.removed:
                _tell(target.awaited, None)
            elif target.again or not target.entry:  # no entry: cancelled, its probe replaced
                self._put(target, monotonic())
            elif target.awaited:
                self._put(target, max(monotonic(), target.not_before))
            target.again = False

    async def _answer(self, target: Target) -> Answer:
        try:
            return await target.probe.ask()
        except Exception as defect:  # noqa: BLE001 - one probe's defect must not end them all
            _log.exception("probe defect", target=target.name)
            text = f"{type(defect).__name__} in the probe"
            check = Check.APISERVER if target.location_id is None else Check.LOCATION
            return Answer((Fact(check, Outcome.UNKNOWN, Reason.PROBE_DEFECT, Stage.HUB, text),))

    def _settle(self, target: Target, lane: Lane, answer: Answer, started: float, now: float) -> Sequence[Verdict]:
        """After an answer: the target's next tick, and the verdicts."""
        settings, due = self._settings, target.due
        target.not_before = now + min(answer.retry_after_s or 0.0, settings.backoff_max_s)
        target.pace = target.pace.after(unanswered=answer.unanswered)
        next_due = schedule.next_due(due, now, target.phase, target.pace, settings, answer.retry_after_s)
        self._put(target, self._sooner_to_confirm(target, answer, next_due, now))
        until_next_s = target.due - now + self._queue_s(target.pace.lane)
        effective_s = max(schedule.period_s(target.pace, settings), until_next_s)
        received_at = self._clock.now()
        skipped = schedule.skipped_ticks(due, now, settings.interval_s)
        verdicts = [
            Verdict(
                check=fact.check,
                cluster_id=target.cluster_id,
                outcome=fact.outcome,
                observed_at=received_at,
                received_at=received_at,
                duration_s=now - started,
                lateness_s=now - due,
                allowance_s=schedule.allowance_s(settings, effective_s * fact.every),
                lane=lane,
                skipped_ticks=skipped,
                reason=fact.reason,
                stage=fact.stage,
                message=clean_text(fact.message, MAX_MESSAGE_CHARS),
                evidence=clean_evidence(fact.evidence),
                location_id=target.location_id,
            )
            for fact in answer.facts
        ]
        self._sink(verdicts)
        return verdicts

    def _sooner_to_confirm(self, target: Target, answer: Answer, next_due: float, now: float) -> float:
        """When to ask next, where something new was said and the interval is long."""
        within_s = self._settings.confirm_within_s
        if within_s is None or not answer.facts:
            return next_due
        said = tuple((fact.check, fact.outcome) for fact in answer.facts)
        target.alike = self._settings.confirm if not target.said else target.alike + 1 if said == target.said else 1
        target.said = said
        if target.alike >= self._settings.confirm:
            return next_due
        return min(next_due, max(now + within_s, target.not_before))

    # -- the agenda

    def _take_due(self, now: float) -> list[Target]:
        due: list[Target] = []
        while self._agenda and self._agenda[0][0] <= now:
            _, entry, target = heapq.heappop(self._agenda)
            if entry == target.entry and not target.removed:
                target.entry = 0
                due.append(target)
        return due

    async def _sleep_until_due(self) -> None:
        alarm = None
        if self._agenda:  # cheaper than a timeout, which ends in an exception: this runs hundreds of times a second
            alarm = asyncio.get_running_loop().call_at(self._agenda[0][0] + ALARM_SLACK_S, self._changed.set)
        try:
            await self._changed.wait()
        finally:
            if alarm is not None:
                alarm.cancel()

    def _put(self, target: Target, due: float) -> None:
        target.due = due
        target.entry = next(self._entries)
        heapq.heappush(self._agenda, (due, target.entry, target))
        if self._agenda[0][2] is target:
            self._changed.set()

    def _queue_s(self, lane: Lane) -> float:
        """How long a newcomer of this lane may wait for a slot: what a fact of a crowded dead lane must be allowed."""
        slots = self.lanes[lane]
        return len(slots) * self._settings.timeout_s / slots.slots

    # -- targets

    def __len__(self) -> int:
        return len(self._targets)

    def add(self, target_id: SubjectId, name: str, probe: Probe) -> None:
        """Take up a target, or give a known one another probe (endpoint or credential changed); never a burst."""
        now = monotonic()
        known = self._targets.get(target_id)
        interval_s = self._settings.interval_s
        if known is not None:
            known.probe.close()
            known.probe, known.name, known.not_before = probe, name, 0.0
            if known.task is not None:
                known.task.cancel()  # its answer would be of the old probe
            if known.entry:  # what kept it waiting (backoff, Retry-After) was of the old one too
                self._put(known, min(known.due, schedule.tick_at_or_after(now, known.phase, interval_s)))
            return
        # The grid stands on the hub clock, so that it is the same after a restart; the agenda runs on loop time.
        cluster_id, location_id = target_id if isinstance(target_id, Pair) else (target_id, None)
        hashed = cluster_id if location_id is None else UUID(int=cluster_id.int ^ location_id.int)
        phase = schedule.phase_s(hashed, interval_s) + (now - self._clock.now())
        target = self._targets[target_id] = Target(target_id, cluster_id, location_id, name, probe, phase)
        self._resize()
        self._put(target, schedule.first_due(now, phase, interval_s, self._settings.first_round_s))

    def remove(self, target_id: SubjectId) -> None:
        """Drop a target at once, also in the middle of an ask."""
        target = self._targets.pop(target_id, None)
        if target is None:
            return
        target.removed = True
        target.probe.close()
        _tell(target.awaited, None)
        if target.task is not None:
            target.task.cancel()
        self._resize()

    def hasten(self, target_id: SubjectId) -> None:
        """Ask this target now, or once more where it is being asked; it goes on at its usual ticks afterwards."""
        target = self._targets.get(target_id)
        if target is None:
            return
        if target.entry:
            self._put(target, monotonic())
        else:
            target.again = target.task is not None

    def ask_now(self, target_id: SubjectId) -> Awaited:
        """Ask this target now, by an ask that begins after this call; gives its answer to whoever waits for it.

        As many as call before that ask begins wait for the same one. It waits for a slot of its lane as any other ask,
        and for as long as the server has asked to be left alone (`held_back_s`): Retry-After binds a person who is
        curious too. `hasten`, which is for what we have to mend ourselves, a rejected credential, does not wait for it.
        Cancel what this gives to wait no more; the ask goes on.
        """
        awaited: Awaited = asyncio.get_running_loop().create_future()
        target = self._targets.get(target_id)
        if target is None:
            awaited.set_result(None)
            return awaited
        target.awaited = [*(each for each in target.awaited if not each.done()), awaited]
        if target.entry and target.task is None:
            self._put(target, min(target.due, max(monotonic(), target.not_before)))
        return awaited

    def knows(self, target_id: SubjectId) -> bool:
        """Whether it is a target."""
        return target_id in self._targets

    def held_back_s(self, target_id: SubjectId) -> float:
        """For how long its server has asked to be left alone."""
        target = self._targets.get(target_id)
        return 0.0 if target is None else max(0.0, target.not_before - monotonic())

    def next_due_s(self, target_id: SubjectId) -> float | None:
        """Seconds until the target is asked again; None while it is waiting for a slot or being asked, or unknown."""
        target = self._targets.get(target_id)
        if target is None or not target.entry:
            return None
        return max(0.0, target.due - monotonic())

    def _resize(self) -> None:
        fleet = len(self._targets)
        self.lanes[Lane.LIVE].slots = schedule.live_slots(fleet, self._settings, self._descriptors)
        self.lanes[Lane.DEAD].slots = schedule.dead_slots(fleet, self._settings, self._descriptors)


def _tell(awaited: list[Awaited], verdicts: Sequence[Verdict] | None) -> None:
    """Tell those who still wait."""
    for each in awaited:
        if not each.done():
            each.set_result(verdicts)
    awaited.clear()
