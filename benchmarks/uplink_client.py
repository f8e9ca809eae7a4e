"""Muster's uplink as the service has it, with a made-up fleet: gathers, keeps and sends when it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.uplink_fleet import MadeFleet
from store.migrate import STORE_MIGRATIONS, migrate
from store.pool import Database
from uplink.client.consent.commitments import commitments
from uplink.client.consent.consent import Offer, Standing, Wanted, Who, decide, give
from uplink.client.consent.dictionary import dictionary
from uplink.client.consent.streams import Stream
from uplink.client.network.line import IngestLine, Line
from uplink.client.network.transport import Transport
from uplink.client.network.trust import Trust
from uplink.client.spooling.copies import Copies
from uplink.client.spooling.epochs import SPOOL_MIGRATIONS, Epochs
from uplink.client.spooling.filler import Filler
from uplink.client.spooling.gate import Gate
from uplink.client.spooling.sender import Sender
from uplink.client.spooling.spool import Spool
from validator.clock import Clock


@dataclass(frozen=True)
class Spec:
    """What a side needs to know."""

    database: str
    receiver: str
    directory: str
    anchors: str
    chain: str
    key: str
    rounds: int


@dataclass(frozen=True, slots=True)
class Client:
    """One that was consented to."""

    filler: Filler
    sender: Sender
    standing: Standing


@asynccontextmanager
async def client(
    spec: Spec,
    fleet: MadeFleet,
    clock: Clock,
    *,
    spool_of: Callable[[Database], Spool] = Spool,
    line_of: Callable[[Line], Line] = lambda line: line,
) -> AsyncIterator[Client]:
    """With a consent of a second ago. `spool_of` and `line_of` may put something in between."""
    db = await Database.open(spec.database)
    await migrate(db, [STORE_MIGRATIONS, SPOOL_MIGRATIONS], 1)
    offer = Offer(dictionary(), commitments(), "acme", None)
    wanted = Wanted(frozenset(Stream), offer.commitments.sha256, offer.dictionary.version)
    given = give(wanted, offer, {}, Who("benchmark", "cli"), 1, clock.now() - 1)
    standing = decide(given, offer, {})
    epochs, spool = Epochs(db), spool_of(db)
    gate = Gate(epochs, lambda: transport.abort(), lambda _: None)  # noqa: PLW0108 - it is made below
    transport = Transport(gate.is_open)
    line = line_of(IngestLine(1, transport, spec.receiver, Trust(spec.anchors, 1, spec.chain, spec.key)))
    copies = Copies(Path(spec.directory) / "telemetry" / "sent")
    sender = Sender(spool, gate, lambda: line, offer.dictionary, clock, copies)
    filler = Filler(fleet, spool, gate, offer.dictionary, clock, "0.1.0")
    await epochs.open(given)
    gate.admit(standing)
    watching = asyncio.create_task(gate.run(), name="gate")
    try:
        yield Client(filler, sender, standing)
    finally:
        watching.cancel()
        await transport.close()
        await db.close()
