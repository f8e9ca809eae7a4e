"""What a location's pairs say of it together. Pure.

The words are those of the field; each cell of the matrix tells more. A cluster that is offline, asleep or not asked yet
says nothing about a bucket: it turns no location red, and it makes none green.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from validator.reasons import Health


class LocationStatus(StrEnum):
    """Roll-up of a location."""

    VALID = "Valid"
    """It works from every cluster that can tell, and one can."""
    LIMITED = "LimitedAvailability"
    """It works from some and fails from others; or nobody can tell."""
    VALIDATING = "ValidationInProgress"
    FAILED = "ValidationFailed"
    """It fails from every cluster that can tell, and worked last from none of the others."""
    DELETING = "DeletePending"


@dataclass(frozen=True, slots=True)
class RollUp:
    """The word, and a sentence for people."""

    status: LocationStatus
    message: str


_WORKS = (Health.HEALTHY, Health.DEGRADED)
_FAILS = (Health.UNHEALTHY, Health.UNREACHABLE)

NOT_TOUCHED = "Backup data in the bucket is never touched"


def roll_up(pairs: Collection[Health], *, worked: int = 0, validating: bool = False, deleting: bool = False) -> RollUp:
    """The status of a location with these pairs; `validating`: a job is under way on one of them.

    `worked`: how many of those that can't tell now said last that it works. Where there is one, the others don't turn
    the location red: else one tenant's cluster could, while those of another are offline.
    """
    counts = Counter(pairs)
    works, fails = (sum(counts[health] for health in some) for some in (_WORKS, _FAILS))
    silent = len(pairs) - works - fails
    if deleting:
        return RollUp(LocationStatus.DELETING, f"what Muster knows of it is being removed. {NOT_TOUCHED}")
    if not pairs:
        return RollUp(LocationStatus.LIMITED, "no cluster is assigned, so nobody asks about it")
    told = ", ".join(
        f"{text} {number}"
        for text, number in (("works from", works), ("fails from", fails), ("unknown from", silent))
        if number
    )
    message = f"{told} of {len(pairs)} cluster{'s' if len(pairs) > 1 else ''}"
    if validating:
        return RollUp(LocationStatus.VALIDATING, message)
    if works and not fails:
        return RollUp(LocationStatus.VALID, message)
    return RollUp(LocationStatus.FAILED if fails and not works and not worked else LocationStatus.LIMITED, message)
