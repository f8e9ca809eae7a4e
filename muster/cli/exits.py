"""How commands end: one table of exit codes, one way to say what went wrong."""

from __future__ import annotations

import sys
from enum import IntEnum
from typing import NoReturn

import typer

from muster.escape import escaped


class Exit(IntEnum):
    """What scripts may rely on."""

    HEALTHY = 0
    """Every cluster is Healthy, Degraded or Suspended: nothing is broken. Of other commands: done."""
    UNHEALTHY = 1
    """At least one is Unreachable, Unhealthy or Unknown, or a source can't be read."""
    USAGE = 2
    """The command line, a setting, or a name makes no sense."""
    NO_ANSWER = 3
    """The service can't be reached, or has no picture of the fleet."""
    NOT_ALLOWED = 4
    """The service wants a token, or one with a higher role."""
    INTERRUPTED = 130
    """Ctrl-C, as shells have it: 128 + SIGINT."""
    UNREAD = 141
    """Whoever read our output has gone, as `head` does: 128 + SIGPIPE."""


CODES_HELP = """\b
Exit codes:
  0  every cluster is Healthy, Degraded or Suspended
  1  one is Unreachable, Unhealthy or Unknown, or a source can't be read
  2  the command line or a name makes no sense
  3  the service can't be reached, or has no picture of the fleet
  4  the service wants a token, or one with a higher role"""

PLAIN_CODES_HELP = """Exit code 0; 2 if the command line or a name makes no sense, 3 if the service can't be reached, 4
if it wants a token, or one with a higher role."""


def fail(code: Exit, message: str, *hints: str) -> NoReturn:
    """Say on stderr what went wrong and, each on a line of its own, what to do; then end."""
    print(f"muster: {escaped(message, chr(10))}", file=sys.stderr)
    for hint in hints:
        print(f"  {escaped(hint)}", file=sys.stderr)
    raise typer.Exit(code)
