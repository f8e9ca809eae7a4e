"""What the sources that read files share: a thread of their own, polling, and telling a change from a touch.

Files are polled by `stat`, not watched by inotify (nor `watchfiles`): inotify sees nothing of a change made on
another host of a network file system, loses a bind-mounted file that is replaced, and a ConfigMap's symlink swap
happens in a directory that nobody named. A `stat` of a thousand files every two seconds costs 2 ms.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from validator.discovery.source import Reading, SourceProblem
from validator.file_thread import FileThread

POLL_S = 2.0
"""Default time between two looks."""
DEADLINE_S = 60.0
"""Of one look. 10,000 contexts take some 3 s; beyond this the file system hangs, and people are told."""
MAX_UNSETTLED_POLLS = 5
"""A file that changes at every look is read all the same after so many."""

Signature = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Taken:
    """A reading, and the files that it came from."""

    reading: Reading
    files: tuple[Path, ...]


class FileWatch:
    """Reads at once, then whenever a file has changed and stood still for one poll (a slow writer is let finish)."""

    def __init__(
        self, name: str, take: Callable[[], Taken], poll_s: float = POLL_S, deadline_s: float = DEADLINE_S
    ) -> None:
        self._name = name
        self._take = take
        self._poll_s = poll_s
        self._deadline_s = deadline_s
        self._files: tuple[Path, ...] = ()
        self._seen: Signature | None = None
        self._read: Signature | None = None
        self._unsettled = 0
        self._last: Reading | None = None

    async def readings(self) -> AsyncIterator[Reading]:
        """A reading whenever the content differs from the one before. Never ends, never raises."""
        thread = FileThread(f"source:{self._name}")
        while True:
            look = asyncio.wrap_future(thread.submit(self._look))
            try:
                done, _ = await asyncio.wait({look}, timeout=self._deadline_s)
                if not done:
                    yield _hung(self._name, self._deadline_s)
                    await asyncio.wait({look})
                    look.result()
                    assert self._last is not None
                    yield self._last
                elif (reading := look.result()) is not None:
                    yield reading
            finally:
                look.cancel()
            await asyncio.sleep(self._poll_s)

    def _look(self) -> Reading | None:
        """Runs in the thread: a new reading, or None."""
        seen = signature(self._files)
        settled, self._seen = seen == self._seen, seen
        if seen == self._read:
            return None
        if self._last is not None and not settled and self._unsettled < MAX_UNSETTLED_POLLS:
            self._unsettled += 1
            return None
        self._unsettled = 0
        try:
            taken = self._take()
        except Exception as defect:  # noqa: BLE001 - a source never raises
            return self._unless_known(_defect(self._name, defect))
        # The first time nothing was known to stand still, so it is read once more.
        self._read = None if self._last is None else seen
        self._files = taken.files
        return self._unless_known(taken.reading)

    def _unless_known(self, reading: Reading) -> Reading | None:
        if reading == self._last:
            return None
        self._last = reading
        return reading


def signature(files: Iterable[Path]) -> Signature:
    """What changes when a file is written, replaced, re-linked, or changes owner or mode; blocks."""
    return tuple(_signature(path) for path in files)


def _signature(path: Path) -> tuple[int, ...]:
    try:
        status = path.stat()
    except OSError as error:
        return (error.errno or 0,)
    except ValueError:  # a NUL in the path
        return ()
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _hung(name: str, deadline_s: float) -> Reading:
    problem = SourceProblem(
        f"source {name}",
        f"its files could not be read within {deadline_s:g} s",
        "Check the file system that they are on (a dead NFS server?); the clusters stay as they were.",
    )
    return Reading((), (problem,), complete=False)


def _defect(name: str, defect: Exception) -> Reading:
    """The stray error's text is left out: it may quote a file that holds secrets."""
    problem = SourceProblem(
        f"source {name}",
        f"an unforeseen {type(defect).__name__} while reading; the clusters stay as they were",
        "Report it, with the shape of the file but without its secrets.",
    )
    return Reading((), (problem,), complete=False)
