"""One ask about a location: how far it came, what it saw, and the facts that come of it.

One deadline is around everything, the token included. What fails before the location is known to answer is the fact
`location`; what fails after it is the fact `object-lock`, which nobody's backups wait for.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable
from dataclasses import dataclass, field, replace
from typing import TypeVar
from uuid import UUID

from validator.answer import Answer, Fact
from validator.locations import Location, location_problems
from validator.model import Check, Outcome
from validator.net.failure import ProbeFailure
from validator.printable import printable
from validator.reasons import REASONS, Health, Reason, Stage
from validator.scrub import scrub

T = TypeVar("T")


@dataclass(slots=True)
class LocationAsk:
    """The state of one ask; made anew for each."""

    seen: dict[str, str | int | float | bool]
    """Evidence so far; a failure has it too."""
    doing: str = "getting a token"
    """For the message, should time run out."""
    stage: Stage = Stage.IDENTITY
    facts: list[Fact] = field(default_factory=list)

    async def timed(self, key: str, question: Awaitable[T]) -> T:
        """The answer; how long it took is evidence, in milliseconds."""
        started = time.perf_counter()
        try:
            return await question
        finally:
            self.seen[key] = round((time.perf_counter() - started) * 1000, 1)

    async def answer(self, questions: Awaitable[None], timeout_s: float) -> Answer:
        """Let `questions` run, which append facts and raise `ProbeFailure`; always an answer, never a secret in it."""
        try:
            async with asyncio.timeout(timeout_s):
                await questions
        except TimeoutError:
            text = f"{self.doing} took longer than {timeout_s:.0f} s"
            return self._answer(ProbeFailure(Reason.STORAGE_TIMEOUT, text, self.stage, unanswered=True))
        except ProbeFailure as failure:
            return self._answer(failure)
        return self._answer(None)

    def _answer(self, failure: ProbeFailure | None) -> Answer:
        if failure is None:
            return Answer(tuple(map(_scrubbed, self.facts)))
        known = any(fact.check is Check.LOCATION for fact in self.facts)
        self.facts.append(self._lock_unread(failure) if known else self._failed(failure))
        return Answer(tuple(map(_scrubbed, self.facts)), failure.unanswered and not known, failure.retry_after_s)

    def _failed(self, failure: ProbeFailure) -> Fact:
        evidence = self.seen | dict(failure.evidence)
        return Fact(Check.LOCATION, outcome_of(failure), failure.reason, failure.stage, failure.message, evidence)

    def _lock_unread(self, failure: ProbeFailure) -> Fact:
        known = failure.reason is Reason.OBJECT_LOCK_UNREADABLE
        outcome = Outcome.FINDING if known else Outcome.UNKNOWN
        evidence = dict(failure.evidence)
        return Fact(Check.OBJECT_LOCK, outcome, failure.reason, failure.stage, failure.message, evidence)


@dataclass(frozen=True, slots=True)
class AskSettings:
    """How a location is asked about."""

    timeout_s: float = 20.0
    """For the whole ask. A cold one makes up to four handshakes and five requests; storage gives up after 30 s."""


USUAL = AskSettings()


class LocationProbe:
    """What the probes of all providers share; each brings `_questions`.

    `asker` is whose eyes these are (a cluster's id); `method` how: `agent` or `direct`.
    """

    def __init__(self, location: Location, asker: str, method: str, settings: AskSettings) -> None:
        self._location = location
        self._settings = settings
        self._object = probe_object_name(asker, location.id)
        self._seen: dict[str, str | int | float | bool] = {"method": method, "container": printable(location.container)}

    async def ask(self) -> Answer:
        ask = LocationAsk(dict(self._seen))
        return await ask.answer(self._questions(ask), self._settings.timeout_s)

    def close(self) -> None:
        """Nothing is held: clients and connections are shared."""

    async def _questions(self, ask: LocationAsk) -> None:
        """Append facts to `ask`; raises `ProbeFailure`."""
        raise NotImplementedError


def refuse_unfit(location: Location) -> None:
    """Raises `ProbeFailure` before anything is sent under a name that can't be, or to a foreign endpoint."""
    if problems := location_problems(location):
        foreign = any(problem.field == "endpoint" for problem in problems)
        reason = Reason.ENDPOINT_REFUSED if foreign else Reason.INVALID_LOCATION_NAME
        raise ProbeFailure(reason, "; ".join(map(str, problems)))


def outcome_of(failure: ProbeFailure) -> Outcome:
    """What a failed question about a location says: a throttled one, for example, works."""
    if failure.stage is Stage.HUB:
        return Outcome.UNKNOWN
    return Outcome.FINDING if REASONS[failure.reason].health is Health.DEGRADED else Outcome.FAIL


def probe_object_name(asker: str, location_id: UUID) -> str:
    """The object that the write probe of this asker writes in this location; always the same one.

    Then what a crash leaves behind is overwritten and deleted by the next ask, and two clusters don't read each
    other's. No slash: Velero takes a foreign directory at the top of a bucket for damage, a foreign file for nothing.
    """
    return f"muster-write-probe-{hashlib.sha256(f'{asker}/{location_id}'.encode()).hexdigest()[:16]}"


def _scrubbed(fact: Fact) -> Fact:
    # `fix` is our own text, and full of what looks like parameters.
    evidence = {
        key: scrub(value) if isinstance(value, str) and key != "fix" else value for key, value in fact.evidence.items()
    }
    return replace(fact, message=scrub(fact.message), evidence=evidence)
