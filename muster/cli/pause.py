"""`muster pause` and `muster resume`: take a cluster out of judgement, and put it back."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from muster.cli.asking import asking
from muster.cli.completion import NameArgument
from muster.cli.exits import PLAIN_CODES_HELP, Exit, fail
from muster.cli.options import DEFAULT_SERVER, CaFileOption, Output, OutputOption, ServerOption, TokenFileOption

if TYPE_CHECKING:
    from muster.api import schemas

PAUSE_HELP = f"""Take a cluster out of judgement: it is Suspended and never alerts. Needs the role operator.

It is asked all the same, so that the end of the pause shows the truth. Others see your reason. Without --for and
--until it lasts until somebody resumes it.

\b
Examples:
  muster pause prod-eu-west-1 --reason "new switches, CHG-4711" --for 2h
  muster pause prod-eu-west-1 --reason "being moved" --until 2026-12-01T18:00
  muster pause prod-eu-west-1 --reason "until the storage is back"
  muster pause prod-eu-west-1 --reason "takes longer" --for 4h --change

{PLAIN_CODES_HELP}
"""

RESUME_HELP = f"""Judge a paused cluster again, at once. Needs the role operator.

\b
Examples:
  muster resume prod-eu-west-1
  muster resume prod-eu-west-1 && muster validate prod-eu-west-1

{PLAIN_CODES_HELP}
"""


def pause(
    name: NameArgument,
    reason: Annotated[str, typer.Option("--reason", "-r", metavar="TEXT", help="Why; others read it.")],
    span: Annotated[str, typer.Option("--for", metavar="SPAN", help="How long: 30m, 2h, 7d.")] = "",
    until: Annotated[str, typer.Option("--until", metavar="TIME", help="Until when: 18:00, 2026-12-01T18:00.")] = "",
    change: Annotated[bool, typer.Option("--change", help="Change the reason and the end of a pause.")] = False,
    output: OutputOption = Output.TABLE,
    server: ServerOption = DEFAULT_SERVER,
    token_file: TokenFileOption = None,
    ca_file: CaFileOption = None,
) -> None:
    """See `PAUSE_HELP`."""
    end = _end(span, until)
    if not 1 <= len(reason.strip()) <= 500:
        fail(Exit.USAGE, "--reason has to have 1 to 500 characters", 'For example: --reason "new switches, CHG-4711"')
    with asking(server, token_file, ca_file) as client:
        paused = client.pause(name, reason.strip(), end, change=change)
    _show(paused, output, _paused(paused))


def resume(
    name: NameArgument,
    output: OutputOption = Output.TABLE,
    server: ServerOption = DEFAULT_SERVER,
    token_file: TokenFileOption = None,
    ca_file: CaFileOption = None,
) -> None:
    """See `RESUME_HELP`."""
    with asking(server, token_file, ca_file) as client:
        judged = client.resume(name)
    _show(judged, output, f"{judged.name} is judged again: it is {judged.health}.")


def _end(span: str, until: str) -> datetime | None:
    from muster.cli.times import moment, seconds  # noqa: PLC0415 - `--help` needs none of these

    if span and until:
        fail(Exit.USAGE, "--for and --until can't both be meant", "For example: --for 2h")
    option = "--for" if span else "--until"
    try:
        if span:
            seconds(span)
        return moment(span or until, datetime.now().astimezone(), ahead=True) if span or until else None
    except ValueError as error:
        fail(Exit.USAGE, f"{option}: {error}", "Leave both out to pause it until somebody resumes it.")


def _paused(cluster: schemas.ClusterDetail) -> str:
    from muster.cli.render.text import local  # noqa: PLC0415 - needs rich

    end = cluster.pause.until if cluster.pause is not None else None
    return f"{cluster.name} is paused{f' until {local(end)}' if end else ''}. `muster resume {cluster.name}` ends it."


def _show(cluster: schemas.ClusterDetail, output: Output, sentence: str) -> None:
    from muster.cli.client import as_json  # noqa: PLC0415 - `--help` needs none of these
    from muster.cli.render import output as out  # noqa: PLC0415
    from muster.escape import escaped  # noqa: PLC0415

    if output.is_data:
        out.data(as_json(cluster), output)
    else:
        print(escaped(sentence))
