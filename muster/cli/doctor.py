"""`muster doctor`: examinations. `self` is a reserved name: of the service's own machine."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from muster.cli.exits import Exit
from muster.cli.options import CaFileOption, Output, OutputOption, TokenFileOption

if TYPE_CHECKING:
    from muster.ops.doctor.finding import Finding
    from muster.ops.doctor.service import ServiceSeen
    from muster.settings import Settings

HELP = """Examine what does not work, and say what to do."""

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

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def doctor() -> None:
    """Keep `self` a command of its own, though it is the only one."""


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
