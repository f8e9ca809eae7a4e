"""Telemetry of this host: the desk, the facts and the link, one decision at a time.

Files are read and written on a thread of their own; a decision to switch off silences the link before it touches a
file, so that no slow disk keeps anything going.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import TypeVar

from uplink.client.batch import Batch
from uplink.client.chain import Checked
from uplink.client.consent import Absent, Impossible, Offer, Standing, Wanted, Who, Word, decide
from uplink.client.desk import Desk, Done
from uplink.client.facts import FactSource
from uplink.client.preview import PRETENDED_S, Preview, kept, pretended
from uplink.client.private_file import PrivateFileError
from uplink.client.record import Given, Scope
from uplink.client.streams import Stream
from uplink.client.telemetry import Link, LinkState
from validator.clock import Clock
from validator.file_thread import FileThread

FILES_S = 5.0
"""For one read or write of the files. A disk that takes longer counts as one that can't be read."""

MAX_CHANGES = 2000
"""Transitions that a preview looks at; a batch has room for about so many."""

T = TypeVar("T")


class NoLink:
    """Nothing is sent: there is no enrolment, no spool and no sender here."""

    def state(self) -> LinkState:
        return LinkState("off")

    async def began(self, given: Given, activation_token: str | None) -> None:
        pass

    def silence(self) -> None:
        pass

    async def ended(self) -> None:
        pass

    async def head(self, stream: Stream) -> Batch | None:
        return None

    async def forget(self) -> None:
        raise Impossible("nothing was ever sent from here")

    async def export(self) -> AsyncIterator[bytes]:
        raise Impossible("there is nothing that could write an export")
        yield b""

    async def known_epoch(self) -> int:
        raise Impossible("this release shows what would leave, and sends nothing yet: there is nothing to switch on")


class LocalTelemetry:
    """See `Telemetry`."""

    def __init__(self, desk: Desk, facts: FactSource, link: Link, clock: Clock, service_version: str) -> None:
        self._desk = desk
        self._facts = facts
        self._link = link
        self._clock = clock
        self._version = service_version
        self._files = FileThread("telemetry-files")
        self._deciding = asyncio.Lock()
        self._silenced = ""
        """Why nothing is sent whatever the file says: it can't be written."""

    @property
    def place(self) -> str:
        return str(self._desk.place)

    @property
    def offer(self) -> Offer:
        return self._desk.offer

    async def standing(self) -> Standing:
        if self._silenced:
            return decide(Absent(self._silenced), self._desk.offer, {})
        try:
            return await self._files.run(self._desk.standing, FILES_S)
        except TimeoutError:
            return decide(Absent(f"{self._desk.place} could not be read within {FILES_S:g} s"), self._desk.offer, {})

    def link(self) -> LinkState:
        return self._link.state()

    def check(self, wanted: Wanted, who: Who) -> None:
        self._desk.check(wanted, who, self._clock.now())

    async def turn_on(self, wanted: Wanted, who: Who, activation_token: str | None) -> Done:
        above = await self._link.known_epoch()
        async with self._deciding:
            done = await self._write(partial(self._desk.give, wanted, who, self._clock.now(), above=above))
            assert isinstance(done.record, Given)
            self._silenced = ""
            self._link.silence()
            await self._link.ended()  # of the consent before: what was gathered under it is never relabelled
            await self._link.began(done.record, activation_token)
        return done

    async def turn_off(self, who: Who, streams: frozenset[Stream] = frozenset()) -> Done:
        if not streams:
            self._silence("it is being switched off")
        async with self._deciding:
            if streams and not streams >= await self._consented():
                return await self._narrow(who, streams)
            self._silence("it is being switched off")
            try:
                done = await self._write(partial(self._desk.withdraw, who, self._clock.now()))
                self._silenced = ""  # the file says so now
            except PrivateFileError as error:
                self._silenced = str(error)
                raise
            finally:
                await self._link.ended()
        return done

    async def forget(self, who: Who) -> Done:
        await self._link.forget()
        return await self.turn_off(who)

    async def preview(self, stream: Stream) -> Preview | None:
        standing = await self.standing()
        if standing.allows(stream):
            return kept(stream, await self._link.head(stream))
        facts = await self._facts.facts()
        if facts is None:
            return None
        changes = await self._facts.changes(facts.at - PRETENDED_S, 0, MAX_CHANGES) if stream is Stream.LOGS else ()
        dictionary = self._desk.offer.dictionary
        scope = Scope(fields=dictionary.digests(stream))
        making = partial(pretended, stream, facts, changes, dictionary, scope, self._version)
        return await self._files.run(making, FILES_S)

    async def audit(self) -> Checked:
        return await self._write(self._desk.verify)

    async def export(self, who: Who) -> AsyncIterator[bytes]:
        standing = await self.standing()
        if standing.word is not Word.ON or standing.record is None:
            raise Impossible(f"an export needs a consent, too, and telemetry is {standing.word}: {standing.why}")
        about = {"epoch": standing.record.epoch}
        await self._write(partial(self._desk.note, who, "export", about, self._clock.now()))
        return self._link.export()

    def _silence(self, why: str) -> None:
        """Before any file is touched and without waiting for anything."""
        self._silenced = self._silenced or why
        self._link.silence()

    async def _narrow(self, who: Who, streams: frozenset[Stream]) -> Done:
        self._link.silence()
        done = await self._write(partial(self._desk.narrow, streams, who, self._clock.now()))
        assert isinstance(done.record, Given)
        await self._link.began(done.record, None)
        return done

    async def _consented(self) -> frozenset[Stream]:
        record = (await self.standing()).record
        return frozenset(record.scope) if isinstance(record, Given) else frozenset()

    async def _write(self, job: Callable[[], T]) -> T:
        try:
            return await self._files.run(job, FILES_S)
        except TimeoutError:
            raise PrivateFileError(0, f"{self._desk.place.parent} did not answer within {FILES_S:g} s") from None
