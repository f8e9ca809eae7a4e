"""What every command that asks the service does with the answers that are none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from muster.cli.exits import Exit, fail

if TYPE_CHECKING:
    from muster.cli.client import Client, Refused


@contextmanager
def asking(
    server: str, token_file: Path | None = None, ca_file: Path | None = None, *, patiently: bool = True
) -> Iterator[Client]:
    """A client for the block; whatever the service does not answer ends the command with a message and a code.

    `patiently`: a block that takes longer than a second says so on a terminal.
    """
    from muster.cli.client import BadServer, Client, NotReachable, Refused  # noqa: PLC0415 - `--help` needs no client
    from muster.cli.progress import waiting  # noqa: PLC0415 - the same

    client: Client | None = None
    try:
        client = Client(server, token_file, ca_file)
        with waiting(f"Asking {client.url}", shown=patiently):
            yield client
    except BadServer as error:
        fail(Exit.USAGE, str(error), error.remedy)
    except NotReachable as error:
        fail(Exit.NO_ANSWER, f"the service is not reachable: {error}", *(error.remedies or NOT_REACHABLE))
    except Refused as refused:
        fail(code_of(refused), refused.problem.detail, *_hints(refused, client))
    finally:
        if client is not None:
            client.transport.close()


NOT_REACHABLE = (
    "Is `muster run` running? Start it, or `muster demo` for a simulated fleet.",
    "Does it listen elsewhere? Say where with --server URL or MUSTER_SERVER.",
)


def code_of(refused: Refused) -> Exit:
    """How a command ends that was refused."""
    match refused.problem.status:
        case 401 | 403:
            return Exit.NOT_ALLOWED
        case 404 if refused.kind == "not-found":  # the path: an older service
            return Exit.NO_ANSWER
        case status if 400 <= status < 500 and status not in {408, 421, 429}:
            return Exit.USAGE
        case _:
            return Exit.NO_ANSWER


def _hints(refused: Refused, client: Client | None) -> Iterator[str]:
    members = refused.problem.model_extra or {}
    for cluster in members.get("clusters", ()):
        yield f"{cluster['id']}  {cluster['name']}  {cluster['source']}  {cluster['endpoint']}"
    match refused.kind:
        case "not-leading":
            yield "Ask again in a moment, or ask the instance that leads (--server)."
        case "cluster-not-found":
            yield "`muster clusters` lists those there are."
        case "location-not-found":
            yield "`muster locations list` lists those there are."
        case "location-exists":
            yield "`muster locations show NAME` shows it."
        case "bucket-shared":
            yield "On the command line that is --allow-shared."
        case "location-held":
            yield from _holders(members)
        case "telemetry-terms-changed":
            yield "`muster telemetry terms` shows them."
        case "sync-busy":
            yield "With --queue it waits for its turn."
        case "no-inventory":
            yield "`muster locations sync NAME --wait` lists it."
        case "already-paused":
            yield "The same with --change gives that pause this reason and end; `muster resume` ends it."
        case "not-found":
            yield "The service is of an older release than this command: see `muster status` and `muster version`."
        case "unauthenticated":
            yield from _how_to_be_known(client)
        case "forbidden":
            yield "An admin makes a token that may: `muster token create NAME --role ROLE --save FILE`."
            yield "Then use it: --token-file FILE or MUSTER_TOKEN_FILE."


def _holders(members: Mapping[str, Any]) -> Iterator[str]:
    """What keeps a location, as it was counted."""
    holders = members.get("holders", ())
    for holder in holders:
        yield f"{holder['kind']}  {holder['name']}  {holder['id']}".rstrip()
    if (more := members.get("total", 0) - len(holders)) > 0:
        yield f"and {more} more"
    if any(holder["kind"] == "cluster" for holder in holders):
        yield "`muster locations unassign NAME --all` takes it from all clusters."
    if holders and all(holder["kind"] == "unread cluster" for holder in holders):
        yield "If you know that nothing there refers to it: `muster locations delete NAME --force`."


def _how_to_be_known(client: Client | None) -> Iterator[str]:
    bearer = client.transport.bearer if client is not None else None
    if bearer is not None and bearer.local:
        yield f"The token in {bearer.path} is of a service that has ended. If it runs, restart it."
    elif bearer is not None:
        yield f"The token in {bearer.path} has expired, was revoked, or is of another service."
        yield "An admin sees it in `muster token list`, and makes another: `muster token create NAME --role viewer`."
    else:
        if client is not None and client.transport.is_local:
            yield "As the user who runs the service (or root, if that is root) you need no token."
        yield "Else name a file with one: --token-file FILE or MUSTER_TOKEN_FILE."
        yield "An admin makes one: `muster token create NAME --role viewer --save FILE`."
