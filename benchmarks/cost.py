"""What does a verdict cost? Muster, all of it, against Debian's Prometheus + blackbox_exporter over the same targets.

2,000 TLS targets with a CA each, every 10 s (`--quick`: 400 every 5 s). Muster: probe, verdict, health, store with
its PostgreSQL, a scraper every 15 s; every fourth of its asks is heavier than the peers' (a namespace read), and
connections are renewed at the production rate (once in 300 s each) inside the window. The peers get the same targets,
interval, timeout, bearer token and CA check. They take turns; CPU is user + system of all processes of each side, a
verdict is one target asked once, memory is the sum of PSS at the end of the window.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks import peers
from benchmarks.harness import cpu_s, machine, muster_child, pss_mib, raise_limits, result, scraper
from muster.demo.running import running_fleet

SCRAPE_S = 15.0


@dataclass(slots=True)
class Cost:
    """One side's figures."""

    cpu_ms: float
    """For a verdict."""
    memory_mib: float
    verdicts: float


@dataclass(frozen=True, slots=True)
class Plan:
    """How it is measured."""

    targets: int
    interval_s: float
    timeout_s: float
    settle_s: float
    """Before the window opens: more than one interval, so that every target has been asked once."""
    window_s: float
    rounds: int

    @property
    def due(self) -> float:
        """Verdicts that fall due in a window."""
        return self.targets * self.window_s / self.interval_s


FULL = Plan(targets=2000, interval_s=10.0, timeout_s=5.0, settle_s=25.0, window_s=60.0, rounds=2)
QUICK = Plan(targets=400, interval_s=5.0, timeout_s=2.5, settle_s=6.0, window_s=6.0, rounds=1)


async def muster_cost(source: Path, plan: Plan, renew_after_s: float) -> Cost:
    async with (
        muster_child(source, interval_s=plan.interval_s, timeout_s=plan.timeout_s, renew_after_s=renew_after_s) as hub,
        scraper(hub, SCRAPE_S) as scrapes,
    ):
        await asyncio.sleep(plan.settle_s)
        asked = sum(s.check == "apiserver" for s in hub.seen)
        begin = cpu_s([hub.pid])
        await asyncio.sleep(plan.window_s)
        spent = cpu_s([hub.pid]) - begin
        window = [s for s in hub.seen if s.check == "apiserver"][asked:]
        well = sum(s.outcome == "pass" for s in window)
        if well < 0.99 * len(window) or len(window) < 0.9 * plan.due:
            raise SystemExit(f"not a fair window: {well} of {len(window)} verdicts pass, {len(scrapes)} scrapes")
        return Cost(spent / len(window) * 1000, pss_mib([hub.pid]), len(window))


async def peer_cost(source: Path, plan: Plan) -> Cost:
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as directory:
        async with peers.prometheus_and_blackbox(source, Path(directory), plan.interval_s, plan.timeout_s) as (
            pids,
            url,
        ):
            await asyncio.sleep(plan.settle_s)
            asked = await peers.verdicts(url)
            begin = cpu_s(pids)
            await asyncio.sleep(plan.window_s)
            spent = cpu_s(pids) - begin
            made = await peers.verdicts(url) - asked
            if await peers.up(url) < 0.99 or made < 0.9 * plan.due:
                raise SystemExit(f"not a fair window: {made} probes, {await peers.up(url):.2f} of them well")
            return Cost(spent / made * 1000, pss_mib(pids), made)


async def main(*, quick: bool) -> None:
    plan = QUICK if quick else FULL
    print(
        f"{machine()}; {plan.targets} targets, interval {plan.interval_s:.0f} s; peers: {peers.versions()}", flush=True
    )
    ours: list[Cost] = []
    fresh: list[Cost] = []
    theirs: list[Cost] = []
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as directory:
        async with running_fleet(Path(directory), groups=[(plan.targets, "healthy")], warm=True) as fleet:
            for _ in range(plan.rounds):
                for side, costs in (("muster", ours), ("peers", theirs), ("muster, fresh connections", fresh)):
                    if side == "peers":
                        cost = await peer_cost(fleet.source, plan)
                    else:
                        renew_s = 300.0 if side == "muster" else 0.0
                        cost = await muster_cost(fleet.source, plan, renew_s)
                    costs.append(cost)
                    print(
                        f"{side}: {cost.cpu_ms:.3f} ms CPU a verdict ({cost.verdicts:.0f}), {cost.memory_mib:.0f} MiB",
                        flush=True,
                    )
    result(
        benchmark="cost",
        cpu_ratio=_ratio(ours, theirs),
        cpu_ratio_fresh=_ratio(fresh, theirs),
        memory_ratio=sum(c.memory_mib for c in ours) / sum(c.memory_mib for c in theirs),
        targets=plan.targets,
    )


def _ratio(side: list[Cost], other: list[Cost]) -> float:
    return sum(c.cpu_ms for c in side) / sum(c.cpu_ms for c in other)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under 50 s: 400 targets, one short turn each")
    raise_limits()
    asyncio.run(main(quick=parser.parse_args().quick))
