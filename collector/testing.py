"""Shipped doubles for whoever tests against the collector."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable

from validator.discovery.source import Reading, Sighting, SourceProblem


class FedSource:
    """A `Source` that says what it is fed, when it is fed; a newer reading replaces one that nobody has taken."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._reading: Reading | None = None
        self._fed = asyncio.Event()

    @property
    def name(self) -> str:
        return self._name

    def feed(
        self, sightings: Iterable[Sighting], problems: Iterable[SourceProblem] = (), *, complete: bool = True
    ) -> None:
        """The next reading."""
        self._reading = Reading(tuple(sightings), tuple(problems), complete)
        self._fed.set()

    async def readings(self) -> AsyncIterator[Reading]:
        while True:
            await self._fed.wait()
            self._fed.clear()
            assert self._reading is not None
            yield self._reading
