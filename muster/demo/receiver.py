"""The demo's receiver as a process of its own: what `muster receiver run` does, in a database beside the service's.

Before it listens it makes that database, a token to enrol with, and a script that has a shell's commands ask this demo.
Answers on stdout with one JSON line, `{"ready": true}` or `{"error": TEXT}`; logs to stderr. Ends on SIGTERM, and by
the kernel's hand when its parent dies.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path
from shlex import quote
from typing import Any
from urllib.parse import urlsplit

import uvloop

from muster.demo.dying import die_with
from muster.demo.receiving import ORGANISATION, SCRIPT, TOKEN
from muster.logs import configure_logs
from store.errors import StoreError, StoreUnavailable
from store.pool import Database
from store.running import running_url
from uplink.receiver.activations import Activations
from uplink.receiver.app import database, run
from uplink.receiver.settings import load_settings
from uplink.wire.private_file import write_private

DATABASE = "receiver"

TOKEN_S = 86_400.0

CREATE_S = 30.0
"""For the new database: a copy of 7 MB."""

HANDED_ON = ("MUSTER_RUNTIME_DIR",)
"""Variables that a command in another terminal needs as the service has them: here it left its token."""


def main() -> int:
    """Entry point of the child."""
    parser = argparse.ArgumentParser(prog="python -m muster.demo.receiver", description=__doc__)
    parser.add_argument("--directory", type=Path, required=True, help="the receiver's, with its CA")
    parser.add_argument("--service-dir", type=Path, required=True, help="of the service, whose PostgreSQL runs")
    parser.add_argument("--listen", required=True)
    parser.add_argument("--server", required=True, help="URL of the service's API")
    parser.add_argument("--parent", type=int, default=0, metavar="PID", help="die with this process")
    options = parser.parse_args()
    die_with(options.parent, signal.SIGKILL)
    configure_logs("warning", "json")
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(options))
    except (StoreError, OSError, ValueError) as error:
        _say({"error": str(error)})
        return 1
    return 0


async def _serve(options: argparse.Namespace) -> None:
    directory: Path = options.directory
    url = await _make_database(options.service_dir)
    settings = load_settings(data_dir=directory, listen=options.listen, database_url=url)
    async with database(settings) as store:
        _, token = await Activations(store).create(ORGANISATION, time.time(), TOKEN_S)
    write_private(directory / TOKEN, f"{token}\n".encode())
    write_private(directory / SCRIPT, script(directory, url, options.server).encode())
    await run(settings, lambda _: _say({"ready": True}))


async def _make_database(service_dir: Path) -> str:
    """Beside the service's, on its server; gives the URL. Raises `StoreError`."""
    url = running_url(service_dir)
    if url is None:
        raise StoreUnavailable(f"no PostgreSQL runs in {service_dir}")
    db = await Database.open(url, connections=1, application_name="muster-demo")
    try:
        await db.execute(f"CREATE DATABASE {DATABASE}", timeout_s=CREATE_S)
    finally:
        await db.close()
    return urlsplit(url)._replace(path=f"/{DATABASE}").geturl()


def script(directory: Path, database_url: str, server: str) -> str:
    """For `.` in a shell: its commands ask this demo from then on. Then it shows what there is to try."""
    variables = {
        "MUSTER_SERVER": server,
        "MUSTER_RECEIVER_DATA_DIR": str(directory),
        "MUSTER_RECEIVER_DATABASE_URL": database_url,
        **{name: os.environ[name] for name in HANDED_ON if name in os.environ},
    }
    token = quote(str(directory / TOKEN))
    return "\n".join(
        (
            "# Written by `muster demo`, and gone with it.",
            "unset MUSTER_TOKEN_FILE MUSTER_CA_FILE",
            *(f"export {name}={quote(value)}" for name, value in variables.items()),
            f"export PATH={quote(str(Path(sys.executable).parent))}:$PATH",
            "cat <<'END'",
            "The demo's telemetry is off, and a receiver of its own waits for it. From this shell:",
            "",
            "  muster telemetry preview            what would leave; nothing is sent",
            "  muster telemetry on --stream metrics --stream logs --stream inventory \\",
            f"    --activation-token-file {token}",
            f"  muster receiver show {ORGANISATION}       what has arrived; all health within seconds",
            "  muster telemetry off                and nothing more does",
            "",
            "A token works once. This makes the next one:",
            "",
            f"  muster receiver token create {ORGANISATION} >| {token}",
            "END\n",
        )
    )


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
