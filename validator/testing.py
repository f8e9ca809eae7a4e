"""Shipped doubles for whoever tests against the validator: probes, credentials and names that do as they are told.

They implement the Protocols, so a test needs no patching, and a changed Protocol breaks them in the type checker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from validator.answer import Answer, Fact
from validator.credentials import Credential, CredentialError
from validator.model import Check, Outcome, Verdict
from validator.net.failure import ProbeFailure
from validator.reasons import Reason, Stage

PASSED = Answer((Fact(Check.APISERVER, Outcome.PASS),))
TIMED_OUT = Answer(
    (Fact(Check.APISERVER, Outcome.FAIL, Reason.CONNECT_TIMEOUT, Stage.CONNECT, "no answer"),), unanswered=True
)


@dataclass(frozen=True, slots=True)
class After:
    """A step that takes its time."""

    seconds: float
    answer: Answer


class Held:
    """A step that lasts until it is released (or cancelled): the test decides what the answer is, and when."""

    def __init__(self) -> None:
        self._released = asyncio.Event()
        self._answer = PASSED

    def release(self, answer: Answer = PASSED) -> None:
        """Let whoever waits for this step go on, now and in future."""
        self._answer = answer
        self._released.set()

    async def answer(self) -> Answer:
        """Wait for the release."""
        await self._released.wait()
        return self._answer


Step = Answer | After | Held | Exception
"""What one ask does: answer at once, or later, or when released, or break the contract and raise."""


class ScriptedProbe:
    """A `Probe` that plays its script, one step an ask; the last step is repeated for ever."""

    def __init__(self, *script: Step) -> None:
        self._script = list(script) or [PASSED]
        self.asked: list[float] = []
        """When each ask began, on the loop's clock."""
        self.asking = 0
        self.most_at_once = 0
        self.cancelled = 0
        self.closed = 0
        """How often `close` was called."""
        self.asked_after_close = False

    async def ask(self) -> Answer:
        step = self._script[min(len(self.asked), len(self._script) - 1)]
        self.asked.append(asyncio.get_running_loop().time())
        self.asked_after_close = self.asked_after_close or self.closed > 0
        self.asking += 1
        self.most_at_once = max(self.most_at_once, self.asking)
        try:
            return await self._play(step)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.asking -= 1

    async def _play(self, step: Step) -> Answer:
        match step:
            case Answer():
                return step
            case After(seconds, answer):
                await asyncio.sleep(seconds)
                return answer
            case Held():
                return await step.answer()
            case _:
                raise step

    def close(self) -> None:
        self.closed += 1


class Collected:
    """A `Sink` that keeps all verdicts and lets a test wait for them."""

    def __init__(self) -> None:
        self.verdicts: list[Verdict] = []
        self._came = asyncio.Event()

    def __call__(self, verdicts: Sequence[Verdict]) -> None:
        self.verdicts.extend(verdicts)
        self._came.set()

    def of(self, cluster_id: UUID, check: Check = Check.APISERVER) -> list[Verdict]:
        """All verdicts of one check of one cluster, oldest first."""
        return [v for v in self.verdicts if v.cluster_id == cluster_id and v.check is check]

    async def wait_for(
        self, cluster_id: UUID, count: int = 1, check: Check = Check.APISERVER, within_s: float = 10.0
    ) -> list[Verdict]:
        """Wait until there are so many of them. Raises TimeoutError."""
        async with asyncio.timeout(within_s):
            while len(found := self.of(cluster_id, check)) < count:
                self._came.clear()
                await self._came.wait()
        return found


class RenewableCredential:
    """A `CredentialSource` whose every `fetch` gives the next of the credentials (or errors) that it was made with.

    The first is fetched before use, like a token file's; the last one is repeated. `hold`: fetches wait for `go_on`.
    """

    def __init__(self, *supply: Credential | CredentialError | Exception, hold: bool = False) -> None:
        self._supply = list(supply)
        self._current: Credential | None = None
        self._go_on = asyncio.Event()
        if not hold:
            self._go_on.set()
        self.fetches = 0
        self.fetching = 0
        self.most_at_once = 0
        self.rejected: list[Credential] = []

    def current(self, now: float) -> Credential | None:
        return self._current

    async def fetch(self, now: float) -> Credential:
        self.fetches += 1
        self.fetching += 1
        self.most_at_once = max(self.most_at_once, self.fetching)
        try:
            await self._go_on.wait()
        finally:
            self.fetching -= 1
        step = self._supply[min(self.fetches, len(self._supply)) - 1]
        if isinstance(step, Exception):
            raise step
        self._current = step
        return step

    def reject(self, credential: Credential) -> None:
        self.rejected.append(credential)
        if credential is self._current:
            self._current = None

    def go_on(self) -> None:
        """Let held fetches end."""
        self._go_on.set()


class ScriptedResolver:
    """A `Resolver` that knows a few names; a name that it doesn't know does not exist."""

    def __init__(self, names: Mapping[str, tuple[str, ...] | ProbeFailure]) -> None:
        self.names = dict(names)
        self.asked: list[str] = []

    async def resolve(self, host: str, deadline_s: float) -> tuple[str, ...]:
        self.asked.append(host)
        found = self.names.get(host)
        if found is None:
            raise ProbeFailure(Reason.DNS_NAME_NOT_FOUND, f"{host}: no such name", unanswered=True)
        if isinstance(found, ProbeFailure):
            raise found
        return found
