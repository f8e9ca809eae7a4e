"""A child that ends with its parent, however that ends."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with(parent: int, number: signal.Signals) -> None:
    """Ask the kernel for this signal when the parent's forking thread ends; 0 = nobody's child.

    The child asks for it itself: a `preexec_fn` is unsafe in a parent with threads.
    """
    if parent:
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
        if os.getppid() != parent:  # it was gone before we asked
            sys.exit(1)
