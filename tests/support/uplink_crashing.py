"""A child process that keeps batches and sends them, or switches off, and dies where it is told.

    python -m tests.support.uplink_crashing SPEC STEP NTH

SPEC is a file of JSON: database and receiver URL, certificate, consent, directory, batches to add, and whether to
switch off at the end. It prints the id of each batch once it was added. At the NTH time that it passes STEP it kills
itself.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

from store.pool import Database
from tests.support.telemetry import ANN, OFFER
from tests.support.uplinking import Rig, batches_of, standing_of
from uplink.client.consent.desk import Desk
from uplink.client.consent.record import Given, read_record, write_record
from uplink.client.network.line import IngestLine
from uplink.client.network.transport import Transport
from uplink.client.network.trust import Trust
from uplink.client.spooling.off import Off


@dataclass(frozen=True)
class Spec:
    """What one does."""

    database: str
    receiver: str
    anchors: str
    chain: str
    key: str
    record: str
    directory: str
    batches: int
    off: bool


@dataclass
class Ended:
    """How it came to its end, and what it had added by then."""

    code: int | None
    added: list[str]


def spec_of(
    database: str, receiver: str, trust: Trust, given: Given, directory: Path, batches: int, *, off: bool
) -> Spec:
    record = write_record(given).decode()
    return Spec(
        database, receiver, trust.anchors_pem, trust.chain_pem, trust.key_pem, record, str(directory), batches, off
    )


async def run_child(spec: Spec, step: str = "", nth: int = 1, *, kill_after_s: float = 0.0) -> Ended:
    """From its start to its end."""
    directory = Path(spec.directory)
    directory.mkdir(mode=0o700, exist_ok=True)  # noqa: ASYNC240 - a moment
    path = directory / "spec.json"
    path.write_text(json.dumps(asdict(spec)))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.uplink_crashing", str(path), step, str(nth)),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    lines: list[bytes] = []
    if kill_after_s:
        lines.append(await process.stdout.readline())
        await asyncio.sleep(kill_after_s)
        process.kill()
    lines += (await process.stdout.read()).split(b"\n")
    return Ended(await process.wait(), [line.decode().strip() for line in lines if len(line.strip()) == 36])


async def _main(spec: Spec, step: str, nth: int) -> None:
    passed: Counter[str] = Counter()

    def at(here: str) -> None:
        passed[here] += 1
        if here == step and passed[here] == nth:
            os.kill(os.getpid(), signal.SIGKILL)

    given = read_record(spec.record.encode())
    assert isinstance(given, Given)
    directory = Path(spec.directory)
    db = await Database.open(spec.database)
    trust = Trust(spec.anchors, 1, spec.chain, spec.key)
    rig = Rig(db, directory, lambda: IngestLine(1, transport, spec.receiver, trust), at=at)
    transport = Transport(rig.gate.is_open)
    rig.gate._abort = transport.abort
    key = directory / "key.pem"
    key.touch()

    async def destroy() -> None:
        key.unlink(missing_ok=True)

    desk = Desk(directory, lambda: OFFER, {})
    off = Off(rig.epochs, rig.gate, destroy, at)
    desk.place.write_bytes(spec.record.encode())
    desk.place.chmod(0o600)
    await rig.epochs.open(given)
    rig.gate.admit(standing_of(given))
    async with rig.running(), asyncio.TaskGroup() as tasks:
        ending = tasks.create_task(off.run(), name="off")
        for batch in batches_of(given, spec.batches):
            await rig.spool.add(given, [batch], time.time())
            sys.stdout.write(f"{batch.id}\n")
            sys.stdout.flush()
            rig.sender.wake()
        if spec.off:
            desk.withdraw(ANN, time.time())
            await off.ended()
        else:
            while (await rig.spool.backlog()).batches:  # noqa: ASYNC110 - rows, not events
                await asyncio.sleep(0.01)
        ending.cancel()
    await transport.close()
    await db.close()


if __name__ == "__main__":
    _, path_, step_, nth_ = sys.argv
    asyncio.run(_main(Spec(**json.loads(Path(path_).read_text())), step_, int(nth_)))
