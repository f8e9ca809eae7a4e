"""`muster clusters add|remove|agents`: clusters whose agents report, those too that the hub can't reach."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from muster.cli.asking import asking
from muster.cli.completion import names
from muster.cli.exits import PLAIN_CODES_HELP, Exit, fail
from muster.cli.options import DEFAULT_SERVER, CaFileOption, Output, OutputOption, ServerOption, TokenFileOption
from muster.escape import escaped

ADD_HELP = f"""Take the reports of an agent in a cluster. Needs the role admin. Prints the helm command for it.

--cluster is for a cluster that the hub knows: it reads the keys that sign the agent's tokens itself. --agent is for one
that the hub can't reach: a new cluster of that name, with its keys from a file. They are public, and no secret.

\b
Examples:
  muster clusters add --cluster prod-eu-west-1
  kubectl get --raw /openid/v1/jwks > edge.jwks
  muster clusters add --agent edge-berlin --jwks edge.jwks --issuer https://kubernetes.default.svc
  muster clusters add --cluster prod-eu-west-1 -o json | jq -r .install.command

{PLAIN_CODES_HELP}
"""

REMOVE_HELP = f"""Take the reports of a cluster's agent no more. Needs the role admin.

A cluster that the hub can't reach leaves the fleet with it; its history stays. Uninstall the agent there, too.

\b
Examples:
  muster clusters remove edge-berlin

{PLAIN_CODES_HELP}
"""

AGENTS_HELP = f"""List agents by cluster: release, last report, clock, and what could not be delivered.

\b
Examples:
  muster clusters agents
  muster clusters agents -o wide
  muster clusters agents -o json | jq -r '.agents[] | select(.last_report_at == null) | .cluster'

{PLAIN_CODES_HELP}
"""

MAX_JWKS_BYTES = 48 * 1024
"""A key set has 1 KB; a request has 64."""


def add(
    agent: Annotated[
        str | None, typer.Option("--agent", metavar="NAME", help="A new cluster that the hub can't reach.")
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option("--cluster", metavar="NAME", help="A cluster that the hub knows.", autocompletion=names),
    ] = None,
    jwks: Annotated[
        Path | None, typer.Option("--jwks", metavar="FILE", help="The cluster's public keys; - for stdin.")
    ] = None,
    issuer: Annotated[
        str | None, typer.Option("--issuer", metavar="URL", help="Of its tokens, to be compared, too.")
    ] = None,
    namespace: Annotated[str, typer.Option("--namespace", metavar="NAME", help="Where it runs.")] = "muster-agent",
    account: Annotated[
        str, typer.Option("--service-account", metavar="NAME", help="As which it runs.")
    ] = "muster-agent",
    output: OutputOption = Output.TABLE,
    server: ServerOption = DEFAULT_SERVER,
    token_file: TokenFileOption = None,
    ca_file: CaFileOption = None,
) -> None:
    """See `ADD_HELP`."""
    if (agent is None) == (cluster is None):
        fail(Exit.USAGE, "give either --agent or --cluster", "`muster clusters add --help` says which.")
    if agent is not None and jwks is None:
        fail(
            Exit.USAGE,
            "--jwks is missing: the hub can't read the keys of a cluster that it can't reach",
            "At the cluster: kubectl get --raw /openid/v1/jwks > keys.json",
        )
    wanted: dict[str, Any] = {"name": agent, "cluster": cluster, "namespace": namespace, "service_account": account}
    wanted |= {"jwks": None if jwks is None else _read(jwks), "issuer": issuer}
    with asking(server, token_file, ca_file) as client:
        made = client.register_agent({key: value for key, value in wanted.items() if value is not None})
    from muster.cli.client import as_json  # noqa: PLC0415 - `--help` needs none of these
    from muster.cli.render import output as out  # noqa: PLC0415

    if output.is_data:
        out.data(as_json(made), output)
        return
    print(escaped(f"{made.cluster}: reports of {made.namespace}/{made.service_account} are taken."), file=sys.stderr)
    if made.install.hub_url is None:
        print("Put the agents' address of the hub for HUB:PORT, or set agent_url there.", file=sys.stderr)
        print("Agents are heard only where agent_listen is set, too: docs/operations.md#agents.", file=sys.stderr)
    print(f"Its token needs the audience {made.install.audience}. Install it there:", file=sys.stderr)
    print(escaped(made.install.command))


def remove(
    name: Annotated[str, typer.Argument(metavar="CLUSTER", help="Its name or id.", autocompletion=names)],
    output: OutputOption = Output.TABLE,
    server: ServerOption = DEFAULT_SERVER,
    token_file: TokenFileOption = None,
    ca_file: CaFileOption = None,
) -> None:
    """See `REMOVE_HELP`."""
    with asking(server, token_file, ca_file) as client:
        gone = client.remove_agent(name)
    from muster.cli.client import as_json  # noqa: PLC0415 - `--help` needs none of these
    from muster.cli.render import output as out  # noqa: PLC0415

    if output.is_data:
        out.data(as_json(gone), output)
        return
    what = "" if gone.reachable else ", and the cluster has left the fleet"
    print(escaped(f"Reports of {gone.cluster}'s agent are taken no more{what}. Uninstall it there:"))
    print(escaped(f"helm uninstall muster-agent --namespace {gone.namespace}"))


def agents(
    output: OutputOption = Output.TABLE,
    server: ServerOption = DEFAULT_SERVER,
    token_file: TokenFileOption = None,
    ca_file: CaFileOption = None,
) -> None:
    """See `AGENTS_HELP`."""
    with asking(server, token_file, ca_file) as client:
        pages = list(client.agent_pages())
    from muster.cli.client import as_json  # noqa: PLC0415 - `--help` needs none of these
    from muster.cli.render import output as out  # noqa: PLC0415
    from muster.cli.render.agents import agents_table  # noqa: PLC0415

    listed = [agent for page in pages for agent in page.agents]
    if output.is_data:
        told = {"hub_id": pages[0].hub_id, "audience": pages[0].audience, "agents": [as_json(each) for each in listed]}
        out.data(told, output)
    elif not listed:
        print("No agent is registered. `muster clusters add --help` has examples.")
    else:
        out.show(agents_table(listed, wide=output is Output.WIDE), out.console())


def _read(path: Path) -> Any:
    """The file's JSON. Nothing of it is repeated: it may be another file than was meant."""
    try:
        with sys.stdin.buffer if str(path) == "-" else path.open("rb") as file:
            raw = file.read(MAX_JWKS_BYTES + 1)
    except OSError as error:
        fail(Exit.USAGE, f"--jwks {path}: {error.strerror or error}", "Correct the path or its permissions.")
    if len(raw) > MAX_JWKS_BYTES:
        fail(Exit.USAGE, f"--jwks {path}: larger than {MAX_JWKS_BYTES // 1024} KiB", "A key set has about 1 KB.")
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        fail(Exit.USAGE, f"--jwks {path}: no JSON object", "Made by: kubectl get --raw /openid/v1/jwks > keys.json")
    return found
