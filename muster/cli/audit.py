"""`muster audit`: who has changed what."""

from __future__ import annotations

from typing import Annotated

import typer

from muster.cli.asking import asking
from muster.cli.exits import PLAIN_CODES_HELP
from muster.cli.options import DEFAULT_SERVER, CaFileOption, Output, OutputOption, ServerOption, TokenFileOption

HELP = f"""Who has changed what, newest first; also what was refused. Needs the role admin.

\b
Examples:
  muster audit                         the last 50 writes
  muster audit -n 500 -o wide          with address, role, before and after
  muster audit --who grafana --action token.create
  muster audit -o json | jq -r '.entries[] | select(.outcome != "done") | .who'

{PLAIN_CODES_HELP}
"""

PAGE = 1000
"""Entries in one request: the service's bound."""


def audit(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=100_000, help="How many at most.")] = 50,
    who: Annotated[str, typer.Option("--who", metavar="NAME", help="Only by this token or session.")] = "",
    action: Annotated[str, typer.Option("--action", metavar="ACTION", help="Only this, e.g. cluster.pause.")] = "",
    subject: Annotated[str, typer.Option("--subject", metavar="ID", help="Only what was done to this.")] = "",
    output: OutputOption = Output.TABLE,
    server: ServerOption = DEFAULT_SERVER,
    token_file: TokenFileOption = None,
    ca_file: CaFileOption = None,
) -> None:
    """See `HELP`."""
    query = [(key, value) for key, value in (("who", who), ("action", action), ("subject", subject)) if value]
    with asking(server, token_file, ca_file) as client:
        page = client.audit(min(limit, PAGE), None, query)
        entries = list(page.entries)
        while page.next is not None and len(entries) < limit:
            page = client.audit(min(limit - len(entries), PAGE), page.next, query)
            entries += page.entries
    from muster.cli.client import as_json  # noqa: PLC0415 - `--help` needs none of these
    from muster.cli.render import output as out  # noqa: PLC0415
    from muster.cli.render.audit import audit_table  # noqa: PLC0415

    if output.is_data:
        out.data({"entries": [as_json(entry) for entry in entries]}, output)
    elif not entries:
        print("Nobody has changed anything." if not query else "Nothing matches.")
    else:
        out.show(audit_table(entries, wide=output is Output.WIDE), out.console())
