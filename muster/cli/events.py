"""`muster events`: what changes, as it changes."""

from __future__ import annotations

import json
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

import typer

from muster.cli.asking import asking
from muster.cli.completion import HealthOption, MaybeNameArgument
from muster.cli.exits import PLAIN_CODES_HELP, Exit, fail
from muster.cli.options import DEFAULT_SERVER, CaFileOption, Output, OutputOption, ServerOption, TokenFileOption
from muster.escape import escaped

if TYPE_CHECKING:
    from muster.cli.sse import Event

HELP = f"""What changes, as it changes: each committed change of health, oldest first.

With --follow until Ctrl-C, through restarts of the service: nothing is told twice, and what is missed meanwhile comes
after. With --after alone: what has happened since that event. `muster history` has the past.

For programs there is one object a line (json) or one document each (yaml), also for the events hello, fleet, dropped
and bye; keep the last id for --after.

\b
Examples:
  muster events --follow
  muster events --follow --health unreachable,unhealthy
  muster events --follow -o json | jq -r 'select(.event == "transition") | .data.cluster_name'
  muster events prod-eu-west-1 --follow
  muster events --after 18734 -o json

{PLAIN_CODES_HELP} Ctrl-C ends it with 130.
"""


def events(
    name: MaybeNameArgument = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Until Ctrl-C.")] = False,
    after: Annotated[str, typer.Option("--after", metavar="ID", help="Begin after this event.")] = "",
    health: HealthOption = None,
    output: OutputOption = Output.TABLE,
    server: ServerOption = DEFAULT_SERVER,
    token_file: TokenFileOption = None,
    ca_file: CaFileOption = None,
) -> None:
    """See `HELP`."""
    if not follow and not after:
        fail(
            Exit.USAGE,
            "name --follow, or --after ID, or both",
            "For example: muster events --follow. `muster history` has the past.",
        )
    if after and not (after.isascii() and after.isdigit() and len(after) < 20):
        fail(Exit.USAGE, f"--after {after[:40]!r} is no id of an event", "Take one from `muster events -f -o json`.")
    query = [("health", each) for each in health or []] + [("cluster", name)] * bool(name)
    if not follow or output is Output.TABLE:
        query.append(("types", "transition"))
    with asking(server, token_file, ca_file, patiently=False) as client:
        from muster.cli.following import Follower  # noqa: PLC0415 - `--help` needs no client

        follower = Follower(client, after or None, query, _say, time.sleep)
        with closing(follower.follow() if follow else follower.missed()) as heard:
            for event in heard:
                _show(event, _data(event), output)


def _data(event: Event) -> dict[str, Any]:
    """Raises `NotReachable` for what is no JSON object."""
    from muster.cli.errors import NotReachable  # noqa: PLC0415 - `--help` needs it not

    try:
        data = json.loads(event.data)
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise NotReachable(f"the event {event.event[:40]!r} can't be read: it is of another release of Muster")
    return data


def _show(event: Event, data: dict[str, Any], output: Output) -> None:
    """At once, also into a pipe."""
    from muster.cli.render import output as out  # noqa: PLC0415 - needs rich

    document = {"event": event.event, "id": event.id or None, "data": data}
    match output:
        case Output.JSON:
            print(json.dumps(document))
        case Output.YAML:
            print("---")
            out.data(document, output)
        case _:
            from muster.cli.render.events import event_line  # noqa: PLC0415 - needs pydantic

            console = out.console()
            line = event_line(event.event, data, console.width, wide=output is Output.WIDE)
            if line is not None:
                out.show([line], console)
    sys.stdout.flush()


def _say(sentence: str) -> None:
    print(f"muster: {escaped(sentence)}", file=sys.stderr, flush=True)
