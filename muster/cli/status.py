"""`muster status`: the fleet on one screen, once or for as long as one watches."""

from __future__ import annotations

from typing import Annotated

import typer

from muster.cli.asking import asking
from muster.cli.exits import CODES_HELP
from muster.cli.options import DEFAULT_SERVER, CaFileOption, Output, OutputOption, ServerOption, TokenFileOption
from muster.cli.picture import Picture

HELP = f"""The fleet on one screen: what needs attention first, since when, and how old that is.

Healthy clusters are counted, not listed. Degraded clusters work, and Suspended ones are off on purpose: neither is
broken.

\b
Examples:
  muster status                          one look
  muster status --watch                  again every 2 s, until Ctrl-C
  muster status --all                    the healthy ones too
  muster status -o json | jq .counts     for programs
  muster status >/dev/null || page-me    by exit code

{CODES_HELP}
"""


def status(
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show it again every 2 s.")] = False,
    everything: Annotated[bool, typer.Option("--all", "-a", help="List healthy clusters too.")] = False,
    output: OutputOption = Output.TABLE,
    server: ServerOption = DEFAULT_SERVER,
    token_file: TokenFileOption = None,
    ca_file: CaFileOption = None,
) -> None:
    """See `HELP`."""
    everything = everything or output is Output.WIDE
    if watch:
        from muster.cli.watch import watch_status  # noqa: PLC0415 - only where it is asked for

        watch_status(server, output, everything=everything, token_file=token_file, ca_file=ca_file)
        return
    with asking(server, token_file, ca_file) as client:
        picture = Picture(client, everything=everything)
    picture.show(output)
    raise typer.Exit(picture.code)
