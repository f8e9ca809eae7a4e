"""Do dead clusters delay the living? Always 200 live targets, and 0, 200 and 1,800 dead ones beside them.

Dead = full listen backlog (SYNs dropped), hang after accept, hang in TLS, a third each; `--quick`: 0 and 1,800 that
hang after accept, faster. Interval 10 s, timeout 5 s, a scraper of /metrics on, all from the very first tick on counts.
Lateness = due -> answer; a skipped tick counts with the answer that came at last. Then storage that hangs
(`hanging_storage.py`): 1,000 pairs beside the living, or 100.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks import hanging_storage
from benchmarks.harness import (
    lateness_of_all_ticks,
    machine,
    muster_child,
    quantile,
    raise_limits,
    result,
    scraper,
)
from muster.demo.running import running_fleet

LIVE = 200
KINDS = ("full-backlog", "black-hole-accept", "tls-hang")


@dataclass(frozen=True, slots=True)
class Plan:
    """How it is measured."""

    kinds: tuple[str, ...]
    dead: tuple[int, ...]
    interval_s: float
    timeout_s: float
    calm_s: float
    """How long without dead ones."""
    duration_s: float
    """How long with them."""
    revive_after_s: float


FULL = Plan(
    kinds=KINDS,
    dead=(0, 200, 1800),
    interval_s=10.0,
    timeout_s=5.0,
    calm_s=150.0,
    duration_s=150.0,
    revive_after_s=60.0,
)
QUICK = Plan(
    kinds=KINDS[1:2],
    dead=(0, 1800),
    interval_s=6.0,
    timeout_s=3.0,
    calm_s=8.0,
    duration_s=17.0,
    revive_after_s=4.0,
)


@dataclass(slots=True)
class Run:
    """One fleet's figures."""

    dead: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    due: int
    answered: int
    reported_down: int
    recovery_s: float | None


async def measure(plan: Plan, dead: int) -> Run:
    kinds = plan.kinds
    groups = [(LIVE, "healthy")]
    groups += [(dead // len(kinds) + (i < dead % len(kinds)), kind) for i, kind in enumerate(kinds) if dead]
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as directory:
        async with (
            running_fleet(Path(directory), groups=groups, warm=True) as fleet,
            muster_child(fleet.source, interval_s=plan.interval_s, timeout_s=plan.timeout_s) as hub,
            scraper(hub, 5.0),
        ):
            revived = None
            if dead:
                await asyncio.sleep(plan.revive_after_s)
                revived = next(name for name in fleet.clusters if not name.startswith("healthy"))
                revived_at = await fleet.set_behaviour(revived, "healthy")
                await asyncio.sleep(plan.duration_s - plan.revive_after_s)
            else:
                await asyncio.sleep(plan.calm_s)
            seen = [s for s in hub.seen if s.check == "apiserver"]
    live = [s for s in seen if s.name.startswith("healthy")]
    back = next((s.at for s in seen if s.name == revived and s.outcome in ("pass", "finding")), None)
    lateness = [s * 1000 for s in lateness_of_all_ticks(live, plan.interval_s)]
    run = Run(
        dead=dead,
        p50_ms=quantile(lateness, 0.5),
        p99_ms=quantile(lateness, 0.99),
        max_ms=max(lateness, default=0.0),
        due=len(lateness),
        answered=len(live),
        reported_down=sum(s.outcome not in ("pass", "finding") for s in live),
        recovery_s=None if back is None or revived is None else back - revived_at,
    )
    recovery = "" if run.recovery_s is None else f", a dead one back after {run.recovery_s:.1f} s"
    print(
        f"{LIVE} live + {dead} dead: {run.due} due, {run.answered} answered, lateness p50 {run.p50_ms:.1f} ms, "
        f"p99 {run.p99_ms:.1f} ms, max {run.max_ms:.1f} ms, live reported down {run.reported_down}{recovery}",
        flush=True,
    )
    return run


async def main(*, quick: bool) -> None:
    plan = QUICK if quick else FULL
    print(
        f"{machine()}; interval {plan.interval_s:g} s, timeout {plan.timeout_s:g} s, dead: {', '.join(plan.kinds)}",
        flush=True,
    )
    runs = [await measure(plan, dead) for dead in plan.dead]
    pairs = await hanging_storage.measure(hanging_storage.QUICK if quick else hanging_storage.FULL)
    calm, worst = runs[0], runs[-1]
    result(
        benchmark="isolation",
        p99_lateness_ratio_90=worst.p99_ms / calm.p99_ms if calm.p99_ms else 0.0,
        p99_lateness_diff_ms_90=worst.p99_ms - calm.p99_ms,
        live_reported_down=sum(run.reported_down for run in runs),
        due=sum(run.due for run in runs),
        answered=sum(run.answered for run in runs),
        recovery_s=worst.recovery_s,
        **pairs,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under 50 s: 0 and 1,800 dead of one kind, 100 pairs")
    raise_limits()
    asyncio.run(main(quick=parser.parse_args().quick))
