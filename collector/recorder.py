"""From verdicts to committed facts: the only writer of check states and transitions.

`record` is synchronous and cheap: it folds verdicts into states in memory, which the snapshot shows at once. `run`
writes once a second: a change of health in a transaction of its own together with its history row, everything else in
one statement. What is committed is published; nothing else is. While the database is away the states go on in memory,
marked as degraded; on its return the newest state of each check is committed, and changes that collapsed are counted.

All writes are fenced by the leader's epoch and by the version of each check, so that an instance that lost its
leadership without noticing can neither overwrite nor double anything.

A commit whose answer was lost, or that was cancelled, is in doubt until the version in the database tells. A value
that PostgreSQL can't take is a defect (verdicts are cleaned when they are made): its row fails alone, all others are
written, and the store counts as degraded for as long.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple
from uuid import UUID

import structlog

from collector.rows import state_from_row, state_to_row, transition_from_row, transition_to_row
from collector.transition import Transition
from store.errors import StoreError, StoreFull, StoreRefused, StoreUnavailable
from store.pool import Database
from validator.clock import HubClock
from validator.health import CheckState, HealthSettings, shift, stale, step, went_stale
from validator.model import Check, Verdict
from validator.reasons import Health

_log = structlog.get_logger(__name__)

FLUSH_EVERY_S = 1.0
"""Longest that a verdict is only in memory. A crash loses at most this much of ages and streaks, never a Transition
that anybody was told of."""

BATCH = 1000
"""States in one statement: about 1 MB of JSON."""

COMMITTERS = 4
"""Transitions committed at once; PostgreSQL joins their fsyncs (group commit)."""

SWEEP_EVERY_S = 5.0
"""How often facts are looked through for those that outlived their allowance. What is *shown* never waits for it."""

CrashPoint = Callable[[str], None]
"""Told where the recorder is; tests kill the process there."""


class Subject(NamedTuple):
    """The key of a state."""

    cluster_id: UUID
    check: Check


class _Committed(NamedTuple):
    """What the database has of a check."""

    health: Health
    changes: int


_NOTHING = _Committed(Health.UNKNOWN, 0)

_NOT_NOW = (StoreUnavailable, StoreFull, StoreRefused)
"""Errors of the database as a whole: there is no use in going on. Any other one is about the row."""


@dataclass(slots=True)
class RecorderStats:
    """Counters for the metrics; all since the start."""

    flushed: int = 0
    committed: int = 0
    collapsed: int = 0
    conflicts: int = 0
    flush_s: float = 0.0
    """Duration of the last flush."""


class Recorder:
    """Keeps every check's state. Synchronous methods are to be called on the loop's thread."""

    def __init__(
        self,
        db: Database,
        queries: Mapping[str, str],
        clock: HubClock,
        settings: HealthSettings,
        *,
        names: Callable[[UUID], str],
        publish: Callable[[Transition], None],
        on_step: Callable[[float], None] = lambda _: None,
        at: CrashPoint = lambda _: None,
    ) -> None:
        """`publish` is told each committed transition; `on_step` how far the hub clock was moved, in seconds."""
        self._db = db
        self._sql = queries
        self._clock = clock
        self._settings = settings
        self._names = names
        self._publish = publish
        self._on_step = on_step
        self._at = at
        self._epoch = 0
        self._committed: dict[Subject, _Committed] = {}
        self._dirty: set[Subject] = set()
        self._in_doubt: dict[Subject, set[int]] = {}
        """Versions that were sent since the last one that is known to be committed, and may be committed by now."""
        self._sweep_at = 0.0
        self.states: dict[UUID, dict[Check, CheckState]] = {}
        """The newest state of every check of every cluster. Read-only for everybody else."""
        self.degraded_since: float | None = None
        """Since when the database does not take what is known; None when all is well."""
        self.stats = RecorderStats()

    async def load(self, epoch: int, grace_s: float) -> None:
        """Take over what the database knows, as the leader of `epoch`. Raises `StoreError`.

        For `grace_s`, silence is nobody's fault but ours: nothing is committed as stale before every target could be
        asked once. It is shown as stale all the same. A state from the future, written before the wall clock was
        corrected, is moved to now: it would never get stale, and no verdict would be newer.
        """
        rows = await self._db.fetch(self._sql["load_states"])
        now = self._clock.now()
        self._epoch = epoch
        self.states, self._committed, self._dirty, self._in_doubt = {}, {}, set(), {}
        for row in rows:
            if (state := state_from_row(dict(row))) is None:
                continue
            if state.received_at > now:
                state = shift(state, now - state.received_at)
            self.states.setdefault(state.cluster_id, {})[state.check] = state
            self._committed[Subject(state.cluster_id, state.check)] = _Committed(state.health, state.changes)
        self._sweep_at = now + grace_s

    def record(self, verdicts: Iterable[Verdict]) -> None:
        """Fold verdicts into the states; what is seen at once in the snapshot is written at the next flush."""
        for verdict in verdicts:
            checks = self.states.setdefault(verdict.cluster_id, {})
            state = checks.get(verdict.check)
            after = step(state, verdict, self._settings)
            if after is not state:
                checks[verdict.check] = after
                self._dirty.add(Subject(verdict.cluster_id, verdict.check))

    def forget(self, cluster_id: UUID) -> None:
        """The cluster is gone: its states vanish here as they did in the database; its history stays."""
        for check in self.states.pop(cluster_id, {}):
            subject = Subject(cluster_id, check)
            self._dirty.discard(subject)
            self._committed.pop(subject, None)
            self._in_doubt.pop(subject, None)

    def pending(self, cluster_id: UUID) -> bool:
        """Whether a change of this cluster's health is known but not yet committed."""
        return any(
            self._committed.get(Subject(cluster_id, check), _NOTHING).changes != state.changes
            for check, state in self.states.get(cluster_id, {}).items()
        )

    # -- writing

    async def run(self) -> None:
        """Flush once a second until cancelled. The last flush is the composition root's, when the engine has ended."""
        while True:
            await asyncio.sleep(FLUSH_EVERY_S)
            self.follow_clock()
            self.sweep()
            await self.flush()

    async def flush(self) -> bool:
        """Write everything that is not written yet. False (and `degraded_since`) when the database did not take it."""
        started = self._clock.now()
        dirty, self._dirty = self._dirty, set()
        states = {subject: state for subject in dirty if (state := self._state(subject)) is not None}
        turned = {s: state for s, state in states.items() if state.health is not self._before(s).health}
        quiet = [(subject, state) for subject, state in states.items() if subject not in turned]
        unwritten = set(states)
        try:
            self._at("before flush")
            defects = await self._commit_all(turned, unwritten)
            defects += await self._save_all(quiet, unwritten)
            self._at("after flush")
        except StoreError as error:
            self._degraded(error)
        else:
            self._degraded(defects[0]) if defects else self._recovered()
        finally:
            self._dirty |= {subject for subject in unwritten if self._state(subject) is not None}
            self.stats.flush_s = self._clock.now() - started
        return self.degraded_since is None

    async def _commit_all(self, turned: Mapping[Subject, CheckState], unwritten: set[Subject]) -> list[StoreError]:
        """Commit each change of health in a transaction of its own, a few at a time, and publish those that are.

        Gives the errors of single rows; raises those of the database.
        """
        queue = list(turned.items())[::-1]
        failed: list[StoreError] = []
        defects: list[StoreError] = []

        async def committer() -> None:
            while queue and not failed:
                subject, state = queue.pop()
                try:
                    await self._commit(subject, state)
                except _NOT_NOW as error:
                    failed.append(error)
                except StoreError as error:
                    defects.append(error)
                else:
                    unwritten.discard(subject)

        async with asyncio.TaskGroup() as group:
            for number in range(min(COMMITTERS, len(queue))):
                group.create_task(committer(), name=f"committer:{number}")
        if failed:
            raise failed[0]
        return defects

    async def _commit(self, subject: Subject, state: CheckState) -> None:
        before = self._before(subject)
        transition = Transition(
            id=0,
            at=self._clock.now(),
            cluster_id=subject.cluster_id,
            cluster_name=self._names(subject.cluster_id),
            check=subject.check,
            from_health=before.health,
            to_health=state.health,
            since=state.since,
            reason=state.reason,
            stage=state.stage,
            message=state.message,
            evidence=state.evidence,
            flapping=state.flap.flapping,
            collapsed=max(0, state.changes - before.changes - 1),
            changes=state.changes,
        )
        row, history = state_to_row(state), transition_to_row(transition)
        self._doubt(subject, state)
        self._at("before commit")
        number = await self._db.fetchval(self._sql["commit_transition"], row, self._epoch, before.changes, history)
        self._at("after commit")
        if number is None:
            await self._conflict(subject)
        else:
            self._done(subject, _Committed(state.health, state.changes))
            self._tell(replace(transition, id=number))

    async def _save_all(
        self, states: Sequence[tuple[Subject, CheckState]], unwritten: set[Subject]
    ) -> list[StoreError]:
        """Write states without a change of health in batches. Gives the errors of single rows; raises the others."""
        defects: list[StoreError] = []
        batches = [states[begin : begin + BATCH] for begin in range(0, len(states), BATCH)][::-1]
        while batches:
            batch = batches.pop()
            try:
                await self._save(batch, unwritten)
            except _NOT_NOW:
                raise
            except StoreError as error:
                half = len(batch) // 2
                batches += [batch[half:], batch[:half]] if half else []
                defects.append(error)
        return defects

    async def _save(self, states: Sequence[tuple[Subject, CheckState]], unwritten: set[Subject]) -> None:
        rows = [{**state_to_row(state), "was": self._before(subject).changes} for subject, state in states]
        for subject, state in states:
            if state.changes != self._before(subject).changes:
                self._doubt(subject, state)
        self._at("before save")
        refused = {Subject(*row) for row in await self._db.fetch(self._sql["save_states"], rows, self._epoch)}
        self._at("after save")
        self.stats.flushed += len(states) - len(refused)
        for subject, state in states:
            if subject in refused:
                await self._conflict(subject)
            else:
                self.stats.collapsed += max(0, state.changes - self._before(subject).changes)
                self._done(subject, _Committed(state.health, state.changes))
            unwritten.discard(subject)

    def _doubt(self, subject: Subject, state: CheckState) -> None:
        """From now until the answer comes, nobody knows whether this version is committed."""
        self._in_doubt.setdefault(subject, set()).add(state.changes)

    def _done(self, subject: Subject, committed: _Committed) -> None:
        """The database has it; a subject that was forgotten while it was written stays forgotten."""
        self._in_doubt.pop(subject, None)
        if self._state(subject) is not None:
            self._committed[subject] = committed

    def _tell(self, transition: Transition) -> None:
        self.stats.committed += 1
        self.stats.collapsed += transition.collapsed
        self._publish(transition)

    async def _conflict(self, subject: Subject) -> None:
        """A write did not find the version that it expected. The causes are told apart by asking.

        We no longer lead: refused. The row is gone, with its cluster or by somebody's hand: the next verdict begins
        anew. A commit of our own, whose answer was lost: it is done, and published now. Another writer: what the
        database has is the truth.
        """
        if await self._db.fetchval(self._sql["epoch"]) != self._epoch:
            raise StoreRefused("another instance leads now; this one may not write")
        row = await self._db.fetchrow(self._sql["load_state"], *subject)
        state = state_from_row(dict(row)) if row is not None else None
        checks = self.states.get(subject.cluster_id)
        if checks is None or state is None:
            self._committed.pop(subject, None)
            self._in_doubt.pop(subject, None)
            return
        if state.changes in self._in_doubt.get(subject, ()):
            found = await self._db.fetchrow(self._sql["find_transition"], *subject, state.changes)
            self._done(subject, _Committed(state.health, state.changes))
            self._dirty.add(subject)  # what came after it
            if found is not None:  # None: several changes had collapsed to none
                self._tell(transition_from_row(dict(found)))
            return
        self.stats.conflicts += 1
        checks[subject.check] = state
        self._done(subject, _Committed(state.health, state.changes))
        _log.warning("check state was changed by another writer", cluster=self._names(subject.cluster_id))

    # -- time

    def sweep(self) -> None:
        """Turn facts that outlived their allowance into Unknown, so that history and alerts know of it.

        What only an answering API server can tell (its credential, its identity) is shown as Unknown while it does not
        answer, but makes no history of its own then: one cause, one Transition.
        """
        now = self._clock.now()
        if now < self._sweep_at:
            return
        self._sweep_at = now + SWEEP_EVERY_S
        for cluster_id, checks in self.states.items():
            answers = _answers(checks.get(Check.APISERVER), now)
            for check, state in checks.items():
                if not answers and check is not Check.APISERVER:
                    continue
                if stale(state, now) and (after := went_stale(state, now)) is not state:
                    checks[check] = after
                    self._dirty.add(Subject(cluster_id, check))

    def follow_clock(self) -> None:
        """If the wall clock was stepped, move the hub clock and every instant together: ages stay what they were."""
        step_s = self._clock.step_s()
        if not step_s:
            return
        _log.warning("the wall clock was stepped", step_s=round(step_s, 1))
        self._clock.follow(step_s)
        self._on_step(step_s)
        self._sweep_at += step_s
        if self.degraded_since is not None:
            self.degraded_since += step_s
        for cluster_id, checks in self.states.items():
            for check, state in checks.items():
                checks[check] = shift(state, step_s)
                self._dirty.add(Subject(cluster_id, check))

    # -- helpers

    def _state(self, subject: Subject) -> CheckState | None:
        return self.states.get(subject.cluster_id, {}).get(subject.check)

    def _before(self, subject: Subject) -> _Committed:
        return self._committed.get(subject, _NOTHING)

    def _degraded(self, error: StoreError) -> None:
        if self.degraded_since is None:
            self.degraded_since = self._clock.now()
            _log.error("store degraded: going on from memory", error=error.message)

    def _recovered(self) -> None:
        if self.degraded_since is not None:
            _log.info("store recovered", after_s=round(self._clock.now() - self.degraded_since, 1))
            self.degraded_since = None


def _answers(apiserver: CheckState | None, now: float) -> bool:
    """Whether the API server answers as far as is known; where it was never asked, nothing depends on it."""
    return apiserver is None or (
        not stale(apiserver, now) and apiserver.health in (Health.HEALTHY, Health.DEGRADED) and not apiserver.streak
    )
