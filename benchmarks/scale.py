"""Whether a verdict costs more in a bigger fleet, what a target weighs, and how soon the first picture is there.

`marginal_cpu_ratio`: CPU a verdict that is added from 5,000 to 10,000 targets, against 500 to 1,000 (interval 60 s, all
live, CPU of the service and its PostgreSQL). `kib_per_target`: PSS from 1,000 to 10,000 targets, a CA and a kept
connection each. `first_picture_intervals`: 10,000 targets of which 30 % are dead, from ready to the last first verdict.
`--quick`: 125/250 and 500/1,000 targets at 2.5 s, and a first picture of 1,000: the same keys, and noise.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from benchmarks.harness import Seen, cpu_s, machine, muster_child, pss_mib, raise_limits, result
from muster.demo.running import running_fleet

DEAD_SHARE = 0.3
DEAD_KINDS = ("black-hole-accept", "tls-hang")


@dataclass(slots=True)
class Point:
    """One fleet size."""

    targets: int
    verdicts_per_s: float
    cpu_per_s: float
    pss_mib: float


async def measure(targets: int, interval_s: float, window_s: float) -> Point:
    """A settled fleet of `targets` live clusters."""
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as directory:
        async with (
            running_fleet(Path(directory), groups=[(targets, "healthy")], shared_listener=True, warm=True) as fleet,
            muster_child(fleet.source, interval_s=interval_s, timeout_s=interval_s / 3) as hub,
        ):
            await hub.first_picture(set(fleet.clusters), within_s=4 * interval_s)
            await asyncio.sleep(interval_s / 4)
            asked, begin, started = _asked(hub.seen), cpu_s([hub.pid]), monotonic()
            await asyncio.sleep(window_s)
            spent, took = cpu_s([hub.pid]) - begin, monotonic() - started
            point = Point(targets, (_asked(hub.seen) - asked) / took, spent / took, pss_mib([hub.pid]))
    print(
        f"{targets} targets: {point.verdicts_per_s:.1f} verdicts/s, {point.cpu_per_s * 100:.1f} % of a core, "
        f"{point.pss_mib:.0f} MiB",
        flush=True,
    )
    return point


async def first_picture(targets: int, interval_s: float, timeout_s: float) -> float:
    """In intervals, from the moment the API listens."""
    dead = int(targets * DEAD_SHARE)
    groups = [(targets - dead, "healthy")] + [(dead // len(DEAD_KINDS), kind) for kind in DEAD_KINDS]
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as directory:
        async with (
            running_fleet(Path(directory), groups=groups, shared_listener=True, warm=True) as fleet,
            muster_child(fleet.source, interval_s=interval_s, timeout_s=timeout_s) as hub,
        ):
            started = monotonic()
            done = await hub.first_picture(set(fleet.clusters), within_s=4 * interval_s)
    print(f"first picture of {targets} targets, {dead} dead: {done - started:.1f} s of {interval_s:.0f} s", flush=True)
    return (done - started) / interval_s


async def main(*, quick: bool) -> None:
    sizes, interval_s, window_s = (
        ((125, 250, 500, 1000), 2.5, 2.5) if quick else ((500, 1000, 5000, 10_000), 60.0, 60.0)
    )
    print(f"{machine()}; interval {interval_s:.0f} s", flush=True)
    points = [await measure(size, interval_s, window_s) for size in sizes]
    picture = await first_picture(sizes[-1], interval_s, 10.0 if not quick else interval_s / 3)
    small, large = _marginal(points[0], points[1]), _marginal(points[2], points[3])
    grown_kib = (points[3].pss_mib - points[1].pss_mib) * 1024
    result(
        benchmark="scale",
        marginal_cpu_ratio=large / small,
        marginal_cpu_ms=large * 1000,
        kib_per_target=grown_kib / (points[3].targets - points[1].targets),
        first_picture_intervals=picture,
    )


def _marginal(few: Point, many: Point) -> float:
    """CPU seconds of one more verdict."""
    return (many.cpu_per_s - few.cpu_per_s) / (many.verdicts_per_s - few.verdicts_per_s)


def _asked(seen: list[Seen]) -> int:
    return sum(s.check == "apiserver" for s in seen)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under 50 s: small fleets, the same keys")
    raise_limits()
    asyncio.run(main(quick=parser.parse_args().quick))
