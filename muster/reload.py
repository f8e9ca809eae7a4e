"""Settings while the service runs: on SIGHUP, or when their file changes, what can be taken up is taken up.

The files are looked at on the event loop: a `stat` of three local files every 2 s and a read of 64 KiB at a change
need no thread. A watch of the kernel (inotify) would see less: a ConfigMap is swapped through a symlink further up.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import structlog

from muster.config.changes import NEEDS_RESTART, change
from muster.settings import Settings, SettingsError

_log = structlog.get_logger(__name__)

POLL_S = 2.0

_TLS = ("tls_certificate", "tls_key")

Stamp = tuple[int, int, int, int] | None
"""Device, inode, size, time of the last change; None = there is no such file."""


class Reloader:
    """Owns what is in effect. `apply` gets the new settings and the keys that changed; it must not raise or wait."""

    def __init__(
        self,
        settings: Settings,
        load: Callable[[], Settings],
        apply: Callable[[Settings, frozenset[str]], None],
        *,
        file: Path | None = None,
        poll_s: float = POLL_S,
    ) -> None:
        """`file` is the settings file, there or not; `load` raises `SettingsError`."""
        self._settings = settings
        self._load = load
        self._apply = apply
        self._file = file
        self._poll_s = poll_s
        self._hung_up = asyncio.Event()
        self._known = self._stamps()

    async def run(self) -> NoReturn:
        """Until cancelled. The signal's handler stays until the loop is closed: a late SIGHUP must not kill us."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._hung_up.set)
        seen = self._known
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._poll_s):
                    await self._hung_up.wait()
            before, seen = seen, self._stamps()
            if self._hung_up.is_set():
                self._hung_up.clear()
                self._reload("SIGHUP", seen)
            elif seen != self._known and seen == before:  # stayed for one poll: half a file may be good TOML
                self._reload("a file has changed", seen)

    def _reload(self, cause: str, stamps: dict[Path, Stamp]) -> None:
        renewed = frozenset(
            key for key in _TLS if stamps.get(path := getattr(self._settings, key)) != self._known.get(path)
        )
        self._known = stamps
        try:
            wanted = self._load()
        except SettingsError as error:
            _log.error("the new settings make no sense; the old ones stay", cause=cause, problems=str(error))
            if renewed:
                self._apply(self._settings, renewed)
            return
        decided = change(self._settings, wanted)
        applied = decided.applied | renewed
        self._settings = decided.settings
        # As seen before the files were read, so that a change in between is taken up next time.
        self._known = {path: stamps.get(path, stamp) for path, stamp in self._stamps().items()}
        if applied:
            self._apply(decided.settings, applied)
        _log.info("settings reloaded", cause=cause, changed=sorted(applied))
        for key in sorted(decided.waiting):
            why = NEEDS_RESTART.get(key, "it goes with another one that needs it")
            _log.warning("a changed setting needs a restart", setting=key, why=why)

    def _stamps(self) -> dict[Path, Stamp]:
        paths = (self._file, self._settings.tls_certificate, self._settings.tls_key)
        return {path: _stamp(path) for path in paths if path is not None}


def _stamp(path: Path) -> Stamp:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
