"""`muster locations validate`: ask clusters now how a backup location works from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from muster.cli.asking import asking
from muster.cli.completion import locations, names
from muster.cli.exits import Exit, fail
from muster.cli.options import DEFAULT_SERVER, CaFileOption, Output, OutputOption, ServerOption, TokenFileOption

if TYPE_CHECKING:
    from muster.cli.location_validating import Outcome

HELP = """Ask clusters now how a backup location works from them. Needs the role operator.

Each cluster asks with its own identity, and none waits for another: one that is offline ends as Failed by itself, with
the reason ValidationTimeout. Where somebody else's validation is under way, its answer is yours. The service goes on
when this command ends, also after Ctrl-C or with --no-wait.

\b
Examples:
  muster locations validate backups-eu
  muster locations validate backups-eu --cluster prod-eu-west-1 --cluster prod-eu-west-2
  muster locations validate backups-eu --no-wait
  muster locations validate backups-eu -o json | jq '.validations[] | select(.state == "Failed")'

\b
Exit codes:
  0  every one is Valid; with --no-wait: they have begun
  1  one is Failed, was unassigned meanwhile, or has not ended within --timeout
  2  the command line or a name makes no sense
  3  the service can't be reached, or has no picture of the fleet
  4  the service wants a token, or one with a higher role
"""


def validate(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name or id.", autocompletion=locations)],
    cluster: Annotated[
        list[str] | None,
        typer.Option("--cluster", metavar="CLUSTER", help="From this one; may be repeated.", autocompletion=names),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", "-a", help="From all that use it; so it is without --cluster, too.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Until they have ended.")] = True,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", min=1.0, max=86_400.0, help="To wait at most.")
    ] = 900.0,
    output: OutputOption = Output.TABLE,
    server: ServerOption = DEFAULT_SERVER,
    token_file: TokenFileOption = None,
    ca_file: CaFileOption = None,
) -> None:
    """See `HELP`."""
    if cluster and everything:
        fail(Exit.USAGE, "name either clusters, or --all", "For example: muster locations validate backups-eu --all")
    with asking(server, token_file, ca_file, patiently=False) as client:
        from muster.cli.location_validating import ask, wait_for  # noqa: PLC0415 - `--help` needs no client

        location, asked = ask(client, name, cluster or [])
        outcomes = wait_for(client, location, asked, timeout) if wait else asked
    _show(location, outcomes, output)
    ok = all(each.is_valid or (not wait and each.is_running) for each in outcomes)
    raise typer.Exit(Exit.HEALTHY if ok else Exit.UNHEALTHY)


def _show(location: str, outcomes: list[Outcome], output: Output) -> None:
    from muster.cli.client import as_json  # noqa: PLC0415 - `--help` needs none of these
    from muster.cli.render import output as out  # noqa: PLC0415
    from muster.cli.render.validations import validations_lines  # noqa: PLC0415

    if output.is_data:
        jobs = [{**as_json(each.job), "joined": each.joined, "gone": each.gone} for each in outcomes]
        out.data({"location": location, "validations": jobs}, output)
    else:
        console = out.console()
        out.show(validations_lines(location, outcomes, 10_000 if output is Output.WIDE else console.width), console)
