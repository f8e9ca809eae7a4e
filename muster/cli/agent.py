"""`muster agent`: options in, the agent's composition root does the rest."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from muster.cli.exits import Exit, fail

HELP = """Run the agent in a tenant's cluster: ask its backup locations from there, and report to the hub.

It asks with the pod's own workload identity, and connects to the hub, to the clouds and to name servers; nobody
connects to it but the kubelet (--health-listen). It needs no rights in Kubernetes and keeps nothing on disk. What the
hub may send is names: endpoints and authorities come from these options and built-in tables alone.

Every option is also a variable: MUSTER_AGENT_HUB, MUSTER_AGENT_CLUSTER and so on; several values are separated by
spaces. The Helm chart deploy/helm/muster-agent sets them: see docs/agent.md. Ctrl-C or SIGTERM ends it within five
seconds, having told the hub what it has not been told yet.

\b
Examples:
  muster agent --hub https://muster.example:8646 --cluster 0195b6c0-7000-7000-8000-000000000001
  muster agent --hub https://10.0.0.5:8646 --cluster "$CLUSTER" --ca-file hub-ca.pem

\b
Exit codes:
  0  ended by a signal
  1  a file or an address of its own can't be used
  2  an option makes no sense
"""


def agent(
    hub: Annotated[
        str, typer.Option("--hub", envvar="MUSTER_AGENT_HUB", metavar="URL", help="The hub's agent listener (https).")
    ],
    cluster: Annotated[
        str, typer.Option("--cluster", envvar="MUSTER_AGENT_CLUSTER", metavar="ID", help="This cluster's id there.")
    ],
    token_file: Annotated[
        Path,
        typer.Option(
            "--token-file",
            envvar="MUSTER_AGENT_TOKEN_FILE",
            metavar="FILE",
            help="Projected service-account token for the hub.",
        ),
    ] = Path("/var/run/secrets/muster/token"),
    ca_file: Annotated[
        Path | None,
        typer.Option(
            "--ca-file", envvar="MUSTER_AGENT_CA_FILE", metavar="FILE", help="CA of the hub, if it is your own (PEM)."
        ),
    ] = None,
    storage_ca_file: Annotated[
        Path | None,
        typer.Option(
            "--storage-ca-file",
            envvar="MUSTER_AGENT_STORAGE_CA_FILE",
            metavar="FILE",
            help="CA of a store in the house, besides the system's (PEM).",
        ),
    ] = None,
    allow_endpoint: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-endpoint",
            envvar="MUSTER_AGENT_ALLOW_ENDPOINT",
            metavar="URL",
            help="S3-compatible store that locations may name (repeat for more).",
        ),
    ] = None,
    azure_environment: Annotated[
        list[str] | None,
        typer.Option(
            "--azure-environment",
            envvar="MUSTER_AGENT_AZURE_ENVIRONMENT",
            metavar="NAME",
            help="AzurePublicCloud or AzureChinaCloud (repeat for both).  [that of AZURE_AUTHORITY_HOST]",
        ),
    ] = None,
    buffer: Annotated[
        int,
        typer.Option(
            "--buffer",
            envvar="MUSTER_AGENT_BUFFER",
            metavar="N",
            help="Verdicts that are kept in memory while the hub is away.",
        ),
    ] = 5000,
    health_listen: Annotated[
        str,
        typer.Option(
            "--health-listen",
            envvar="MUSTER_AGENT_HEALTH_LISTEN",
            metavar="HOST:PORT",
            help="Answer /healthz and /readyz there; :PORT is all addresses.  [nowhere]",
        ),
    ] = "",
    log_level: Annotated[
        str,
        typer.Option(
            "--log-level", envvar="MUSTER_AGENT_LOG_LEVEL", metavar="LEVEL", help="debug, info, warning or error."
        ),
    ] = "info",
    log_format: Annotated[
        str,
        typer.Option("--log-format", envvar="MUSTER_AGENT_LOG_FORMAT", metavar="FORMAT", help="json or console."),
    ] = "json",
) -> None:
    """See `HELP`."""
    from muster.agent_settings import AgentSettingsError, settings_from  # noqa: PLC0415 - not for `--help`

    try:
        settings = settings_from(
            hub=hub,
            cluster=cluster,
            token_file=token_file,
            ca_file=ca_file,
            storage_ca_file=storage_ca_file,
            allow_endpoint=allow_endpoint or (),
            azure_environment=azure_environment or (),
            buffer=buffer,
            health_listen=health_listen,
            log_level=log_level,
            log_format=log_format,
            environ=os.environ,
        )
    except AgentSettingsError as error:
        fail(Exit.USAGE, "the agent's options make no sense", *error.problems)

    from muster.agent import Agent, run_agent  # noqa: PLC0415 - the same
    from muster.logs import configure_logs  # noqa: PLC0415 - the same

    configure_logs(settings.log_level, settings.log_format)
    raise typer.Exit(run_agent(Agent(settings)))
