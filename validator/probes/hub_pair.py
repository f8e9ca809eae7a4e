"""The check `location` of a pair that no agent asks about: how the hub gets an answer, and what it says where it can't.

In this order: what Velero or Stork in the cluster say, if they know the location; else the hub's own identity, where
that may be used; else nobody asks, and that is the fact. Which of them it is follows from the last read of the cluster,
so it changes by itself when somebody installs Velero.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from enum import StrEnum

from validator.answer import Answer, Fact, Probe
from validator.clock import Clock
from validator.locations import FieldProblem, Location
from validator.model import Check, Outcome
from validator.net.failure import ProbeFailure
from validator.probes.resource import LastRead, PairFromResources, ResourceSettings
from validator.reasons import Reason, Stage
from validator.repeated import without_token
from validator.resources.places import place_of
from validator.resources.reading import Access, ClusterReading


class Method(StrEnum):
    """Who asks."""

    RESOURCE = "resource"
    DIRECT = "direct"
    NOBODY = "nobody"


class HubPairProbe:
    """One pair. `direct` is the probe with the hub's own identity, where the location's owner allows that.

    `last_read` is None where the hub has no way into the cluster at all. `before` is the method of the newest fact that
    is stored: after a restart the way in may be closed before the first read, and that is no change of method.
    `on_told` is called with the method of each answer, before the sink has it. `ticks_per_read` is how many of the
    pair's own ticks lie between two reads of the cluster: a fact from a read stands as long as reads take, whatever the
    pair's interval.
    """

    def __init__(
        self,
        location: Location,
        *,
        last_read: Callable[[], LastRead | None] | None,
        direct: Probe | None,
        clock: Clock,
        settings: ResourceSettings,
        before: str,
        ticks_per_read: float,
        on_told: Callable[[Method], None],
    ) -> None:
        self._location = location
        self._last_read = last_read
        self._direct = direct
        self._on_told = on_told
        self._ticks_per_read = ticks_per_read
        self._known_there = before == Method.RESOURCE
        self._why_nobody = ""
        self._look_first: Callable[[], Awaitable[None]] | None = None
        self.told: Method | None = None
        """The method of the last answer."""
        self._resource = (
            None if last_read is None else PairFromResources(location, last_read, clock=clock, settings=settings)
        )

    @property
    def depends_on_read(self) -> bool:
        """Whether another read of the cluster makes another fact: the hub's own question is not asked more often."""
        method = self._method()
        if method is Method.NOBODY and self.told is method:
            return self._nobody().message != self._why_nobody
        return method is not None and (method is Method.RESOURCE or method is not self.told)

    def demand(self, look: Callable[[], Awaitable[None]]) -> None:
        """Somebody waits for the next answer: unless the hub asks by itself, have the cluster read first."""
        self._look_first = look

    async def ask(self) -> Answer:
        look, self._look_first = self._look_first, None
        if look is not None and self._method() is not Method.DIRECT:
            await look()
        method = self._method()
        if method is None:
            return Answer(())
        self.told = method
        self._on_told(method)
        match method:
            case Method.RESOURCE:
                assert self._resource is not None
                answer = await self._resource.ask()
                return replace(answer, facts=tuple(replace(f, every=self._ticks_per_read) for f in answer.facts))
            case Method.DIRECT:
                assert self._direct is not None
                return await self._direct.ask()
            case Method.NOBODY:
                fact = self._nobody()
                self._why_nobody = fact.message
                return Answer((fact,))

    def close(self) -> None:
        if self._direct is not None:
            self._direct.close()

    def _method(self) -> Method | None:
        """None = not known before the first read of the cluster."""
        otherwise = Method.NOBODY if self._direct is None else Method.DIRECT
        if self._last_read is None:
            return otherwise
        last_read = self._last_read()
        if last_read is None:
            return None
        if isinstance(last_read.found, ClusterReading):
            self._known_there = _knows(last_read.found, self._location)
        return Method.RESOURCE if self._known_there else otherwise

    def _nobody(self) -> Fact:
        """Why nobody does; without what a server repeats of our credential."""
        last_read = None if self._last_read is None else self._last_read()
        (fact,) = without_token([self._why(last_read)], None if last_read is None else last_read.token)
        return fact

    def _why(self, last_read: LastRead | None) -> Fact:
        url, read = self._location.url, None if last_read is None else last_read.found
        if read is None:
            why = "the hub has no way into the cluster"
        elif isinstance(read, ProbeFailure):
            text = f"no agent is installed, and what Velero and Stork say could not be read: {read.message}"
            return Fact(Check.LOCATION, Outcome.UNKNOWN, read.reason, read.stage, text)
        elif notes := [p.note for p in read.products if p.access is Access.FORBIDDEN]:
            text = f"no agent is installed, and whether Velero or Stork know {url} may not be read: {'; '.join(notes)}"
            return Fact(Check.LOCATION, Outcome.UNKNOWN, Reason.RESOURCE_FORBIDDEN, Stage.RESOURCE, text)
        else:
            why = f"neither Velero nor Stork has a resource for {url}"
        text = f"nobody asks about this pair: no agent is installed, and {why}"
        return Fact(Check.LOCATION, Outcome.UNKNOWN, Reason.NO_ASKER, Stage.HUB, text)


def _knows(reading: ClusterReading, location: Location) -> bool:
    place = place_of(location)
    return any(not isinstance(r.place, FieldProblem) and place_of(r.place) == place for r in reading.resources)
