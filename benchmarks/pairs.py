"""What does a pair cost the hub? One that Velero answers for, against a verdict about a cluster.

The same clusters in one hub, first without locations, then with five each, all known to their Velero (`resource`).
`pair_cpu_ratio`: CPU of one verdict about a pair, its share of the look at the cluster and at its workload identity
included, against one verdict about a cluster (probe and all that follows); of the service and its PostgreSQL. As at the
defaults, there are five looks to each look at the identity, and to each tick of a pair's own; `--quick`: the same keys.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import aiohttp

from benchmarks.harness import MusterChild, cpu_s, machine, muster_child, raise_limits, result
from muster.demo import backups
from muster.demo.running import running_fleet

LOCATIONS = 5
LOOKS = 5
"""To each look at the identity: 180 s and 900 s are the defaults."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How it is measured."""

    clusters: int
    interval_s: float
    """Of clusters and looks."""
    clusters_s: float
    """The first window."""

    @property
    def pairs_s(self) -> float:
        """The second window: as long as every cluster needs for one look at its identity."""
        return LOOKS * self.interval_s


FULL = Plan(clusters=1000, interval_s=10.0, clusters_s=50.0)
QUICK = Plan(clusters=200, interval_s=2.0, clusters_s=6.0)


@dataclass(frozen=True, slots=True)
class Window:
    """What was made in it."""

    cpu_per_s: float
    clusters_per_s: float
    pairs_per_s: float


async def measure(hub: MusterChild, window_s: float) -> Window:
    """From now on."""
    counted, begin, started = len(hub.seen), cpu_s([hub.pid]), monotonic()
    await asyncio.sleep(window_s)
    spent, took = cpu_s([hub.pid]) - begin, monotonic() - started
    checks = [each.check for each in hub.seen[counted:]]
    return Window(spent / took, checks.count("apiserver") / took, checks.count("location") / took)


async def make_locations(hub: MusterChild, clusters: Sequence[str]) -> set[str]:
    """As an operator does; gives the names of the pairs."""
    names = [place.name for place in backups.buckets(LOCATIONS)]
    async with aiohttp.ClientSession(hub.url, headers=hub.headers) as session:
        for name in names:
            location = {"name": name, "provider": "s3", "container": name, "region": "eu-central-1"}
            async with session.post("/api/v1/locations", json={**location, "clusters": clusters}) as answer:
                if answer.status != 201:
                    raise SystemExit(f"{name}: {answer.status} {await answer.text()}")
    return {f"{cluster}/{name}" for cluster in clusters for name in names}


async def main(*, quick: bool) -> None:
    plan = QUICK if quick else FULL
    print(f"{machine()}; {plan.clusters} clusters, {LOCATIONS} locations each, every {plan.interval_s:g} s", flush=True)
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as directory:
        async with (
            running_fleet(
                Path(directory), groups=[(plan.clusters, "healthy")], buckets=LOCATIONS, shared_listener=True, warm=True
            ) as fleet,
            muster_child(
                fleet.source, interval_s=plan.interval_s, timeout_s=plan.interval_s / 2, more=_options(plan)
            ) as hub,
        ):
            await hub.first_picture(set(fleet.clusters), within_s=4 * plan.interval_s)
            await asyncio.sleep(plan.interval_s / 2)
            alone = await measure(hub, plan.clusters_s)
            pairs = await make_locations(hub, list(fleet.clusters))
            await hub.first_picture(pairs, within_s=30 + 4 * plan.interval_s)
            await asyncio.sleep(plan.interval_s / 2)
            beside = await measure(hub, plan.pairs_s)
            well = sum(each.outcome == "pass" for each in hub.seen if each.check == "location")
            asked = sum(each.check == "location" for each in hub.seen)
    if well < 0.99 * asked or beside.pairs_per_s < 0.9 * len(pairs) / plan.interval_s:
        raise SystemExit(f"not a fair window: {beside}, {well} of {asked} answers about pairs pass")
    cluster_s = alone.cpu_per_s / alone.clusters_per_s
    pair_s = (beside.cpu_per_s - cluster_s * beside.clusters_per_s) / beside.pairs_per_s
    for what, seconds, rate in (("cluster", cluster_s, alone.clusters_per_s), ("pair", pair_s, beside.pairs_per_s)):
        print(f"a verdict about a {what}: {seconds * 1e3:.3f} ms CPU ({rate:.1f}/s)", flush=True)
    result(benchmark="pairs", pair_cpu_ratio=pair_s / cluster_s, pair_cpu_ms=pair_s * 1e3, pairs=len(pairs))


def _options(plan: Plan) -> list[str]:
    settings = {
        "resource_interval_s": plan.interval_s,
        "identity_interval_s": LOOKS * plan.interval_s,
        "pair_interval_s": LOOKS * plan.interval_s,
        "pair_timeout_s": plan.interval_s,
    }
    return [part for key, value in settings.items() for part in ("--setting", f"{key}={value}")]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under 50 s: 200 clusters, short windows")
    raise_limits()
    asyncio.run(main(quick=parser.parse_args().quick))
