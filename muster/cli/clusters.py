"""`muster clusters` and `muster cluster NAME`."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

import typer

from muster.cli import cluster_agents
from muster.cli.asking import asking
from muster.cli.completion import HealthOption, NameArgument, reasons, sorts
from muster.cli.exits import CODES_HELP, Exit
from muster.cli.options import DEFAULT_SERVER, CaFileOption, Output, OutputOption, ServerOption, TokenFileOption

CLUSTERS_HELP = f"""List clusters, worst first. The exit code speaks of those that are listed.

\b
Examples:
  muster clusters                                  all of them
  muster clusters --health unreachable,unhealthy   the broken ones
  muster clusters --name eu-west --source static   by part of a name, by source
  muster clusters -l 'team=storage,env in (prod)'  by labels
  muster clusters --reason ConnectTimeout --sort=-since
  muster clusters -o wide | grep team=storage      with endpoint, id and labels
  muster clusters -o json | jq '.clusters[].name'
  muster clusters add --help                       clusters whose agents report

{CODES_HELP}
"""

CLUSTER_HELP = f"""All about one cluster: what is wrong, what to do, and each check with its stages and evidence.

NAME is the cluster's name, another name of it, its id, or the first six or more characters of its id.

\b
Examples:
  muster cluster prod-eu-west-1
  muster cluster 4f9c21a7
  muster cluster prod-eu-west-1 -o json | jq .remedy

{CODES_HELP}
"""


app = typer.Typer(invoke_without_command=True, rich_markup_mode=None)

app.command("add", help=cluster_agents.ADD_HELP, short_help="Take the reports of an agent.")(cluster_agents.add)
app.command("remove", help=cluster_agents.REMOVE_HELP, short_help="Take them no more.")(cluster_agents.remove)
app.command("agents", help=cluster_agents.AGENTS_HELP, short_help="List agents.")(cluster_agents.agents)


@app.callback(help=CLUSTERS_HELP)
def clusters(
    context: typer.Context,
    health: HealthOption = None,
    reason: Annotated[
        list[str] | None,
        typer.Option("--reason", metavar="REASON", help="Only for this reason (likewise).", autocompletion=reasons),
    ] = None,
    label: Annotated[
        str, typer.Option("--label", "-l", metavar="SELECTOR", help="Only with these labels, as `kubectl -l` has it.")
    ] = "",
    source: Annotated[str, typer.Option("--source", metavar="SOURCE", help="Only from this source.")] = "",
    name: Annotated[str, typer.Option("--name", metavar="TEXT", help="Only with this in a name.")] = "",
    sort: Annotated[
        str,
        typer.Option(
            "--sort",
            metavar="ORDER",
            help="attention, name, since, age or last-success; the other way round with - before it.",
            autocompletion=sorts,
        ),
    ] = "",
    output: OutputOption = Output.TABLE,
    server: ServerOption = DEFAULT_SERVER,
    token_file: TokenFileOption = None,
    ca_file: CaFileOption = None,
) -> None:
    """See `CLUSTERS_HELP`."""
    if context.invoked_subcommand is not None:
        return
    chosen = [*_each("health", health), *_each("reason", reason)]
    chosen += [(key, value) for key, value in (("label", label), ("source", source), ("name", name)) if value]
    query = [*chosen, *([("sort", sort)] if sort else [])]
    with asking(server, token_file, ca_file) as client:
        pages = list(client.pages(query))
    from muster.cli.client import as_json  # noqa: PLC0415 - `--help` needs none of these
    from muster.cli.render import output as out  # noqa: PLC0415
    from muster.cli.render.clusters import clusters_table, wide_table  # noqa: PLC0415
    from muster.cli.render.health import is_broken  # noqa: PLC0415

    now, listed = pages[0].now, [cluster for page in pages for cluster in page.clusters]
    if output.is_data:
        out.data({"now": as_json(pages[0])["now"], "clusters": [as_json(cluster) for cluster in listed]}, output)
    elif not listed:
        print("No cluster matches." if chosen else "No cluster is known. Name a source: see `muster run --help`.")
    else:
        console = out.console()
        table = wide_table(listed, now) if output is Output.WIDE else clusters_table(listed, now, console.width)
        out.show(table, console)
    raise typer.Exit(Exit.UNHEALTHY if is_broken(Counter(cluster.health for cluster in listed)) else Exit.HEALTHY)


def cluster(
    name: NameArgument,
    output: OutputOption = Output.TABLE,
    server: ServerOption = DEFAULT_SERVER,
    token_file: TokenFileOption = None,
    ca_file: CaFileOption = None,
) -> None:
    """See `CLUSTER_HELP`."""
    with asking(server, token_file, ca_file) as client:
        found = client.cluster(name)
    from muster.cli.client import as_json  # noqa: PLC0415 - `--help` needs none of these
    from muster.cli.render import output as out  # noqa: PLC0415
    from muster.cli.render.cluster import cluster_lines  # noqa: PLC0415
    from muster.cli.render.health import BROKEN  # noqa: PLC0415

    if output.is_data:
        out.data(as_json(found), output)
    else:
        console = out.console()
        out.show(cluster_lines(found, console.width), console)
    raise typer.Exit(Exit.UNHEALTHY if found.health in BROKEN else Exit.HEALTHY)


def _each(parameter: str, values: list[str] | None) -> list[tuple[str, str]]:
    return [(parameter, value) for value in values or []]
