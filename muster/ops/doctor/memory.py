"""Whether there is memory for the fleet, within the container's limit."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from muster.ops.doctor.finding import Finding, ok, problem, size, warning

BASE_BYTES = 200 << 20
"""The service with few clusters, and its embedded PostgreSQL."""
CLUSTER_BYTES = 110 << 10
"""For each: its kept connection (a TLS buffer, two pages of which are touched), its facts, its share of a picture."""


@dataclass(frozen=True, slots=True)
class MemorySeen:
    """In bytes."""

    available: int | None
    """As the kernel estimates it; None = not told (not Linux)."""
    limit: int | None
    """Of our control group or one above it; None = none."""


def look(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> MemorySeen:
    """What a process started from here may have."""
    available = None
    with suppress(OSError):
        if found := re.search(r"^MemAvailable:\s+(\d+) kB", (proc / "meminfo").read_text(), re.MULTILINE):
            available = int(found[1]) * 1024
    return MemorySeen(available, _limit(proc, cgroups))


def _limit(proc: Path, cgroups: Path) -> int | None:
    """The smallest on the way up (v2); of the v1 controller its own."""
    limits: list[int] = []
    with suppress(OSError):
        for line in (proc / "self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers not in {"", "memory"}:
                continue
            top, name = (cgroups, "memory.max") if not controllers else (cgroups / "memory", "memory.limit_in_bytes")
            group = top / path.lstrip("/")
            for directory in (group, *group.parents):
                if not directory.is_relative_to(top):
                    break
                with suppress(OSError, ValueError):  # `max`, or not at this level
                    limits.append(int((directory / name).read_text()))
    return min((limit for limit in limits if limit < 1 << 60), default=None)


def judge(seen: MemorySeen, clusters: int | None, *, running: bool) -> Finding:
    """Pure. Of a service that runs already, its share is taken; then only a limit that is too small counts."""
    need = BASE_BYTES + (clusters or 0) * CLUSTER_BYTES
    limit = "no limit" if seen.limit is None else f"a limit of {size(seen.limit)}"
    free = "" if seen.available is None else f", {size(seen.available)} available"
    about = f"{limit}{free}; about {size(need)} needed"
    remedy = f"Give it {size(2 * need)}: the kernel ends what goes over."
    if seen.limit is not None and seen.limit < need:
        return problem("memory", about, remedy)
    if not running and seen.available is not None and seen.available < need:
        return warning("memory", about, remedy)
    if seen.limit is not None and seen.limit < 1.5 * need:
        return warning("memory", about, remedy)
    return ok("memory", about)
