"""`muster support-bundle`: what somebody else needs to help, in one file."""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from urllib.parse import unquote, urlsplit

import typer

from muster.cli.exits import Exit, fail
from muster.cli.options import CaFileOption, TokenFileOption

if TYPE_CHECKING:
    from muster.api import schemas
    from muster.cli.client import Client
    from muster.ops.bundle.contents import Collected
    from muster.settings import Loaded

T = TypeVar("T")

HELP = """Collect what somebody else needs to help, without secrets and without names.

Settings (masked), `muster doctor self`, releases, the schema, the fleet, its clusters, the newest changes and the
metrics. Names become pseudonyms, and free text stays here, unless you say --names. The service's log is not in it:
`journalctl -u muster` has that. Look at it before you send it.

\b
Examples:
  muster support-bundle --preview
  muster support-bundle -o bundle.tar.gz
  muster support-bundle --names -o bundle.tar.gz
"""

PREVIEW_LINES = 20
"""Of each document."""
MAX_TRANSITIONS = 1000
MAX_CLUSTERS = 10_000


def support_bundle(
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="To write.  [muster-support-DATE.tar.gz]")
    ] = None,
    preview: Annotated[bool, typer.Option("--preview", help="Only print what would be in it.")] = False,
    names: Annotated[bool, typer.Option("--names", help="With names, endpoints, labels and messages.")] = False,
    server: Annotated[
        str | None,
        typer.Option("--server", envvar="MUSTER_SERVER", metavar="URL", help="Where it listens, if not as set."),
    ] = None,
    token_file: TokenFileOption = None,
    ca_file: CaFileOption = None,
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", metavar="DIR", help="Where the embedded database lives.")
    ] = None,
) -> None:
    """See `HELP`."""
    from muster.ops.bundle.contents import documents  # noqa: PLC0415 - not for `--help`
    from muster.ops.bundle.file import write_bundle  # noqa: PLC0415
    from muster.ops.bundle.pseudonyms import Pseudonyms  # noqa: PLC0415
    from muster.ops.doctor.finding import size  # noqa: PLC0415

    path = output or Path(f"muster-support-{datetime.now(UTC):%Y%m%d-%H%M%S}.tar.gz")
    if not preview and path.exists():
        fail(Exit.USAGE, f"{path} exists", "Choose another name with --output FILE.")
    collected, known = _collect(server, token_file, ca_file, data_dir)
    made = documents(collected, None if names else Pseudonyms(secrets.token_bytes(32), known))
    if preview:
        _show(made)
        return
    try:
        written = write_bundle(path, made, time.time())
    except OSError as error:
        fail(Exit.USAGE, f"{path}: {error.strerror or error}", "Choose another place with --output FILE.")
    print(f"{path}: {size(written)}, {len(made)} files. Look at it before you send it: tar xzOf {path}")
    for sentence in collected.missing:
        print(f"  not in it: {sentence}")


def _collect(
    server: str | None, token_file: Path | None, ca_file: Path | None, data_dir: Path | None
) -> tuple[Collected, set[str]]:
    """What can be had, and the names that must not be found in free text."""
    import asyncio  # noqa: PLC0415 - not for `--help`

    from muster.cli.client import Client  # noqa: PLC0415
    from muster.cli.doctor import address_of, findings_here  # noqa: PLC0415
    from muster.cli.errors import BadServer, NotReachable, Refused  # noqa: PLC0415
    from muster.cli.transport import Request  # noqa: PLC0415
    from muster.config.shown import shown  # noqa: PLC0415
    from muster.ops.bundle.contents import Collected  # noqa: PLC0415
    from muster.ops.bundle.stored import applied_migrations  # noqa: PLC0415
    from muster.settings import Loading, SettingsError  # noqa: PLC0415
    from store.errors import StoreError  # noqa: PLC0415

    missing: list[str] = []

    def tried(what: str, ask: Callable[[], T], otherwise: T) -> T:
        try:
            return ask()
        except (BadServer, NotReachable, Refused, SettingsError, StoreError) as error:
            missing.append(f"{what}: {error}")
            return otherwise

    loaded: Loaded | None = tried("settings", Loading(None, {"data_dir": data_dir}).load, None)
    findings = findings_here(server, token_file, ca_file, data_dir)
    migrations = tried("schema", lambda: asyncio.run(applied_migrations(loaded.settings)), None) if loaded else None
    where = server or (address_of(loaded.settings) if loaded else None)
    client = tried("service", lambda: Client(where, token_file, ca_file), None) if where else None
    fleet = tried("fleet", client.fleet, None) if client else None
    clusters: list[schemas.Cluster] = tried("clusters", lambda: _clusters(client), []) if client and fleet else []
    page = tried("transitions", lambda: client.transitions(None, MAX_TRANSITIONS), None) if client and fleet else None
    metrics = None
    if client:
        answer = tried("metrics", lambda: client.transport.ask(Request("GET", "/metrics")), None)
        if answer is not None and answer.status == 200:
            metrics = answer.body.decode("utf-8", "replace")
        client.transport.close()
    hosts = {urlsplit(cluster.endpoint).hostname or cluster.endpoint for cluster in clusters}
    names = {cluster.name for cluster in clusters} | hosts | {socket.gethostname()}
    names |= {name for row in (shown(loaded) if loaded else ()) for name in _texts(row)}
    return (
        Collected(
            release=version("muster"),
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            settings=shown(loaded) if loaded else (),
            findings=findings,
            migrations=migrations,
            fleet=fleet,
            clusters=clusters,
            transitions=page.transitions if page else (),
            metrics=metrics,
            missing=tuple(missing),
            secrets=_secrets(loaded, client),
        ),
        names,
    )


def _clusters(client: Client) -> list[schemas.Cluster]:
    found: list[schemas.Cluster] = []
    for page in client.pages():
        found += page.clusters
        if len(found) >= MAX_CLUSTERS:
            break
    return found[:MAX_CLUSTERS]


def _texts(row: dict[str, Any]) -> list[str]:
    """What a setting names: hosts, contexts, files."""
    from muster.settings import Source  # noqa: PLC0415 - not for `--help`

    if row["source"] == Source.DEFAULT.name.lower():
        return []
    value = row["value"]
    if row["key"] in {"listen", "log_level", "log_format"}:
        return []
    return [str(one) for one in value] if isinstance(value, list | tuple) else [value] if isinstance(value, str) else []


def _secrets(loaded: Loaded | None, client: Client | None) -> frozenset[str]:
    """Those that this process has seen."""
    known: set[str] = set()
    if client is not None and client.transport.bearer is not None:
        known.add(client.transport.bearer.secret)
    if loaded is not None and loaded.settings.database_url is not None:
        url = loaded.settings.database_url.get_secret_value()
        with suppress(ValueError):
            password = urlsplit(url).password or ""
            known |= {url, password, unquote(password)}
    return frozenset(filter(None, known))


def _show(made: dict[str, bytes]) -> None:
    from muster.escape import escaped  # noqa: PLC0415 - not for `--help`

    for name, content in made.items():
        lines = content.decode().splitlines()
        print(f"=== {name}: {len(content):,} bytes")
        for line in lines[:PREVIEW_LINES]:
            print(escaped(line)[:500])
        if len(lines) > PREVIEW_LINES:
            print(f"… and {len(lines) - PREVIEW_LINES:,} more lines")
        print()
