"""Validations: a person has a cluster asked now. One question however many want to know, and never a flood of them.

A validation has its place from its beginning for `HOLD_S` at least, and until it is answered or nobody waits any more.
Whoever comes meanwhile joins it. So one cluster is asked once a `HOLD_S`, and all of them together `MOST` times: what
the live lane has to spare (`validator.schedule.SPARE_SLOTS`). A bound on those under way alone was rejected: answers
that come within milliseconds would let thousands a second through, and probes would be late by what those cost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

from validator.engine import Awaited, Engine
from validator.schedule import SPARE_SLOTS

MOST = SPARE_SLOTS
"""Validations at once, and in a second."""

HOLD_S = 1.0
"""Least time between two questions to one cluster."""

MOST_READERS = 512
"""Who may wait at once: each holds a connection and a handler."""


class Busy(Exception):  # noqa: N818 - an answer, not an error
    """Too many validations, or too many who wait for them."""


@dataclass(slots=True, eq=False)
class Validation:
    """One question to one cluster."""

    engine: Engine
    answer: Awaited
    """Shared: wait for it with `asyncio.wait`, which does not cancel it."""
    readers: int = 0
    held: bool = True
    """`HOLD_S` is not over yet."""


class Validations:
    """Those of one instance. To be used on the loop's thread."""

    def __init__(self, most: int = MOST, hold_s: float = HOLD_S, most_readers: int = MOST_READERS) -> None:
        """The bounds are for tests."""
        self._most = most
        self._hold_s = hold_s
        self._most_readers = most_readers
        self._places: dict[UUID, Validation] = {}
        self._readers = 0

    def __len__(self) -> int:
        """Places that are taken."""
        return len(self._places)

    @contextmanager
    def joined(self, engine: Engine, cluster_id: UUID) -> Iterator[tuple[Validation, bool]]:
        """Begin one, or join the one that there is: then the second value is true. Raises `Busy`."""
        if self._readers >= self._most_readers:
            raise Busy
        known = self._places.get(cluster_id)
        joins = known is not None and known.engine is engine  # another one leads: that answer will never come
        validation = known if known is not None and joins else self._begin(engine, cluster_id)
        validation.readers += 1
        self._readers += 1
        try:
            yield validation, joins
        finally:
            validation.readers -= 1
            self._readers -= 1
            self._leave(cluster_id, validation)

    def _begin(self, engine: Engine, cluster_id: UUID) -> Validation:
        if len(self._places) >= self._most and cluster_id not in self._places:
            raise Busy
        validation = self._places[cluster_id] = Validation(engine, engine.ask_now(cluster_id))
        asyncio.get_running_loop().call_later(self._hold_s, self._let_go, cluster_id, validation)
        return validation

    def _let_go(self, cluster_id: UUID, validation: Validation) -> None:
        validation.held = False
        self._leave(cluster_id, validation)

    def _leave(self, cluster_id: UUID, validation: Validation) -> None:
        """Free the place, unless it is held, or somebody waits for the answer."""
        if validation.held or (validation.readers and not validation.answer.done()):
            return
        if self._places.get(cluster_id) is validation:
            del self._places[cluster_id]
            validation.answer.cancel()  # does nothing to one that is there
