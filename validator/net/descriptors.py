"""Descriptors that probes leave to everything else.

A hub whose probes have taken the last one can't be asked what is wrong with it: no API, no database, no token file.
"""

from __future__ import annotations

import os
import resource

RESERVED = 64
"""For the API's clients, the database's connections, name servers, plugins, files that are read; of a small limit a
quarter."""


def room_for_a_probe() -> bool:
    """Whether one more socket leaves the reserve untouched. Costs 3 µs.

    The kernel gives the lowest free descriptor, so its number says how many are in use: nothing has to be counted, and
    a limit that is raised under the running hub counts at once.
    """
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    try:
        lowest = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    os.close(lowest)
    return lowest < limit - min(RESERVED, limit // 4)
