"""`muster locations list|show|create|assign|unassign|validate|delete`: where backups go, and from which clusters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from muster.cli import location_create, location_sync, location_validate, locations_import
from muster.cli.asking import asking
from muster.cli.completion import locations, names, statuses
from muster.cli.exits import PLAIN_CODES_HELP, Exit, fail
from muster.cli.options import DEFAULT_SERVER, CaFileOption, Output, OutputOption, ServerOption, TokenFileOption

if TYPE_CHECKING:
    from muster.api import schemas

HELP = """Backup locations: list, make, assign to clusters, validate, delete.

A location is a container or bucket. Clusters that it is assigned to ask about it with their own identity: no credential
of a cloud is ever given to Muster.

\b
Examples:
  muster locations list
  muster locations show backups-eu
  muster locations create backups-s3 --provider s3 --bucket acme-backups --cluster prod-eu-west-1
  muster locations assign backups-eu prod-eu-west-2 prod-eu-west-3
"""

LIST_HELP = f"""List backup locations by name: their status, where they are, how many clusters use them.

\b
Examples:
  muster locations list
  muster locations list --status ValidationFailed,LimitedAvailability
  muster locations list --cluster prod-eu-west-1 --provider s3
  muster locations list -o json | jq -r '.locations[] | select(.assigned == 0) | .name'

{PLAIN_CODES_HELP}
"""

SHOW_HELP = f"""All about one backup location: where it is, its clusters, and how it works from each.

NAME is its name or id.

\b
Examples:
  muster locations show backups-eu
  muster locations show backups-eu -o json

{PLAIN_CODES_HELP}
"""

ASSIGN_HELP = f"""Let clusters use a backup location. Needs the role operator. Those that use it already stay.

\b
Examples:
  muster locations assign backups-eu prod-eu-west-1 prod-eu-west-2
  muster locations assign backups-eu --all

{PLAIN_CODES_HELP}
"""

UNASSIGN_HELP = f"""Take a backup location from clusters. Needs the role operator. Backup data stays where it is.

\b
Examples:
  muster locations unassign backups-eu prod-eu-west-1
  muster locations unassign backups-eu --all

{PLAIN_CODES_HELP}
"""

DELETE_HELP = f"""Delete what Muster knows of a backup location. Needs the role operator. Backup data is never touched.

Refused, with the names, while clusters are assigned, while backups, schedules or restores refer to it, and while a sync
is under way. Clusters that used it are asked now; one that can't be read keeps it, too, unless you say --force.

\b
Examples:
  muster locations delete backups-eu
  muster locations delete backups-eu --force
  muster locations unassign backups-eu --all && muster locations delete backups-eu

{PLAIN_CODES_HELP}
"""

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

LocationArgument = Annotated[str, typer.Argument(metavar="NAME", help="Its name or id.", autocompletion=locations)]

ClustersArgument = Annotated[
    list[str] | None, typer.Argument(metavar="CLUSTER", help="Names or ids.", autocompletion=names)
]


@app.command("list", help=LIST_HELP, short_help="List them, with their status.")
def list_(
    status: Annotated[
        list[str] | None,
        typer.Option("--status", metavar="STATUS", help="Only these (commas, or repeat).", autocompletion=statuses),
    ] = None,
    provider: Annotated[
        list[location_create.Provider] | None, typer.Option("--provider", help="Only of this provider.")
    ] = None,
    owner: Annotated[str, typer.Option("--owner", metavar="OWNER", help="Only of this owner.")] = "",
    cluster: Annotated[
        str, typer.Option("--cluster", metavar="CLUSTER", help="Only those it uses.", autocompletion=names)
    ] = "",
    name: Annotated[str, typer.Option("--name", metavar="TEXT", help="Only with this in the name.")] = "",
    output: OutputOption = Output.TABLE,
    server: ServerOption = DEFAULT_SERVER,
    token_file: TokenFileOption = None,
    ca_file: CaFileOption = None,
) -> None:
    """See `LIST_HELP`."""
    query: list[tuple[str, object]] = [("status", each) for each in status or []]
    query += [("provider", each.value) for each in provider or []]
    query += [(key, value) for key, value in (("owner", owner), ("cluster", cluster), ("name", name)) if value]
    with asking(server, token_file, ca_file) as client:
        listed = [each for page in client.location_pages(query) for each in page.locations]
    from muster.cli.client import as_json  # noqa: PLC0415 - `--help` needs none of these
    from muster.cli.render import output as out  # noqa: PLC0415
    from muster.cli.render.locations import locations_table  # noqa: PLC0415

    if output.is_data:
        out.data({"locations": [as_json(each) for each in listed]}, output)
    elif not listed:
        print("No location matches." if query else "There is none. `muster locations create --help` makes one.")
    else:
        out.show(locations_table(listed, wide=output is Output.WIDE), out.console())


@app.command("show", help=SHOW_HELP, short_help="All about one of them.")
def show(
    name: LocationArgument,
    output: OutputOption = Output.TABLE,
    server: ServerOption = DEFAULT_SERVER,
    token_file: TokenFileOption = None,
    ca_file: CaFileOption = None,
) -> None:
    """See `SHOW_HELP`."""
    with asking(server, token_file, ca_file) as client:
        found = client.location(name)
    from muster.cli.render.locations import show_location  # noqa: PLC0415 - `--help` needs it not

    show_location(found, output)


app.command("create", help=location_create.HELP, short_help="Make one.")(location_create.create)


@app.command("assign", help=ASSIGN_HELP, short_help="Let clusters use one.")
def assign(
    name: LocationArgument,
    cluster: ClustersArgument = None,
    everything: Annotated[bool, typer.Option("--all", "-a", help="The whole fleet.")] = False,
    output: OutputOption = Output.TABLE,
    server: ServerOption = DEFAULT_SERVER,
    token_file: TokenFileOption = None,
    ca_file: CaFileOption = None,
) -> None:
    """See `ASSIGN_HELP`."""
    _either(cluster, everything)
    with asking(server, token_file, ca_file) as client:
        wanted = cluster or [each.id for page in client.pages() for each in page.clusters]
        changed = client.reassign_location(name, wanted, [])
    _report(changed, output)


@app.command("unassign", help=UNASSIGN_HELP, short_help="Take one from clusters.")
def unassign(
    name: LocationArgument,
    cluster: ClustersArgument = None,
    everything: Annotated[bool, typer.Option("--all", "-a", help="All that use it.")] = False,
    output: OutputOption = Output.TABLE,
    server: ServerOption = DEFAULT_SERVER,
    token_file: TokenFileOption = None,
    ca_file: CaFileOption = None,
) -> None:
    """See `UNASSIGN_HELP`."""
    _either(cluster, everything)
    with asking(server, token_file, ca_file) as client:
        wanted = cluster or [each.id for each in client.location(name).clusters]
        changed = client.reassign_location(name, [], wanted)
    _report(changed, output)


app.command("validate", help=location_validate.HELP, short_help="Ask now how one works.")(location_validate.validate)


@app.command("delete", help=DELETE_HELP, short_help="Delete one; backup data stays.")
def delete(
    name: LocationArgument,
    force: Annotated[
        bool, typer.Option("--force", help="Also where a cluster that used it can't be asked what refers to it.")
    ] = False,
    output: OutputOption = Output.TABLE,
    server: ServerOption = DEFAULT_SERVER,
    token_file: TokenFileOption = None,
    ca_file: CaFileOption = None,
) -> None:
    """See `DELETE_HELP`."""
    with asking(server, token_file, ca_file) as client:
        deleted = client.delete_location(name, force=force)
    _report(deleted, output)


app.command("sync", help=location_sync.SYNC_HELP, short_help="List its backups now.")(location_sync.sync)
app.command("inventory", help=location_sync.INVENTORY_HELP, short_help="Which backups it has.")(location_sync.inventory)


app.command("import", help=locations_import.HELP, short_help="Take over those of Velero and Stork.")(
    locations_import.import_
)


def _either(clusters: list[str] | None, everything: bool) -> None:
    if bool(clusters) == everything:
        fail(Exit.USAGE, "name either clusters, or --all", "For example: muster locations assign backups-eu --all")


def _report(location: schemas.LocationDetail, output: Output) -> None:
    """After a change: a sentence, or the document."""
    from muster.cli.render.locations import show_location  # noqa: PLC0415 - `--help` needs none of these
    from muster.escape import escaped  # noqa: PLC0415

    if output.is_data:
        show_location(location, output)
    elif location.deleting_at is not None:
        print(escaped(f"{location.name} is being deleted: {location.message} ({location.url})."))
    else:
        used = f"{location.assigned:,} cluster{'' if location.assigned == 1 else 's'}"
        print(escaped(f"{location.name} is used by {used} now."))
