"""A command on a terminal of its own, as a person has it: what it shows, the keys that are pressed, how it ends."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

import pytest

CTRL_C = b"\x03"

_ESCAPES = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07|\x1b[=>()][0B]?")


class Terminal:
    """The terminal's side of a pty, with the command that runs on it."""

    def __init__(self, process: subprocess.Popen[bytes], master: int) -> None:
        self.process = process
        self.raw = b""
        self._master = master

    @property
    def text(self) -> str:
        """All that was shown so far, without colours and cursor movements."""
        return _ESCAPES.sub(b"", self.raw).decode(errors="replace")

    def press(self, keys: bytes) -> None:
        """Type; Ctrl-C becomes a SIGINT for the whole foreground group, as on any terminal."""
        os.write(self._master, keys)

    def read(self, for_s: float) -> None:
        """Take what is shown; never lets the command wait for a reader."""
        deadline = time.monotonic() + for_s
        while (left_s := deadline - time.monotonic()) > 0 and select.select([self._master], [], [], left_s)[0]:
            try:
                data = os.read(self._master, 65536)
            except OSError:  # EIO: nobody has the other side open any more
                time.sleep(min(0.05, left_s))
                return
            self.raw += data

    def until(self, shown: str, within_s: float) -> None:
        """Wait for a text; fails with the end of what was shown."""
        deadline = time.monotonic() + within_s
        while not re.search(shown, self.text):
            if time.monotonic() > deadline or self.process.poll() is not None:
                pytest.fail(f"not shown within {within_s:g} s: {shown!r}; the end of it:\n{self.text[-3000:]}")
            self.read(0.2)

    def ended(self, within_s: float) -> int:
        """Wait for the end; gives the exit code."""
        deadline = time.monotonic() + within_s
        while self.process.poll() is None:
            if time.monotonic() > deadline:
                pytest.fail(f"still runs after {within_s:g} s; the end of what it shows:\n{self.text[-3000:]}")
            self.read(0.1)
        self.read(0.1)
        return self.process.returncode


@contextmanager
def on_a_terminal(
    *command: str, environment: Mapping[str, str], rows: int = 40, columns: int = 120
) -> Iterator[Terminal]:
    """Run `python -m <command>` on a terminal of this size; killed at the end if it still runs."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    hidden = {"COLUMNS", "LINES", "NO_COLOR", "CI"}
    inherited = {name: value for name, value in os.environ.items() if name not in hidden}
    process = subprocess.Popen(
        [sys.executable, "-c", _TAKE_TERMINAL, *command],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**inherited, "TERM": "xterm-256color", **environment},
        start_new_session=True,
    )
    os.close(slave)
    try:
        yield Terminal(process, master)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        with suppress(OSError):
            os.close(master)


_TAKE_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # the session's own terminal: Ctrl-C is a signal then
os.execv(sys.executable, [sys.executable, "-m", *sys.argv[1:]])
"""
