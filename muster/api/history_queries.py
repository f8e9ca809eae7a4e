"""What can be asked of history."""

from __future__ import annotations

from math import inf
from typing import Annotated
from uuid import UUID

from pydantic import Field, ValidationInfo, field_validator

from collector.history import Only
from muster.api.queries import Instant, Query, bad_query, some_of
from validator.model import Check
from validator.reasons import Health

MAX_TRANSITIONS = 1000
"""Transitions on one page."""

FUTURE_S = 60.0
"""How far a window may begin ahead of the hub clock: the clocks of clients are not exact."""


class TransitionsQuery(Query):
    """Which part of history."""

    limit: Annotated[int, Field(ge=1, le=MAX_TRANSITIONS)] = 100
    """Transitions on a page."""
    before: Annotated[int, Field(ge=1, lt=2**63)] | None = None
    """The `next` of the page before."""
    begin: Annotated[Instant | None, Field(alias="from")] = None
    """Only changes that were noticed at this moment or later."""
    to: Instant | None = None
    """Only changes that were noticed before this moment."""
    check: Annotated[frozenset[Check], *some_of(Check)] = Field(default_factory=frozenset)
    """Only changes of this check."""
    to_health: Annotated[frozenset[Health], *some_of(Health)] = Field(default_factory=frozenset)
    """Only changes to this health."""
    location: Annotated[str, Field(max_length=1024)] = ""
    """Only changes of pairs with this backup location, by name or id; by its id also of one that was deleted."""

    @field_validator("to")
    @classmethod
    def _after_its_begin(cls, to: Instant | None, info: ValidationInfo) -> Instant | None:
        begin = info.data.get("begin")
        if to is not None and begin is not None and to <= begin:
            raise ValueError("the window ends before it has begun; `to` comes after `from`")
        return to

    def only(self, now: float, location_id: UUID | None) -> Only:
        """The filters; `location_id` is what `location` stands for.

        Raises `ProblemError` for a window that lies in the future.
        """
        begin = -inf if self.begin is None else self.begin.timestamp()
        if begin > now + FUTURE_S:
            bad_query("from", "in the future: nothing has happened there yet")
        end = inf if self.to is None else self.to.timestamp()
        return Only(begin, end, tuple(sorted(self.check)), tuple(sorted(self.to_health)), location_id)
