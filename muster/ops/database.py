"""Getting at the service's database from a command beside it, whether the service runs or not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from muster.settings import Settings
from store.address import parse_address
from store.embedded import EmbeddedPostgres
from store.errors import StoreUnavailable
from store.running import must_exist, running_url


@dataclass(frozen=True, slots=True)
class Reached:
    """A database that answers."""

    url: str = field(repr=False)
    shown: str
    """For people; without its password."""


@asynccontextmanager
async def reach(settings: Settings, *, create: bool = False) -> AsyncIterator[Reached]:
    """The user's own database; else the embedded one: beside the service, or started for the length of the block.

    `create` makes an embedded database where there is none. Raises `StoreError`.
    """
    if settings.database_url is not None:
        url = settings.database_url.get_secret_value()
        yield Reached(url, str(parse_address(url)))
        return
    if not create:
        must_exist(settings.data_dir)
    if url_beside := running_url(settings.data_dir):
        yield Reached(url_beside, f"the embedded database in {settings.data_dir}, beside the service")
        return
    embedded = EmbeddedPostgres(settings.data_dir)
    try:
        url = await embedded.start(on_wait=_do_not_wait)
        yield Reached(url, f"the embedded database in {settings.data_dir}")
    finally:
        await embedded.stop()


@asynccontextmanager
async def reach_running(settings: Settings) -> AsyncIterator[Reached | None]:
    """The same without starting anything: None where the embedded database does not run. Raises `StoreError`."""
    if settings.database_url is None and running_url(settings.data_dir) is None:
        yield None
        return
    async with reach(settings) as reached:
        yield reached


def _do_not_wait(cause: str) -> None:
    """The service took it in the blink between our look and our start, or is still starting it."""
    raise StoreUnavailable(f"the embedded database is being started or stopped at the moment: {cause}. Try again.")
