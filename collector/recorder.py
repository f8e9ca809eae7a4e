"""From verdicts to committed facts: the only writer of check states and transitions, of clusters and of pairs.

`record` is synchronous and cheap: it folds verdicts into states in memory, which the snapshot shows at once. `run`
writes once a second: a change of health in a transaction of its own together with its history row, everything else in
one statement. What is committed is published, in the order of the transitions' ids; nothing else is. While the
database is away the states go on in memory, marked as degraded; on its return the newest state of each check is
committed, and changes that collapsed are counted.

How it is written, and what becomes of a commit whose answer was lost, is in `writer.py`; why a transition may have to
wait until it is published, in `publication.py`. While a row is refused as a defect, the store counts as degraded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from uuid import UUID

import structlog

from collector.publication import Subject
from collector.transition import Transition
from collector.writer import CrashPoint, Writer, subject_of
from store.errors import StoreError
from store.pool import Database
from validator.clock import HubClock
from validator.health import CheckState, HealthSettings, shift, stale, step, went_stale
from validator.model import Check, SubjectId, Verdict
from validator.reasons import Health, Reason

_log = structlog.get_logger(__name__)

FLUSH_EVERY_S = 1.0
"""Longest that a verdict is only in memory. A crash loses at most this much of ages and streaks, never a Transition
that anybody was told of."""

OF_A_LISTING = frozenset({Check.BACKUPS, Check.MISSING_FILES})
"""Checks that a listing of a whole bucket answers, once a day: it is complete, and three days would be too late."""

CERTAIN = frozenset({Reason.NO_ASKER})
"""Known without asking anybody, so that nothing flickers there. A Healthy that was held through two more of these would
be half an hour of green, with a young age beside it, that nobody stands for."""

AT_ONCE = HealthSettings(fail_after=1, pass_after=1)
"""For those."""

SWEEP_EVERY_S = 5.0
"""How often facts are looked through for those that outlived their allowance. What is *shown* never waits for it."""


PIECE = 200
"""Subjects that are looked through in one turn of the loop: 0.3 ms where all is well."""


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
        location_names: Callable[[UUID], str] = str,
        publish: Callable[[Transition], None],
        on_step: Callable[[float], None] = lambda _: None,
        at: CrashPoint = lambda _: None,
    ) -> None:
        """`names` and `location_names` give the names of clusters and locations, for history.

        `publish` is told each committed transition, in the order of their ids.

        `on_step` is told how far the hub clock was moved, in seconds.
        """
        self._clock = clock
        self._settings = settings
        self._on_step = on_step
        self._at = at
        self._dirty: set[Subject] = set()
        self._writer = Writer(
            db,
            queries,
            clock,
            names=names,
            location_names=location_names,
            publish=publish,
            known=lambda subject: self._state(subject) is not None,
            settled=self._settle,
            again=self._dirty.add,
            adopt=self._adopt,
            at=at,
        )
        self._sweep_at = 0.0
        self._pending: dict[SubjectId, set[Check]] = {}
        self.states: dict[SubjectId, dict[Check, CheckState]] = {}
        """The newest state of every check of every cluster and pair. Read-only for everybody else."""
        self.degraded_since: float | None = None
        """Since when the database does not take what is known; None when all is well."""
        self.stats = self._writer.stats

    @property
    def position(self) -> int:
        """All transitions up to this id are published, here or by the leaders before, and none above it."""
        return self._writer.publication.position

    async def load(self, epoch: int, grace_s: float) -> None:
        """Take over what the database knows, as the leader of `epoch`. Raises `StoreError`.

        For `grace_s`, silence is nobody's fault but ours: nothing is committed as stale before every target could be
        asked once. It is shown as stale all the same. A state from the future, written before the wall clock was
        corrected, is moved to now: it would never get stale, and no verdict would be newer.
        """
        states = await self._writer.load(epoch)
        now = self._clock.now()
        self.states = {}
        self._dirty.clear()
        self._pending.clear()
        for state in states:
            known = shift(state, now - state.received_at) if state.received_at > now else state
            self.states.setdefault(state.subject, {})[state.check] = known
        self._sweep_at = now + grace_s

    def record(self, verdicts: Iterable[Verdict]) -> None:
        """Fold verdicts into the states; what is seen at once in the snapshot is written at the next flush."""
        for verdict in verdicts:
            checks = self.states.setdefault(verdict.subject, {})
            state = checks.get(verdict.check)
            at_once = verdict.check in OF_A_LISTING or verdict.reason in CERTAIN
            after = step(state, verdict, AT_ONCE if at_once else self._settings)
            if after is not state:
                self._keep(checks, after)

    def forget(self, subject_id: SubjectId) -> None:
        """The cluster or pair is gone: its states vanish here as they did in the database; its history stays."""
        self._pending.pop(subject_id, None)
        for state in self.states.pop(subject_id, {}).values():
            subject = subject_of(state)
            self._dirty.discard(subject)
            self._writer.forget(subject)

    def forget_checks(self, subject_id: SubjectId, checks: Collection[Check]) -> None:
        """Nobody asks these any more: their states vanish here; in the database they are `retiring.py`'s to drop."""
        known, pending = self.states.get(subject_id, {}), self._pending.get(subject_id, set())
        for state in [known.pop(check) for check in checks if check in known]:
            subject = subject_of(state)
            self._dirty.discard(subject)
            self._writer.forget(subject)
            pending.discard(state.check)
        if not pending:
            self._pending.pop(subject_id, None)

    def pending(self, subject_id: SubjectId) -> bool:
        """Whether a change of this cluster's or pair's health is known but not yet committed."""
        return subject_id in self._pending

    # -- writing

    async def run(self) -> None:
        """Flush once a second until cancelled. The last flush is the composition root's, when the engine has ended."""
        while True:
            await asyncio.sleep(FLUSH_EVERY_S)
            self.follow_clock()
            await self.sweep()
            await self.flush()

    async def flush(self) -> bool:
        """Write everything that is not written yet. False (and `degraded_since`) when the database did not take it."""
        started = self._clock.now()
        states = {subject: state for subject in self._dirty if (state := self._state(subject)) is not None}
        self._dirty.clear()
        turned = {s: state for s, state in states.items() if state.health is not self._writer.before(s).health}
        quiet = [(subject, state) for subject, state in states.items() if subject not in turned]
        unwritten = set(states)
        try:
            self._at("before flush")
            await self._writer.settle_open()
            defects = await self._writer.commit_all(turned, unwritten)
            defects += await self._writer.save_all(quiet, unwritten)
            self._at("after flush")
        except StoreError as error:
            self._degraded(error)
        else:
            self._degraded(defects[0]) if defects else self._recovered()
        finally:
            self._dirty |= {subject for subject in unwritten if self._state(subject) is not None}
            self.stats.flush_s = self._clock.now() - started
        return self.degraded_since is None

    # -- time

    async def sweep(self) -> None:
        """Turn facts that outlived their allowance into Unknown, so that history and alerts know of it.

        What only an answering API server can tell (its credential, its identity) is shown as Unknown while it does not
        answer, but makes no history of its own then: one cause, one Transition.
        """
        now = self._clock.now()
        if now < self._sweep_at:
            return
        self._sweep_at = now + SWEEP_EVERY_S
        for number, (subject_id, checks) in enumerate(list(self.states.items()), 1):
            if number % PIECE == 0:
                await asyncio.sleep(0)
            if self.states.get(subject_id) is checks:  # not gone meanwhile
                self._sweep(checks, now)

    def _sweep(self, checks: dict[Check, CheckState], now: float) -> None:
        answers = _answers(checks.get(Check.APISERVER), now)
        for check, state in checks.items():
            if not answers and check is not Check.APISERVER:
                continue
            if stale(state, now) and (after := went_stale(state, now)) is not state:
                self._keep(checks, after)

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
        for checks in self.states.values():
            for state in checks.values():
                self._keep(checks, shift(state, step_s))

    # -- helpers

    def _keep(self, checks: dict[Check, CheckState], state: CheckState) -> None:
        """It is known, and to be written."""
        checks[state.check] = state
        subject = subject_of(state)
        self._dirty.add(subject)
        if state.changes != self._writer.before(subject).changes:
            self._pending.setdefault(subject.id, set()).add(state.check)

    def _state(self, subject: Subject) -> CheckState | None:
        return self.states.get(subject.id, {}).get(subject.check)

    def _adopt(self, state: CheckState) -> None:
        if (checks := self.states.get(state.subject)) is not None:
            checks[state.check] = state

    def _settle(self, subject: Subject) -> None:
        """The database has taken it; what is known now may be more than that already."""
        state, checks = self._state(subject), self._pending.get(subject.id)
        if checks is None or (state is not None and state.changes != self._writer.before(subject).changes):
            return
        checks.discard(subject.check)
        if not checks:
            del self._pending[subject.id]

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
