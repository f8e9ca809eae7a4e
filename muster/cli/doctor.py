"""`muster doctor`: examinations, of a cluster's workload identity or, as `self`, of the service's own machine."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from muster.cli.exits import Exit, fail
from muster.cli.options import CaFileOption, Output, OutputOption, TokenFileOption

if TYPE_CHECKING:
    from muster.ops.doctor.finding import Finding
    from muster.ops.doctor.service import ServiceSeen
    from muster.settings import Settings

HELP = """Examine what does not work, and say what to do: a cluster's workload identity, or this machine.

`muster doctor CLUSTER` looks at a context of your kubeconfig, `muster doctor self` at the service's own machine. Each
has a `--help` with its options. A context that is called "self" goes after an option.

\b
Examples:
  muster doctor prod
  muster doctor prod --service-account velero/velero --cloud azure
  muster doctor self
"""

CLUSTER_HELP = """Examine how service accounts of a cluster get their cloud identity, step by step: annotation, pod
label, webhook, environment, token, issuer, and what must stand in the cloud. Each finding has the commands to mend it.

CLUSTER is a context of your kubeconfig, with its credential; no service is needed. Nothing is changed: it is a dozen
GETs, which are listed at the end. No secret is read, and no cloud is asked. Without --service-account it looks at those
of known backup products (Muster's agent, Stork, Velero).

\b
Examples:
  muster doctor prod
  muster doctor prod --service-account velero/velero
  muster doctor prod --service-account kube-system/stork --cloud azure -o json

\b
Exit codes:
  0  nothing is wrong with what can be seen
  1  there is a finding
  2  the command line, a name or a kubeconfig makes no sense
  3  the API server does not answer, or refuses the credential
"""

SELF_HELP = """Examine the service's own machine: settings, port, database, disk, memory, descriptors, names, clock.

Nothing is changed and nothing is started; it works while the service runs and while it does not. Run it as the
service's user, with the same settings. Only the database and the name servers are asked.

\b
Examples:
  muster doctor self
  muster doctor self -o json

\b
Exit codes: 0 nothing is a problem; 1 something is.
"""


class Examinations(TyperGroup):
    """`self` is a command; whatever else comes first is the command line of an examination of a cluster."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """What click asks a group for."""
        if args[0] in self.commands:
            return super().resolve_command(ctx, args)
        return None, typer.main.get_command(_of_cluster), args


app = typer.Typer(
    cls=Examinations,
    no_args_is_help=True,
    rich_markup_mode=None,
    subcommand_metavar="CLUSTER|self ...",
    context_settings={"ignore_unknown_options": True},  # they are the examination's
)

_of_cluster = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.callback()
def doctor() -> None:
    """Keep `self` a command of its own, though it is the only one."""


class CloudName(StrEnum):
    """Whose identity it is."""

    AZURE = "azure"
    AWS = "aws"
    GCP = "gcp"


@_of_cluster.command(help=CLUSTER_HELP)
def examine_cluster(
    cluster: Annotated[str, typer.Argument(metavar="CLUSTER", help="A context of your kubeconfig.")],
    service_account: Annotated[
        str | None, typer.Option("--service-account", metavar="NAMESPACE/NAME", help="Which service account.")
    ] = None,
    cloud: Annotated[
        CloudName | None, typer.Option("--cloud", help="Whose identity it should have; else told from what is there.")
    ] = None,
    kubeconfig: Annotated[
        list[Path] | None, typer.Option("--kubeconfig", metavar="FILE", help="Take the context from here.")
    ] = None,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", min=0.5, max=120.0, help="For all questions together.")
    ] = 20.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """See `CLUSTER_HELP`."""
    from muster.cli import examining  # noqa: PLC0415 - not for `--help`
    from muster.cli.probing import BadTarget  # noqa: PLC0415
    from muster.cli.progress import waiting  # noqa: PLC0415
    from validator.doctor.facts import Cloud  # noqa: PLC0415

    try:
        account = examining.account_from(service_account) if service_account else None
        wanted = Cloud(cloud.value) if cloud else None
        with waiting(f"Examining {cluster}"):
            examined = asyncio.run(examining.examine(kubeconfig or [], cluster, account, wanted, os.environ, timeout))
    except BadTarget as error:
        fail(Exit.USAGE, error.message, error.remedy)
    except examining.NotExamined as error:
        fail(Exit.NO_ANSWER, error.message, error.remedy)

    from muster.cli.render import output as out  # noqa: PLC0415
    from muster.cli.render.doctor import doctor_lines  # noqa: PLC0415

    if output.is_data:
        out.data(examined.document(), output)
    else:
        console = out.console()
        out.show(doctor_lines(examined, console.width), console)
    raise typer.Exit(Exit.UNHEALTHY if examined.has_findings else Exit.HEALTHY)


@app.command("self", help=SELF_HELP, short_help="The service's own machine.")
def examine_self(
    server: Annotated[
        str | None,
        typer.Option("--server", envvar="MUSTER_SERVER", metavar="URL", help="Where it listens, if not as set."),
    ] = None,
    token_file: TokenFileOption = None,
    ca_file: CaFileOption = None,
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", metavar="DIR", help="Where the embedded database lives.")
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """See `SELF_HELP`."""
    findings = findings_here(server, token_file, ca_file, data_dir)
    if output.is_data:
        from muster.cli.render.output import data  # noqa: PLC0415 - not for `--help`

        data([asdict(finding) for finding in findings], output)
    else:
        _show(findings)
    if any(finding.level == "problem" for finding in findings):
        raise typer.Exit(Exit.UNHEALTHY)


def findings_here(
    server: str | None, token_file: Path | None, ca_file: Path | None, data_dir: Path | None
) -> list[Finding]:
    """Examine this machine, with what the service says of itself, if it answers; without `server` where it is set."""
    from muster.cli.progress import waiting  # noqa: PLC0415 - not for `--help`
    from muster.ops.doctor.examine import examine, settings_refused  # noqa: PLC0415
    from muster.settings import SettingsError, load_settings  # noqa: PLC0415

    try:
        settings = load_settings(data_dir=data_dir)
    except SettingsError as error:
        return settings_refused(error)
    with waiting("Examining"):
        return asyncio.run(examine(settings, service_at(server or address_of(settings), token_file, ca_file)))


def address_of(settings: Settings) -> str:
    """URL at which this machine reaches a service with these settings."""
    from muster.access.local import reached_at  # noqa: PLC0415 - not for `--help`

    host, port = settings.listen_address
    host = reached_at(host)
    scheme = "http" if settings.tls_certificate is None else "https"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def service_at(server: str, token_file: Path | None, ca_file: Path | None) -> ServiceSeen | None:
    """What answers there, if it is Muster; with as much as we may know."""
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 - not for `--help`

    from muster.cli.client import Client  # noqa: PLC0415
    from muster.cli.errors import BadServer, NotReachable, Refused  # noqa: PLC0415
    from muster.cli.transport import Request  # noqa: PLC0415
    from muster.ops.doctor.service import ServiceSeen  # noqa: PLC0415

    try:
        client = Client(server, token_file, ca_file)
        answer = client.transport.ask(Request("GET", "/healthz"))
    except (BadServer, NotReachable):
        return None
    if answer.headers.get("Server") != "muster":
        return None
    date = None
    with suppress(ValueError, KeyError, TypeError):
        date = parsedate_to_datetime(answer.headers["Date"])
    try:
        fleet = client.fleet()
    except (NotReachable, Refused):
        return ServiceSeen(client.url, date)
    finally:
        client.transport.close()
    return ServiceSeen(client.url, date, fleet.version, fleet.role, fleet.total)


def _show(findings: list[Finding]) -> None:
    from rich.text import Text  # noqa: PLC0415 - not for `--help`

    from muster.cli.render.output import console, show  # noqa: PLC0415
    from muster.escape import escaped  # noqa: PLC0415

    styles = {"ok": "green", "warning": "yellow", "problem": "red bold"}
    wide = max(len(finding.check) for finding in findings)
    lines = []
    for finding in findings:
        line = Text(f"{finding.level:<8}", styles[finding.level])
        line.append(f" {finding.check:<{wide}}  ", "bold").append(escaped(finding.seen), "default")
        lines.append(line)
        if finding.remedy:
            lines.append(Text(f"{'':<{wide + 11}}{escaped(finding.remedy)}", "dim"))
    show(lines, console())
