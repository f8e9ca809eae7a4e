"""`muster receiver audit`: who has decided what at the receiver."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from muster.cli.options import Output, OutputOption
from muster.cli.receiver_asking import DataDirOption, ask, plain

HELP = """Who has decided what, newest first.

Operators by these commands; and what installations got, were refused, or had deleted.

Nothing is ever taken out of it, also not by retention. Of refusals it takes 60 of an organisation and of all strangers
at once, then one a minute; `muster receiver show` counts the rest.

\b
Examples:
  muster receiver audit
  muster receiver audit acme -n 500 -o wide
  muster receiver audit -o json | jq '.lines[] | select(.action == "enrolment.refuse")'
"""

MAX_LINES = 10_000


def audit(
    organisation: Annotated[str | None, typer.Argument(metavar="[ORG]", help="Only about this one.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=MAX_LINES, help="How many at most.")] = 50,
    output: OutputOption = Output.TABLE,
    data_dir: DataDirOption = None,
) -> None:
    """See `HELP`."""
    from muster.cli.render import output as out  # noqa: PLC0415 - not for `--help`
    from muster.cli.render.receiver_audit import audit_table  # noqa: PLC0415
    from uplink.receiver.audit import lines  # noqa: PLC0415

    found = ask(lambda store: lines(store, organisation, limit), data_dir)
    if output.is_data:
        out.data({"lines": [plain(asdict(line)) for line in found]}, output)
    elif not found:
        print("Nobody has decided anything.")
    else:
        out.show(audit_table(found, wide=output is Output.WIDE), out.console())
