"""Starting PostgreSQL's programs: as the right user, with a clean environment, never outliving us."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from store.errors import StoreUnavailable

_TRAMPOLINE = Path(__file__).with_name("trampoline.py")
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
"""None of ours: PGDATA, PGOPTIONS and their like would change what is started; C, so that messages can be read."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom a program runs as."""

    uid: int
    gid: int


async def spawn(
    command: Sequence[str | Path],
    identity: Identity | None,
    *,
    death_signal: signal.Signals,
    output: int,
    keep_open: Sequence[int] = (),
) -> Process:
    """Start a program that gets `death_signal` if we die (Linux); no identity = as ourselves.

    `output`, for stdout and stderr, is a descriptor or one of asyncio's constants.

    It gets a session of its own, so that Ctrl-C on the terminal reaches us and not the database behind our back.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("start PostgreSQL from the main thread: it is told to die with the thread that forked it")
    uid, gid = (identity.uid, identity.gid) if identity else (-1, -1)
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-I", "-S", str(_TRAMPOLINE)),
        *map(str, (os.getpid(), uid, gid, int(death_signal))),
        *map(str, command),
        stdin=DEVNULL,
        stdout=output,
        stderr=STDOUT,
        env=_ENVIRONMENT,
        start_new_session=True,
        pass_fds=tuple(keep_open),
    )


async def run(
    command: Sequence[str | Path],
    identity: Identity | None,
    *,
    timeout_s: float,
    keep_open: Sequence[int] = (),
) -> tuple[int, str]:
    """Run a program to its end; gives its exit code and output. Killed on cancellation and at the deadline."""
    process = await spawn(command, identity, death_signal=signal.SIGKILL, output=PIPE, keep_open=keep_open)
    try:
        async with asyncio.timeout(timeout_s):
            output, _ = await process.communicate()
    except TimeoutError as error:
        raise StoreUnavailable(f"{command[0]} did not end within {timeout_s:.0f} s. Is the disk very slow?") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode or 0, output.decode(errors="replace")
