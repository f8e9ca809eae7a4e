"""Whether the data directory's disk has room."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from muster.ops.doctor.finding import Finding, ok, problem, size, warning

LITTLE_BYTES = 1 << 30
"""A year of a fleet of 1,000 that changes a lot, and the write-ahead log twice over."""
NONE_BYTES = 256 << 20
"""PostgreSQL's write-ahead log alone may take this."""
FEW_INODES = 0.05

_REMEDY = "Free some, give it a larger disk, or keep less history (MUSTER_RETENTION_DAYS)."


@dataclass(frozen=True, slots=True)
class DiskSeen:
    """Of a directory, or of the first of its parents that exists."""

    path: Path
    free_bytes: int
    inodes: int
    free_inodes: int
    """Both 0 where the file system has no fixed number."""
    read_only: bool


def look(data_dir: Path) -> DiskSeen:
    """Raises `OSError`."""
    path = next(directory for directory in (data_dir.absolute(), *data_dir.absolute().parents) if directory.exists())
    found = os.statvfs(path)
    free_bytes = found.f_bavail * found.f_frsize
    return DiskSeen(path, free_bytes, found.f_files, found.f_favail, bool(found.f_flag & os.ST_RDONLY))


def judge(seen: DiskSeen) -> Finding:
    """Pure."""
    if seen.read_only:
        return problem("disk", f"{seen.path} is on a read-only file system", "Mount it writable, or set --data-dir.")
    free = f"{size(seen.free_bytes)} free at {seen.path}"
    if seen.inodes:
        free += f", {seen.free_inodes:,} inodes"
    if seen.free_bytes < NONE_BYTES or (seen.inodes and not seen.free_inodes):
        return problem("disk", free, _REMEDY)
    if seen.free_bytes < LITTLE_BYTES or (seen.inodes and seen.free_inodes < FEW_INODES * seen.inodes):
        return warning("disk", free, _REMEDY)
    return ok("disk", free)
