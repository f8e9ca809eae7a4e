"""Whether there are enough file descriptors for the fleet."""

from __future__ import annotations

import re
import resource
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from muster.ops.doctor.finding import Finding, ok, problem, warning
from validator.net.descriptors import RESERVED
from validator.schedule import ScheduleSettings, dead_slots, live_slots

NEARLY = 0.8
"""Of the limit: what is in use then leaves no room for a fleet that grows."""

_REMEDY = "Raise LimitNOFILE of the unit, the container's ulimit, or `ulimit -Hn`."
_OPEN_FILES = re.compile(r"^Max open files\s+(\S+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class LimitSeen:
    """Of the running service, else what a service started from here would take."""

    limit: int
    of_service: bool


def look(pid: int | None) -> LimitSeen:
    """`pid` of the running service, where it is known."""
    with suppress(OSError, ValueError):
        if pid is not None and (found := _OPEN_FILES.search(Path(f"/proc/{pid}/limits").read_text())):
            return LimitSeen(int(found[1]), of_service=True)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return LimitSeen(2**31 if hard == resource.RLIM_INFINITY else hard, of_service=False)


def needed(clusters: int, schedule: ScheduleSettings, limit: int) -> int:
    """A kept connection for every cluster, a new one for every slot, and the reserve."""
    return clusters + live_slots(clusters, schedule, limit) + dead_slots(clusters, schedule, limit) + RESERVED


def judge(seen: LimitSeen, clusters: int | None, schedule: ScheduleSettings) -> Finding:
    """Pure. Where the fleet is not known, a small one has to fit."""
    fleet = clusters or 0
    need = needed(fleet, schedule, seen.limit)
    whose = "the service may open" if seen.of_service else "a service started from here may open"
    about = f"{whose} {seen.limit:,} files; {fleet:,} clusters need {need:,}"
    if clusters is None:
        about = f"{whose} {seen.limit:,} files; the number of clusters is not known"
    if need > seen.limit:
        return problem("descriptors", about, _REMEDY)
    if need > NEARLY * seen.limit:
        return warning("descriptors", about, _REMEDY)
    return ok("descriptors", about)
