"""`muster clusters` and `muster cluster NAME`."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

import typer

from muster.cli.asking import asking
from muster.cli.exits import CODES_HELP, Exit
from muster.cli.options import DEFAULT_SERVER, Output, OutputOption, ServerOption

CLUSTERS_HELP = f"""List clusters, worst first. The exit code speaks of those that are listed.

\b
Examples:
  muster clusters                                  all of them
  muster clusters --health unreachable,unhealthy   the broken ones
  muster clusters --name eu-west --source static   by part of a name, by source
  muster clusters -o wide | grep team=storage      with endpoint, id and labels
  muster clusters -o json | jq '.clusters[].name'

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


def names(incomplete: str) -> list[str]:
    """For the shell's completion: names that begin so. Silent when there is no service."""
    from muster.cli.client import BadServer, Client, NotReachable, Refused  # noqa: PLC0415 - only when completing
    from muster.cli.options import server_from_environment  # noqa: PLC0415

    try:
        page = Client(server_from_environment()).page(1000, [("name", incomplete)] if incomplete else [])
    except (BadServer, NotReachable, Refused):
        return []
    return [cluster.name for cluster in page.clusters if cluster.name.startswith(incomplete)]


NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name or id.", autocompletion=names)]


def clusters(
    server: ServerOption = DEFAULT_SERVER,
    output: OutputOption = Output.TABLE,
    health: Annotated[
        list[str] | None, typer.Option("--health", metavar="HEALTH", help="Only these (commas, or repeat).")
    ] = None,
    source: Annotated[str, typer.Option("--source", metavar="SOURCE", help="Only from this source.")] = "",
    name: Annotated[str, typer.Option("--name", metavar="TEXT", help="Only with this in a name.")] = "",
) -> None:
    """See `CLUSTERS_HELP`."""
    query = [("health", each) for each in health or []]
    query += [(key, value) for key, value in (("source", source), ("name", name)) if value]
    with asking(server) as client:
        pages = list(client.pages(query))
    from muster.cli.client import as_json  # noqa: PLC0415 - `--help` needs none of these
    from muster.cli.render import output as out  # noqa: PLC0415
    from muster.cli.render.clusters import clusters_table, wide_table  # noqa: PLC0415
    from muster.cli.render.health import is_broken  # noqa: PLC0415

    now, listed = pages[0].now, [cluster for page in pages for cluster in page.clusters]
    if output in {Output.JSON, Output.YAML}:
        out.data({"now": as_json(pages[0])["now"], "clusters": [as_json(cluster) for cluster in listed]}, output)
    elif not listed:
        print("No cluster matches." if query else "No cluster is known. Name a source: see `muster run --help`.")
    else:
        console = out.console()
        table = wide_table(listed, now) if output is Output.WIDE else clusters_table(listed, now, console.width)
        out.show(table, console)
    raise typer.Exit(Exit.UNHEALTHY if is_broken(Counter(cluster.health for cluster in listed)) else Exit.HEALTHY)


def cluster(
    name: NameArgument,
    server: ServerOption = DEFAULT_SERVER,
    output: OutputOption = Output.TABLE,
) -> None:
    """See `CLUSTER_HELP`."""
    with asking(server) as client:
        found = client.cluster(name)
    from muster.cli.client import as_json  # noqa: PLC0415 - `--help` needs none of these
    from muster.cli.render import output as out  # noqa: PLC0415
    from muster.cli.render.cluster import cluster_lines  # noqa: PLC0415
    from muster.cli.render.health import BROKEN  # noqa: PLC0415

    if output in {Output.JSON, Output.YAML}:
        out.data(as_json(found), output)
    else:
        console = out.console()
        out.show(cluster_lines(found, console.width), console)
    raise typer.Exit(Exit.UNHEALTHY if found.health in BROKEN else Exit.HEALTHY)
