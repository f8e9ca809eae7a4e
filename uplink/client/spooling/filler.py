"""From facts to the spool: gathers, encodes and keeps, and how far it has come is kept in the same transaction.

So a crash neither loses a transition nor tells of it twice. What is only in memory (what the inventory was told, and
the counters of this process) is told again after a restart, or counts from there: both do no harm.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import structlog

from store.errors import StoreError
from uplink.client.consent.consent import Standing
from uplink.client.consent.dictionary import Dictionary
from uplink.client.consent.record import Given
from uplink.client.consent.streams import Stream
from uplink.client.encoding.batch import Identity
from uplink.client.encoding.encode import Encoded, Encoder
from uplink.client.encoding.facts import Facts, FactSource
from uplink.client.encoding.gather import Told, events, gather
from uplink.client.encoding.items import Item
from uplink.client.encoding.pseudonyms import Pseudonyms
from uplink.client.spooling.gate import Gate
from uplink.client.spooling.spool import Spool, SpoolClosed
from validator.clock import Clock
from validator.file_thread import FileThread

_log = structlog.get_logger(__name__)

METRICS_S = 60.0
"""Between two batches of metrics."""

FIRST_METRICS_S = 10.0
"""The same for `FIRST_FOR_S` after a consent. What was known before it is not told, so the first batch has little in
it, and somebody is watching."""
FIRST_FOR_S = 90.0

LOOK_S = 5.0
"""Between two looks for changes: of health, and of the inventory."""

MAX_CHANGES = 2000
"""Transitions in one look; more wait for the next."""

ENCODE_S = 30.0


@dataclass(slots=True)
class _Under:
    """One consent, and what was told under it."""

    given: Given
    encoders: dict[Stream, Encoder]
    told: Told
    metrics_at: float | None = None


class Filler:
    """Of one instance, while it leads: `run` is its task."""

    def __init__(
        self,
        facts: FactSource,
        spool: Spool,
        gate: Gate,
        dictionary: Dictionary,
        clock: Clock,
        service_version: str,
        *,
        added: Callable[[], None] = lambda: None,
        look_s: float = LOOK_S,
    ) -> None:
        """`added` wakes the sender."""
        self._facts = facts
        self._spool = spool
        self._gate = gate
        self._dictionary = dictionary
        self._clock = clock
        self._version = service_version
        self._added = added
        self._look_s = look_s
        self._encoding = FileThread("uplink-encoding")
        self._filling = asyncio.Lock()
        self._under: _Under | None = None

    async def run(self) -> NoReturn:
        """Until it is cancelled; gathers nothing while the gate is shut."""
        while True:
            await self._gate.opened()
            if (standing := self._gate.standing) is not None:
                try:
                    await self.fill(standing)
                except (StoreError, SpoolClosed, TimeoutError) as error:
                    _log.info("nothing was gathered", error=str(error) or type(error).__name__)
            await asyncio.sleep(self._look_s)

    async def fill(self, standing: Standing, *, now_all: bool = False) -> int:
        """One look; gives how many batches it has become. `now_all`: metrics too, whether they are due or not.

        Raises `StoreError`, `SpoolClosed`, and `TimeoutError` where encoding hangs.
        """
        given = standing.given
        if given is None:
            return 0
        async with self._filling:
            facts = await self._facts.facts()
            if facts is None:
                return 0
            under = self._under_of(given)
            facts = replace(facts, dropped=await self._spool.counts())
            added = 0
            for stream in Stream:
                if standing.allows(stream) and (stream is not Stream.METRICS or now_all or self._due(under)):
                    added += await self._fill(stream, facts, under)
        if added:
            self._added()
        return added

    def _due(self, under: _Under) -> bool:
        now = self._clock.now()
        every_s = FIRST_METRICS_S if now - under.given.decided_at < FIRST_FOR_S else METRICS_S
        return under.metrics_at is None or now - under.metrics_at >= every_s

    async def _fill(self, stream: Stream, facts: Facts, under: _Under) -> int:
        mark = await self._spool.mark(stream)
        if stream is Stream.LOGS:
            items, told, mark = await self._events(under, mark)
        else:
            known = under.told
            if stream is Stream.METRICS:
                known = replace(known, dropped=_whole(mark), counted_at=known.counted_at or under.given.decided_at)
            items, told = gather(stream, facts, known)
            mark = dict(facts.dropped) if stream is Stream.METRICS else None
        if not items:
            return 0
        encoder = under.encoders[stream]
        encoded: Encoded = await self._encoding.run(lambda: encoder.encode(items, self._clock.now()), ENCODE_S)
        marks = {} if mark is None else {stream: mark}
        await self._spool.add(under.given, encoded.batches, self._clock.now(), marks, encoded.drops)
        under.told = told
        if stream is Stream.METRICS:
            under.metrics_at = self._clock.now()
        return len(encoded.batches)

    async def _events(self, under: _Under, mark: Any) -> tuple[list[Item], Told, Any]:
        after = _whole(mark).get("after", 0)
        changes = await self._facts.changes(under.given.decided_at, after, MAX_CHANGES)
        items = events(changes, under.given.decided_at)
        return items, under.told, {"after": max((each.id for each in changes), default=after)}

    def _under_of(self, given: Given) -> _Under:
        if self._under is None or self._under.given.epoch != given.epoch:
            same = self._under is not None and self._under.given.consent_id == given.consent_id
            told = self._under.told if self._under is not None and same else Told(given.decided_at)
            names = Pseudonyms(bytes.fromhex(given.pseudonym_key))
            identity = Identity.of(given, self._version)
            encoders = {
                stream: Encoder(stream, identity, self._dictionary, scope, names, since=given.decided_at)
                for stream, scope in given.scope.items()
            }
            self._under = _Under(given, encoders, told)
        return self._under


def _whole(mark: Any) -> Mapping[str, int]:
    """What a mark holds, if it is one: it comes from the database."""
    if not isinstance(mark, dict):
        return {}
    return {key: value for key, value in mark.items() if isinstance(key, str) and isinstance(value, int)}
