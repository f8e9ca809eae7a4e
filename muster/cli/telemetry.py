"""`muster telemetry …`: what may leave, what it looks like, on and off."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from muster.cli.asking import asking
from muster.cli.exits import PLAIN_CODES_HELP, Exit, fail
from muster.cli.options import DEFAULT_SERVER, CaFileOption, Output, OutputOption, ServerOption, TokenFileOption
from muster.escape import escaped

if TYPE_CHECKING:
    from muster.api import schemas

HELP = """What may leave for your vendor: nothing, until an admin consents.

There are three streams, each with a switch of its own: metrics (numbers about the fleet and each cluster's health),
logs (changes of health) and inventory (which clusters and backup locations there are).

\b
Examples:
  muster telemetry status
  muster telemetry preview --stream logs   what would go, and nothing is sent
  muster telemetry on --stream metrics
  muster telemetry off
"""

STATUS_HELP = f"""Whether anything leaves, who decided so, and why it does not.

\b
Examples:
  muster telemetry status
  muster telemetry status -o json | jq -r .state

{PLAIN_CODES_HELP}
"""

TERMS_HELP = f"""What you would consent to: the commitments, and every field that can leave.

\b
Examples:
  muster telemetry terms
  muster telemetry terms -o json | jq -r '.fields[] | select(.classification == "customer") | .id'

{PLAIN_CODES_HELP}
"""

PREVIEW_HELP = f"""The next batch of a stream, by the encoder that makes what is sent. Touches no network.

While the stream is off it is made of what is known now, as if you had consented an hour ago, with ids that stand for
none; nothing of it is kept. While it is on, it is the batch that goes next, with the digest of what is sent.

\b
Examples:
  muster telemetry preview
  muster telemetry preview --stream logs -o yaml
  muster telemetry preview --stream inventory --raw | protoc --decode_raw

{PLAIN_CODES_HELP}
"""

ON_HELP = f"""Consent. Shows what to, and asks. Needs the role admin.

Names that people gave go as keyed hashes, unless --plain-names says otherwise; messages do not go at all, unless
--free-text does. Without a terminal, --commitments has the SHA-256 of the document that you have read.

\b
Examples:
  muster telemetry on --stream metrics --stream inventory
  muster telemetry on --stream logs --activation-token-file token.txt

{PLAIN_CODES_HELP}
"""

OFF_HELP = f"""Off, at once and without a network. Needs the role admin.

What waits is deleted, key and certificate are destroyed, and there is no last message. With --stream the others go on.
Where the service does not answer, remove the file that `muster telemetry status` names, or set MUSTER_TELEMETRY=off.

\b
Examples:
  muster telemetry off
  muster telemetry off --stream logs

{PLAIN_CODES_HELP}
"""

FORGET_HELP = f"""Have the receiver delete all that it has of this installation, then off. Needs the role admin.

\b
Examples:
  muster telemetry forget

{PLAIN_CODES_HELP}
"""

AUDIT_HELP = f"""Who switched what, oldest first. Needs the role admin.

Every line has the hash of the one before it. With --verify the command ends with 1 where a line was changed, removed,
moved or cut off.

\b
Examples:
  muster telemetry audit
  muster telemetry audit --verify

{PLAIN_CODES_HELP}
"""

EXPORT_HELP = f"""Write what would be sent to a file, for where there is no network. Needs a consent, and an admin.

FILE is made with mode 600. `muster receiver import` reads it on the other side.

\b
Examples:
  muster telemetry export telemetry.jsonl

{PLAIN_CODES_HELP}
"""

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


class Stream(StrEnum):
    """As the service has them; a copy, so that `--help` needs no protobuf."""

    METRICS = "metrics"
    LOGS = "logs"
    INVENTORY = "inventory"


StreamsOption = Annotated[list[Stream] | None, typer.Option("--stream", help="A stream; again for more.")]


@app.command("status", help=STATUS_HELP, short_help="Whether anything leaves.")
def status(
    output: OutputOption = Output.TABLE,
    server: ServerOption = DEFAULT_SERVER,
    token_file: TokenFileOption = None,
    ca_file: CaFileOption = None,
) -> None:
    """See `STATUS_HELP`."""
    with asking(server, token_file, ca_file) as client:
        telemetry = client.telemetry()
    _show(telemetry, output)


@app.command("terms", help=TERMS_HELP, short_help="What you would consent to.")
def terms(
    output: OutputOption = Output.TABLE,
    server: ServerOption = DEFAULT_SERVER,
    token_file: TokenFileOption = None,
    ca_file: CaFileOption = None,
) -> None:
    """See `TERMS_HELP`."""
    with asking(server, token_file, ca_file) as client:
        offered = client.telemetry_terms()
    from muster.cli.client import as_json  # noqa: PLC0415 - `--help` needs none of these
    from muster.cli.render import output as out  # noqa: PLC0415
    from muster.cli.render.telemetry import fields_table  # noqa: PLC0415

    if output.is_data:
        out.data(as_json(offered), output)
        return
    print(escaped(offered.commitments, "\n"))
    print(f"SHA-256 of the above: {offered.commitments_sha256}\n")
    out.show(fields_table(offered, wide=output is Output.WIDE), out.console())


@app.command("preview", help=PREVIEW_HELP, short_help="What would go next, byte for byte.")
def preview(
    stream: Annotated[Stream, typer.Option("--stream", help="Of which stream.")] = Stream.METRICS,
    raw: Annotated[bool, typer.Option("--raw", help="The bytes (protobuf) to stdout, and nothing else there.")] = False,
    output: OutputOption = Output.TABLE,
    server: ServerOption = DEFAULT_SERVER,
    token_file: TokenFileOption = None,
    ca_file: CaFileOption = None,
) -> None:
    """See `PREVIEW_HELP`."""
    if raw and sys.stdout.isatty():
        fail(Exit.USAGE, "--raw writes bytes, and stdout is a terminal", "Send them to a file or a program.")
    with asking(server, token_file, ca_file) as client:
        shown = client.telemetry_preview(stream.value, raw=raw)
    from muster.cli.client import as_json  # noqa: PLC0415 - `--help` needs none of these
    from muster.cli.render import output as out  # noqa: PLC0415
    from muster.cli.render.telemetry import preview_lines  # noqa: PLC0415

    if raw:
        from base64 import b64decode  # noqa: PLC0415 - only here

        sys.stdout.buffer.write(b64decode(shown.raw or ""))
        return
    if output.is_data:
        out.data(as_json(shown), output)
        return
    out.show(preview_lines(shown), out.console())
    if shown.request:
        out.data(shown.request, Output.YAML)


@app.command("on", help=ON_HELP, short_help="Consent.")
def on(
    streams: StreamsOption = None,
    plain_names: Annotated[bool, typer.Option("--plain-names", help="Names as they are, and no keyed hashes.")] = False,
    free_text: Annotated[bool, typer.Option("--free-text", help="Messages too, redacted.")] = False,
    commitments: Annotated[
        str, typer.Option("--commitments", metavar="SHA256", help="Of the document that you have read; asks nothing.")
    ] = "",
    activation_token_file: Annotated[
        Path | None, typer.Option("--activation-token-file", metavar="FILE", help="From your vendor; - for stdin.")
    ] = None,
    output: OutputOption = Output.TABLE,
    server: ServerOption = DEFAULT_SERVER,
    token_file: TokenFileOption = None,
    ca_file: CaFileOption = None,
) -> None:
    """See `ON_HELP`."""
    if not streams:
        fail(Exit.USAGE, "no stream is named", f"Add --stream, once or more: {', '.join(Stream)}.")
    chosen = [stream.value for stream in dict.fromkeys(streams)]
    token = None if activation_token_file is None else _activation_token(activation_token_file)
    with asking(server, token_file, ca_file, patiently=False) as client:
        offered = client.telemetry_terms()
        if not commitments:
            _ask(offered, chosen, plain_names=plain_names, free_text=free_text)
        telemetry = client.telemetry_on(
            {
                "streams": chosen,
                "commitments_sha256": commitments or offered.commitments_sha256,
                "dictionary_version": offered.dictionary_version,
                "plain_names": chosen if plain_names else [],
                "free_text": chosen if free_text else [],
                "activation_token": token,
                "interface": "cli",
            }
        )
    _show(telemetry, output)


@app.command("off", help=OFF_HELP, short_help="Off, at once.")
def off(
    streams: StreamsOption = None,
    output: OutputOption = Output.TABLE,
    server: ServerOption = DEFAULT_SERVER,
    token_file: TokenFileOption = None,
    ca_file: CaFileOption = None,
) -> None:
    """See `OFF_HELP`."""
    with asking(server, token_file, ca_file) as client:
        telemetry = client.telemetry_off([stream.value for stream in dict.fromkeys(streams or ())])
    _show(telemetry, output)


@app.command("forget", help=FORGET_HELP, short_help="Have what was received deleted, then off.")
def forget(
    output: OutputOption = Output.TABLE,
    server: ServerOption = DEFAULT_SERVER,
    token_file: TokenFileOption = None,
    ca_file: CaFileOption = None,
) -> None:
    """See `FORGET_HELP`."""
    with asking(server, token_file, ca_file) as client:
        telemetry = client.telemetry_forget()
    _show(telemetry, output)


@app.command("audit", help=AUDIT_HELP, short_help="Who switched what.")
def audit(
    verify: Annotated[bool, typer.Option("--verify", help="End with 1 if the log is not whole.")] = False,
    output: OutputOption = Output.TABLE,
    server: ServerOption = DEFAULT_SERVER,
    token_file: TokenFileOption = None,
    ca_file: CaFileOption = None,
) -> None:
    """See `AUDIT_HELP`."""
    with asking(server, token_file, ca_file) as client:
        log = client.telemetry_audit()
    from muster.cli.client import as_json  # noqa: PLC0415 - `--help` needs none of these
    from muster.cli.render import output as out  # noqa: PLC0415
    from muster.cli.render.telemetry import audit_lines  # noqa: PLC0415

    if output.is_data:
        out.data(as_json(log), output)
    else:
        out.show(audit_lines(log, wide=output is Output.WIDE), out.console())
    if verify and not log.intact:
        fail(Exit.UNHEALTHY, f"the audit log is not whole: {log.problem}", "Keep a copy of it as it is.")


@app.command("export", help=EXPORT_HELP, short_help="To a file, for where there is no network.")
def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file.")],
    server: ServerOption = DEFAULT_SERVER,
    token_file: TokenFileOption = None,
    ca_file: CaFileOption = None,
) -> None:
    """See `EXPORT_HELP`."""
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        fail(Exit.USAGE, f"{file}: {error.strerror}", "Give it the path of a new file.")
    try:
        with os.fdopen(descriptor, "wb") as to, asking(server, token_file, ca_file) as client:
            to.write(client.telemetry_export())
    except BaseException:
        file.unlink(missing_ok=True)
        raise
    print(f"{escaped(str(file))} is written: {file.stat().st_size:,} bytes.")


def _show(telemetry: schemas.Telemetry, output: Output) -> None:
    from datetime import UTC, datetime  # noqa: PLC0415 - `--help` needs none of these

    from muster.cli.client import as_json  # noqa: PLC0415
    from muster.cli.render import output as out  # noqa: PLC0415
    from muster.cli.render.telemetry import status_lines  # noqa: PLC0415

    if output.is_data:
        out.data(as_json(telemetry), output)
    else:
        out.show(status_lines(telemetry, datetime.now(UTC)), out.console())


def _ask(offered: schemas.TelemetryTerms, streams: list[str], *, plain_names: bool, free_text: bool) -> None:
    """Show what to, then ask. Everything to stderr, since stdout is for what comes of it."""
    if not sys.stdin.isatty():
        fail(
            Exit.USAGE,
            "nobody is here to be asked",
            "Read `muster telemetry terms`, then repeat its SHA-256 with --commitments.",
        )
    leaving = sum(field.stream in {"", *streams} for field in offered.fields)
    where = offered.ingest_url or "no network; `muster telemetry export` writes files"
    for line in (
        *offered.commitments.splitlines(),
        "",
        f"Streams:       {', '.join(streams)}: {leaving} fields; `muster telemetry terms` lists them",
        f"Names:         {'as they are' if plain_names else 'as keyed hashes'}",
        f"Messages:      {'redacted' if free_text else 'none'}",
        f"Organisation:  {offered.organisation or 'none is set'}",
        f"To:            {where}",
    ):
        print(escaped(line), file=sys.stderr)
    print("\nDo you consent, for your organisation? Type yes: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() != "yes":
        fail(Exit.USAGE, "nothing was switched on")


def _activation_token(path: Path) -> str:
    """From a file and not from the command line, which everybody on the machine sees."""
    try:
        with sys.stdin.buffer if str(path) == "-" else path.open("rb") as file:
            token = file.read(1024).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "is no text"
        fail(Exit.USAGE, f"--activation-token-file {path}: {why}", "Name a file with the token and nothing else.")
    if not token:
        fail(Exit.USAGE, f"--activation-token-file {path}: it is empty", "Name a file with the token.")
    return token
