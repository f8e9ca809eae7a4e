"""How the service ends: on a signal, in order, and by force where the order takes too long."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from types import TracebackType
from typing import NoReturn

import structlog

_log = structlog.get_logger(__name__)

ENDING = (signal.SIGTERM, signal.SIGINT)
"""Signals that end the service in order."""

CUT_OFF_S = 4.2
"""After the signal: what waits for a database that hangs is cut off then. Each part is bounded, but not their sum."""
CUT_OFF_AGAIN_S = 0.1


class Stopped(Exception):  # noqa: N818 - not an error
    """A signal asked us to end."""


class Ending:
    """Waits for a signal. As a context it swallows the cancellation by which it has cut off what hangs."""

    def __init__(self, on_signal: Callable[[], None], *, hangs: str = "the database") -> None:
        """`hangs`: what it is that makes an end take too long, for the log."""
        self._on_signal = on_signal
        self._hangs = hangs
        self._signalled = False
        self._cutting: asyncio.TimerHandle | None = None

    async def wait(self) -> NoReturn:
        """Until a signal; then raises `Stopped`.

        The handlers stay until the loop is closed: a second signal while we stop must do no harm.
        """
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        for number in ENDING:
            loop.add_signal_handler(number, stop.set)
        await stop.wait()
        self._signalled = True
        self._on_signal()
        self._cutting = loop.call_later(CUT_OFF_S, self._cut_off, loop)
        raise Stopped

    def _cut_off(self, loop: asyncio.AbstractEventLoop) -> None:
        """Cancel whatever still waits, again and again: what is cancelled may wait anew while it cleans up."""
        for task in asyncio.all_tasks(loop):
            task.cancel()
        self._cutting = loop.call_later(CUT_OFF_AGAIN_S, self._cut_off, loop)

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if self._cutting is not None:
            self._cutting.cancel()
        if self._signalled and isinstance(error, asyncio.CancelledError):
            _log.warning(f"cut off: {self._hangs} hangs", after_s=CUT_OFF_S)
            return True
        return False
