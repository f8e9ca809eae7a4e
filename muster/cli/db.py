"""`muster db`: dump, restore, migrate and psql, for the embedded database and for one's own."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from muster.cli.exits import Exit, fail

if TYPE_CHECKING:
    from muster.settings import Settings

T = TypeVar("T")

HELP = """The service's database: dump, restore, migrate, psql.

Without MUSTER_DATABASE_URL it is the embedded one in the data directory: reached beside the service if that runs, else
started for the length of the command.
"""

DUMP_HELP = """Write everything that Muster keeps into one file; the service may run meanwhile.

The file is of one moment, readable by its owner only, and holds checksums of all that is in it. It can be restored into
any PostgreSQL from 15 on, by this release and by later ones. It has no API token and no session, only their hashes.

\b
Examples:
  muster db dump fleet.muster
  muster db dump --force /backup/fleet.muster
  MUSTER_DATABASE_URL=postgresql://muster:…@db/muster muster db dump fleet.muster
"""

RESTORE_HELP = """Put a dump back: all of it, or, if anything is wrong, nothing.

Stop every instance of the service first. A database that holds data of Muster is only touched with --replace; tables of
other programs are never touched. The schema is brought to this release's afterwards.

\b
Examples:
  muster db restore fleet.muster
  muster db restore --replace fleet.muster

\b
Exit codes:
  0  restored
  1  not restored, and nothing has changed
  2  usage
  3  the database does not answer
"""

MIGRATE_HELP = """Bring the database's schema to this release's. `muster run` does so by itself; this does it before.

\b
Examples:
  muster db migrate --check                        only list what would be applied
  muster db migrate

\b
Exit codes:
  0  up to date
  1  with --check, something would be applied
  2  refused
  3  the database does not answer
"""

PSQL_HELP = """PostgreSQL's own shell on the service's database. What follows `--` is for psql.

The password is handed over in psql's environment, never on its command line.

\b
Examples:
  muster db psql
  muster db psql -- -c 'SELECT name, endpoint FROM clusters'
"""

DataDirOption = Annotated[
    Path | None, typer.Option("--data-dir", metavar="DIR", help="Where the embedded database lives.")
]

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.command(help=DUMP_HELP, short_help="Write everything into one file.")
def dump(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="To write.")],
    data_dir: DataDirOption = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
) -> None:
    """See `DUMP_HELP`."""
    from muster.ops.database import reach  # noqa: PLC0415 - not for `--help`
    from muster.storage import SCHEMA_VERSION, migration_sets  # noqa: PLC0415
    from store.dump.manifest import Manifest  # noqa: PLC0415
    from store.dump.write import write_dump  # noqa: PLC0415

    async def work(settings: Settings) -> Manifest:
        async with reach(settings) as database:
            with _bar("Dumping", None) as advance:
                return await write_dump(
                    database.url,
                    file,
                    migration_sets(),
                    release=version("muster"),
                    schema_version=SCHEMA_VERSION,
                    overwrite=force,
                    on_progress=advance,
                )

    manifest = _run(work, data_dir, refused=Exit.UNHEALTHY)
    rows = sum(table.rows for table in manifest.tables)
    print(f"{file}: {rows:,} rows of {len(manifest.tables)} tables, {file.stat().st_size:,} bytes")


@app.command(help=RESTORE_HELP, short_help="Put a dump back, whole or not at all.")
def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="That `muster db dump` has written.")],
    data_dir: DataDirOption = None,
    replace: Annotated[bool, typer.Option("--replace", help="In place of what is there.")] = False,
) -> None:
    """See `RESTORE_HELP`."""
    from muster.app import LEADER_LOCK  # noqa: PLC0415 - not for `--help`
    from muster.ops.database import reach  # noqa: PLC0415
    from muster.storage import SCHEMA_VERSION, migration_sets  # noqa: PLC0415
    from store.dump.manifest import Manifest  # noqa: PLC0415
    from store.dump.restore import open_dump, restore_dump  # noqa: PLC0415
    from store.migrate import migrate as bring_up  # noqa: PLC0415
    from store.pool import Database  # noqa: PLC0415

    async def work(settings: Settings) -> tuple[Manifest, list[str]]:
        with open_dump(file) as (_, manifest):  # before a database is started, or made, for it
            size_bytes = manifest.size_bytes
        async with reach(settings, create=True) as database:
            with _bar("Restoring", size_bytes) as advance:
                manifest = await restore_dump(
                    database.url,
                    file,
                    migration_sets(),
                    release=version("muster"),
                    schema_version=SCHEMA_VERSION,
                    leader_key=LEADER_LOCK,
                    replace=replace,
                    on_progress=advance,
                )
            pool = await Database.open(database.url, application_name="muster-restore")
            try:
                return manifest, await bring_up(pool, migration_sets(), SCHEMA_VERSION)
            finally:
                await pool.close()

    manifest, applied = _run(work, data_dir, refused=Exit.UNHEALTHY)
    rows = sum(table.rows for table in manifest.tables)
    print(f"Restored {rows:,} rows, dumped on {manifest.created_at} by release {manifest.release}.")
    _show(applied, "Then migrated:")


@app.command(help=MIGRATE_HELP, short_help="Bring the schema to this release's.")
def migrate(
    data_dir: DataDirOption = None,
    check: Annotated[bool, typer.Option("--check", help="Only list what would be applied.")] = False,
) -> None:
    """See `MIGRATE_HELP`."""
    from muster.ops.database import reach  # noqa: PLC0415 - not for `--help`
    from muster.storage import SCHEMA_VERSION, migration_sets  # noqa: PLC0415
    from store.migrate import migrate as bring_up  # noqa: PLC0415
    from store.migrate import outstanding  # noqa: PLC0415
    from store.pool import Database  # noqa: PLC0415

    async def work(settings: Settings) -> list[str]:
        async with reach(settings, create=not check) as database:
            pool = await Database.open(database.url, application_name="muster-migrate")
            try:
                return await (outstanding if check else bring_up)(pool, migration_sets(), SCHEMA_VERSION)
            finally:
                await pool.close()

    labels = _run(work, data_dir, refused=Exit.USAGE)
    if not labels:
        print("The schema is up to date.")
        return
    _show(labels, "Would be applied:" if check else "Applied:")
    if check:
        raise typer.Exit(Exit.UNHEALTHY)


@app.command(help=PSQL_HELP, short_help="PostgreSQL's own shell on it.")
def psql(
    arguments: Annotated[list[str] | None, typer.Argument(metavar="[-- ARGS]", help="For psql.")] = None,
    data_dir: DataDirOption = None,
) -> None:
    """See `PSQL_HELP`."""
    from muster.ops.database import reach  # noqa: PLC0415 - not for `--help`
    from muster.ops.psql import find_psql, without_password  # noqa: PLC0415
    from store.binaries import installed  # noqa: PLC0415

    async def work(settings: Settings) -> int:
        program = find_psql(installed())
        async with reach(settings) as database:
            url, variables = without_password(database.url, os.environ)
            # Ctrl-C is psql's: it cancels a query there.
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, lambda: None)
            process = await asyncio.create_subprocess_exec(program, "-d", url, *(arguments or ()), env=variables)
            try:
                return await process.wait()
            finally:
                if process.returncode is None:
                    process.terminate()
                    await process.wait()

    raise typer.Exit(_run(work, data_dir, refused=Exit.USAGE))


def _run(work: Callable[[Settings], Coroutine[Any, Any, T]], data_dir: Path | None, *, refused: Exit) -> T:
    """With the service's settings; what the database says no to becomes a message and an exit code."""
    from muster.settings import SettingsError, load_settings  # noqa: PLC0415 - not for `--help`
    from store.errors import StoreError, StoreUnavailable  # noqa: PLC0415

    try:
        settings = load_settings(data_dir=data_dir)
    except SettingsError as error:
        fail(Exit.USAGE, f"settings that make no sense:\n  {error}".replace("\n", "\n  "))
    try:
        return asyncio.run(work(settings))
    except StoreUnavailable as error:
        fail(Exit.NO_ANSWER, error.message)
    except StoreError as error:
        fail(refused, error.message)
    except KeyboardInterrupt:
        fail(Exit.INTERRUPTED, "interrupted; nothing has changed")


@contextmanager
def _bar(what: str, total_bytes: int | None) -> Iterator[Callable[[str, int], None]]:
    """Bytes that have passed, on a terminal; `total_bytes` None = nobody knows how many there will be."""
    from rich.console import Console  # noqa: PLC0415 - not for `--help`
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task(what, total=total_bytes)
        yield lambda table, more: progress.update(task, description=f"{what} {table}", advance=more)


def _show(labels: list[str], head: str) -> None:
    if labels:
        print(head)
    for label in labels:
        print(f"  {label}")
