"""`muster log-level`: how much the service logs."""

from __future__ import annotations

from typing import Annotated

import typer

from muster.cli.asking import asking
from muster.cli.completion import LEVELS, levels
from muster.cli.exits import PLAIN_CODES_HELP, Exit, fail
from muster.cli.options import DEFAULT_SERVER, CaFileOption, Output, OutputOption, ServerOption, TokenFileOption

HELP = f"""Show or set how much the service logs: debug, info, warning or error. Needs the role admin.

It holds until the service ends or reads its settings again; `muster config show` has what it begins with.

\b
Examples:
  muster log-level
  muster log-level debug

{PLAIN_CODES_HELP}
"""


def log_level(
    level: Annotated[str, typer.Argument(metavar="LEVEL", help="Shown without.", autocompletion=levels)] = "",
    output: OutputOption = Output.TABLE,
    server: ServerOption = DEFAULT_SERVER,
    token_file: TokenFileOption = None,
    ca_file: CaFileOption = None,
) -> None:
    """See `HELP`."""
    if level and level.lower() not in LEVELS:
        fail(Exit.USAGE, f"{level!r} is no log level", f"There are {', '.join(LEVELS)}.")
    with asking(server, token_file, ca_file) as client:
        now = client.set_log_level(level.lower()) if level else client.log_level()
    from muster.cli.render import output as out  # noqa: PLC0415 - needs rich

    if output.is_data:
        out.data({"level": now.level}, output)
    else:
        print(now.level)
