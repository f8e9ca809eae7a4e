"""`muster history [NAME]`."""

from __future__ import annotations

from typing import Annotated

import typer

from muster.cli.asking import asking
from muster.cli.completion import MaybeNameArgument
from muster.cli.exits import PLAIN_CODES_HELP
from muster.cli.options import DEFAULT_SERVER, CaFileOption, Output, OutputOption, ServerOption, TokenFileOption

HELP = f"""What has changed, newest first: of one cluster, or of all.

Only committed changes of health are history. Times are where you are; programs get UTC. Of a cluster that has left the
fleet, ask by its id.

\b
Examples:
  muster history                        the last 50 changes
  muster history prod-eu-west-1 -n 500
  muster history -o json | jq -r '.transitions[].cluster_name'

{PLAIN_CODES_HELP}
"""

PAGE = 1000
"""Transitions in one request: the service's bound."""


def history(
    name: MaybeNameArgument = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=100_000, help="How many changes at most.")] = 50,
    output: OutputOption = Output.TABLE,
    server: ServerOption = DEFAULT_SERVER,
    token_file: TokenFileOption = None,
    ca_file: CaFileOption = None,
) -> None:
    """See `HELP`."""
    with asking(server, token_file, ca_file) as client:
        page = client.transitions(name, min(limit, PAGE))
        changes = list(page.transitions)
        while page.next is not None and len(changes) < limit:
            page = client.transitions(name, min(limit - len(changes), PAGE), page.next)
            changes += page.transitions
    from muster.cli.client import as_json  # noqa: PLC0415 - `--help` needs none of these
    from muster.cli.render import output as out  # noqa: PLC0415
    from muster.cli.render.history import history_table  # noqa: PLC0415

    if output.is_data:
        out.data({"transitions": [as_json(change) for change in changes]}, output)
    elif not changes:
        print("Nothing has changed yet.")
    else:
        console = out.console()
        out.show(history_table(changes, console.width, wide=output is Output.WIDE), console)
