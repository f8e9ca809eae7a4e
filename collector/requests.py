"""What agents are asked to do now: questions that wait in their next assignment until they are answered.

In memory only: whoever asks (a validation job, a sync) keeps its own record with a watchdog, and asks again after a
takeover. An answer is told to those who registered for its kind, once the verdicts in it are recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

import structlog

from validator.model import Verdict

_log = structlog.get_logger(__name__)

MAX_REQUESTS = 200
"""That wait for one agent."""


class RequestKind(StrEnum):
    """What is asked for."""

    VALIDATE = "validate"
    """Ask about the location at once."""
    SYNC = "sync"
    """List the backups that are in it."""


class SyncState(StrEnum):
    """How far an agent is with a sync."""

    IN_PROGRESS = "InProgress"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True)
class Request:
    """One thing that one agent is asked to do."""

    id: UUID
    cluster_id: UUID
    kind: RequestKind
    location_id: UUID


@dataclass(frozen=True, slots=True)
class ReportedSync:
    """What an agent says of a sync. Texts are clean and bounded."""

    state: SyncState
    reason: str | None
    message: str
    listed: int
    """Objects so far."""
    of: int | None
    """Of how many, where that is known."""
    inventory: Mapping[str, Any] | None
    """As it came: JSON of a known size and nothing else. Whoever takes it checks its shape."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What became of a request."""

    request_id: UUID
    cluster_id: UUID
    location_id: UUID
    kind: RequestKind
    verdicts: tuple[Verdict, ...] = ()
    sync: ReportedSync | None = None
    """While it is `InProgress` the request goes on to wait."""

    @property
    def is_last(self) -> bool:
        """Whether there is nothing more to come."""
        return self.sync is None or self.sync.state is not SyncState.IN_PROGRESS


OnAnswer = Callable[[Answered], None]
OnTold = Callable[[Request], None]
OnChange = Callable[[UUID], None]


class TooManyRequests(Exception):  # noqa: N818 - an answer, not an error
    """`MAX_REQUESTS` wait for this cluster's agent."""


class Requests:
    """Those of one leader. All methods are to be called on the loop's thread."""

    def __init__(self) -> None:
        self._waiting: dict[UUID, dict[UUID, Request]] = {}
        """By cluster, then by id, in the order in which they were asked."""
        self._by_id: dict[UUID, Request] = {}
        self._on_answer: dict[RequestKind, list[OnAnswer]] = {kind: [] for kind in RequestKind}
        self._on_told: dict[RequestKind, list[OnTold]] = {kind: [] for kind in RequestKind}
        self._on_change: list[OnChange] = []

    def ask(self, cluster_id: UUID, kind: RequestKind | str, location_id: UUID, request_id: UUID) -> None:
        """Have the cluster's agent do something; it is told at once. The same id again changes nothing.

        Raises `TooManyRequests`.
        """
        waiting = self._waiting.setdefault(cluster_id, {})
        if request_id in self._by_id:
            return
        if len(waiting) >= MAX_REQUESTS:
            raise TooManyRequests
        request = Request(request_id, cluster_id, RequestKind(kind), location_id)
        waiting[request_id] = self._by_id[request_id] = request
        self._tell(cluster_id)

    def withdraw(self, request_id: UUID) -> None:
        """Nobody waits for its answer any more."""
        request = self._by_id.pop(request_id, None)
        if request is None:
            return
        waiting = self._waiting[request.cluster_id]
        del waiting[request_id]
        if not waiting:
            del self._waiting[request.cluster_id]
        self._tell(request.cluster_id)

    def forget(self, cluster_id: UUID) -> None:
        """The cluster has no agent any more."""
        for request in self.pending(cluster_id):
            self.withdraw(request.id)

    def pending(self, cluster_id: UUID) -> tuple[Request, ...]:
        """Those that wait for this cluster's agent."""
        return tuple(self._waiting.get(cluster_id, {}).values())

    def find(self, request_id: UUID | None) -> Request | None:
        """One that waits."""
        return None if request_id is None else self._by_id.get(request_id)

    def on_answer(self, kind: RequestKind | str, take: OnAnswer) -> None:
        """Have `take` told of every answer to requests of this kind. It must not block."""
        self._on_answer[RequestKind(kind)].append(take)

    def on_told(self, kind: RequestKind | str, take: OnTold) -> None:
        """Have `take` told of every request of this kind that its agent was sent. It must not block."""
        self._on_told[RequestKind(kind)].append(take)

    def told(self, requests: Iterable[Request]) -> None:
        """An assignment with these was sent to their agent."""
        for request in requests:
            for take in self._on_told[request.kind]:
                take(request)

    def on_change(self, take: OnChange) -> None:
        """Have `take` told of every cluster whose requests have changed."""
        self._on_change.append(take)

    def answered(self, answers: Sequence[Answered]) -> None:
        """Take answers; those that are the last remove their request."""
        for answer in answers:
            if answer.is_last:
                self.withdraw(answer.request_id)
            for take in self._on_answer[answer.kind]:
                try:
                    take(answer)
                except Exception:  # noqa: BLE001 - one listener's defect must not cost the others their answer
                    _log.exception("an answer could not be taken", kind=answer.kind, request=str(answer.request_id))

    def _tell(self, cluster_id: UUID) -> None:
        for take in self._on_change:
            take(cluster_id)
