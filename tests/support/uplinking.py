"""The client's spool, gate and sender on a real database, with a line that says what a test wants, or a real one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from store.migrate import STORE_MIGRATIONS, migrate
from store.pool import Database
from tests.support import telemetry
from tests.support.postgres import PostgresServer
from tests.support.receiving import Desk, Identity
from uplink.client.consent.consent import Standing, decide
from uplink.client.consent.record import Given
from uplink.client.consent.streams import Stream
from uplink.client.encoding.batch import Batch
from uplink.client.encoding.gather import Told, events, gather
from uplink.client.encoding.items import Item
from uplink.client.network.line import IngestLine, Line
from uplink.client.network.transport import Transport
from uplink.client.network.trust import Trust
from uplink.client.spooling.copies import Copies
from uplink.client.spooling.epochs import SPOOL_MIGRATIONS, Epochs
from uplink.client.spooling.gate import Gate
from uplink.client.spooling.pace import Pace
from uplink.client.spooling.sender import Sender
from uplink.client.spooling.spool import Bounds, CrashPoint, Spool
from uplink.wire.otlp import CONTENT_TYPE
from validator.clock import HubClock

QUICK = Pace(base_s=0.005, cap_s=0.02, hold_s=0.01)
DICTIONARY = telemetry.OFFER.dictionary


def consent(*streams: Stream, epoch: int = 1, organisation: str = "acme", installation: UUID | None = None) -> Given:
    """A consent of ten seconds ago."""
    given = telemetry.given(*streams, at=time.time() - 10)
    changed: dict[str, Any] = {"epoch": epoch, "organisation": organisation}
    if installation is not None:
        changed["installation_id"] = installation
    return given.model_copy(update=changed)


def standing_of(given: Given) -> Standing:
    """What may be done under it."""
    offer = telemetry.OFFER
    return decide(given, type(offer)(offer.dictionary, offer.commitments, given.organisation, given.endpoints), {})


def batches_of(given: Given, count: int = 1, stream: Stream = Stream.LOGS, records: int = 1) -> list[Batch]:
    """Through the real encoder."""
    encoder, made = telemetry.encoder(given, stream), list[Batch]()
    now = time.time()
    for number in range(count):
        if stream is Stream.LOGS:
            changes = [telemetry.change(id=each, at=now - each / 1e4) for each in range(records)]
            items: list[Item] = events(changes, given.decided_at)
        else:
            facts = telemetry.facts(max(1, records // 2), at=now + number / 1e3)
            items, _ = gather(stream, facts, Told(given.decided_at))
        made += encoder.encode(items, now).batches
    return made


@dataclass(frozen=True, slots=True)
class Said:
    """One answer."""

    status: int = 200
    content_type: str | None = CONTENT_TYPE
    body: bytes = b""
    retry_after: str | None = None
    date: str | None = None
    content_encoding: str | None = None


Answering = Callable[[str, bytes, Mapping[str, str]], Said]


@dataclass
class ScriptedLine:
    """Answers as told, and writes down what it was given; `hangs` until it is cut."""

    answers: list[Said | Exception] = field(default_factory=list)
    generation: int = 1
    otherwise: Answering = lambda path, body, headers: Said()
    posts: list[tuple[str, bytes, Mapping[str, str]]] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    under_way: int = 0
    most_under_way: int = 0

    async def post(self, path: str, body: bytes, headers: Mapping[str, str], deadline_s: float) -> Said:
        self.posts.append((path, body, headers))
        self.under_way += 1
        self.most_under_way = max(self.under_way, self.most_under_way)
        await asyncio.sleep(0)
        self.under_way -= 1
        said = self.answers.pop(0) if self.answers else self.otherwise(path, body, headers)
        if isinstance(said, Exception):
            raise said
        return said

    async def delete(self, path: str, deadline_s: float) -> Said:
        self.deleted.append(path)
        said = self.answers.pop(0) if self.answers else Said(204)
        if isinstance(said, Exception):
            raise said
        return said

    @property
    def ids(self) -> list[str | None]:
        return [headers.get("Idempotency-Key") for _, _, headers in self.posts]


class Rig:
    """One instance."""

    def __init__(
        self,
        db: Database,
        directory: Path,
        line: Callable[[], Line | None],
        *,
        abort: Callable[[], None] = lambda: None,
        bounds: Bounds | None = None,
        pace: Pace = QUICK,
        at: CrashPoint = lambda _: None,
    ) -> None:
        self.db = db
        self.clock = HubClock()
        self.overtaken: list[int] = []
        self.refused: list[int] = []
        self.epochs = Epochs(db)
        self.spool = Spool(db, bounds, at)
        self.gate = Gate(self.epochs, abort, self.overtaken.append)
        self.copies = Copies(directory / "sent")
        self.sender = Sender(
            self.spool,
            self.gate,
            line,
            DICTIONARY,
            self.clock,
            self.copies,
            refused=self.refused.append,
            pace=pace,
            random=Random(1),
            at=at,
        )

    async def begin(self, given: Given) -> None:
        """Open the consent, here and in the database."""
        await self.epochs.open(given)
        self.gate.admit(standing_of(given))
        assert await self.gate.ask()

    async def steps(self, most: int = 100) -> int:
        """Until there is nothing to send; waits are not waited for."""
        for number in range(most):
            if await self.sender.step() is None:
                return number
        return most

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """With the tasks that composition starts."""
        async with asyncio.TaskGroup() as tasks:
            started = [
                tasks.create_task(self.gate.run(), name="gate"),
                tasks.create_task(self.sender.run(), name="sender"),
            ]
            try:
                yield
            finally:
                for task in started:
                    task.cancel()


def trust_of(desk: Desk, identity: Identity, generation: int = 1) -> Trust:
    """That of an installation which has enrolled."""
    anchors = "".join(each.public_bytes(Encoding.PEM).decode() for each in desk.authority.bundle)
    key = identity.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return Trust(anchors, generation, identity.certificate.public_bytes(Encoding.PEM).decode(), key)


def real_line(transport: Transport, desk: Desk, identity: Identity) -> IngestLine:
    """To a real receiver."""
    return IngestLine(1, transport, desk.url, trust_of(desk, identity))


@pytest.fixture(scope="session")
def uplink_database(postgres: PostgresServer) -> Iterator[str]:
    """One for all tests of a worker."""
    url = postgres.create_database()

    async def prepare() -> None:
        db = await Database.open(url)
        await migrate(db, [STORE_MIGRATIONS, SPOOL_MIGRATIONS], 1)
        await db.close()

    postgres._runner.run(prepare())
    yield url
    postgres.drop_database(url)


@pytest.fixture
async def uplink_db(uplink_database: str) -> AsyncIterator[Database]:
    """An open pool on an empty spool."""
    db = await Database.open(uplink_database)
    await db.execute(
        "TRUNCATE uplink_spool, uplink_marks, uplink_counts; UPDATE uplink_consent SET epoch = 0, consent = NULL"
    )
    yield db
    await db.close()


async def until(holds: Callable[[], bool], within_s: float = 5.0) -> None:
    """Wait for it."""
    async with asyncio.timeout(within_s):
        while not holds():  # noqa: ASYNC110 - states, not events
            await asyncio.sleep(0.005)


async def waiting_ids(db: Database) -> Sequence[str]:
    """In order."""
    rows = await db.fetch("SELECT batch_id FROM uplink_spool WHERE quarantine IS NULL ORDER BY ordinal")
    return [str(row["batch_id"]) for row in rows]
