"""What agents cost the hub, and what is lost when it restarts: 1,000 of them, over real HTTPS, to one hub.

`reports_per_cpu_s`: reports that one CPU second of the hub and its PostgreSQL takes; each agent has asked about one
location, so a report has two facts, as most have in earnest. `cpu_ratio_report_to_verdict`: such a report's CPU against
that of one ask of the hub's own (a probe of an API server with all that follows), in the same run. `pairs_cpu_ratio`:
2,000 agents with five locations each at the defaults (a heartbeat every 30 s, a question about each location every
900 s) against 10,000 clusters at the defaults (every 30 s), reckoned from the two. `lost`: facts that agents had and
the hub never recorded, though it was stopped and started again in the middle; every fact has a number. `agent_rss_mb`:
resident memory of one real agent process with one cloud SDK and 20 locations, all asked.
`--quick`: 200 agents, short turns: the same keys, and noise.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic

import uvloop

from benchmarks.agent_memory import agent_rss_mb
from benchmarks.harness import cpu_s, machine, muster_child, raise_limits, result
from benchmarks.reporting import Crowd, Issuer, register, write_tls
from muster.demo.running import running_fleet
from muster.logs import configure_logs

LOCATIONS = 5
HEARTBEAT_S = 30.0

PAIRS, AGENTS, CLUSTERS = 10_000, 2000, 10_000
PAIR_PERIOD_S, CLUSTER_PERIOD_S = 900.0, 30.0
"""The comparison that `pairs_cpu_ratio` makes, at the defaults."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How it is measured."""

    agents: int
    every_s: float
    """Between two reports of one agent."""
    window_s: float
    targets: int
    interval_s: float
    probing_s: float
    settle_s: float
    """After the agents have begun, a thousand handshakes all at once."""
    away_s: float
    """How long agents go on while the hub is away, and after it is back."""


FULL = Plan(
    agents=1000, every_s=4.0, window_s=40.0, targets=1000, interval_s=5.0, probing_s=40.0, settle_s=10.0, away_s=15.0
)
QUICK = Plan(
    agents=200, every_s=1.5, window_s=6.0, targets=200, interval_s=2.0, probing_s=6.0, settle_s=2.0, away_s=3.0
)


def free_port() -> int:
    """One that was free a moment ago; the hub has to come back to it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def ask_cpu_s(plan: Plan) -> float:
    """CPU of one ask of the hub's own."""
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as directory:
        async with (
            running_fleet(Path(directory), groups=[(plan.targets, "healthy")], warm=True) as fleet,
            muster_child(fleet.source, interval_s=plan.interval_s, timeout_s=plan.interval_s / 2) as hub,
        ):
            await asyncio.sleep(2.5 * plan.interval_s)
            asked, begin = sum(s.check == "apiserver" for s in hub.seen), cpu_s([hub.pid])
            await asyncio.sleep(plan.probing_s)
            spent, asked = cpu_s([hub.pid]) - begin, sum(s.check == "apiserver" for s in hub.seen) - asked
    print(f"the hub's own asks: {spent / asked * 1e3:.3f} ms CPU each ({asked})", flush=True)
    return spent / asked


async def keep_asking(crowd: Crowd, agents: int, every_s: float, until: float) -> int:
    """Each agent once in `every_s`, spread evenly; gives how many asks that were."""
    asked, began = 0, monotonic()
    while (now := monotonic()) < until:
        for _ in range(asked, int((now - began) / every_s * agents)):
            crowd.ask(asked % agents)
            asked += 1
        await asyncio.sleep(0.01)
    return asked


async def report_cpu_s(plan: Plan, directory: Path, issuer: Issuer) -> tuple[float, int, int]:
    """CPU of one report; then how many facts were made, and how many of them were lost over a restart."""
    address = f"127.0.0.1:{free_port()}"
    more = ["--agent-listen", address, "--agent-tls", str(directory)]

    (directory / "home").mkdir()
    hub = partial(muster_child, None, interval_s=30.0, timeout_s=10.0, quiet=True, home=directory / "home", more=more)
    async with hub() as one:
        known = await register(one.url, one.headers, issuer, plan.agents, LOCATIONS)
        crowd = Crowd(known.clusters, known.locations)
        running = crowd.running(f"https://{address}", directory, partial(issuer.token, known.audience), HEARTBEAT_S)
        await running.__aenter__()
        await asyncio.sleep(plan.settle_s)
        begin, at = cpu_s([one.pid]), monotonic()
        asked = await keep_asking(crowd, plan.agents, plan.every_s, at + plan.window_s)
        spent = cpu_s([one.pid]) - begin  # all of it, with what goes on anyway
        stopping = asyncio.create_task(keep_asking(crowd, plan.agents, plan.every_s, monotonic() + 2 * plan.away_s))
        await asyncio.sleep(plan.away_s / 2)
        recorded = one.reported
    async with hub() as two:
        await stopping
        deadline = monotonic() + 90.0
        while monotonic() < deadline and len(recorded | two.reported) + crowd.dropped < crowd.made:  # noqa: ASYNC110 - what another process says
            await asyncio.sleep(0.5)
        recorded |= two.reported
        await running.__aexit__(None, None, None)
    lost = crowd.made - len(recorded)
    print(f"reports: {spent / asked * 1e3:.3f} ms CPU each ({asked}); {crowd.made} facts, {lost} lost", flush=True)
    return spent / asked, crowd.made, lost


async def main(*, quick: bool) -> None:
    plan = QUICK if quick else FULL
    print(f"{machine()}; {plan.agents} agents, each once in {plan.every_s:g} s", flush=True)
    own_s = await ask_cpu_s(plan)
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as directory:
        Path(directory).chmod(0o711)  # noqa: ASYNC240 - once; as root the database runs as another user
        write_tls(Path(directory))
        report_s, made, lost = await report_cpu_s(plan, Path(directory), Issuer())
    rss_mb = await agent_rss_mb()
    # A heartbeat is reckoned as a whole report.
    ours = (AGENTS / HEARTBEAT_S + PAIRS / PAIR_PERIOD_S) * report_s
    result(
        benchmark="agents",
        reports_per_cpu_s=1 / report_s,
        cpu_ratio_report_to_verdict=report_s / own_s,
        pairs_cpu_ratio=ours / (CLUSTERS / CLUSTER_PERIOD_S * own_s),
        lost=lost,
        made=made,
        agent_rss_mb=rss_mb,
        agents=plan.agents,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under 50 s: 200 agents, short turns")
    raise_limits()
    configure_logs("error", "json")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(quick=parser.parse_args().quick))
