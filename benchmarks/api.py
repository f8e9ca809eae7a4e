"""What the API costs, and what it costs the probes. All clients are in another process, and their CPU is not counted.

`page_cpu_ratio_10000_to_1000`: CPU of the service and its PostgreSQL for a page of 100 clusters (see `LISTS` in
`benchmarks/clients.py`; four clients in closed loops) in a fleet of 10,000 against one of 1,000, turn by turn, both
services running; what probing costs is measured while nobody asks, and subtracted. `fleet_304_per_cpu_s`: answers 304
of `/api/v1/fleet`. `sse_cpu_us_per_viewer_change`: CPU with 200 viewers of `/api/v1/events`, less that without one,
for each change that each of them was sent. `probe_lateness_*_under_load`: p99 of due -> answer in the fleet of 10,000
with eight clients in closed loops on everything there is, against nobody, turn by turn; `bystander_lateness_diff_ms` is
the same of this process, which only sleeps for 10 ms at a time: what the machine's processors, too few for the
service, its PostgreSQL, the fleet and the clients, add to anybody's lateness.
No peer: Prometheus has no list of clusters with filters and pages and no stream of changes, so there is nothing that
it could be asked to do the same.
`--quick`: 2,000 and 200 clusters, short turns: the same keys, and noise.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from benchmarks.clients import PAGE, Clients, clients_of
from benchmarks.harness import (
    MusterChild,
    cpu_s,
    lateness_of_all_ticks,
    machine,
    muster_child,
    quantile,
    raise_limits,
    result,
)
from muster.demo.running import running_fleet
from validator.schedule import FIRST_ROUND

VIEWERS = 200
CHANGING = 20
"""Clusters that change every six seconds, for those who watch: few, so that a piece has few changes."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How it is measured."""

    large: int
    small: int
    interval_s: float
    rounds: int
    turn_s: float
    late_rounds: int
    late_turn_s: float


FULL = Plan(large=10_000, small=1000, interval_s=60.0, rounds=3, turn_s=6.0, late_rounds=3, late_turn_s=20.0)
QUICK = Plan(large=2000, small=200, interval_s=8.0, rounds=2, turn_s=1.2, late_rounds=1, late_turn_s=3.0)


@dataclass(slots=True)
class Side:
    """A service, and those who ask it."""

    hub: MusterChild
    clients: Clients
    clusters: int
    idle_cpu_s: float = 0.0
    idle_s: float = 0.0
    asked_cpu_s: float = 0.0
    asked_s: float = 0.0
    pages: int = 0

    @property
    def page_cpu_ms(self) -> float:
        """Of one page, without what goes on anyway."""
        return (self.asked_cpu_s - self.idle_cpu_s / self.idle_s * self.asked_s) / self.pages * 1000


async def started(stack: AsyncExitStack, groups: list[tuple[int, str]], interval_s: float, directory: Path) -> Side:
    """A service over a fleet of its own, that has had a verdict of each and asks at its usual rate."""
    directory.mkdir()  # noqa: ASYNC240 - once
    fleet = await stack.enter_async_context(running_fleet(directory, groups=groups, shared_listener=True, warm=True))
    label(fleet.source)
    hub = await stack.enter_async_context(
        muster_child(fleet.source, interval_s=interval_s, timeout_s=min(10.0, interval_s / 3))
    )
    await hub.first_picture(set(fleet.clusters), within_s=4 * interval_s + 20)
    await asyncio.sleep(2 * (1 - FIRST_ROUND) * interval_s)  # after a hurried first round nobody is asked for a while
    clients = await stack.enter_async_context(clients_of(hub))
    return Side(hub, clients, sum(count for count, _ in groups))


def label(source: Path) -> None:
    """Give every cluster labels to be chosen by."""
    lines = source.read_text().splitlines()
    names = (number for number, line in enumerate(lines) if line.startswith("  - name:"))
    for number, at in enumerate(names):
        env = "prod" if number % 3 else "stage"
        lines[at] += f'\n    labels: {{team: "t{number % 7}", env: "{env}"}}'
    source.write_text("\n".join(lines) + "\n")


def mixture(clusters: int) -> list[tuple[int, str]]:
    """As many of each kind that a page can be filled with them."""
    some = clusters // 20
    return [(11 * some, "healthy"), (7 * some, "not-ready"), (some, "unauthorized"), (some, "expiring-soon")]


async def page_turns(sides: list[Side], plan: Plan) -> None:
    for _ in range(plan.rounds):
        before = [(monotonic(), cpu_s([side.hub.pid])) for side in sides]
        await asyncio.sleep(plan.turn_s)
        for side, (at, cpu) in zip(sides, before, strict=True):
            side.idle_cpu_s += cpu_s([side.hub.pid]) - cpu
            side.idle_s += monotonic() - at
        for side in sides:
            at, cpu = monotonic(), cpu_s([side.hub.pid])
            done = await side.clients.run("pages", 4, plan.turn_s)
            side.asked_cpu_s += cpu_s([side.hub.pid]) - cpu
            side.asked_s += monotonic() - at
            side.pages += done["page"]
            if done["clusters"] < 0.97 * PAGE * done["page"]:
                raise SystemExit(f"not a fair turn: {done}")
    for side in sides:
        print(
            f"{side.clusters} clusters: {side.page_cpu_ms:.2f} ms CPU a page ({side.pages} pages, "
            f"{side.pages / side.asked_s:.0f}/s), probing {side.idle_cpu_s / side.idle_s * 100:.1f} % of a core",
            flush=True,
        )


async def not_modified(side: Side, plan: Plan) -> float:
    """Per CPU second."""
    at, cpu = monotonic(), cpu_s([side.hub.pid])
    done = await side.clients.run("304", 4, 2 * plan.turn_s)
    spent = cpu_s([side.hub.pid]) - cpu - side.idle_cpu_s / side.idle_s * (monotonic() - at)
    print(f"304: {done['304']}, and {done['200']} times 200; {spent:.1f} s CPU", flush=True)
    return done["304"] / spent


async def watched(side: Side, plan: Plan) -> float:
    """CPU in microseconds for one change to one viewer."""
    alone_cpu = watched_cpu = 0.0
    alone_s = watched_s = 0.0
    changes = 0
    for _ in range(plan.rounds):
        at, cpu = monotonic(), cpu_s([side.hub.pid])
        await asyncio.sleep(2 * plan.turn_s)
        alone_cpu, alone_s = alone_cpu + cpu_s([side.hub.pid]) - cpu, alone_s + monotonic() - at
        await side.clients.open(VIEWERS)
        before = await side.clients.changes()
        at, cpu = monotonic(), cpu_s([side.hub.pid])
        await asyncio.sleep(2 * plan.turn_s)
        watched_cpu, watched_s = watched_cpu + cpu_s([side.hub.pid]) - cpu, watched_s + monotonic() - at
        changes += await side.clients.changes() - before
        await side.clients.close()
    spent = watched_cpu - alone_cpu / alone_s * watched_s
    print(f"{VIEWERS} viewers: {changes / VIEWERS / watched_s:.1f} changes/s to each, {spent:.1f} s CPU", flush=True)
    return spent / changes * 1e6


async def sleep_often(late: list[float], seconds: float) -> None:
    """Note by how many milliseconds each sleep of 10 ms was too long."""
    until = monotonic() + seconds
    while (begin := monotonic()) < until:
        await asyncio.sleep(0.01)
        late.append((monotonic() - begin - 0.01) * 1000)


async def lateness(side: Side, plan: Plan) -> tuple[float, float, float]:
    """p99 in milliseconds, idle and under load; and by how much the bystander's is higher under load."""
    late: dict[str, list[float]] = {"idle": [], "loaded": []}
    bystander: dict[str, list[float]] = {"idle": [], "loaded": []}
    for _ in range(plan.late_rounds):
        for state, values in late.items():
            begin = len(side.hub.seen)
            sleeping = sleep_often(bystander[state], plan.late_turn_s)
            if state == "idle":
                await sleeping
            else:
                done, _ = await asyncio.gather(side.clients.run("mixed", 8, plan.late_turn_s), sleeping)
            await asyncio.sleep(1.2)  # verdicts are reported once a second
            seen = [s for s in side.hub.seen[begin:] if s.check == "apiserver"]
            values += [1000 * s for s in lateness_of_all_ticks(seen, plan.interval_s)]
    print(f"full load: {dict(done)} in {plan.late_turn_s:.0f} s", flush=True)
    for state, values in late.items():
        print(
            f"{state}: lateness p50 {quantile(values, 0.5):.1f} ms, p99 {quantile(values, 0.99):.1f} ms, "
            f"max {max(values):.1f} ms of {len(values)} probes; bystander {quantile(bystander[state], 0.99):.1f} ms",
            flush=True,
        )
    machine_ms = quantile(bystander["loaded"], 0.99) - quantile(bystander["idle"], 0.99)
    return quantile(late["idle"], 0.99), quantile(late["loaded"], 0.99), machine_ms


async def main(*, quick: bool) -> None:
    plan = QUICK if quick else FULL
    print(f"{machine()}; {plan.large} and {plan.small} clusters, interval {plan.interval_s:.0f} s", flush=True)
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as directory:
        async with AsyncExitStack() as stack, AsyncExitStack() as others:
            large, small, changing = await asyncio.gather(
                started(stack, mixture(plan.large), plan.interval_s, Path(directory, "large")),
                started(others, mixture(plan.small), plan.interval_s, Path(directory, "small")),
                started(others, [(CHANGING, "flapping:6")], 1.0, Path(directory, "changing")),
            )
            await page_turns([large, small], plan)
            per_cpu_s = await not_modified(large, plan)
            change_us = await watched(changing, plan)
            await others.aclose()
            idle_ms, loaded_ms, machine_ms = await lateness(large, plan)
    result(
        benchmark="api",
        page_cpu_ratio_10000_to_1000=large.page_cpu_ms / small.page_cpu_ms,
        page_cpu_ms=large.page_cpu_ms,
        fleet_304_per_cpu_s=per_cpu_s,
        sse_cpu_us_per_viewer_change=change_us,
        probe_lateness_ratio_under_load=loaded_ms / idle_ms,
        probe_lateness_diff_ms_under_load=loaded_ms - idle_ms,
        bystander_lateness_diff_ms=machine_ms,
        clusters=plan.large,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under 50 s: small fleets, the same keys")
    raise_limits()
    asyncio.run(main(quick=parser.parse_args().quick))
