"""How states and transitions get into the database: fenced, compared and swapped, never twice.

A change of health is a transaction of its own together with its history row, everything else is one statement for many.
All writes are fenced by the leader's epoch and by the version of each check, so that an instance that lost its
leadership without noticing can neither overwrite nor double anything.

A commit whose answer was lost, or that was cancelled, is in doubt until the version in the database tells. A value
that PostgreSQL can't take is a defect (verdicts are cleaned when they are made): its row fails alone, all others are
written.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import NamedTuple
from uuid import UUID

import structlog

from collector.publication import Publication, Subject
from collector.rows import state_from_row, state_to_row, transition_from_row, transition_to_row
from collector.state_sql import StateSql, of_clusters, of_pairs
from collector.transition import Transition
from store.errors import StoreError, StoreFull, StoreRefused, StoreUnavailable
from store.pool import Database, Statements
from validator.clock import HubClock
from validator.health import CheckState
from validator.model import Verdict
from validator.reasons import Health

_log = structlog.get_logger(__name__)

BATCH = 1000
"""States in one statement: about 1 MB of JSON."""

PIECE = 50
"""States that are encoded in one turn of the loop: 0.5 ms."""

COMMITTERS = 4
"""Transitions committed at once; PostgreSQL joins their fsyncs (group commit)."""

CrashPoint = Callable[[str], None]
"""Told where the recorder is; tests kill the process there."""


def subject_of(state: CheckState | Verdict) -> Subject:
    """The key that a state is kept under."""
    return Subject(state.cluster_id, state.check, state.location_id)


class Committed(NamedTuple):
    """What the database has of a check."""

    health: Health
    changes: int


_NOTHING = Committed(Health.UNKNOWN, 0)

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


class Writer:
    """Knows what the database has, and brings it up to date: the recorder's hand."""

    def __init__(
        self,
        db: Database,
        queries: Mapping[str, str],
        clock: HubClock,
        *,
        names: Callable[[UUID], str],
        location_names: Callable[[UUID], str],
        publish: Callable[[Transition], None],
        known: Callable[[Subject], bool],
        settled: Callable[[Subject], None],
        again: Callable[[Subject], None],
        adopt: Callable[[CheckState], None],
        at: CrashPoint,
    ) -> None:
        """`publish` is told each committed transition, in the order of their ids.

        `known` says whether a check is still in memory: its cluster may go while it is written. `settled` is told which
        check the database has taken. `again` is told of a
        check that has to be written once more, `adopt` what another writer has put into the database.
        """
        self._db = db
        self._sql = queries
        self._of_clusters, self._of_pairs = of_clusters(queries), of_pairs(queries)
        self._clock = clock
        self._names = names
        self._location_names = location_names
        self._known = known
        self._settled = settled
        self._again = again
        self._adopt = adopt
        self._at = at
        self._epoch = 0
        self._committed: dict[Subject, Committed] = {}
        self.publication = Publication(publish)
        self.stats = RecorderStats()

    async def load(self, epoch: int) -> list[CheckState]:
        """All states as they are committed; from now on it writes as the leader of `epoch`. Raises `StoreError`."""
        rows = await self._db.fetch(self._of_clusters.load_all) + await self._db.fetch(self._of_pairs.load_all)
        last_id = await self._db.fetchval(self._sql["newest_transition"])
        states = [state for row in rows if (state := state_from_row(dict(row))) is not None]
        self._epoch = epoch
        self._committed = {subject_of(s): Committed(s.health, s.changes) for s in states}
        self.publication.begin(last_id)
        return states

    def before(self, subject: Subject) -> Committed:
        """What the database has of a check, as far as is known."""
        return self._committed.get(subject, _NOTHING)

    def forget(self, subject: Subject) -> None:
        """Its cluster is gone, in the database too."""
        self._committed.pop(subject, None)
        self.publication.forget(subject)

    # -- changes of health

    async def commit_all(self, turned: Mapping[Subject, CheckState], unwritten: set[Subject]) -> list[StoreError]:
        """Commit each change of health in a transaction of its own, a few at a time; those that are leave `unwritten`.

        Gives the errors of single rows; raises the `StoreError` that is about the database.
        """
        queue = list(turned.items())[::-1]
        failed: list[StoreError] = []
        defects: list[StoreError] = []

        async def committer() -> None:
            while queue and not failed:
                subject, state = queue.pop()
                if not self._known(subject):
                    continue
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
        before = self.before(subject)
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
            location_id=subject.location_id,
            location_name=None if subject.location_id is None else self._location_names(subject.location_id),
        )
        row, history = state_to_row(state), transition_to_row(transition)
        self.publication.sending(subject, state.changes)
        self._at("before commit")
        with self._refusing([(subject, state)]):
            number = await self._db.fetchval(self._of(subject).commit, row, self._epoch, before.changes, history)
        self._at("after commit")
        if number is None:
            await self._conflict(subject)
        else:
            self._done(subject, Committed(state.health, state.changes), replace(transition, id=number))

    # -- everything else

    async def save_all(self, states: Sequence[tuple[Subject, CheckState]], unwritten: set[Subject]) -> list[StoreError]:
        """Write states without a change of health in batches; those that are written leave `unwritten`.

        Gives the errors of single rows; raises the `StoreError` that is about the database.
        """
        defects: list[StoreError] = []
        by_table = (
            [each for each in states if each[0].location_id is None],
            [each for each in states if each[0].location_id],
        )
        batches = [some[begin : begin + BATCH] for some in by_table for begin in range(0, len(some), BATCH)][::-1]
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

    async def _save(self, batch: Sequence[tuple[Subject, CheckState]], unwritten: set[Subject]) -> None:
        """All of one table."""
        states = [(subject, state) for subject, state in batch if self._known(subject)]
        rows = await self._encoded(states)
        moved = [(subject, state) for subject, state in states if state.changes != self.before(subject).changes]
        for subject, state in moved:
            self.publication.sending(subject, state.changes)
        self._at("before save")
        with self._refusing(moved):
            found = await self._db.fetch(self._of(batch[0][0]).save, rows, self._epoch)
        self._at("after save")
        refused = {Subject(*row) for row in found}
        self.stats.flushed += len(states) - len(refused)
        for subject, state in states:
            if subject in refused:
                await self._conflict(subject)
            else:
                self.stats.collapsed += max(0, state.changes - self.before(subject).changes)
                self._done(subject, Committed(state.health, state.changes))
            unwritten.discard(subject)

    async def _encoded(self, states: Sequence[tuple[Subject, CheckState]]) -> str:
        """The rows as one JSON text, made in pieces: a thousand at once would hold the loop for 10 ms."""
        texts: list[str] = []
        for begin in range(0, len(states), PIECE):
            rows = [
                {**state_to_row(state), "was": self.before(subject).changes}
                for subject, state in states[begin : begin + PIECE]
            ]
            texts.append(json.dumps(rows, separators=(",", ":"))[1:-1])  # NaN: PostgreSQL refuses the row
            await asyncio.sleep(0)
        return f"[{','.join(texts)}]"

    def _of(self, subject: Subject) -> StateSql:
        return self._of_clusters if subject.location_id is None else self._of_pairs

    # -- doubts

    @contextmanager
    def _refusing(self, sent: Sequence[tuple[Subject, CheckState]]) -> Generator[None]:
        """An error that is about a row is an answer: nothing of the statement is committed. Others leave it open."""
        try:
            yield
        except _NOT_NOW:
            raise
        except StoreError:
            for subject, state in sent:
                self.publication.refused(subject, state.changes)
            raise

    def _done(self, subject: Subject, committed: Committed, transition: Transition | None = None) -> None:
        """The database has it; a subject that was forgotten while it was written stays forgotten."""
        if self._known(subject):
            self._committed[subject] = committed
            self._settled(subject)
        self._resolved(subject, transition)

    def _resolved(self, subject: Subject, transition: Transition | None) -> None:
        if transition is not None:
            self.stats.committed += 1
            self.stats.collapsed += transition.collapsed
        self.publication.resolved(subject, transition)

    async def _conflict(self, subject: Subject) -> None:
        """A write did not find the version that it expected. The causes are told apart by asking.

        We no longer lead: refused. The row is gone, with its cluster or by somebody's hand: the next verdict begins
        anew. A commit of our own, whose answer was lost: it is done, and published now. Another writer: what the
        database has is the truth.
        """
        if await self._db.fetchval(self._sql["epoch"]) != self._epoch:
            raise StoreRefused(_DEPOSED)
        row = await self._db.fetchrow(self._of(subject).load_one, *subject.key)
        state = state_from_row(dict(row)) if row is not None else None
        doubt = self.publication.doubts.get(subject)
        if state is None or not self._known(subject):
            await self._settle(subject)
            self._committed.pop(subject, None)
        elif doubt is not None and state.changes in doubt.versions:
            made = await self._made(self._db, subject)  # None: several changes had collapsed to none
            self._done(subject, Committed(state.health, state.changes), made)
            self._again(subject)  # what came after it
        else:
            self.stats.conflicts += 1
            self._adopt(state)
            self._done(subject, Committed(state.health, state.changes))
            _log.warning("check state was changed by another writer", cluster=self._names(subject.cluster_id))

    async def settle_open(self) -> None:
        """Find out about commits in doubt that no write will tell of. Raises `StoreError`."""
        for subject in self.publication.open_questions():
            await self._settle(subject)

    async def _settle(self, subject: Subject) -> None:
        """End the doubt about a check whose row is gone: only history can tell whether it had a last transition.

        The commit may still be under way in the server. Then it shares the lock on the epoch, and has ended when we
        have that for ourselves.
        """
        if subject not in self.publication.doubts:
            return
        async with self._db.transaction() as tx:
            if not await tx.fetchval(self._sql["fence_off"], self._epoch):
                raise StoreRefused(_DEPOSED)
            made = await self._made(tx, subject)
        self._resolved(subject, made)

    async def _made(self, statements: Statements, subject: Subject) -> Transition | None:
        """The transition that a commit in doubt has made after all."""
        doubt = self.publication.doubts[subject]
        versions = sorted(doubt.versions)
        row = await statements.fetchrow(
            self._sql["find_transition"],
            subject.cluster_id,
            subject.check,
            versions,
            doubt.floor,
            subject.location_id,
        )
        return None if row is None else transition_from_row(dict(row))


_DEPOSED = "another instance leads now; this one may not write"
