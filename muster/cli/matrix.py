"""`muster matrix`: how each backup location works from each cluster that uses it."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from muster.cli.asking import asking
from muster.cli.completion import HealthOption, locations, methods, names, providers, reasons
from muster.cli.matrix_picture import Asked, MatrixPicture
from muster.cli.options import DEFAULT_SERVER, CaFileOption, Output, OutputOption, ServerOption, TokenFileOption

HELP = """How each backup location works from each cluster that uses it.

Clusters are rows, the worst first; locations are columns. Each cell says how it is, why, and how old that fact is.
Below stands what the cells that are not well have in common, and what to do about it.

Where the terminal is too narrow for the columns, the pairs that are not well are listed instead.

\b
Examples:
  muster matrix                                   one look
  muster matrix --problems                        rows that are well everywhere left out
  muster matrix --watch                           again every 2 s, until Ctrl-C
  muster matrix --location backups-eu -l env=prod
  muster matrix --reason RoleMissing,NetworkBlocked -o wide
  muster matrix -o json | jq -r '.causes[].text'
  muster matrix --cluster prod-eu-west-1 >/dev/null || page-me

\b
Exit codes:
  0  every pair shown is Healthy, Degraded or Suspended
  1  one is Unreachable, Unhealthy or Unknown
  2  the command line or a name makes no sense
  3  the service can't be reached, or has no picture of the fleet
  4  the service wants a token, or one with a higher role
"""


def matrix(
    problems: Annotated[bool, typer.Option("--problems", "-p", help="Only what is not healthy.")] = False,
    everything: Annotated[bool, typer.Option("--all", "-a", help="All rows, however many.")] = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show it again every 2 s.")] = False,
    cluster: Annotated[
        list[str] | None,
        typer.Option("--cluster", metavar="CLUSTER", help="Only these (commas, or repeat).", autocompletion=names),
    ] = None,
    label: Annotated[
        str, typer.Option("--label", "-l", metavar="SELECTOR", help="Only with these labels, as `kubectl -l` has it.")
    ] = "",
    location: Annotated[
        list[str] | None,
        typer.Option("--location", metavar="LOCATION", help="Only these (likewise).", autocompletion=locations),
    ] = None,
    health: HealthOption = None,
    reason: Annotated[
        list[str] | None,
        typer.Option("--reason", metavar="REASON", help="Only for this reason (likewise).", autocompletion=reasons),
    ] = None,
    provider: Annotated[
        list[str] | None,
        typer.Option("--provider", metavar="PROVIDER", help="azure, s3, gcs (likewise).", autocompletion=providers),
    ] = None,
    account: Annotated[
        list[str] | None, typer.Option("--account", metavar="ACCOUNT", help="Storage accounts (likewise).")
    ] = None,
    owner: Annotated[str, typer.Option("--owner", metavar="OWNER", help="Only locations of this owner.")] = "",
    method: Annotated[
        list[str] | None,
        typer.Option("--method", metavar="METHOD", help="agent, resource, direct: who asked.", autocompletion=methods),
    ] = None,
    output: OutputOption = Output.TABLE,
    server: ServerOption = DEFAULT_SERVER,
    token_file: TokenFileOption = None,
    ca_file: CaFileOption = None,
) -> None:
    """See `HELP`."""
    several = {
        "cluster": cluster,
        "location": location,
        "health": health,
        "reason": reason,
        "provider": provider,
        "account": account,
        "method": method,
    }
    query = [(name, ",".join(values)) for name, values in several.items() if values]
    query += [(name, value) for name, value in (("label", label), ("owner", owner)) if value]
    asked = Asked(tuple(query), problems=problems, everything=everything, output=output)
    if watch:
        from muster.cli.watch import watch as watch_it  # noqa: PLC0415 - only where it is asked for

        watch_it(server, output, partial(MatrixPicture, asked=asked), token_file=token_file, ca_file=ca_file)
        return
    with asking(server, token_file, ca_file) as client:
        picture = MatrixPicture(client, asked=asked, limit=asked.screen())
    picture.show()
    raise typer.Exit(picture.code)
