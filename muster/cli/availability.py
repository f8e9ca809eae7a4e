"""`muster availability [NAME]`: how much of the time a cluster, or the fleet, could be reached."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from muster.cli.asking import asking
from muster.cli.completion import MaybeNameArgument
from muster.cli.exits import PLAIN_CODES_HELP, Exit, fail
from muster.cli.options import DEFAULT_SERVER, CaFileOption, Output, OutputOption, ServerOption, TokenFileOption

HELP = f"""How much of the time a cluster, or the fleet, could be reached. The last day, if nothing else is said.

What was not known and what was paused counts neither for nor against. Each block of the bar is one step of the time;
-o wide lists them.

\b
Examples:
  muster availability                                 the fleet
  muster availability prod-eu-west-1 --from 7d
  muster availability prod-eu-west-1 --from 2026-11-01 --to 2026-12-01 --step 1d -o wide
  muster availability --from 30d -o json | jq .availability

{PLAIN_CODES_HELP}
"""


def availability(
    name: MaybeNameArgument = None,
    begin: Annotated[str, typer.Option("--from", metavar="TIME", help="7d (ago), 18:00, 2026-11-01.")] = "",
    end: Annotated[str, typer.Option("--to", metavar="TIME", help="Likewise; now, without.")] = "",
    step: Annotated[str, typer.Option("--step", metavar="SPAN", help="One block: 5m, 1h, 1d.")] = "",
    output: OutputOption = Output.TABLE,
    server: ServerOption = DEFAULT_SERVER,
    token_file: TokenFileOption = None,
    ca_file: CaFileOption = None,
) -> None:
    """See `HELP`."""
    query = _query(begin, end, step, datetime.now().astimezone())
    with asking(server, token_file, ca_file) as client:
        found = client.availability(name, query)
    from muster.cli.client import as_json  # noqa: PLC0415 - `--help` needs none of these
    from muster.cli.render import output as out  # noqa: PLC0415
    from muster.cli.render.availability import availability_lines, buckets_table  # noqa: PLC0415

    if output.is_data:
        out.data(as_json(found), output)
        return
    console = out.console()
    colour = console.color_system is not None and not console.no_color
    out.show(availability_lines(found, name or "The fleet", console.width, colour=colour), console)
    if output is Output.WIDE:
        print()
        out.show(buckets_table(found), console)


def _query(begin: str, end: str, step: str, now: datetime) -> list[tuple[str, str]]:
    from muster.cli.times import moment, seconds  # noqa: PLC0415 - `--help` needs none of these

    query: list[tuple[str, str]] = []
    window: list[datetime] = []
    option = "--from"
    try:
        for option, text in (("--from", begin), ("--to", end)):
            if text:
                window.append(moment(text, now, ahead=False).astimezone(UTC))
                query.append((option.removeprefix("--"), f"{window[-1]:%Y-%m-%dT%H:%M:%SZ}"))
        option = "--step"
        query += [("step", str(seconds(step)))] if step else []
    except ValueError as error:
        fail(Exit.USAGE, f"{option}: {error}", "`muster availability --help` has examples.")
    if len(window) == 2 and window[0] >= window[1]:
        fail(Exit.USAGE, f"--from: {begin!r} is not before --to {end!r}", "The window has to have a length.")
    return query
