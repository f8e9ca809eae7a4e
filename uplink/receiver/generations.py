"""The CA as it is now: `muster receiver init --roll` writes another generation, and the receiver takes it up by itself.

The files are looked at from time to time, as for certificates of the service: a watch on them would see half of what
two renames do. Between the two the old key finds its own certificate among the new ones (`Authority.save`). What can't
be read leaves the generation before in place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final, NoReturn

import structlog

from uplink.receiver.authority import Authority
from uplink.wire.private_file import PrivateFileError
from validator.file_thread import FileThread

_log = structlog.get_logger(__name__)

POLL_S: Final = 5.0
"""Between two looks: two files of a few KB."""

DEADLINE_S: Final = 5.0
"""Of one look. A disk that takes longer is asked again later."""


class Generations:
    """`now` signs. `run` keeps it up to date, and tells `taken_up` before the first signature of a new one."""

    def __init__(
        self,
        authority: Authority,
        directory: Path,
        taken_up: Callable[[Authority], None],
        *,
        poll_s: float = POLL_S,
    ) -> None:
        """`poll_s` is a seam: tests have less time."""
        self.now = authority
        self._directory = directory
        self._taken_up = taken_up
        self._poll_s = poll_s
        self._files = FileThread("receiver-authority")
        self._complaint = ""

    async def run(self) -> NoReturn:
        """Look for ever."""
        while True:
            await asyncio.sleep(self._poll_s)
            await self.look()

    async def look(self) -> None:
        """Once. What is wrong is said once, for as long as it stays so."""
        try:
            found = await self._files.run(lambda: Authority.load(self._directory), DEADLINE_S)
        except (PrivateFileError, TimeoutError) as error:
            complaint = str(error) or f"{self._directory} did not answer within {DEADLINE_S:g} s"
            if complaint != self._complaint:
                _log.error("the CA's files can't be read: the generation before stays", error=complaint)
            self._complaint = complaint
            return
        self._complaint = ""
        if found.bundle != self.now.bundle:
            self._taken_up(found)
            self.now = found
            _log.info("a new generation of the CA is taken up", sha256=found.fingerprint)
