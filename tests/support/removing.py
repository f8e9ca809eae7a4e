"""A child process that removes what is DeletePending, and dies where it is told.

python -m tests.support.removing DATABASE_URL STEP

Rows of the table `leftovers` go ten at a time; before the STEPth piece is committed it kills itself. With 0 it ends
when nothing is left to be removed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from uuid import UUID

from store.pool import Database, Statements
from tests.support.locations import LocationBench

_SOME = """
DELETE FROM leftovers WHERE ctid IN (SELECT ctid FROM leftovers WHERE location_id = $1 LIMIT 10) RETURNING number
"""


async def _main(url: str, step: int) -> None:
    pieces = 0

    async def forget(tx: Statements, location_id: UUID) -> int:
        nonlocal pieces
        pieces += 1
        removed = len(await tx.fetch(_SOME, location_id))
        if pieces == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return removed

    database = await Database.open(url)
    bench = await LocationBench(database, forgettings=[forget]).lead()
    removing = asyncio.create_task(bench.locations.run(), name="locations")
    while any(each.deleting_at is not None for each in bench.locations.known.values()):  # noqa: ASYNC110 - memory has no event
        await asyncio.sleep(0.01)
    removing.cancel()
    await asyncio.wait([removing])
    await database.close()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], int(sys.argv[2])))
