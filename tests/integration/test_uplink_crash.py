"""H19: the sending process is killed with SIGKILL at each named step and at random moments, against the real receiver.

What was added arrives, once, whatever happens: duplicates on the wire carry the same batch id. And H5: a process that
dies while it switches off has either not decided yet, or the next one finishes it.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from store.pool import Database
from tests.support.receiving import Desk, receiving
from tests.support.telemetry import OFFER
from tests.support.uplink_crashing import Spec, run_child, spec_of
from tests.support.uplinking import Rig, ScriptedLine, consent, standing_of, trust_of, waiting_ids
from uplink.client.consent.desk import Desk as ConsentDesk
from uplink.client.consent.record import Given, Withdrawn
from uplink.client.spooling.off import Off
from uplink.wire.otlp import unpack

STEPS = (
    ("before add", 2),
    ("after add", 3),
    ("before send", 2),
    ("after answer", 2),
    ("before delete", 2),
    ("after delete", 2),
)
OFF_STEPS = ("after record", "after destroy", "after epoch", "after truncate")


@pytest.fixture
async def desk(receiver_url: str, tmp_path: Path) -> AsyncIterator[Desk]:
    async with receiving(receiver_url, tmp_path / "receiver") as desk:
        yield desk


async def spec_for(desk: Desk, url: str, directory: Path, *, batches: int = 4, off: bool = False) -> tuple[Spec, Given]:
    identity = await desk.enrol()
    given = consent(installation=identity.installation)
    return spec_of(url, desk.url, trust_of(desk, identity), given, directory, batches, off=off), given


async def arrived(desk: Desk) -> list[str]:
    rows = await desk.store.db.fetch("SELECT batch_id FROM receiver_batches ORDER BY ordinal")
    return [str(row["batch_id"]) for row in rows]


async def test_h19_killed_at_each_named_step_nothing_is_lost_or_stored_twice(
    uplink_db: Database, uplink_database: str, desk: Desk, tmp_path: Path
) -> None:
    spec, _ = await spec_for(desk, uplink_database, tmp_path / "client")
    added: list[str] = []
    for step, nth in STEPS:
        child = await run_child(spec, step, nth)
        assert child.code == -signal.SIGKILL, step
        added += child.added
        assert set(added) <= {*await waiting_ids(uplink_db), *await arrived(desk)}, f"lost after {step}"
    child = await run_child(spec)
    assert child.code == 0
    got = await arrived(desk)
    assert set(added) | set(child.added) <= set(got)
    assert len(got) - len(set(added) | set(child.added)) <= len(STEPS), "only what was added and not yet printed"
    assert await desk.store.db.fetchval("SELECT count(*) FROM receiver_logs") == len(got), "each was stored once"
    copies = {path.name[-42:-6] for path in (tmp_path / "client" / "sent").glob("*.pb.gz")}
    assert set(got) <= copies, "nothing left without a copy"
    assert await waiting_ids(uplink_db) == []


async def kill_at_random(desk: Desk, db: Database, url: str, directory: Path, times: int) -> None:
    spec, _ = await spec_for(desk, url, directory, batches=500)
    random, added = Random(times), list[str]()
    for _ in range(times):
        child = await run_child(spec, kill_after_s=random.uniform(0.001, 0.15))
        assert child.code == -signal.SIGKILL
        added += child.added
        assert set(added) <= {*await waiting_ids(db), *await arrived(desk)}
    assert (await run_child(replace(spec, batches=1))).code == 0
    got = await arrived(desk)
    assert set(added) <= set(got)
    assert await desk.store.db.fetchval("SELECT count(*) FROM receiver_logs") == len(got)


@pytest.mark.timeout(90)
async def test_h19_killed_at_random_moments(
    uplink_db: Database, uplink_database: str, desk: Desk, tmp_path: Path
) -> None:
    await kill_at_random(desk, uplink_db, uplink_database, tmp_path / "client", 10)


@pytest.mark.soak
@pytest.mark.timeout(900)
async def test_h19_killed_at_two_hundred_random_moments(
    uplink_db: Database, uplink_database: str, desk: Desk, tmp_path: Path
) -> None:
    await kill_at_random(desk, uplink_db, uplink_database, tmp_path / "client", 200)


async def test_h5_killed_at_each_step_of_off_the_next_start_finishes_it(
    uplink_db: Database, uplink_database: str, desk: Desk, tmp_path: Path
) -> None:
    for number, step in enumerate(OFF_STEPS):
        await uplink_db.execute("UPDATE uplink_consent SET epoch = 0, consent = NULL")
        directory = tmp_path / f"client{number}"
        spec, given = await spec_for(desk, uplink_database, directory, batches=3, off=True)
        child = await run_child(spec, step)
        assert child.code == -signal.SIGKILL, step
        found = ConsentDesk(directory, lambda: OFFER, {}).found()
        assert isinstance(found, Withdrawn), "the record is on the disk before anything else is done"
        before = await arrived(desk)

        key = directory / "key.pem"
        rig = Rig(uplink_db, directory, ScriptedLine)

        async def destroy(key: Path = key) -> None:
            key.unlink(missing_ok=True)  # noqa: ASYNC240 - a moment

        off = Off(rig.epochs, rig.gate, destroy)
        ending = asyncio.create_task(off.run())
        await off.resume(found)
        assert not off.unfinished, step
        ending.cancel()
        assert await waiting_ids(uplink_db) == []
        assert not key.exists()
        rig.gate.admit(standing_of(given))  # as another replica would, with a file of its own
        assert not await rig.gate.ask()
        assert await arrived(desk) == before


async def test_what_arrives_is_what_was_copied(
    uplink_db: Database, uplink_database: str, desk: Desk, tmp_path: Path
) -> None:
    spec, _ = await spec_for(desk, uplink_database, tmp_path / "client", batches=2)
    child = await run_child(spec)
    assert child.code == 0
    for path in (tmp_path / "client" / "sent").glob("*.pb.gz"):
        assert b"uplink.consent.id" in unpack(path.read_bytes())
