"""`muster locations sync` and `inventory`: list the backups in a location, and show what was found."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from muster.cli.asking import asking
from muster.cli.completion import locations, names
from muster.cli.exits import PLAIN_CODES_HELP, Exit
from muster.cli.options import DEFAULT_SERVER, CaFileOption, Output, OutputOption, ServerOption, TokenFileOption

if TYPE_CHECKING:
    from muster.api import schemas
    from muster.cli.client import Client

SYNC_HELP = """List the backups in a location now. Needs the role operator.

The agent of a cluster that uses it lists with the cluster's identity, or the hub with its own where the location's
owner is among `direct_owners`. One listing at a time has a bucket, also under another name: with --queue this one waits
for its turn. Nothing in the bucket is changed. The service goes on when this command ends.

\b
Examples:
  muster locations sync backups-eu
  muster locations sync backups-eu --cluster prod-eu-west-1 --wait
  muster locations sync backups-eu --queue --wait && muster locations inventory backups-eu

\b
Exit codes:
  0  it has begun, or waits; with --wait: it has succeeded
  1  with --wait: it has failed
  2  the command line or a name makes no sense, nobody can list it, or its bucket is being listed
  3  the service can't be reached, or has no picture of the fleet
  4  the service wants a token, or one with a higher role
"""

INVENTORY_HELP = f"""Which backups a location has, as of its last sync: how many, the newest of each, what is missing.

Velero's stores are told apart by their prefix, Stork's backups by their namespace. CLUSTER is whose they are, where one
cluster uses the location, or the prefix has its name.

\b
Examples:
  muster locations inventory backups-eu
  muster locations inventory backups-eu -o wide
  muster locations inventory backups-eu -o json | jq '.groups[] | select(.newest_age_s > 93600)'

{PLAIN_CODES_HELP}
"""

POLL_S = 0.5
"""Between two looks at a sync that is waited for."""

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Its name or id.", autocompletion=locations)]


def sync(
    name: NameArgument,
    cluster: Annotated[
        str | None,
        typer.Option("--cluster", metavar="CLUSTER", help="Whose agent lists.", autocompletion=names),
    ] = None,
    queue: Annotated[bool, typer.Option("--queue", help="Wait for a bucket that is being listed.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Until it has ended.")] = False,
    output: OutputOption = Output.TABLE,
    server: ServerOption = DEFAULT_SERVER,
    token_file: TokenFileOption = None,
    ca_file: CaFileOption = None,
) -> None:
    """See `SYNC_HELP`."""
    with asking(server, token_file, ca_file, patiently=False) as client:
        known = client.sync_location(name, cluster, queue=queue)
        if wait:
            known = _wait_for(client, known)
    from muster.cli.client import as_json  # noqa: PLC0415 - `--help` needs none of these
    from muster.cli.render import output as out  # noqa: PLC0415
    from muster.cli.render.inventory import sync_line  # noqa: PLC0415

    if output.is_data:
        out.data(as_json(known), output)
    else:
        found = None
        if known.state == "Succeeded":
            with asking(server, token_file, ca_file) as client:
                found = client.location_inventory(name)
        print(sync_line(known, found))
    raise typer.Exit(Exit.UNHEALTHY if known.state == "Failed" else Exit.HEALTHY)


def inventory(
    name: NameArgument,
    output: OutputOption = Output.TABLE,
    server: ServerOption = DEFAULT_SERVER,
    token_file: TokenFileOption = None,
    ca_file: CaFileOption = None,
) -> None:
    """See `INVENTORY_HELP`."""
    with asking(server, token_file, ca_file) as client:
        found = client.location_inventory(name)
    from muster.cli.client import as_json  # noqa: PLC0415 - `--help` needs none of these
    from muster.cli.render import output as out  # noqa: PLC0415
    from muster.cli.render.inventory import inventory_lines  # noqa: PLC0415

    if output.is_data:
        out.data(as_json(found), output)
    else:
        out.show(inventory_lines(found, wide=output is Output.WIDE), out.console())


def _wait_for(client: Client, known: schemas.Sync) -> schemas.Sync:
    """Until it has ended, with a bar on a terminal. One of the same location that began later is waited for, too."""
    from muster.cli.progress import progress_bar  # noqa: PLC0415 - `--help` needs it not
    from muster.escape import escaped  # noqa: PLC0415

    with progress_bar() as bar:
        task = bar.add_task(f"Listing {escaped(known.location)}", total=known.of)
        while known.ended_at is None:
            waits = f" (after {known.before} more)" if known.before else ""
            total = None if known.of is None else max(known.of, known.listed)
            bar.update(
                task, completed=known.listed, total=total, description=f"Listing {escaped(known.location)}{waits}"
            )
            time.sleep(POLL_S)
            known = client.sync_status(known.location).sync or known
    return known
