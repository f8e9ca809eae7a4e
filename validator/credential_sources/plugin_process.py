"""One run of an exec plugin: no terminal, a session of its own, bounded output, and nothing of it left behind.

`loop.subprocess_exec` instead of `asyncio.create_subprocess_exec`: output is bounded as it comes, and the transport
can be closed by a public method, which a grandchild that keeps the pipe open would otherwise prevent.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from validator.printable import printable_tail

MAX_STDOUT_BYTES = 1024 * 1024
"""A credential is a few KiB; this bounds a plugin that has gone mad."""
MAX_STDERR_CHARS = 300
"""The end of what it said, which is where programs say why they gave up; the message around it fits into 500."""
_KILL_WAIT_S = 2.0
"""SIGKILL takes effect at once, except in an uninterruptible system call: then the process is left to the kernel."""


@dataclass(frozen=True, slots=True)
class PluginOutput:
    """How a run ended."""

    exit_code: int
    """Negative: killed by that signal."""
    stdout: bytes
    stderr: str


class OutputTooLargeError(Exception):
    """More than `MAX_STDOUT_BYTES` on stdout; the plugin has been killed."""


class _Capture(asyncio.SubprocessProtocol):
    def __init__(self) -> None:
        self.finished = asyncio.Event()
        """Set when the process has ended and both pipes are closed, or when stdout is too large."""
        self.exited = asyncio.Event()
        self.too_large = False
        self.stdout = bytearray()
        self._stderr = bytearray()

    @property
    def stderr(self) -> str:
        return printable_tail(self._stderr.decode(errors="replace"), MAX_STDERR_CHARS)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == 2:
            self._stderr = (self._stderr + data)[-8 * MAX_STDERR_CHARS :]  # a character has 4 bytes at most
        elif len(self.stdout) + len(data) > MAX_STDOUT_BYTES:
            self.too_large = True
            self.finished.set()
        else:
            self.stdout += data

    def process_exited(self) -> None:
        self.exited.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.finished.set()


async def run_plugin(argv: Sequence[str], env: Mapping[str, str]) -> PluginOutput:
    """Run it to its end. The caller sets the deadline; whatever ends the wait, the whole process group is killed.

    Raises OSError if it can't be started, and `OutputTooLargeError`.
    """
    transport, capture = await asyncio.get_running_loop().subprocess_exec(
        _Capture,
        *argv,
        env=dict(env),
        stdin=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        await capture.finished.wait()
        exit_code = transport.get_returncode()
        if capture.too_large or exit_code is None:
            raise OutputTooLargeError
        return PluginOutput(exit_code, bytes(capture.stdout), capture.stderr)
    finally:
        if transport.get_returncode() is None or not capture.finished.is_set() or capture.too_large:
            # The group's id can't have been reused: its leader, or a child that holds our pipe, still lives.
            with contextlib.suppress(ProcessLookupError, PermissionError):  # gone already; or a setuid one
                os.killpg(transport.get_pid(), signal.SIGKILL)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_KILL_WAIT_S):
                    await capture.exited.wait()
        transport.close()
