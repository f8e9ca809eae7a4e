"""`muster locations import`: take over the locations that Velero and Stork have already."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from muster.cli.asking import asking
from muster.cli.completion import names
from muster.cli.exits import Exit, fail
from muster.cli.options import DEFAULT_SERVER, CaFileOption, Output, OutputOption, ServerOption, TokenFileOption

if TYPE_CHECKING:
    from collections.abc import Mapping

    from muster.cli.client import Client
    from validator.resources.adoption import Listing, Offer
    from validator.resources.resource import LocationResource

HELP = """Take over the backup locations that Velero and Stork have in a cluster.

CONTEXT is one of your kubeconfig, with its credential. Only reads, and says what it would make; with --create it makes
that, which needs the service and the role operator. A place that several clusters use is one location. No key, password
or certificate in a resource is read.

\b
Examples:
  muster locations import --context prod-eu-1
  muster locations import --context prod-eu-1 --context prod-eu-2 -o json
  muster locations import --context prod-eu-1 --create --cluster prod-eu-1

\b
Exit codes:
  0  done; what can't be taken over is listed, with the reason
  2  the command line or a name makes no sense
  3  the cluster can't be read, or the service can't be reached
  4  the service wants a token, or one with a higher role
"""


def import_(
    context: Annotated[
        list[str] | None, typer.Option("--context", metavar="CONTEXT", help="Where to look; repeat for more.")
    ] = None,
    create: Annotated[bool, typer.Option("--create", help="Make them; without it they are only listed.")] = False,
    cluster: Annotated[
        str | None,
        typer.Option(
            "--cluster", metavar="CLUSTER", help="With --create: the cluster that uses them.", autocompletion=names
        ),
    ] = None,
    kubeconfig: Annotated[
        list[Path] | None, typer.Option("--kubeconfig", metavar="FILE", help="Take the contexts from here.")
    ] = None,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", min=0.1, max=60.0, help="For each cluster.")
    ] = 20.0,
    output: OutputOption = Output.TABLE,
    server: ServerOption = DEFAULT_SERVER,
    token_file: TokenFileOption = None,
    ca_file: CaFileOption = None,
) -> None:
    """See `HELP`."""
    if not context:
        fail(Exit.USAGE, "--context is missing", "For example: muster locations import --context prod-eu-1")
    if cluster is not None and not create:
        fail(Exit.USAGE, "--cluster goes with --create", "Without --create nothing is made or assigned.")
    if cluster is not None and len(context) > 1:
        fail(Exit.USAGE, "--cluster goes with one --context", "Import the clusters one after the other.")
    found = _found(kubeconfig or [], context, timeout)

    from validator.resources.adoption import listing  # noqa: PLC0415 - `--help` needs none of these

    done: dict[str, str] = {}
    if create:
        with asking(server, token_file, ca_file) as client:
            listed, done = _make(client, found, cluster)
    else:
        listed = listing(found)
    _show(listed, done, output)


def _found(files: list[Path], contexts: list[str], timeout_s: float) -> Mapping[str, tuple[LocationResource, ...]]:
    import asyncio  # noqa: PLC0415 - `--help` needs none of these
    import os  # noqa: PLC0415

    from muster.cli import adopting  # noqa: PLC0415

    try:
        return asyncio.run(adopting.found_in(files, contexts, os.environ, timeout_s))
    except adopting.BadTarget as error:
        fail(Exit.USAGE, error.message, error.remedy)
    except adopting.NotRead as error:
        fail(Exit.NO_ANSWER, error.message, error.remedy)


def _make(
    client: Client, found: Mapping[str, tuple[LocationResource, ...]], cluster: str | None
) -> tuple[Listing, dict[str, str]]:
    """Make what is not there yet, and assign the cluster to all. Run again after an error, it goes on."""
    from muster.cli.adopting import fields_of  # noqa: PLC0415 - `--help` needs none of these
    from validator.locations import Environment, Location, Provider  # noqa: PLC0415
    from validator.resources.adoption import listing  # noqa: PLC0415
    from validator.resources.places import found_at, place_of  # noqa: PLC0415

    def there(known: Any) -> Location:
        environment = Environment(known.environment) if known.environment else None
        return found_at(
            known.name,
            Provider(known.provider),
            known.container,
            account=known.account,
            environment=environment,
            endpoint=known.endpoint,
        )

    known = [each for page in client.location_pages() for each in page.locations]
    names_at = {place_of(there(each)): each.name for each in known}
    listed = listing(found, taken=[each.name for each in known])
    users = [] if cluster is None else [cluster]
    done = {}
    for offer in listed.offers:
        name = names_at.get(place_of(offer.location))
        if name is None:
            client.create_location({**fields_of(offer.location), "clusters": users})
            done[offer.location.name] = "made"
        else:
            if users:
                client.reassign_location(name, users, [])
            done[offer.location.name] = f"there already: {name}"
    return listed, done


def _show(listed: Listing, done: Mapping[str, str], output: Output) -> None:
    from rich.text import Text  # noqa: PLC0415 - `--help` needs none of these

    from muster.cli.adopting import command_of  # noqa: PLC0415
    from muster.cli.render import output as out  # noqa: PLC0415
    from muster.cli.render.table import DIM, Column, table  # noqa: PLC0415
    from muster.escape import escaped  # noqa: PLC0415

    if output.is_data:
        out.data(
            {
                "locations": [_document(offer, done.get(offer.location.name)) for offer in listed.offers],
                "refused": [
                    {"found_as": each.found_as, "problems": [str(problem) for problem in each.problems]}
                    for each in listed.refusals
                ],
            },
            output,
        )
        return
    lines: list[Text] = []
    if listed.offers:
        columns = [Column("LOCATION"), Column("WHERE"), Column("FOUND AS"), Column("DONE")]
        rows: list[list[Text | str]] = [
            [
                escaped(offer.location.name),
                escaped(offer.location.url),
                escaped(offer.found_as[0]) + (f" and {len(offer.found_as) - 1} more" if offer.found_as[1:] else ""),
                escaped(done.get(offer.location.name, "-")),
            ]
            for offer in listed.offers
        ]
        lines += table(columns, rows)
        if not done:
            lines += [Text(), *(Text(f"  {escaped(command_of(offer))}", DIM) for offer in listed.offers)]
    else:
        lines.append(Text("Neither Velero nor Stork has a location there that can be taken over."))
    for refusal in listed.refusals:
        why = "; ".join(map(str, refusal.problems))
        lines.append(Text(f"not {escaped(refusal.found_as)}: {escaped(why)}", "yellow"))
    out.show(lines, out.console())


def _document(offer: Offer, done: str | None) -> dict[str, Any]:
    from muster.cli.adopting import command_of, fields_of  # noqa: PLC0415 - `--help` needs none of these

    return {
        **fields_of(offer.location),
        "url": offer.location.url,
        "used_by": list(offer.used_by),
        "found_as": list(offer.found_as),
        "command": command_of(offer),
        "done": done,
    }
