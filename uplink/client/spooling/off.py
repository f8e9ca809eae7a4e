"""Off: within a second, without a network, whatever is under way.

The order: nothing more leaves this process (`silence`, which waits for nothing); the record is on the disk, which is
the desk's; the epoch rises, so that all other instances fall silent; the spool is emptied. Meanwhile key and
certificate are destroyed, which needs no database. What could not be done, because the database was away or the process
died, is done at the next contact or start: the record that was written is the intent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import NoReturn

import structlog

from store.errors import StoreError
from uplink.client.consent.consent import NOBODY, Found
from uplink.client.consent.record import Withdrawn
from uplink.client.spooling.epochs import Epochs
from uplink.client.spooling.gate import Gate
from uplink.client.spooling.spool import CrashPoint

_log = structlog.get_logger(__name__)

WITHIN_S = 0.7
"""For the database to take part in an off that somebody waits for; of the second that there is. Then it goes on
without anybody waiting."""

AGAIN_S = 1.0
"""Between two attempts to finish."""

Destroy = Callable[[], Awaitable[None]]
"""Destroys key and certificate, without a network, and forgets a token and an enrolment under way. Raises `OSError`."""

Purge = Callable[[], Awaitable[None]]


class Off:
    """Of one instance. `run` is its task, and does what needs the database: a hung one must hang nobody else."""

    def __init__(self, epochs: Epochs, gate: Gate, destroy: Destroy, at: CrashPoint = lambda _: None) -> None:
        self._epochs = epochs
        self._gate = gate
        self._destroy = destroy
        self._at = at
        self._closing: Purge | None = None
        self._full = False
        self._key_left = False
        self._told = False
        """The log, that the database is away: once, and not each second for days."""
        self._wanted = asyncio.Event()
        self._settled = asyncio.Event()
        self._settled.set()

    @property
    def unfinished(self) -> bool:
        """Whether something is left to be done: the database is away, or a key can't be removed."""
        return self._full or self._key_left

    @property
    def left(self) -> str:
        """The same for people; empty: nothing."""
        if self._full:
            return "what waits is deleted, and other instances hear of it, when the database answers; it does not yet"
        return "key and certificate can't be removed, which is tried again; the log says why" if self._key_left else ""

    def silence(self) -> None:
        """Nothing more leaves. Returns at once; what is under way is cut, and only what the kernel holds goes on."""
        self._gate.shut()

    async def ended(self) -> None:
        """The record says off by now, or nothing does. Takes a second at most and raises nothing."""
        self.silence()
        self._at("after record")
        at_least = self._gate.known_epoch + 1
        self._want(lambda: self._epochs.close(at_least))
        await self._kill()
        self._wanted.set()
        await self.settled()

    async def resume(self, found: Found) -> None:
        """At start, before anything else: finish what a crash or an absent database has left. Raises nothing.

        Without a record there is nothing that could be sent, and no key may be there either; what another instance's
        consent has in the database stays. A consent is resumed by whoever opens the gate.
        """
        if isinstance(found, Withdrawn):
            self._want(lambda: self._epochs.close_again(found) if found.told else self._epochs.close(found.epoch))
        if isinstance(found, Withdrawn) or found is NOBODY:
            await self._kill()
            self._wanted.set()
        await self.settled()

    async def settled(self) -> bool:
        """Whether all is done, after waiting a little for it. To be asked before another consent is opened."""
        with suppress(TimeoutError):
            async with asyncio.timeout(WITHIN_S):
                await self._settled.wait()
        return not self.unfinished

    async def run(self) -> NoReturn:
        """Do what is left, as soon as it is possible."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            while self.unfinished:
                if not await self._finished():
                    with suppress(TimeoutError):
                        async with asyncio.timeout(AGAIN_S):
                            await self._wanted.wait()
                    self._wanted.clear()

    def _want(self, closing: Purge) -> None:
        self._closing, self._full = closing, True
        self._settled.clear()
        self._wanted.set()

    async def _finished(self) -> bool:
        if self._key_left:
            await self._kill()
        try:
            if (closing := self._closing) is not None:
                await closing()
                self._at("after epoch")
                if self._closing is not closing:
                    return False  # once more: another was asked for meanwhile
                self._closing = None
            if self._full:
                await self._epochs.empty()
                self._at("after truncate")
                self._full = self._closing is not None
        except StoreError as error:
            if not self._told:
                _log.warning("telemetry is off; its spool is emptied when the database is back", error=str(error))
            self._told = True
            return False
        if not self._full:
            self._told = False
            self._settled.set()
        return not self.unfinished

    async def _kill(self) -> None:
        """The key never waits for the database."""
        try:
            await self._destroy()
        except OSError as error:
            if not self._key_left:
                _log.error("telemetry is off, and its key could not be removed", error=str(error))
            self._key_left = True
        else:
            self._key_left = False
            self._at("after destroy")
