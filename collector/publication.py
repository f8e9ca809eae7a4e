"""In which order committed transitions are told: that of their ids, so that an id is a point to go on from.

Several commits are under way at once, and their answers come in any order; a reader that had been told of 7 before 6
would go on after 7 and never hear of 6. So a transition is held until no commit can turn up with a lower id. A commit
that begins when `n` is the highest id known gets a higher one, because the sequence had given `n` out before. Hence
each commit without an answer remembers that `n` as its floor, and what is above the lowest floor waits. While all is
well that is the time of one commit. Where an answer was lost, it is until the database tells what became of it, and
meanwhile it takes nothing else anyway.

Ids only ever rise across leaders too: a takeover waits for the commits of the old leader (they hold the epoch's row),
and whatever it left untold is below the id with which the new one begins, for readers to fetch from history.

Two other ways were rejected: to tell at the end of each flush (a burst of thousands would come seconds late and in one
turn of the loop), and to commit one at a time (a quarter of the speed: PostgreSQL could not join their fsyncs).

Nothing here does I/O.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from collector.transition import Transition
from validator.model import Check, Pair, SubjectId


class Subject(NamedTuple):
    """The key of a state."""

    cluster_id: UUID
    check: Check
    location_id: UUID | None = None
    """Of a pair."""

    @property
    def id(self) -> SubjectId:
        """What the check is about."""
        return self.cluster_id if self.location_id is None else Pair(self.cluster_id, self.location_id)

    @property
    def key(self) -> tuple[UUID, Check] | tuple[UUID, Check, UUID]:
        """As its table has it."""
        return self[:2] if self.location_id is None else (self.cluster_id, self.check, self.location_id)


@dataclass(slots=True)
class Doubt:
    """Versions of one check that were sent since the last known one, and may be committed by now; at most one is."""

    floor: int
    """Highest id that was known when the first of them was sent: theirs is above."""
    versions: set[int] = field(default_factory=set)
    ask: bool = False
    """No write will find out, since its cluster is gone or its newest row is no good: history has to be asked."""


class Publication:
    """Holds back what might be told out of order."""

    def __init__(self, publish: Callable[[Transition], None]) -> None:
        self._publish = publish
        self._held: list[tuple[int, Transition]] = []
        self._highest = 0
        self.doubts: dict[Subject, Doubt] = {}
        """Commits under way, and those whose answer was lost. Read-only for everybody else."""
        self.position = 0
        """All transitions up to this id are told, by us or by a leader before us, and none above it."""

    def begin(self, last_id: int) -> None:
        """A new leadership: history ends with `last_id`."""
        self._held, self.doubts = [], {}
        self._highest = self.position = last_id

    def sending(self, subject: Subject, version: int) -> None:
        """From now until the answer comes, nobody knows whether this version is committed."""
        self.doubts.setdefault(subject, Doubt(self._highest)).versions.add(version)

    def refused(self, subject: Subject, version: int) -> None:
        """This version is certainly not committed: its row was no good. One sent before it may be all the same."""
        if (doubt := self.doubts.get(subject)) is not None:
            doubt.versions.discard(version)
            doubt.ask = True
            if not doubt.versions:
                self.resolved(subject, None)

    def resolved(self, subject: Subject, transition: Transition | None) -> None:
        """It is known what became of the check, and which transition it made, if any."""
        self.doubts.pop(subject, None)
        if transition is not None:
            heapq.heappush(self._held, (transition.id, transition))
            self._highest = max(self._highest, transition.id)
        self._release()

    def forget(self, subject: Subject) -> None:
        """Its cluster is gone. A commit without an answer may have been its last one: that is still to be found out."""
        if (doubt := self.doubts.get(subject)) is not None:
            doubt.ask = True

    def open_questions(self) -> list[Subject]:
        """Doubts that only history can end."""
        return [subject for subject, doubt in self.doubts.items() if doubt.ask]

    def _release(self) -> None:
        if not self._held:
            return
        horizon = min((doubt.floor for doubt in self.doubts.values()), default=self._highest)
        while self._held and self._held[0][0] <= horizon:
            number, transition = heapq.heappop(self._held)
            self.position = number
            self._publish(transition)
