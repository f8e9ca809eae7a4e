"""`sent/`: a copy of each batch that left, on this host, for whoever wants to see what did.

Files and no table: they are there when the database is not, they stay when telemetry is switched off (what left is
what people ask about afterwards), no dump of the database has them, and `gunzip | protoc --decode` reads them.
A copy is made before the first byte leaves, so nothing leaves without one unless the disk is full; a batch that is
tried again has one copy. The newest are kept.
"""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from uplink.client.encoding.batch import Batch
from uplink.wire.private_file import PrivateFileError, make_directory
from validator.file_thread import FileThread

MAX_COPIES = 500
MAX_COPIES_BYTES = 64 * 1024 * 1024
"""The newest that fit into both."""

WRITE_S = 2.0
"""A disk that takes longer gets no copy: it holds nothing up."""


class Copies:
    """The directory."""

    def __init__(self, directory: Path, *, most: int = MAX_COPIES, most_bytes: int = MAX_COPIES_BYTES) -> None:
        self._directory = directory
        self._most = most
        self._most_bytes = most_bytes
        self._files = FileThread("uplink-sent")
        self._last: UUID | None = None
        self.trouble = ""
        """Why the last batch has no copy; empty = it has one."""

    async def keep(self, batch: Batch, packed: bytes, now: float) -> None:
        """Raises nothing: what went wrong is in `trouble`."""
        if batch.id == self._last:
            return
        try:
            await self._files.run(lambda: self._write(batch, packed, now), WRITE_S)
        except (OSError, TimeoutError) as error:
            self.trouble = str(error) or f"{self._directory} did not answer within {WRITE_S:g} s"
        else:
            self._last, self.trouble = batch.id, ""

    def _write(self, batch: Batch, packed: bytes, now: float) -> None:
        make_directory(self._directory)
        if any(self._directory.glob(f"*-{batch.id}.pb.gz")):
            return
        if len(packed) > self._most_bytes:
            raise PrivateFileError(0, f"{self._directory}: the batch is larger than all copies may be together")
        self._make_room(len(packed))
        when = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        path = self._directory / f"{when}-{batch.stream.value}-{batch.id}.pb.gz"
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(packed)
        except OSError as error:
            with suppress(OSError):
                path.unlink(missing_ok=True)
            raise PrivateFileError(0, f"{path}: {error.strerror}. Free space there") from error

    def _make_room(self, size: int) -> None:
        """The oldest go first: names begin with their time."""
        names = sorted(self._directory.glob("*.pb.gz"))
        sizes = [path.lstat().st_size for path in names]
        used = sum(sizes) + size
        for number, path in enumerate(names):
            if len(names) - number < self._most and used <= self._most_bytes:
                return
            path.unlink(missing_ok=True)
            used -= sizes[number]
