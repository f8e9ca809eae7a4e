"""What a probe gives the engine, before the engine adds time: facts, and how to go on with the target."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from validator.model import NO_EVIDENCE, Check, Evidence, Outcome
from validator.reasons import Reason, Stage


@dataclass(frozen=True, slots=True)
class Fact:
    """One check's answer. The engine makes the `Verdict` of it: it alone knows when the tick was due."""

    check: Check
    outcome: Outcome
    reason: Reason | None = None
    stage: Stage | None = None
    message: str = ""
    evidence: Evidence = field(default_factory=lambda: NO_EVIDENCE)
    every: float = 1
    """This fact is renewed at every so many ticks; its allowance is that much longer. Below 1 where something else than
    the tick renews it, and more often."""


@dataclass(frozen=True, slots=True)
class Answer:
    """All that one ask brought."""

    facts: tuple[Fact, ...]
    unanswered: bool = False
    """Nothing answered in time or at all: the target goes to (or stays in) the dead lane."""
    retry_after_s: float | None = None
    """The server asked not to be asked again sooner (RFC 9110, 10.2.3); bounded by the schedule."""


class Probe(Protocol):
    """One question to one subject, with whatever it keeps between two asks (a connection, say)."""

    async def ask(self) -> Answer:
        """Ask once, within the probe's own timeout. Never raises for what the other side does."""
        ...

    def close(self) -> None:
        """Let go of everything at once; `ask` is not called again."""
        ...
