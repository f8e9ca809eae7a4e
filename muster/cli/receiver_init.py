"""`muster receiver init`: the CA, and its next generation."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from muster.cli.exits import Exit, fail
from muster.cli.receiver_asking import DataDirOption, ask, settings_of

if TYPE_CHECKING:
    from uplink.receiver.authority import Authority
    from uplink.receiver.storing import Store

HELP = """Make the CA: a key (0600, in a directory of 0700, never in the database) and its certificate.

With --roll an existing CA gets a new key: clients that trust the old one can check the new, and their certificates stay
good until they end. A receiver that runs takes it up within seconds.

The audit log tells of either, so the database has to be there.

\b
Examples:
  muster receiver init
  muster receiver init --name 'Example Ltd telemetry'
  muster receiver init --roll
"""


def init(
    data_dir: DataDirOption = None,
    name: Annotated[str, typer.Option("--name", help="Of the CA, in its certificate.")] = "Muster receiver",
    roll: Annotated[bool, typer.Option("--roll", help="A new key for the CA that is there.")] = False,
) -> None:
    """See `HELP`."""
    from uplink.receiver.audit import By  # noqa: PLC0415 - not for `--help`
    from uplink.receiver.authority import CERTIFICATES_FILE  # noqa: PLC0415
    from uplink.receiver.founding import found, roll_over  # noqa: PLC0415

    directory = settings_of(data_dir=data_dir).authority_dir
    if not 0 < len(name) <= 64:
        fail(Exit.USAGE, "--name has to have 1 to 64 characters")

    async def work(store: Store) -> Authority:
        if roll:
            return await roll_over(store, directory, time.time(), By.command())
        return await found(store, directory, name, time.time(), By.command())

    made = ask(work, data_dir)
    print(f"The CA is in {directory}; keep a backup of it. Clients trust {directory / CERTIFICATES_FILE}.")
    print(f"SHA-256 of its certificate: {made.fingerprint}")
