"""What every command that asks the service does with the answers that are none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from muster.cli.exits import Exit, fail

if TYPE_CHECKING:
    from muster.cli.client import Client, Refused


@contextmanager
def asking(server: str) -> Iterator[Client]:
    """A client for the block; whatever the service does not answer ends the command with a message and a code."""
    from muster.cli.client import BadServer, Client, NotReachable, Refused  # noqa: PLC0415 - `--help` needs no client

    try:
        yield Client(server)
    except BadServer as error:
        fail(Exit.USAGE, str(error), "Correct --server or MUSTER_SERVER.")
    except NotReachable as error:
        fail(Exit.NO_ANSWER, f"the service is not reachable: {error}", *NOT_REACHABLE)
    except Refused as refused:
        fail(_CODES.get(refused.kind, Exit.NO_ANSWER), refused.problem.detail, *_hints(refused))


NOT_REACHABLE = (
    "Is `muster run` running? Start it, or `muster demo` for a simulated fleet.",
    "Does it listen elsewhere? Say where with --server URL or MUSTER_SERVER.",
)

_CODES = {
    "cluster-not-found": Exit.USAGE,
    "ambiguous-cluster": Exit.USAGE,
    "bad-query": Exit.USAGE,
    "bad-request": Exit.USAGE,
}


def _hints(refused: Refused) -> Iterator[str]:
    members = refused.problem.model_extra or {}
    for cluster in members.get("clusters", ()):
        yield f"{cluster['id']}  {cluster['name']}  {cluster['source']}  {cluster['endpoint']}"
    if refused.kind == "not-leading":
        yield "Ask again in a moment, or ask the instance that leads (--server)."
    if refused.kind == "cluster-not-found":
        yield "`muster clusters` lists those there are."
