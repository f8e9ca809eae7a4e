"""What every command of `muster receiver` does: read the settings, and get at the receiver's database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from uuid import UUID

import typer

from muster.cli.exits import Exit, fail

if TYPE_CHECKING:
    from uplink.receiver.settings import ReceiverSettings
    from uplink.receiver.storing import Store

T = TypeVar("T")

DataDirOption = Annotated[
    Path | None, typer.Option("--data-dir", metavar="DIR", help="Of the CA, and of the embedded database.")
]


def settings_of(**flags: Any) -> ReceiverSettings:
    """From flags and variables; what makes no sense ends the command."""
    from uplink.receiver.settings import SettingsError, load_settings  # noqa: PLC0415 - not for `--help`

    try:
        return load_settings(**flags)
    except SettingsError as error:
        fail(Exit.USAGE, f"settings that make no sense:\n  {error}".replace("\n", "\n  "))


def ask(work: Callable[[Store], Coroutine[Any, Any, T]], data_dir: Path | None) -> T:
    """With the receiver's database, whether it runs or not."""
    from store.errors import StoreError, StoreUnavailable  # noqa: PLC0415 - not for `--help`
    from uplink.receiver.app import database  # noqa: PLC0415
    from uplink.wire.errors import WireError  # noqa: PLC0415

    settings = settings_of(data_dir=data_dir)

    async def asked() -> T:
        async with database(settings) as store:
            return await work(store)

    try:
        return asyncio.run(asked())
    except StoreUnavailable as error:
        fail(Exit.NO_ANSWER, error.message)
    except (StoreError, WireError) as error:
        fail(Exit.USAGE, str(error))
    except OSError as error:
        fail(Exit.USAGE, f"{error.filename}: {error.strerror}" if error.filename else str(error))


def plain(value: Any) -> Any:
    """What JSON takes: UUIDs as text, instants as they are (seconds since the epoch)."""
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    return str(value) if isinstance(value, UUID) else value
