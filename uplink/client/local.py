"""Telemetry of this host: the desk, the facts and the link, one decision at a time.

Files are read and written on a thread of their own; a decision to switch off silences the link before it touches a
file, so that no slow disk keeps anything going.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import NoReturn, TypeVar

import structlog

from store.errors import StoreError
from store.pool import Database
from uplink.client.consent.chain import Checked
from uplink.client.consent.consent import Absent, Impossible, Offer, Standing, Wanted, Who, Word, decide
from uplink.client.consent.desk import Desk, Done
from uplink.client.consent.record import Given, Scope, Withdrawn
from uplink.client.consent.streams import Stream
from uplink.client.encoding.facts import FactSource
from uplink.client.encoding.preview import PRETENDED_S, Preview, kept, pretended
from uplink.client.telemetry import Link, LinkState
from uplink.wire.private_file import PrivateFileError
from validator.clock import Clock
from validator.file_thread import FileThread

_log = structlog.get_logger(__name__)

FILES_S = 5.0
"""For one read or write of the files. A disk that takes longer counts as one that can't be read."""

PREVIEW_S = 10.0
"""For one preview and those that were asked for before it: 0.1 s for 10,000 clusters."""

WATCH_S = 1.0
"""Between two looks at the file: whoever removes it is heard so soon."""

AGAIN_S = 5.0
"""After a defect, and while there is no database."""

WELL_S = 600.0
MOST_AGAIN_S = 600.0
"""A defect that comes each time is in the log six times an hour; after `WELL_S` without one, `AGAIN_S` counts anew."""

ELSEWHERE = Who("another instance", "database")

MAX_CHANGES = 2000
"""Transitions that a preview looks at; a batch has room for about so many."""

T = TypeVar("T")


class LocalTelemetry:
    """See `Telemetry`."""

    def __init__(
        self,
        desk: Desk,
        facts: FactSource,
        link: Link,
        clock: Clock,
        service_version: str,
        *,
        watch_s: float = WATCH_S,
        again_s: float = AGAIN_S,
    ) -> None:
        self._desk = desk
        self._facts = facts
        self._link = link
        self._clock = clock
        self._version = service_version
        self._watch_s = watch_s
        self._again_s = again_s
        self._files = FileThread("telemetry-files")
        self._previewing = FileThread("telemetry-encoding")
        """Apart from the files: whoever may look must not be able to keep anybody from switching off."""
        self._deciding = asyncio.Lock()
        self._open = asyncio.Event()
        self._silenced = ""
        """Why nothing is sent whatever the file says: it can't be written."""
        self._not_yielded = ""
        self._told_epoch = 0
        """Of the decision that the link knows: whatever overtakes it has not overtaken a later one."""

    # -- the tasks

    async def run(self, open_database: Callable[[], Awaitable[Database]]) -> NoReturn:
        """On every instance, until it is cancelled. A defect in here silences telemetry, and ends nothing else."""
        async with AsyncExitStack() as cleanup:
            cleanup.push_async_callback(self._link.close)
            while not self._open.is_set():
                try:
                    db = await open_database()
                except StoreError as error:
                    _log.info("telemetry waits for the database", error=str(error))
                    await asyncio.sleep(self._again_s)
                    continue
                cleanup.push_async_callback(db.close)
                self._link.open(db)
                self._open.set()
            await self._again_and_again(self._run)
        raise AssertionError("unreachable")

    async def lead(self) -> NoReturn:
        """While this instance leads, until it is cancelled."""
        await self._open.wait()
        await self._again_and_again(self._link.lead)

    async def _again_and_again(self, job: Callable[[], Awaitable[None]]) -> NoReturn:
        again_s, loop = self._again_s, asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                await job()
            except Exception:  # noqa: BLE001 - whatever it is, the fleet is watched on
                self._link.silence()
                again_s = self._again_s if loop.time() - began > WELL_S else min(2 * again_s, MOST_AGAIN_S)
                _log.exception("telemetry has failed; it is silent, and begins again", again_s=again_s)
            await asyncio.sleep(again_s)

    async def _run(self) -> None:
        found = await self._files.run(self._desk.found, FILES_S)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._link.run(found), name="uplink")
            tasks.create_task(self._watch(), name="telemetry-file")

    async def _watch(self) -> NoReturn:
        """The file decides, whoever writes or removes it; and it has to say what another instance has decided."""
        while True:
            async with self._deciding:
                if self._link.overtaken():
                    await self._yield()
                standing = await self.standing()
                if not self._silenced:  # since: nothing is waited for in between
                    self._told(standing)
                    await self._link.heed(standing)
                    await self._note_that_the_database_knows(standing)
            await asyncio.sleep(self._watch_s)

    async def _note_that_the_database_knows(self, standing: Standing) -> None:
        """Of an off. As long as it can't be written, the next start tells it once more."""
        record = standing.record
        if isinstance(record, Withdrawn) and not record.told and not self._link.unfinished:
            with suppress(PrivateFileError):
                await self._write(partial(self._desk.told, record.epoch))

    def _told(self, standing: Standing) -> None:
        """The link is about to be."""
        self._told_epoch = 0 if standing.record is None else standing.record.epoch

    async def _yield(self) -> None:
        """Where it can't be written the database forbids it all the same, and says so again a moment later."""
        try:
            await self._write(partial(self._desk.yield_to, ELSEWHERE, self._clock.now(), self._told_epoch))
            self._not_yielded = ""
        except PrivateFileError as error:
            if not self._not_yielded:
                _log.error("another instance has decided, and it can't be written down here", error=str(error))
            self._not_yielded = str(error)

    # -- what people ask

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
            self._silenced = ""
            self._link.silence()
            await self._link.ended()  # of the consent before: what was gathered under it is never relabelled
            standing = await self.standing()
            if not self._silenced:  # by an off that waits for us
                self._told(standing)
                await self._link.began(standing, activation_token)
        return done

    async def turn_off(self, who: Who, streams: frozenset[Stream] = frozenset()) -> Done:
        if streams:
            async with self._deciding:
                if not streams >= await self._consented():
                    return await self._narrow(who, streams)
        self._silence("it is being switched off")
        done = None
        with suppress(PrivateFileError):  # at once: whoever decides now may be waiting for a disk or an API server
            done = await self._withdraw(who)
        async with self._deciding:
            self._silence("it is being switched off")
            try:
                if done is None or isinstance(await self._write(self._desk.found), Given):
                    done = await self._withdraw(who)
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
        try:
            return await self._previewing.run(making, PREVIEW_S)
        except TimeoutError:
            raise Impossible(f"no preview within {PREVIEW_S:g} s: others are asking for many. Ask again") from None

    async def audit(self) -> Checked:
        return await self._write(self._desk.verify)

    async def export(self, who: Who) -> AsyncIterator[bytes]:
        standing = await self.standing()
        if standing.word is not Word.ON or standing.record is None:
            raise Impossible(f"an export needs a consent, too, and telemetry is {standing.word}: {standing.why}")
        about = {"epoch": standing.record.epoch}
        await self._write(partial(self._desk.note, who, "export", about, self._clock.now()))
        return self._link.export(standing)

    def _silence(self, why: str) -> None:
        """Before any file is touched and without waiting for anything."""
        self._silenced = self._silenced or why
        self._link.silence()

    async def _narrow(self, who: Who, streams: frozenset[Stream]) -> Done:
        self._link.silence()
        done = await self._write(partial(self._desk.narrow, streams, who, self._clock.now()))
        standing = await self.standing()
        if not self._silenced:
            self._told(standing)
            await self._link.began(standing, None)
        return done

    async def _withdraw(self, who: Who) -> Done:
        return await self._write(partial(self._desk.withdraw, who, self._clock.now()))

    async def _consented(self) -> frozenset[Stream]:
        record = (await self.standing()).record
        return frozenset(record.scope) if isinstance(record, Given) else frozenset()

    async def _write(self, job: Callable[[], T]) -> T:
        try:
            return await self._files.run(job, FILES_S)
        except TimeoutError:
            raise PrivateFileError(0, f"{self._desk.place.parent} did not answer within {FILES_S:g} s") from None
