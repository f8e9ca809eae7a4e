"""One line of the doctor's checklist, and all of them together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from validator.doctor.facts import AccountName, Cloud
from validator.model import Outcome
from validator.reasons import REASONS, Health, Reason

_OUTCOMES = {Health.DEGRADED: Outcome.FINDING, Health.UNKNOWN: Outcome.UNKNOWN}

GRAVITY = (Outcome.FAIL, Outcome.FINDING, Outcome.UNKNOWN, Outcome.PASS)
"""Worst first."""


@dataclass(frozen=True, slots=True)
class Step:
    """What was looked at, what was seen, and the commands that mend it."""

    name: str
    outcome: Outcome
    seen: str
    reason: Reason | None = None
    """None = nothing is wrong with it as far as it can be seen."""
    fix: tuple[str, ...] = ()
    """Lines for a shell, with the names of this cluster in them; words in capitals are what it can't know. A step that
    passes may have some too: what to compare in the cloud, into which nobody here can see."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The checklist of one service account."""

    account: AccountName
    cloud: Cloud | None
    steps: tuple[Step, ...]

    @property
    def findings(self) -> tuple[Step, ...]:
        """What is wrong, worst first and else in order."""
        return tuple(sorted((step for step in self.steps if step.reason), key=lambda step: GRAVITY.index(step.outcome)))


def good(name: str, seen: str, *fix: str) -> Step:
    """Nothing is wrong with it."""
    return Step(name, Outcome.PASS, seen, fix=fix)


def unseen(name: str, seen: str, *fix: str) -> Step:
    """It can't be seen from here, and that is nobody's fault."""
    return Step(name, Outcome.UNKNOWN, seen, fix=fix)


def bad(name: str, reason: Reason, seen: str, fix: Sequence[str] = (), outcome: Outcome | None = None) -> Step:
    """Something is wrong; how gravely is the reason's row to say, unless the outcome is given."""
    return Step(name, outcome or _OUTCOMES.get(REASONS[reason].health, Outcome.FAIL), seen, reason, tuple(fix))


def listed(names: Iterable[str], most: int = 3) -> str:
    """`a, b, c and 5 more`."""
    every = list(dict.fromkeys(names))
    rest = len(every) - most
    return ", ".join(every[:most]) + (f" and {rest} more" if rest > 0 else "")
