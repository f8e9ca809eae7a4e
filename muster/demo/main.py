"""`muster demo`: starts the demo's child, shows `muster status --watch` over it, and cleans up.

Two processes, so that what is shown is what any user sees: the CLI asking a service through its API.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from shlex import quote
from types import FrameType
from typing import IO

from rich.console import Console

from muster.cli.options import Output
from muster.cli.watch import watch_status

STOP_S = 10.0
"""For the child's orderly end: the service has 5 s, its fleet and its database the rest."""

LOG_TAIL_BYTES = 2000

KEPT = frozenset({"MUSTER_RUNTIME_DIR", "MUSTER_TELEMETRY"})
"""All other variables are of the service that somebody runs in earnest: the demo must not find real clusters."""


def run_demo(clusters: int, dead: float, seed: int, listen: str) -> int:
    """Until Ctrl-C or SIGTERM. Gives the exit code: 1 when the demo could not start."""
    signal.signal(signal.SIGTERM, _interrupt)
    console = Console(stderr=True)
    with tempfile.TemporaryFile() as log, _child(clusters, dead, seed, listen, log) as child:
        try:
            with console.status(f"Starting {clusters} simulated clusters, PostgreSQL and the service…"):
                assert child.stdout is not None
                line = child.stdout.readline()
            if line:
                watch_status(json.loads(line)["url"], Output.TABLE, everything=False, note=ReceiverNote(child.stdout))
                return 0
        except KeyboardInterrupt:
            return 0
        child.wait()
        log.seek(max(0, log.seek(0, os.SEEK_END) - LOG_TAIL_BYTES))
        console.print("The demo could not start. The end of its log:", style="red")
        console.out(log.read().decode(errors="replace"), highlight=False)
        return 1


@contextmanager
def _child(clusters: int, dead: float, seed: int, listen: str, log: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """The child, ended in order at the end of the block. Ctrl-C reaches it through us, not through the terminal."""
    command = [sys.executable, "-m", "muster.demo.service", "--clusters", str(clusters), "--dead", str(dead)]
    command += ["--seed", str(seed), "--listen", listen, "--parent", str(os.getpid())]
    process = subprocess.Popen(  # noqa: S603 - our own module
        command,
        env={name: value for name, value in os.environ.items() if not name.startswith("MUSTER_") or name in KEPT},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=log,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


class ReceiverNote:
    """What the child says of its receiver, for below the picture. It says so while the picture is drawn: a thread."""

    def __init__(self, lines: IO[bytes]) -> None:
        self._said: dict[str, str] = {}
        threading.Thread(target=self._listen, args=(lines,), name="demo-receiver", daemon=True).start()

    def __call__(self) -> str:
        """A line or two; empty while there is nothing to say."""
        if script := self._said.get("script"):
            return f"Telemetry is off until you switch it on; to try that, in another terminal:\n  . {quote(script)}"
        why = self._said.get("no_receiver")
        return "" if why is None else f"The receiver for telemetry does not run: {why}"

    def _listen(self, lines: IO[bytes]) -> None:
        with suppress(ValueError):  # it was closed: the end
            for line in lines:
                self._said = json.loads(line)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
