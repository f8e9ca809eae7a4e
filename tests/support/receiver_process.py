"""`muster receiver run` as a process of its own, and its commands."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.service import READY_S, Json, Ran, dying_with_us, environment, muster, until

ORGANISATION = "acme"


class ReceiverProcess:
    """One that runs."""

    def __init__(self, directory: Path, log: Path, environ: dict[str, str]) -> None:
        self.ca_file = directory / "authority" / "ca.crt"
        self._log = log
        self._environ = environ
        self.port = until(self._listening, READY_S, "the receiver listens")

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def cli(self, *arguments: str) -> Ran:
        return muster("receiver", *arguments, environ=self._environ)

    def token(self, *options: str) -> str:
        """A new activation token."""
        made = self.cli("token", "create", ORGANISATION, *options)
        assert made.code == 0, made.err
        return made.out.strip()

    def show(self) -> Json:
        """What was received of the organisation; empty while there is nothing."""
        shown = self.cli("show", ORGANISATION, "-o", "json")
        if shown.code != 0:
            return {}
        document: Json = json.loads(shown.out)
        return document

    def _listening(self) -> int:
        for line in self.log.splitlines():
            if "receiver listens" in line:
                return urlsplit(json.loads(line)["url"]).port or 0
        return 0


@contextmanager
def receiver_process(directory: Path, database_url: str, *options: str) -> Iterator[ReceiverProcess]:
    """With a CA of its own, for the length of the block."""
    environ = {"MUSTER_RECEIVER_DATA_DIR": str(directory), "MUSTER_RECEIVER_DATABASE_URL": database_url}
    made = muster("receiver", "init", environ=environ)
    assert made.code == 0, made.err
    log = directory.parent / "receiver.log"
    command = (sys.executable, "-m", "muster", "receiver", "run", "--listen", "127.0.0.1:0", "--host", "localhost")
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            dying_with_us(*command, *options), stdin=subprocess.DEVNULL, stderr=stderr, env=environment(environ)
        )
    try:
        yield ReceiverProcess(directory, log, environ)
    finally:
        process.terminate()
        process.wait(10)
        end = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
        sys.stdout.write(f"--- end of the log of the receiver:\n{end}\n")
