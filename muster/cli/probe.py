"""`muster probe URL`: one question to one API server, without a service."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from muster.cli.exits import Exit, fail
from muster.cli.options import Output, OutputOption

HELP = """Ask one API server once, and show what happened stage by stage. Needs no running service.

The question is the one that the service asks: dns, connect, TLS, /readyz and, with a credential, one namespace read.

\b
Examples:
  muster probe https://10.0.0.1:6443 --ca ca.pem
  muster probe api.example.com:6443 --ca ca.pem --token-file token
  muster probe --context prod                  a context of your kubeconfig, with its credential
  muster probe --kubeconfig other.yaml --context prod -o json

\b
Exit codes:
  0  it answers; there may be a finding
  1  it does not, or what it answers is bad
  2  the command line or a file makes no sense
"""


def probe(
    url: Annotated[str | None, typer.Argument(metavar="URL", help="https://HOST:PORT of the API server.")] = None,
    output: OutputOption = Output.TABLE,
    ca: Annotated[
        Path | None, typer.Option("--ca", metavar="FILE", help="CA to trust (PEM). Without: the system's roots.")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option("--token-file", metavar="FILE", help="Bearer token to show.")
    ] = None,
    server_name: Annotated[
        str | None, typer.Option("--server-name", metavar="NAME", help="Name that the certificate must be for.")
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Do not verify the certificate; no token is sent then.")
    ] = False,
    kubeconfig: Annotated[
        list[Path] | None, typer.Option("--kubeconfig", metavar="FILE", help="Take the cluster from here.")
    ] = None,
    context: Annotated[
        str | None, typer.Option("--context", metavar="NAME", help="Which context; not needed if there is one.")
    ] = None,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", min=0.1, max=60.0, help="For the whole question.")
    ] = 10.0,
) -> None:
    """See `HELP`."""
    from_kubeconfig = bool(kubeconfig or context)
    if (url is None) != from_kubeconfig:
        fail(Exit.USAGE, "name either a URL, or --kubeconfig or --context", "For example: muster probe --context prod")
    if from_kubeconfig and (ca or token_file or server_name or insecure):
        fail(Exit.USAGE, "--ca, --token-file, --server-name and --insecure go with a URL; a context brings its own")
    if insecure and token_file:
        fail(Exit.USAGE, "--insecure with --token-file would give the token to whoever answers", "Use --ca FILE.")

    import asyncio  # noqa: PLC0415 - `--help` needs none of these

    from muster.cli import probing  # noqa: PLC0415

    try:
        if url is None:
            asked = asyncio.run(probing.ask_context(kubeconfig or [], context, os.environ, timeout))
        else:
            target = probing.target_from_options(url, ca, token_file, server_name, insecure=insecure)
            asked = asyncio.run(probing.ask(target, timeout))
    except probing.BadTarget as error:
        fail(Exit.USAGE, error.message, error.remedy)

    from muster.cli.render import output as out  # noqa: PLC0415
    from muster.cli.render.health import BROKEN  # noqa: PLC0415
    from muster.cli.render.probe import probe_lines  # noqa: PLC0415

    if output.is_data:
        out.data(asked.model_dump(mode="json"), output)
    else:
        console = out.console()
        out.show(probe_lines(asked, console.width), console)
    raise typer.Exit(Exit.UNHEALTHY if asked.health in BROKEN else Exit.HEALTHY)
