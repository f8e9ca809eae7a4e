"""The end of a pipe: `muster clusters | head` says nothing about it."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from muster.cli.exits import Exit


@contextmanager
def quiet_when_unread() -> Iterator[None]:
    """End with 141 and without a word if nobody reads stdout any more.

    Both typer and rich end with 1 there, which would say that a cluster is broken. SIGPIPE's default was rejected: it
    would end the service as well, whenever a peer closes a socket.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        _end()
    except SystemExit as end:
        if end.code == Exit.UNHEALTHY and _is_unread():
            _end()
        with suppress(BrokenPipeError):
            sys.stdout.flush()
            raise
        _end()


def _is_unread() -> bool:
    """Whether stdout is a pipe, or a socket, whose other end is closed."""
    try:
        poll = select.poll()
        poll.register(1, 0)
        return any(event & select.POLLERR for _, event in poll.poll(0))
    except OSError:
        return False


def _end() -> None:
    with suppress(OSError):  # what is still buffered goes nowhere when the interpreter ends
        os.dup2(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), 1)
    raise SystemExit(Exit.UNREAD)
