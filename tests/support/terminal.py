"""A command at a terminal of its own, so that Ctrl-C is a key and not a signal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import psutil
import pytest

from tests.support.service import dying_with_us

LINES, COLUMNS = 40, 120

_BECOME_THE_TERMINALS_OWNER = "import fcntl, os, sys, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
_ESCAPES = re.compile(r"\x1b(\[[0-9;?]*[A-Za-z]|[()][A-Z0-9]|[=>])")


class Terminal:
    """What the command has written, and the keyboard."""

    def __init__(self, process: subprocess.Popen[bytes], descriptor: int) -> None:
        self.process = process
        self._descriptor = descriptor
        self._written = b""

    def text(self) -> str:
        """All that was written so far, without what moves the cursor and colours."""
        while select.select([self._descriptor], [], [], 0)[0]:
            try:
                more = os.read(self._descriptor, 65_536)
            except OSError:  # Linux says EIO when the last writer has gone
                break
            if not more:
                break
            self._written += more
        return _ESCAPES.sub("", self._written.decode(errors="replace"))

    def press_ctrl_c(self) -> None:
        os.write(self._descriptor, b"\x03")

    def wait(self, within_s: float) -> int:
        """The exit code; reads on meanwhile, or the command would wait for us."""
        deadline = time.monotonic() + within_s
        while self.process.poll() is None:
            self.text()
            if time.monotonic() > deadline:
                pytest.fail(f"it has not ended within {within_s:g} s:\n{self.text()[-2000:]}")
            time.sleep(0.05)
        return self.process.returncode

    def tree(self) -> list[psutil.Process]:
        """The command and all that it has started."""
        command = psutil.Process(self.process.pid)
        return [command, *command.children(recursive=True)]


@contextmanager
def at_a_terminal(*command: str, environ: Mapping[str, str]) -> Iterator[Terminal]:
    """Run a command for the length of the block; killed at its end if it still runs."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    try:
        process = subprocess.Popen(
            dying_with_us(sys.executable, "-c", _BECOME_THE_TERMINALS_OWNER, *command),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**environ, "TERM": "xterm-256color"},
        )
    finally:
        os.close(theirs)
    terminal = Terminal(process, ours)
    try:
        yield terminal
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()
        os.close(ours)
