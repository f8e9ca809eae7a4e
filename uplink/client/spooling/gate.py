"""Whether this instance may send at this moment: its own consent, and the database's word for it, half a second old.

The watcher reads the row ten times a second while there is a consent here, and at no other time. What shuts the gate is
a timer and no answer: a database that hangs, a loop that is late and a network that is cut all end in silence.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NoReturn

from store.errors import StoreError
from uplink.client.consent.consent import Standing
from uplink.client.consent.record import Given
from uplink.client.spooling.epochs import Epochs

VALID_S = 0.5
"""How long the database's word counts, from the moment in which it was asked."""

EVERY_S = 0.1
"""Between two questions: another instance's off is known here after so long, and what is under way is cut."""

ASK_S = 0.4
"""For one answer; a later one would be too old."""


class Gate:
    """Of one instance. `abort` cuts whatever is under way, at once."""

    def __init__(self, epochs: Epochs, abort: Callable[[], None], overtaken: Callable[[int], None]) -> None:
        """`overtaken` is told an epoch above ours, once: another instance has decided, and our file has to say so."""
        self._epochs = epochs
        self._abort = abort
        self._overtaken = overtaken
        self._standing: Standing | None = None
        self._read_at = -VALID_S
        self._lapse: asyncio.TimerHandle | None = None
        self._changed = asyncio.Event()
        self._opened = asyncio.Event()
        self._known_epoch = 0
        self.why = "nobody has consented"
        """Why it is shut; empty while it is open."""

    @property
    def standing(self) -> Standing | None:
        """What somebody has consented to here; None = nothing."""
        return self._standing

    @property
    def given(self) -> Given | None:
        """The same as a record."""
        return None if self._standing is None else self._standing.given

    @property
    def known_epoch(self) -> int:
        """The newest epoch that was read."""
        return self._known_epoch

    def is_open(self) -> bool:
        """Whether a byte may leave now."""
        fresh = asyncio.get_running_loop().time() - self._read_at <= VALID_S
        return self.given is not None and fresh and not self.why

    async def opened(self) -> None:
        """Wait until it is open. While telemetry is off that is for ever, and costs nothing."""
        await self._opened.wait()

    def admit(self, standing: Standing) -> None:
        """Somebody has consented here, and the database knows. It opens with the next answer."""
        self.shut("the database has not been asked yet")
        self._standing = standing if standing.given is not None else None
        self._changed.set()

    def shut(self, why: str = "it was switched off") -> None:
        """Now, without waiting for anything; what is under way is cut."""
        self._standing = None
        self._close(why)
        self._changed.set()

    async def run(self) -> NoReturn:
        """Keep asking while there is a consent."""
        while True:
            self._changed.clear()
            if self.given is None:
                await self._changed.wait()
                continue
            await self.ask()
            await asyncio.sleep(EVERY_S)

    async def ask(self) -> bool:
        """Ask the database now: right before each request, and by the watcher. Whether it is open."""
        loop, given = asyncio.get_running_loop(), self.given
        if given is None:
            return False
        asked_at = loop.time()
        try:
            async with asyncio.timeout(ASK_S):
                known = await self._epochs.read(ASK_S)
        except (StoreError, TimeoutError):
            if loop.time() - self._read_at > VALID_S:
                self._close("the database does not answer")
            return self.is_open()
        if given is not self.given:
            return False  # another one by now
        self._known_epoch = max(self._known_epoch, known.epoch)
        if known.permits(given):
            self._read_at, self.why = asked_at, ""
            self._opened.set()
            self._rearm(asked_at)
        elif known.epoch > given.epoch:
            self.shut("another instance has switched it off, or consented anew")
            self._overtaken(known.epoch)
        else:
            self._close("the database knows of no such consent: it is an older copy, or new. Consent again")
        return self.is_open()

    def _rearm(self, asked_at: float) -> None:
        if self._lapse is not None:
            self._lapse.cancel()
        self._lapse = asyncio.get_running_loop().call_at(asked_at + VALID_S, self._lapsed)

    def _lapsed(self) -> None:
        self._lapse = None
        self._close("the database does not answer")

    def _close(self, why: str) -> None:
        if self._lapse is not None:
            self._lapse.cancel()
            self._lapse = None
        self._read_at, self.why = -VALID_S, why
        self._opened.clear()
        self._abort()
