"""Across an air gap: what the exporter writes is what the receiver imports; and filling, which comes before it."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from store.pool import Database
from tests.support.receiving import Identity, new_key, receiving
from tests.support.telemetry import OFFER, MadeUpFacts, change, facts
from tests.support.uplinking import DICTIONARY, Rig, ScriptedLine, batches_of, consent, standing_of, waiting_ids
from uplink.client.consent.consent import Impossible, Standing, decide
from uplink.client.consent.dictionary import Dictionary
from uplink.client.consent.record import Given
from uplink.client.consent.streams import Stream
from uplink.client.spooling.export import Exporter, Signer
from uplink.client.spooling.filler import FIRST_FOR_S, FIRST_METRICS_S, METRICS_S, Filler
from uplink.receiver.batches import Batches, Stored
from uplink.receiver.importing import Trusted, import_file
from uplink.wire.errors import WireError
from uplink.wire.export import fingerprint, read_export
from uplink.wire.otlp import parse
from validator.clock import FakeClock


class Outside:
    """An instance that has no network."""

    def __init__(self, db: Database, directory: Path, given: Given, identity: Identity | None = None) -> None:
        directory.mkdir(exist_ok=True)
        self.rig = Rig(db, directory, ScriptedLine)
        self.given, self.standing = given, standing_of(given)
        self.key = new_key() if identity is None else identity.key
        self.chain = () if identity is None else (identity.certificate,)
        self.clock = FakeClock(time.time())
        self.source = MadeUpFacts(facts(3, at=self.clock.now()), [change(at=self.clock.now())])
        self.filler = self.new_filler()
        self.exporter = self.new_exporter()
        self.directory = directory

    def new_filler(self) -> Filler:
        return Filler(self.source, self.rig.spool, self.rig.gate, DICTIONARY, self.clock, "0.1.0")

    def new_exporter(self, dictionary: Dictionary = DICTIONARY) -> Exporter:
        async def signer() -> Signer:
            return Signer(self.key, self.chain)

        async def fill(standing: Standing) -> int:
            return await self.filler.fill(standing, now_all=True)

        return Exporter(
            self.rig.spool, self.rig.epochs, dictionary, self.clock, self.rig.copies._directory.parent, signer, fill
        )

    async def write(self, path: Path) -> None:
        pieces = [piece async for piece in self.exporter.export(self.standing)]
        path.write_bytes(b"".join(pieces))  # noqa: ASYNC240 - a moment


@pytest.fixture
async def outside(uplink_db: Database, tmp_path: Path) -> Outside:
    given = consent()
    made = Outside(uplink_db, tmp_path / "client", given)
    await made.rig.epochs.open(given)
    return made


async def test_an_export_is_imported_once_however_often_it_comes(
    uplink_db: Database, receiver_url: str, tmp_path: Path
) -> None:
    async with receiving(receiver_url, tmp_path / "receiver") as desk:
        identity = await desk.enrol()
        given = consent(installation=identity.installation)
        outside = Outside(uplink_db, tmp_path / "client", given, identity)
        await outside.rig.epochs.open(given)
        await outside.rig.spool.add(given, batches_of(given, 20), time.time())
        path = tmp_path / "export"
        await outside.write(path)
        waiting = await waiting_ids(uplink_db)
        assert len(waiting) == 20 + 3, "and what is known now, of each stream"
        imported = await import_file(desk.store, Batches(desk.store), desk.authority.bundle, path, desk.clock.now() + 1)
        assert imported.batches == {Stored.NEW: 23}
        again = await import_file(desk.store, Batches(desk.store), desk.authority.bundle, path, desk.clock.now() + 1)
        assert again.batches == {Stored.REPEATED: 23}
        assert await waiting_ids(uplink_db) == waiting, "a file that is carried by hand gets lost"


async def test_without_a_network_ever_the_operator_is_told_the_fingerprint(
    outside: Outside, receiver_url: str, tmp_path: Path
) -> None:
    path = tmp_path / "export"
    await outside.write(path)
    async with receiving(receiver_url, tmp_path / "receiver") as desk:
        with pytest.raises(WireError):
            await import_file(desk.store, Batches(desk.store), desk.authority.bundle, path, time.time())
        known = Trusted("acme", fingerprint(outside.key.public_key()))
        done = await import_file(desk.store, Batches(desk.store), desk.authority.bundle, path, time.time(), known)
        assert done.batches == {Stored.NEW: 3}


async def test_an_export_needs_a_consent_and_the_databases_word_for_it(outside: Outside, tmp_path: Path) -> None:
    outside.standing = decide(outside.given, OFFER, {"DO_NOT_TRACK": "1"})
    with pytest.raises(Impossible, match="needs a consent"):
        await outside.write(tmp_path / "export")
    outside.standing = standing_of(outside.given)
    await outside.rig.epochs.close()
    with pytest.raises(Impossible, match="onsent again"):
        await outside.write(tmp_path / "export")
    assert await waiting_ids(outside.rig.db) == []


async def test_h10_an_export_holds_only_what_is_allowed_by_now(outside: Outside, tmp_path: Path) -> None:
    kind = DICTIONARY.kinds["muster.transition"]
    smaller = replace(kind, attributes={name: each for name, each in kind.attributes.items() if name != "reason"})
    dictionary = Dictionary(DICTIONARY.version, DICTIONARY.resource, {**DICTIONARY.kinds, smaller.name: smaller})
    outside.exporter = outside.new_exporter(dictionary)
    path = tmp_path / "export"
    await outside.write(path)
    assert b"muster.transition" in path.read_bytes()
    assert b"ConnectTimeout" not in path.read_bytes()
    ids = []
    for _ in range(2):
        await outside.write(path)
        with path.open("rb") as file:
            ids.append([str(each.id) for each in read_export(file).batches if each.signal == "logs"])
    assert ids[0] == ids[1], "the same batch has the same id in each file"
    assert not set(ids[0]) & set(await waiting_ids(outside.rig.db))


async def test_a_transition_is_told_once_across_a_restart(outside: Outside) -> None:
    spool = outside.rig.spool
    await outside.filler.fill(outside.standing)
    first = await waiting_ids(outside.rig.db)
    outside.filler = outside.new_filler()
    outside.source.made_up_changes = [*outside.source.made_up_changes, change(id=2, at=outside.clock.now())]
    await outside.filler.fill(outside.standing)
    logs = await spool.page(outside.given, [Stream.LOGS], 0, 10)
    events = [len(parse(w.batch.signal, w.batch.raw).resource_logs[0].scope_logs[0].log_records) for w in logs]
    assert events == [1, 1]
    assert await spool.mark(Stream.LOGS) == {"after": 2}
    assert len(first) == 3


async def test_metrics_come_once_a_minute_and_inventory_when_it_changes(outside: Outside) -> None:
    assert await outside.filler.fill(outside.standing) == 3
    assert await outside.filler.fill(outside.standing) == 0
    outside.clock.advance(METRICS_S)
    outside.source.known = facts(4, at=outside.clock.now())
    assert await outside.filler.fill(outside.standing) == 2


async def test_metrics_come_more_often_while_the_consent_is_young(outside: Outside) -> None:
    assert await outside.filler.fill(outside.standing) == 3
    outside.clock.advance(FIRST_METRICS_S)
    assert await outside.filler.fill(outside.standing) == 1
    outside.clock.advance(FIRST_FOR_S)
    assert await outside.filler.fill(outside.standing) == 1
    outside.clock.advance(FIRST_METRICS_S)
    assert await outside.filler.fill(outside.standing) == 0, "once a minute from now on"


async def test_what_was_lost_is_itself_told_also_by_the_next_process(outside: Outside) -> None:
    await outside.filler.fill(outside.standing, now_all=True)
    (first, *_) = await outside.rig.spool.page(outside.given, [Stream.LOGS], 0, 1)
    await outside.rig.spool.quarantine(first.batch.id, "a test")
    outside.filler = outside.new_filler()
    for _ in range(2):
        await outside.filler.fill(outside.standing, now_all=True)
    told = []
    for waiting in await outside.rig.spool.page(outside.given, [Stream.METRICS], 0, 10):
        request = parse(waiting.batch.signal, waiting.batch.raw)
        told += [
            (point.attributes[0].value.string_value, point.as_int)
            for metric in request.resource_metrics[0].scope_metrics[0].metrics
            if metric.name == "uplink.dropped"
            for point in metric.sum.data_points
        ]
    assert told == [("quarantined", 1)]
