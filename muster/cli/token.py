"""`muster token create|list|revoke`: who may ask the service."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from muster.access.roles import Role
from muster.cli.asking import asking
from muster.cli.completion import tokens
from muster.cli.exits import PLAIN_CODES_HELP, Exit, fail
from muster.cli.options import DEFAULT_SERVER, CaFileOption, Output, OutputOption, ServerOption, TokenFileOption
from muster.escape import escaped

if TYPE_CHECKING:
    from muster.api import schemas

HELP = """API tokens: make, list and revoke them. Needs the role admin.

A viewer reads, an operator may also validate and pause, an admin may also make tokens and read the audit log. The user
who runs the service on this machine is an admin without any token.

\b
Examples:
  muster token create grafana --role viewer --save grafana.token
  muster token list
  muster token revoke grafana
"""

CREATE_HELP = f"""Make a token. Its secret is shown once and stored nowhere: only its hash is.

Without --save the secret alone goes to stdout, everything else to stderr.

\b
Examples:
  muster token create grafana --role viewer --save grafana.token
  muster token create ci --role operator --expires 30d | vault kv put secret/muster token=-
  muster clusters --server https://muster.example.com --token-file grafana.token

{PLAIN_CODES_HELP}
"""

LIST_HELP = f"""List tokens, newest first: role, prefix, expiry, last use. Secrets are stored nowhere.

\b
Examples:
  muster token list
  muster token list -o json | jq '.tokens[] | select(.last_used_at == null) | .name'

{PLAIN_CODES_HELP}
"""

REVOKE_HELP = f"""Make a token useless, at once. NAME is its name or id.

\b
Examples:
  muster token revoke grafana

{PLAIN_CODES_HELP}
"""

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.command("create", help=CREATE_HELP, short_help="Make a token; its secret is shown once.")
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for; the audit log shows it.")],
    role: Annotated[Role, typer.Option("--role", help="What it may do.")],
    expires: Annotated[str, typer.Option("--expires", metavar="SPAN", help="When it ends: 30d, or never.")] = "90d",
    save: Annotated[
        Path | None, typer.Option("--save", metavar="FILE", help="Write the secret to a new file of mode 600.")
    ] = None,
    output: OutputOption = Output.TABLE,
    server: ServerOption = DEFAULT_SERVER,
    token_file: TokenFileOption = None,
    ca_file: CaFileOption = None,
) -> None:
    """See `CREATE_HELP`."""
    expires_in_s = _expires(expires)
    descriptor = None if save is None else _new_file(save)
    try:
        with asking(server, token_file, ca_file) as client:
            created = client.create_token(name, role, expires_in_s)
    except BaseException:
        if save is not None:
            save.unlink(missing_ok=True)
        raise
    if descriptor is not None:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(f"{created.secret}\n")
    _hand_over(created, save, output)


@app.command("list", help=LIST_HELP, short_help="List tokens, without their secrets.")
def list_(
    everything: Annotated[bool, typer.Option("--all", "-a", help="Also those that work no more.")] = False,
    output: OutputOption = Output.TABLE,
    server: ServerOption = DEFAULT_SERVER,
    token_file: TokenFileOption = None,
    ca_file: CaFileOption = None,
) -> None:
    """See `LIST_HELP`."""
    with asking(server, token_file, ca_file) as client:
        page = client.tokens()
    from datetime import UTC, datetime  # noqa: PLC0415 - `--help` needs none of these

    from muster.cli.client import as_json  # noqa: PLC0415
    from muster.cli.render import output as out  # noqa: PLC0415
    from muster.cli.render.tokens import tokens_table, works  # noqa: PLC0415

    now = datetime.now(UTC)
    listed = [token for token in page.tokens if everything or works(token, now)]
    if output.is_data:
        out.data({"tokens": [as_json(token) for token in listed]}, output)
    elif not listed:
        print("There is no token that works. `muster token create NAME --role viewer` makes one.")
    else:
        out.show(tokens_table(listed, now, wide=output is Output.WIDE), out.console())


@app.command("revoke", help=REVOKE_HELP, short_help="Make a token useless, at once.")
def revoke(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name or id.", autocompletion=tokens)],
    server: ServerOption = DEFAULT_SERVER,
    token_file: TokenFileOption = None,
    ca_file: CaFileOption = None,
) -> None:
    """See `REVOKE_HELP`."""
    with asking(server, token_file, ca_file) as client:
        token = _meant(client.tokens().tokens, name)
        client.revoke_token(token.id)
    print(f"{escaped(token.name)} ({escaped(token.prefix)}…) works no more.")


def _expires(text: str) -> int | None:
    if text == "never":
        return None
    from muster.cli.times import seconds  # noqa: PLC0415 - `--help` needs it not

    try:
        return seconds(text)
    except ValueError as error:
        fail(Exit.USAGE, f"--expires: {error}", "Or `never`, for a token that somebody has to think of.")


def _new_file(path: Path) -> int:
    """Made before the token is: a secret that can't be written down would be lost."""
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        fail(Exit.USAGE, f"--save {path}: {error.strerror}", "Give it the path of a new file. No token was made.")


def _hand_over(created: schemas.TokenCreated, save: Path | None, output: Output) -> None:
    """The secret goes to one place: into the file, or to stdout."""
    if output.is_data:
        from muster.cli.client import as_json  # noqa: PLC0415 - `--help` needs none of these
        from muster.cli.render import output as out  # noqa: PLC0415

        document = as_json(created)
        if save is not None:
            del document["secret"]
        out.data(document, output)
        return
    ends = f"until {created.expires_at:%Y-%m-%d}" if created.expires_at else "for ever"
    where = f"Its secret is in {save}." if save is not None else "This is its secret, shown only now:"
    print(escaped(f"{created.name} is a token for the role {created.role}, {ends}. {where}"), file=sys.stderr)
    if save is None:
        print(escaped(created.secret))


def _meant(known: Sequence[schemas.Token], name: str) -> schemas.Token:
    """By id, or by name among those that were not revoked: there it is unique."""
    found = next((t for t in known if t.id == name or (t.name == name and t.revoked_at is None)), None)
    if found is None:
        revoked = any(token.name == name for token in known)
        why = "has been revoked before" if revoked else "is the name or id of no token"
        fail(Exit.USAGE, f"{name!r} {why}", "`muster token list` shows those that work.")
    return found
