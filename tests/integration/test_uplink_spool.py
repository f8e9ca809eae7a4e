"""The spool on a real PostgreSQL: its bounds, its order, and what is never in it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from store.errors import StoreError
from store.pool import Database
from tests.support.uplinking import Rig, ScriptedLine, batches_of, consent, waiting_ids
from uplink.client.consent.streams import Stream
from uplink.client.encoding.batch import Batch
from uplink.client.spooling.epochs import Epochs, Overtaken
from uplink.client.spooling.spool import MAX_QUARANTINED, Bounds, Spool, SpoolClosed
from uplink.wire.otlp import pack

ALL = list(Stream)
NOW = time.time()


def sized(given_: object, number: int, size: int, made_at: float = NOW) -> Batch:
    """About `size` bytes that do not compress."""
    (batch,) = batches_of(given_, 1)  # type: ignore[arg-type]
    raw = b"".join((number * 7919 + each).to_bytes(4, "big") for each in range(size))
    return replace(batch, id=uuid4(), raw=raw, made_at=made_at, records=number + 1)


async def test_batches_come_back_in_order_with_their_bytes(uplink_db: Database) -> None:
    spool, wanted = Spool(uplink_db), consent()
    await Epochs(uplink_db).open(wanted)
    batches = batches_of(wanted, 5)
    await spool.add(wanted, batches[:2], NOW)
    await spool.add(wanted, batches[2:], NOW)
    for batch in batches:
        waiting = await spool.next(wanted, ALL)
        assert waiting is not None
        assert (waiting.batch.id, waiting.batch.digest, waiting.batch.stream) == (batch.id, batch.digest, batch.stream)
        await spool.received(batch.id)
    assert await spool.next(wanted, ALL) is None


async def test_h4_nothing_is_added_under_a_consent_that_does_not_hold(uplink_db: Database) -> None:
    spool, wanted = Spool(uplink_db), consent()
    with pytest.raises(SpoolClosed):
        await spool.add(wanted, batches_of(wanted), NOW)
    await Epochs(uplink_db).open(wanted)
    with pytest.raises(SpoolClosed):
        await spool.add(consent(), batches_of(wanted), NOW)
    await Epochs(uplink_db).close()
    with pytest.raises(SpoolClosed):
        await spool.add(wanted, batches_of(wanted), NOW)
    assert await waiting_ids(uplink_db) == []


async def test_a_batch_that_is_added_twice_waits_once(uplink_db: Database) -> None:
    spool, wanted = Spool(uplink_db), consent()
    await Epochs(uplink_db).open(wanted)
    batches = batches_of(wanted, 2)
    await spool.add(wanted, batches, NOW)
    await spool.add(wanted, batches, NOW)
    assert await waiting_ids(uplink_db) == [str(batch.id) for batch in batches]


async def test_too_old_goes_and_is_counted(uplink_db: Database) -> None:
    spool, wanted = Spool(uplink_db, Bounds(age_s=60)), consent()
    await Epochs(uplink_db).open(wanted)
    old, young = sized(wanted, 4, 10, NOW - 61), sized(wanted, 1, 10, NOW - 59)
    await spool.add(wanted, [old, young], NOW)
    assert await waiting_ids(uplink_db) == [str(young.id)]
    assert await spool.counts() == {"too-old": 5}
    await spool.bound(NOW + 2)
    assert await spool.counts() == {"too-old": 7}


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sizes=st.lists(st.integers(1, 400), min_size=1, max_size=8),
    limit=st.integers(1, 3000),
    cuts=st.sets(st.integers(0, 8)),
)
async def test_the_spool_never_holds_more_than_its_bound_and_keeps_the_newest(
    uplink_database: str, sizes: list[int], limit: int, cuts: set[int]
) -> None:
    db = await Database.open(uplink_database)
    try:
        wanted = consent()
        await db.execute("UPDATE uplink_consent SET epoch = 0, consent = NULL")
        await Epochs(db).open(wanted)
        spool = Spool(db, Bounds(bytes=limit))
        batches = [sized(wanted, number, size) for number, size in enumerate(sizes)]
        pending: list[Batch] = []
        for number, batch in enumerate(batches):
            pending.append(batch)
            if number in cuts or number == len(batches) - 1:
                await spool.add(wanted, pending, NOW)
                pending = []
                backlog = await spool.backlog()
                assert backlog.bytes <= limit
        kept = await waiting_ids(db)
        assert kept == [str(batch.id) for batch in batches[len(batches) - len(kept) :]], "the newest, in order"
        lost = sum(batch.records for batch in batches[: len(batches) - len(kept)])
        assert (await spool.counts()).get("spool-full", 0) == lost
        if len(kept) < len(batches):
            larger = sum(len(pack(batch.raw)) for batch in batches[len(batches) - len(kept) - 1 :])
            assert larger > limit, "nothing went that had room"
    finally:
        await db.close()


async def test_h18_corrupt_row_is_set_aside_and_the_rest_goes_on(uplink_db: Database, tmp_path: Path) -> None:
    line = ScriptedLine()
    rig, wanted = Rig(uplink_db, tmp_path, lambda: line), consent()
    await rig.begin(wanted)
    first, second, third, fourth = batches_of(wanted, 4)
    await rig.spool.add(wanted, [first, second, third, fourth], NOW)
    await uplink_db.execute("UPDATE uplink_spool SET body = '\\x00' WHERE batch_id = $1", first.id)
    await uplink_db.execute("UPDATE uplink_spool SET sha256 = '\\x00' WHERE batch_id = $1", second.id)
    await uplink_db.execute(
        "UPDATE uplink_spool SET stream = 'logs', body = body || '\\x00' WHERE batch_id = $1", third.id
    )
    await rig.steps()
    assert line.ids == [str(fourth.id)]
    assert (await rig.spool.backlog()).quarantined == 3
    assert await rig.spool.counts() == {"quarantined": 3}


async def test_quarantine_is_bounded(uplink_db: Database) -> None:
    spool, wanted = Spool(uplink_db), consent()
    await Epochs(uplink_db).open(wanted)
    batches = batches_of(wanted, MAX_QUARANTINED + 3)
    await spool.add(wanted, batches, NOW)
    for batch in batches:
        await spool.quarantine(batch.id, "a test")
    backlog = await spool.backlog()
    assert (backlog.batches, backlog.quarantined) == (0, MAX_QUARANTINED)
    assert await spool.counts() == {"quarantined": MAX_QUARANTINED + 3}


async def test_h8_another_consent_finds_an_empty_spool(uplink_db: Database) -> None:
    spool, epochs, before, after = (
        Spool(uplink_db),
        Epochs(uplink_db),
        consent(),
        consent(epoch=2, organisation="umbrella"),
    )
    await epochs.open(before)
    await spool.add(before, batches_of(before, 3), NOW, {Stream.LOGS: {"after": 7}})
    await epochs.open(after)
    assert await spool.next(after, ALL) is None
    assert await waiting_ids(uplink_db) == []
    assert await spool.mark(Stream.LOGS) is None


async def test_h10_a_narrowed_consent_keeps_what_it_allows(uplink_db: Database) -> None:
    spool, epochs, wide = Spool(uplink_db), Epochs(uplink_db), consent()
    await epochs.open(wide)
    logs, metrics = batches_of(wide, 2), batches_of(wide, 1, Stream.METRICS)
    await spool.add(wide, [*logs, *metrics], NOW)
    narrow = wide.model_copy(update={"epoch": 2, "scope": {Stream.METRICS: wide.scope[Stream.METRICS]}})
    await epochs.open(narrow)
    assert await waiting_ids(uplink_db) == [str(metrics[0].id)]
    assert await spool.counts() == {"not-consented": 2}


async def test_h4_a_decision_of_another_instance_is_not_undone(uplink_db: Database) -> None:
    epochs = Epochs(uplink_db)
    await epochs.open(consent(epoch=5))
    with pytest.raises(Overtaken):
        await epochs.open(consent(epoch=4))
    await epochs.close(at_least=3)
    assert await epochs.read() == (6, None)


async def test_what_was_lost_is_counted_in_the_transaction_in_which_it_goes(uplink_db: Database) -> None:
    spool, wanted = Spool(uplink_db, Bounds(bytes=1)), consent()
    await Epochs(uplink_db).open(wanted)
    await uplink_db.execute("ALTER TABLE uplink_counts ADD CONSTRAINT away CHECK (count < 0)")
    try:
        with pytest.raises(StoreError):
            await spool.add(wanted, batches_of(wanted), NOW)
    finally:
        await uplink_db.execute("ALTER TABLE uplink_counts DROP CONSTRAINT away")
    assert await waiting_ids(uplink_db) == []
    assert await spool.counts() == {}, "nothing was kept, so nothing was lost"


async def test_off_waits_for_an_add_that_is_under_way_and_leaves_nothing_of_it(uplink_db: Database) -> None:
    spool, epochs, wanted = Spool(uplink_db), Epochs(uplink_db), consent()
    await epochs.open(wanted)

    async def adding() -> None:
        while True:
            await spool.add(wanted, batches_of(wanted), NOW)

    async def off() -> None:
        await asyncio.sleep(0.05)
        await epochs.close()
        await epochs.empty()

    ended, _ = await asyncio.gather(adding(), off(), return_exceptions=True)
    assert isinstance(ended, SpoolClosed)
    assert await waiting_ids(uplink_db) == []
