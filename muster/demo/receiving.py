"""The service's side of the demo's receiver: its CA and its address, before it runs; and its process.

A process of its own, so that whoever traces the service sees what the service sends, and nothing else.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from uplink.receiver.authority import CERTIFICATES_FILE, Authority

ORGANISATION = "demo-msp"

TOKEN = "activation.token"  # noqa: S105 - a file's name
SCRIPT = "try.sh"
"""In the receiver's directory, both 0600: the one is worth an identity, the other has a password."""

_HOST = "127.0.0.1"
_READY_TIMEOUT_S = 60.0
"""A second on an idle machine."""
_STOP_TIMEOUT_S = 2.0


class DemoReceiver:
    """Can be named in the service's settings before it runs."""

    def __init__(self, directory: Path, service_dir: Path) -> None:
        """Makes `directory` with a CA in it, and takes a port. Raises `OSError`."""
        self._directory = directory
        self._service_dir = service_dir
        directory.mkdir(mode=0o700)
        Authority.create(directory / "authority", "Muster demo", time.time())
        self.ca_file = directory / "authority" / CERTIFICATES_FILE
        self.script = directory / SCRIPT
        """Is there once it is ready."""
        # Bound and never listening: nobody else is given the port, and a server, which reuses addresses, can have it.
        self._held = socket.socket()
        self._held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._held.bind((_HOST, 0))
        self._listen = f"{_HOST}:{self._held.getsockname()[1]}"
        self.url = f"https://{self._listen}"

    async def run(self, server: str, ready: Callable[[], None]) -> str:
        """Until it ends, which is not planned; gives why. Cancel it to end it.

        `server` is the URL of the service; its database has to run. Call it from the main thread: the child dies with
        the thread that started it.
        """
        command = [sys.executable, "-m", "muster.demo.receiver", "--parent", str(os.getpid()), "--server", server]
        command += ["--directory", str(self._directory), "--service-dir", str(self._service_dir)]
        process = await asyncio.create_subprocess_exec(
            *(*command, "--listen", self._listen),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the parent, which then ends the child in order
        )
        try:
            if why := await _refusal(process):
                return why
            ready()
            return f"it ended with exit code {await process.wait()}"
        finally:
            await _stop(process)

    def close(self) -> None:
        """Let go of the port."""
        self._held.close()


async def _refusal(process: asyncio.subprocess.Process) -> str:
    """Why it does not run; empty once it does."""
    assert process.stdout is not None
    try:
        async with asyncio.timeout(_READY_TIMEOUT_S):
            line = await process.stdout.readline()
    except TimeoutError:
        return f"it was not ready within {_READY_TIMEOUT_S:.0f} s"
    return str(json.loads(line).get("error", "")) if line else "it ended at once"


async def _stop(process: asyncio.subprocess.Process) -> None:
    """By SIGTERM, then by SIGKILL."""
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(_STOP_TIMEOUT_S):
                await process.wait()
    finally:
        with suppress(ProcessLookupError):
            process.kill()
    await process.wait()
