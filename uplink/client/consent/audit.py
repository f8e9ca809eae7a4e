"""The audit log of telemetry: who switched what, and when. A file of JSON lines beside the consent, and its head."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from uplink.client.consent.chain import Checked, Head, appended, check
from uplink.client.consent.consent import Who
from uplink.wire.private_file import (
    PrivateFileError,
    make_directory,
    opened,
    read_private,
    refused,
    sync_directory,
    write_private,
)

MAX_LOG_BYTES = 16 * 1024 * 1024
"""Thirty thousand decisions. Beyond it nothing can be switched on any more; off always can."""

MAX_HEAD_BYTES = 1024


class AuditLog:
    """Synchronous: its owner runs it on a thread of its own."""

    def __init__(self, directory: Path) -> None:
        self._log = directory / "audit.jsonl"
        self._head = directory / "audit.head"
        self._lock = directory / "audit.lock"

    def verify(self) -> Checked:
        """All of it, and what is wrong with it. Raises `PrivateFileError`."""
        return check((read_private(self._log, MAX_LOG_BYTES) or b"").splitlines(keepends=True), self._kept_head())

    def append(self, who: Who, action: str, about: Mapping[str, Any], now: float) -> Head:
        """Add a line, to the disk; gives the head after it. Raises `PrivateFileError`, also where the log is damaged.

        A damaged log is not continued: its next line would make the damage look old.
        """
        make_directory(self._log.parent)
        with self._locked():
            known = self.verify()
            if known.problem:
                raise refused(self._log, f"is damaged: {known.problem}", "Keep a copy, then move it and its .head away")
            line, head = appended(known.head, now, who.name, who.interface, action, about)
            with opened(self._log, os.O_RDWR | os.O_CREAT) as descriptor:
                assert descriptor is not None
                self._write(descriptor, line, cut=known.torn)
            sync_directory(self._log.parent)
            write_private(self._head, head.model_dump_json().encode())
        return head

    def _write(self, descriptor: int, line: bytes, *, cut: bool) -> None:
        try:
            end = os.lseek(descriptor, 0, os.SEEK_END)
            if cut:
                whole = os.pread(descriptor, end, 0).rfind(b"\n") + 1
                os.ftruncate(descriptor, whole)
                end = whole
            if os.pwrite(descriptor, line, end) != len(line):
                os.ftruncate(descriptor, end)
                raise refused(self._log, "can't be written", "Free space there")
            os.fsync(descriptor)
        except OSError as error:
            if isinstance(error, PrivateFileError):
                raise
            raise refused(self._log, error.strerror or "can't be written", "Free space there") from error

    def _kept_head(self) -> Head | None:
        raw = read_private(self._head, MAX_HEAD_BYTES)
        if raw is None:
            return None
        try:
            return Head.model_validate_json(raw, strict=True)
        except ValidationError:
            return None  # as good as missing, which verification says

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One writer at a time: two instances may share a directory."""
        with opened(self._lock, os.O_RDWR | os.O_CREAT) as descriptor:
            assert descriptor is not None
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
