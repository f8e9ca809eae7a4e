"""`muster receiver`: the receiving side of telemetry, for those who are their own vendor."""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from muster.cli import receiver_audit, receiver_init, receiver_token
from muster.cli.exits import Exit, fail
from muster.cli.options import Output, OutputOption
from muster.cli.receiver_asking import DataDirOption, ask, plain, settings_of

if TYPE_CHECKING:
    from uplink.receiver.storing import Store

HELP = """Receive telemetry: a CA that enrols by EST, and OTLP over mTLS, in one small server.

\b
Begin with:
  muster receiver init                         the CA; its certificate is what clients trust
  muster receiver run                          the server
  muster receiver token create acme            lets one installation of `acme` enrol

Every setting is a variable MUSTER_RECEIVER_…; the commands need the same ones as `run`. Without
MUSTER_RECEIVER_DATABASE_URL it keeps a private PostgreSQL in its data directory.
"""

RUN_HELP = """Serve EST (/.well-known/est) and OTLP (/v1/metrics, /v1/logs) over TLS. Ctrl-C or SIGTERM ends it.

It listens on loopback unless told otherwise. Its own certificate is made by its CA, for the names given with --host,
and renewed daily; or give --tls-certificate and --tls-key of another CA.

Headers for --forward are lines of `Name: value` in a file that not everybody can read. A replaced one is taken up.

\b
Examples:
  muster receiver run
  muster receiver run --listen 0.0.0.0:8646 --host telemetry.example
  muster receiver run --forward http://collector:4318 --retention-days 30
  muster receiver run --forward https://otlp.example --forward-headers-file api-key.headers
"""

SHOW_HELP = """What was received of an organisation: installations, clusters, health over time, last logs.

Without one: all organisations, and what was counted.

\b
Examples:
  muster receiver show
  muster receiver show acme
  muster receiver show acme -o wide      every cluster and record, uncut
  muster receiver show acme -o json
"""

APPROVE_HELP = """Let a CSR that waits have its certificate; the client has it when it asks again.

The id is the token's: `muster receiver token list` shows which wait. To refuse, revoke the token.

\b
Examples:
  muster receiver approve 2f6c7a1e-0d4b-4c8e-9a55-0d9d8f1b7c11
"""

REVOKE_HELP = """End certificates, from the next request on, also on connections that stand.

Of an organisation, whose tokens end too; of an installation; or one certificate by its serial.

\b
Examples:
  muster receiver revoke acme
  muster receiver revoke 9f1c0a52-6f0e-4f3b-8a57-0d6f1f1f7a11
  muster receiver revoke acme --erase          and delete all that was received of it
"""

IMPORT_HELP = """Take a file that `muster telemetry export` has written behind an air gap.

The file is signed. Where its signer has a certificate of our CA, that says whose it is. Else ask the customer for the
fingerprint of its key, and give both.

\b
Examples:
  muster receiver import acme.otlp.jsonl
  muster receiver import acme.otlp.jsonl --org acme --key-sha256 5f0c…
"""

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
app.add_typer(
    receiver_token.app, name="token", help="Activation tokens.", short_help="Activation tokens: create, list, revoke."
)

app.command("init", help=receiver_init.HELP, short_help="Make the CA, or roll it over.")(receiver_init.init)


@app.command(help=RUN_HELP, short_help="Serve EST and OTLP.")
def run(
    data_dir: DataDirOption = None,
    listen: Annotated[
        str | None, typer.Option("--listen", metavar="HOST:PORT", help="Where to listen.  [127.0.0.1:8646]")
    ] = None,
    host: Annotated[
        list[str] | None, typer.Option("--host", metavar="NAME", help="Name in its certificate (repeat for more).")
    ] = None,
    tls_certificate: Annotated[
        Path | None, typer.Option("--tls-certificate", metavar="FILE", help="PEM: certificate and chain.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option("--tls-key", metavar="FILE", help="PEM: its key.")] = None,
    lifetime_days: Annotated[
        int | None, typer.Option("--lifetime-days", metavar="DAYS", help="Of client certificates, at most 30.  [7]")
    ] = None,
    retention_days: Annotated[
        int | None, typer.Option("--retention-days", metavar="DAYS", help="How long data is kept.  [90]")
    ] = None,
    quota_mib: Annotated[
        int | None, typer.Option("--quota-mib", metavar="MIB", help="Of one organisation, compressed.  [2048]")
    ] = None,
    forward: Annotated[
        str | None, typer.Option("--forward", metavar="URL", help="Send everything on to this OTLP backend.")
    ] = None,
    forward_headers_file: Annotated[
        Path | None,
        typer.Option("--forward-headers-file", metavar="FILE", help="Headers for it, e.g. an API key; mode 600."),
    ] = None,
    log_level: Annotated[str | None, typer.Option("--log-level", metavar="LEVEL", help="[info]")] = None,
    log_format: Annotated[
        str | None, typer.Option("--log-format", metavar="FORMAT", help="json or console.  [json]")
    ] = None,
) -> None:
    """See `RUN_HELP`."""
    settings = settings_of(
        data_dir=data_dir,
        listen=listen,
        hosts=host,
        tls_certificate=tls_certificate,
        tls_key=tls_key,
        lifetime_days=lifetime_days,
        retention_days=retention_days,
        quota_mib=quota_mib,
        forward=forward,
        forward_headers_file=forward_headers_file,
        log_level=log_level,
        log_format=log_format,
    )
    import uvloop  # noqa: PLC0415 - the server's own imports are heavy

    from muster.logs import configure_logs  # noqa: PLC0415
    from store.errors import StoreError  # noqa: PLC0415
    from uplink.receiver.app import run as serve  # noqa: PLC0415

    configure_logs(settings.log_level, settings.log_format)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(settings))
    except StoreError as error:
        fail(Exit.NO_ANSWER, error.message)
    except (OSError, ValueError) as error:
        fail(Exit.USAGE, str(error))


@app.command(help=SHOW_HELP, short_help="What was received.")
def show(
    organisation: Annotated[str | None, typer.Argument(metavar="[ORG]", help="Of this one.")] = None,
    output: OutputOption = Output.TABLE,
    data_dir: DataDirOption = None,
) -> None:
    """See `SHOW_HELP`."""
    from datetime import UTC, datetime  # noqa: PLC0415 - not for `--help`

    from muster.cli.render import output as out  # noqa: PLC0415
    from muster.cli.render.received import org_lines  # noqa: PLC0415
    from muster.cli.render.receiver import orgs_table  # noqa: PLC0415
    from muster.cli.render.status import Screen  # noqa: PLC0415
    from uplink.receiver.view import OrgLine, OrgView, counts, show_org, show_orgs  # noqa: PLC0415

    async def work(store: Store) -> OrgView | tuple[list[OrgLine], dict[str, int]] | None:
        if organisation is None:
            return await show_orgs(store, time.time()), await counts(store)
        return await show_org(store, organisation, time.time())

    found, now = ask(work, data_dir), datetime.now(UTC)
    if found is None:
        fail(Exit.USAGE, f"{organisation!r} is no organisation here", "`muster receiver show` lists them.")
    if isinstance(found, tuple):
        orgs, counted = found
        if output.is_data:
            out.data({"organisations": [plain(asdict(each)) for each in orgs], "counts": counted}, output)
        elif not orgs:
            print("There is no organisation yet. `muster receiver token create ORG` makes one.")
        else:
            out.show(orgs_table(orgs, counted, now), out.console())
        return
    if output.is_data:
        out.data(plain(asdict(found)), output)
        return
    console = out.console()
    screen = Screen(console.width, colour=console.color_system is not None and not console.no_color)
    out.show(org_lines(found, now, screen, wide=output is Output.WIDE), console)


@app.command(help=APPROVE_HELP, short_help="Let an enrolment that waits have its certificate.")
def approve(
    activation: Annotated[UUID, typer.Argument(metavar="ID", help="Of its token.")], data_dir: DataDirOption = None
) -> None:
    """See `APPROVE_HELP`."""
    from uplink.receiver.activations import Activations  # noqa: PLC0415 - not for `--help`

    if not ask(lambda store: Activations(store).approve(activation, time.time()), data_dir):
        fail(Exit.USAGE, f"nothing waits under {activation}", "`muster receiver token list` shows what waits.")
    print("Approved. The client has its certificate when it asks again, within a minute.")


@app.command(help=REVOKE_HELP, short_help="End certificates, at once.")
def revoke(
    what: Annotated[str, typer.Argument(metavar="WHAT", help="An organisation, an installation, or a serial.")],
    erase: Annotated[
        bool, typer.Option("--erase", help="Also delete all that was received of the organisation.")
    ] = False,
    data_dir: DataDirOption = None,
) -> None:
    """See `REVOKE_HELP`."""
    from uplink.receiver.revoking import erase as erase_org  # noqa: PLC0415 - not for `--help`
    from uplink.receiver.revoking import revoke as end  # noqa: PLC0415
    from uplink.receiver.view import show_org  # noqa: PLC0415

    async def work(store: Store) -> tuple[int, int | None]:
        if not erase:
            return await end(store, what, time.time()), None
        if await show_org(store, what, time.time()) is None:
            fail(Exit.USAGE, f"{what!r} is no organisation here; only an organisation can be erased")
        return await erase_org(store, what, time.time())

    ended, erased = ask(work, data_dir)
    if not ended and erased is None:
        fail(Exit.UNHEALTHY, f"{what!r} has no certificate that works", "`muster receiver show` lists organisations.")
    print(f"{ended} certificate{'s' * (ended != 1)} revoked.")
    if erased is not None:
        print(f"{erased} batch{'es' * (erased != 1)} deleted.")


@app.command("import", help=IMPORT_HELP, short_help="Take a file from behind an air gap.")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="That `muster telemetry export` has written.")],
    org: Annotated[str | None, typer.Option("--org", metavar="ORG", help="Whose it is, with --key-sha256.")] = None,
    key_sha256: Annotated[
        str | None, typer.Option("--key-sha256", metavar="HEX", help="The fingerprint of the signer's key.")
    ] = None,
    data_dir: DataDirOption = None,
) -> None:
    """See `IMPORT_HELP`."""
    from uplink.receiver.authority import Authority  # noqa: PLC0415 - not for `--help`
    from uplink.receiver.batches import Batches, Stored  # noqa: PLC0415
    from uplink.receiver.importing import Imported, Trusted, import_file  # noqa: PLC0415
    from uplink.wire.private_file import PrivateFileError  # noqa: PLC0415

    if (org is None) != (key_sha256 is None):
        fail(Exit.USAGE, "--org and --key-sha256 go together")
    trusted = None if org is None or key_sha256 is None else Trusted(org, key_sha256)
    settings = settings_of(data_dir=data_dir)
    try:
        bundle = Authority.load(settings.authority_dir).bundle
    except PrivateFileError as error:
        fail(Exit.USAGE, str(error))

    async def work(store: Store) -> Imported:
        batches = Batches(store, quota_bytes=settings.quota_mib * 1024**2, forwards=settings.forward is not None)
        return await import_file(store, batches, bundle, file, time.time(), trusted)

    done = ask(work, data_dir)
    told = ", ".join(f"{count} {stored.value}" for stored, count in sorted(done.batches.items())) or "no batches"
    print(f"{done.organisation}: {told}.")
    if done.batches[Stored.FULL]:
        fail(Exit.UNHEALTHY, "the quota of the organisation is used up: raise it, and import again")


app.command("audit", help=receiver_audit.HELP, short_help="Who has decided what.")(receiver_audit.audit)
