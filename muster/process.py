"""What the process asks of the system before it serves: descriptors, turns of the GIL, memory that is given back."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import resource
import sys
from contextlib import suppress

GIL_SWITCH_S = 0.0005
"""Rendering /metrics runs in a thread: it must hand the GIL back to the loop quickly."""

GC_THRESHOLDS = (1000, 2, 1700)
"""A full collection walks everything that is known of the fleet and holds the loop: 45 ms at 2,000 clusters, 450 ms at
10,000. CPython's own thresholds make one at each growth by a quarter, while the fleet is taken up. These make it after
five million objects that were made and not freed, three times what a fleet of 10,000 has; after one million, requests
at full load made it every 20 s. Reference counting frees nearly all of
them, and the young collections the rest. Those walk a thousand objects, and now and then the three thousand that have
outlived one: with ten times two thousand, as many in all, they held the loop for up to 18 ms at full load."""

_M_MMAP_THRESHOLD = -3
"""glibc's malloc.h."""

LARGE_BYTES = 128 * 1024
"""glibc's own default, above which a block is a mapping of its own."""


def prepare_process() -> None:
    """Once, at the start of a process that runs an `App`."""
    raise_descriptor_limit()
    sys.setswitchinterval(GIL_SWITCH_S)
    gc.set_threshold(*GC_THRESHOLDS)
    keep_large_blocks_apart()


async def freeze_once_settled(after_s: float) -> None:
    """Once the fleet is taken up, leave all that there is then out of every later collection: they get short.

    Once, and not after each change: what is frozen is still freed by its count, but a cycle that comes to be of it (a
    few small objects for a connection that is open now) never is. Collecting first was rejected: it is the long
    pause itself.
    """
    await asyncio.sleep(after_s)
    gc.freeze()


def raise_descriptor_limit() -> None:
    """A kept connection is a descriptor: take all that the system grants."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def keep_large_blocks_apart() -> None:
    """Keep glibc from raising its threshold when the first large block is freed.

    uvloop gives each TLS connection a buffer of 256 KiB, of which a probe touches two pages. As mappings of their own
    the rest costs nothing; in the heap, where they are from the first closed connection on, they are cut from memory
    that is dirty already (measured: 48 KiB a target in place of 95). Another libc has no such call, and no such habit.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)
