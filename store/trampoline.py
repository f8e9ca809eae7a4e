"""Becomes another program: drops root, asks to die with its parent, then execs.

Run as a script of its own process: `python -I -S trampoline.py PARENT UID GID SIGNAL PROGRAM ARG…`; UID -1 keeps the
user. `preexec_fn` was considered: it runs Python between fork and exec, which may deadlock where other threads run, and
uvloop does not know `user=`. This costs some 10 ms a start, behaves the same under every loop, and imports nothing of
ours.
"""

from __future__ import annotations

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1
"""From linux/prctl.h. The signal comes when the *thread* that forked us ends, so callers fork from the main thread."""


def main(parent: int, uid: int, gid: int, signal: int, *command: str) -> None:
    """Never returns: execs, or exits with 1 where the parent is already gone."""
    os.chdir("/")
    os.umask(0o077)
    if uid >= 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if sys.platform == "linux":  # after setuid, which clears it
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)
    os.execv(command[0], command)  # noqa: S606 - a shell is exactly what is not wanted


if __name__ == "__main__":
    numbers = [int(argument) for argument in sys.argv[1:5]]
    main(numbers[0], numbers[1], numbers[2], numbers[3], *sys.argv[5:])
