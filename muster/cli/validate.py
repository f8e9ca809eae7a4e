"""`muster validate`: ask clusters now instead of when they are due."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from muster.cli.asking import asking, code_of
from muster.cli.completion import HealthOption, names
from muster.cli.exits import CODES_HELP, Exit, fail
from muster.cli.options import DEFAULT_SERVER, CaFileOption, Output, OutputOption, ServerOption, TokenFileOption

if TYPE_CHECKING:
    from muster.cli.client import Client
    from muster.cli.validating import Validated

HELP = f"""Ask clusters now, and show what they answer. Needs the role operator.

The answer is what the cluster says at this moment; its health follows after as many answers as it needs. If somebody
else's question is under way, its answer is yours. Several clusters are asked eight at a time.

\b
Examples:
  muster validate prod-eu-west-1                 after a repair
  muster validate prod-eu-west-1 prod-eu-west-2
  muster validate --health unhealthy,unreachable -o json
  muster validate --all --timeout 10

{CODES_HELP}
"""


def validate(
    name: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="Names or ids.", autocompletion=names)
    ] = None,
    everything: Annotated[bool, typer.Option("--all", "-a", help="The whole fleet.")] = False,
    health: HealthOption = None,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", min=0.1, max=120.0, help="To wait for each answer.")
    ] = 30.0,
    output: OutputOption = Output.TABLE,
    server: ServerOption = DEFAULT_SERVER,
    token_file: TokenFileOption = None,
    ca_file: CaFileOption = None,
) -> None:
    """See `HELP`."""
    if sum(map(bool, (name, everything, health))) != 1:
        fail(
            Exit.USAGE,
            "name either clusters, or --all, or --health",
            "For example: muster validate prod-eu-west-1, or muster validate --health unreachable",
        )
    with asking(server, token_file, ca_file, patiently=False) as client:
        from muster.cli.validating import validate_all  # noqa: PLC0415 - `--help` needs no client

        wanted = _listed(client, health or []) if not name else {each: each for each in name}
        asked = validate_all(client, wanted, timeout)
    _show(asked, output)
    raise typer.Exit(_code(asked))


def _listed(client: Client, health: list[str]) -> dict[str, str]:
    """Ids and names of the clusters that are meant: names need not be unique."""
    pages = client.pages([("health", each) for each in health])
    return {cluster.id: cluster.name for page in pages for cluster in page.clusters}


def _show(asked: list[Validated], output: Output) -> None:
    from muster.cli.client import as_json  # noqa: PLC0415 - `--help` needs none of these
    from muster.cli.render import output as out  # noqa: PLC0415
    from muster.cli.render.validated import validated_lines, validated_table  # noqa: PLC0415

    if output.is_data:
        out.data({"validated": [as_json(each) for each in asked]}, output)
        return
    console = out.console()
    if len(asked) == 1:
        out.show(validated_lines(asked[0], console.width), console)
    elif asked:
        out.show(validated_table(asked, 10_000 if output is Output.WIDE else console.width), console)
    else:
        print("No cluster matches.")


def _code(asked: list[Validated]) -> Exit:
    """What was refused comes first: of those clusters nothing was learnt."""
    refused = [code_of(each.refused) for each in asked if each.refused is not None]
    if refused:
        return max(refused)
    return Exit.UNHEALTHY if any(each.is_broken for each in asked) else Exit.HEALTHY
