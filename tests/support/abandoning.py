"""A child process that begins validation jobs and waits to be killed.

python -m tests.support.abandoning DATABASE_URL

Of the four pairs of the one location it has one answered, two in progress and one pending; then it prints `begun`.
"""

from __future__ import annotations

import asyncio
import sys

from store.pool import Database
from tests.support.validating import ValidationBench, answer_of


async def _main(url: str) -> None:
    bench = await ValidationBench(await Database.open(url)).lead()
    assigned = bench.locations.locations.known[bench.location_id].assignments
    async with bench.running():
        await bench.jobs.ask(bench.location_id, list(assigned), "ann")
        await bench.until(lambda: len(bench.carrier.taken) == 4)
        one, two, three, _ = sorted(bench.carrier.taken)
        bench.carrier.begun(one, two, three)
        bench.carrier.answer(one, [answer_of(one)])
        await bench.until(lambda: sum(state != "Pending" for state in bench.states().values()) == 3)
        print("begun", flush=True)  # noqa: T201 - what the parent waits for
        await asyncio.sleep(60)


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1]))
