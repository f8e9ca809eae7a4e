"""`muster receiver token`: activation tokens, with which installations enrol."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from muster.cli.exits import Exit, fail
from muster.cli.options import Output, OutputOption
from muster.cli.receiver_asking import DataDirOption, ask, plain

if TYPE_CHECKING:
    from uplink.receiver.storing import Store

CREATE_HELP = """Make an activation token: one installation of the organisation gets its first certificate for it.

It works once, and says whose the installation is: nothing that the installation says does.

\b
Examples:
  muster receiver token create acme
  muster receiver token create acme --expires 2h --approval
  muster receiver token create acme --save acme.token
"""

LIST_HELP = """List activation tokens, newest first, without their secrets.

\b
Examples:
  muster receiver token list
  muster receiver token list acme -o json
"""

REVOKE_ONE_HELP = """Make a token useless. What enrolled with it keeps its certificate: see `muster receiver revoke`.

\b
Examples:
  muster receiver token revoke 2f6c7a1e-0d4b-4c8e-9a55-0d9d8f1b7c11
"""

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.command("create", help=CREATE_HELP, short_help="Make a token; its secret is shown once.")
def create(
    organisation: Annotated[str, typer.Argument(metavar="ORG", help="Whose the installation is.")],
    expires: Annotated[str, typer.Option("--expires", metavar="SPAN", help="When it ends, at most 30d.")] = "1d",
    approval: Annotated[bool, typer.Option("--approval", help="Somebody has to approve the enrolment.")] = False,
    installation: Annotated[
        UUID | None, typer.Option("--installation", metavar="UUID", help="Only for this installation.")
    ] = None,
    save: Annotated[
        Path | None, typer.Option("--save", metavar="FILE", help="Write the secret to a new file of mode 600.")
    ] = None,
    data_dir: DataDirOption = None,
) -> None:
    """See `CREATE_HELP`."""
    from muster.cli.times import seconds  # noqa: PLC0415 - not for `--help`
    from uplink.receiver.activations import Activations, TooManyTokens  # noqa: PLC0415

    try:
        lifetime_s = seconds(expires)
    except ValueError as error:
        fail(Exit.USAGE, f"--expires: {error}")
    if lifetime_s > 30 * 86_400:
        fail(Exit.USAGE, "--expires: an activation token lives for 30 days at most")
    descriptor = None if save is None else _new_file(save)

    async def work(store: Store) -> str:
        _, secret = await Activations(store).create(
            organisation, time.time(), lifetime_s, needs_approval=approval, installation=installation
        )
        return secret

    try:
        secret = ask(work, data_dir)
    except BaseException as error:
        if save is not None:
            save.unlink(missing_ok=True)
        if isinstance(error, TooManyTokens):
            fail(Exit.USAGE, f"{organisation} has too many tokens that can be used. Revoke some.")
        raise
    if descriptor is not None:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(f"{secret}\n")
        print(f"The token for {organisation} is in {save}.", file=sys.stderr)
        return
    print(f"The token for {organisation}, shown only now:", file=sys.stderr)
    print(secret)


@app.command("list", help=LIST_HELP, short_help="List tokens, without their secrets.")
def list_(
    organisation: Annotated[str | None, typer.Argument(metavar="[ORG]", help="Only of this one.")] = None,
    output: OutputOption = Output.TABLE,
    data_dir: DataDirOption = None,
) -> None:
    """See `LIST_HELP`."""
    from uplink.receiver.activations import Activations  # noqa: PLC0415 - not for `--help`

    found = ask(lambda store: Activations(store).list(organisation), data_dir)
    from datetime import UTC, datetime  # noqa: PLC0415

    from muster.cli.render import output as out  # noqa: PLC0415
    from muster.cli.render.receiver import activations_table  # noqa: PLC0415

    if output.is_data:
        now = time.time()
        out.data({"tokens": [{**plain(asdict(each)), "state": each.state(now)} for each in found]}, output)
        return
    out.show(activations_table(found, datetime.now(UTC)), out.console())


@app.command("revoke", help=REVOKE_ONE_HELP, short_help="Make a token useless, at once.")
def revoke_token(
    activation: Annotated[UUID, typer.Argument(metavar="ID", help="Of the token.")], data_dir: DataDirOption = None
) -> None:
    """See `REVOKE_ONE_HELP`."""
    from uplink.receiver.activations import Activations  # noqa: PLC0415 - not for `--help`

    if not ask(lambda store: Activations(store).revoke(activation, time.time()), data_dir):
        fail(Exit.USAGE, f"{activation} is the id of no token", "`muster receiver token list` shows them.")
    print(f"The token {activation} works no more.")


def _new_file(path: Path) -> int:
    """Made before the token is: a secret that can't be written down would be lost."""
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        fail(Exit.USAGE, f"--save {path}: {error.strerror}", "Give it the path of a new file. No token was made.")
