"""An enroller on a directory, at a vendor, with a clock that a test moves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID, uuid4

from uplink.client.enrolment.enroller import Enroller, Enrolment
from uplink.client.enrolment.enrolment import Word
from uplink.client.enrolment.est import EstRegistrar
from uplink.client.enrolment.identity import Bond, Identity, read_identity
from uplink.client.enrolment.prober import IngestProber
from uplink.client.enrolment.vault import FileVault, Vault
from uplink.client.network.transport import Transport
from validator.clock import FakeClock

TOKEN = "canary-token-0123456789abcdef"


async def eventually(there: Callable[[], object]) -> None:
    """Wait until it is so."""
    async with asyncio.timeout(5):
        while not there():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.005)


def bond(url: str, installation: UUID | None = None, **fields: object) -> Bond:
    made = Bond(consent_id=uuid4(), installation_id=installation or uuid4(), organisation="acme", register_url=url)
    return made.model_copy(update=fields)


@dataclass(slots=True)
class Bench:
    """All of one client."""

    directory: Path
    url: str
    anchors_pem: str
    bond: Bond
    vault: Vault
    clock: FakeClock
    transport: Transport
    enroller: Enroller
    allowed: bool = True
    promotions: list[float] = field(default_factory=list)

    async def begin(self, token: str | None = TOKEN, bond: Bond | None = None) -> bool:
        self.bond = bond or self.bond
        registrar = EstRegistrar(self.transport, self.bond.register_url, self.clock)
        return await self.enroller.begin(self.bond, token, registrar, IngestProber(self.transport, self.url))

    def kept(self) -> Identity:
        return read_identity((self.directory / "identity.json").read_bytes())

    def files(self) -> list[Path]:
        return sorted(self.directory.iterdir()) if self.directory.exists() else []

    async def until(self, *words: Word, detail: str = "") -> Enrolment:
        def there() -> bool:
            state = self.enroller.state()
            return state.word in words and detail in state.detail

        await eventually(there)
        return self.enroller.state()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.enroller.run(), name="enroller")
        try:
            yield
            assert not task.done()
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


@asynccontextmanager
async def bench(
    directory: Path, url: str, anchors_pem: str, *, vault: Vault | None = None, bound: Bond | None = None
) -> AsyncIterator[Bench]:
    """A client of the EST server and ingest at `url`; its clock is the real time, and stands still."""
    clock, vault = FakeClock(time.time()), vault or FileVault(directory)
    transport = Transport(lambda: made.allowed)
    enroller = Enroller(
        vault,
        anchors_pem,
        clock,
        retire=transport.retire,
        promoted=lambda: made.promotions.append(clock.now()),
        dice=lambda: 0.0,
    )
    made = Bench(directory, url, anchors_pem, bound or bond(url), vault, clock, transport, enroller)
    try:
        yield made
    finally:
        await transport.close()
