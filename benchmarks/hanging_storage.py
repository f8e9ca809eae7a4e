"""Does storage that hangs delay anybody? A stage of `benchmarks.isolation`, in one hub over one living fleet.

First without pairs, then with pairs whose storage answers, then four times as many beside them whose storage hangs:
half take the request and never answer, half drop every SYN. The hub asks about all of them by itself (`direct`),
through the shipped S3 probe. The first window begins when every cluster has been asked, the second when every answering
pair has been; the third with the first location that hangs, so what making them costs is in it. Lateness = due ->
answer. In the full run a pair is asked once in 60 s: 17 asks a second, as of 15,000 pairs at the default of 900 s.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import aiohttp

from benchmarks.harness import (
    MusterChild,
    Seen,
    lateness_of_all_ticks,
    muster_child,
    quantile,
    waited_for_core_s,
)
from benchmarks.storage import Storage, storage, workload_identity
from muster.demo.running import running_fleet

OWNER = "bench"
ANSWERING = "answering"
HANGING = 4
"""Locations."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How it is measured."""

    live: int
    """Clusters."""
    users: int
    """Clusters with five locations each, one of which answers."""
    interval_s: float
    timeout_s: float
    pair_interval_s: float
    """Of looks as well."""
    pair_timeout_s: float
    windows_s: tuple[float, float, float]
    """In the last one every hanging pair is due, and a timeout passes."""


FULL = Plan(
    live=200,
    users=200,
    interval_s=10.0,
    timeout_s=5.0,
    pair_interval_s=60.0,
    pair_timeout_s=15.0,
    windows_s=(60.0, 150.0, 150.0),
)
QUICK = Plan(
    live=200,
    users=20,
    interval_s=2.0,
    timeout_s=1.0,
    pair_interval_s=3.0,
    pair_timeout_s=1.5,
    windows_s=(2.0, 2.5, 5.0),
)


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment between two windows."""

    at: float
    waited_s: float
    """For a core, so far."""


@dataclass(frozen=True, slots=True)
class Window:
    """Lateness in one window, in milliseconds."""

    clusters: list[float]
    pairs: list[float]
    """Those whose storage answers."""
    down: int
    """Answers of living clusters and pairs that were not well."""
    hung: int
    """Answers of pairs whose storage hangs."""
    waited: float
    """Share of the time in which the hub's loop had work and no core: no lateness of ours."""

    def __str__(self) -> str:
        told = [
            f"{len(late)} of {what} p50 {_ms(late, 0.5)}, p99 {_ms(late, 0.99)}, max {_ms(late, 1.0)}"
            for what, late in (("clusters", self.clusters), ("answering pairs", self.pairs))
            if late
        ]
        told += [f"{self.hung} of hanging pairs", f"{self.down} of the living reported down"]
        return "; ".join([*told, f"the hub had no core for {self.waited * 100:.1f} % of the time"])


async def measure(plan: Plan) -> dict[str, object]:
    """The keys of the result."""
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as name:
        directory = Path(name)
        async with (
            storage() as stores,
            running_fleet(directory, groups=[(plan.live, "healthy")], warm=True) as fleet,
            muster_child(
                fleet.source,
                interval_s=plan.interval_s,
                timeout_s=plan.timeout_s,
                more=_options(plan, stores),
                environ=workload_identity(directory),
            ) as hub,
        ):
            users = sorted(fleet.clusters)[: plan.users]
            await hub.first_picture(set(fleet.clusters), within_s=4 * plan.interval_s)
            picture = _mark(hub)
            await asyncio.sleep(plan.windows_s[0])
            async with aiohttp.ClientSession(hub.url, headers=hub.headers) as session:
                made = _mark(hub)
                await _make(session, ANSWERING, stores.answering, users)
                await hub.first_picture({f"{user}/{ANSWERING}" for user in users}, 30 + 4 * plan.pair_interval_s)
                settled = _mark(hub)
                await asyncio.sleep(plan.windows_s[1])
                hung = _mark(hub)
                for number in range(HANGING):
                    kind = sorted(stores.hanging)[number % len(stores.hanging)]
                    await _make(session, f"{kind}-{number}", stores.hanging[kind], users)
                await asyncio.sleep(hung.at + plan.windows_s[2] - monotonic())
                ended = _mark(hub)
    alone, taken_up = _seen(hub, plan, picture, made), _seen(hub, plan, made, settled)
    answering, hanging = _seen(hub, plan, settled, hung), _seen(hub, plan, hung, ended)
    pairs = len(users) * (1 + HANGING)
    print(f"{plan.live} live, no pairs: {alone}", flush=True)
    print(f"while {len(users)} answering pairs are taken up: {taken_up}", flush=True)
    print(f"with them: {answering}", flush=True)
    print(f"with {pairs} pairs, of which {pairs - len(users)} hang: {hanging}", flush=True)
    if hanging.hung < pairs - len(users) or not answering.pairs:
        raise SystemExit("not a fair window: not every pair was asked about")
    return {
        "pairs_lateness_diff_ms": quantile(hanging.clusters, 0.99) - quantile(alone.clusters, 0.99),
        "live_pairs_lateness_diff_ms": quantile(hanging.pairs, 0.99) - quantile(answering.pairs, 0.99),
        "pairs_lateness_ratio": quantile(hanging.clusters, 0.99) / quantile(alone.clusters, 0.99),
        "live_pairs_lateness_ratio": quantile(hanging.pairs, 0.99) / quantile(answering.pairs, 0.99),
        "reported_down_beside_hanging_pairs": alone.down + taken_up.down + answering.down + hanging.down,
        "pairs": pairs,
    }


def _options(plan: Plan, stores: Storage) -> list[str]:
    settings = {
        "pair_interval_s": plan.pair_interval_s,
        "pair_timeout_s": plan.pair_timeout_s,
        "resource_interval_s": plan.pair_interval_s,
        "direct_owners": OWNER,
        "direct_endpoints": ",".join(stores.endpoints),
    }
    return [
        "--sts",
        stores.answering,
        *(part for key, value in settings.items() for part in ("--setting", f"{key}={value}")),
    ]


async def _make(session: aiohttp.ClientSession, name: str, endpoint: str, clusters: Sequence[str]) -> None:
    """As an operator does."""
    body: Mapping[str, Any] = {
        "name": name,
        "provider": "s3",
        "container": name,
        "region": "eu-central-1",
        "endpoint": endpoint,
        "path_style": True,
        "owner": OWNER,
        "clusters": clusters,
    }
    async with session.post("/api/v1/locations", json=body) as answer:
        if answer.status != 201:
            raise SystemExit(f"{name}: {answer.status} {await answer.text()}")


def _mark(hub: MusterChild) -> Mark:
    return Mark(monotonic(), waited_for_core_s(hub.pid))


def _seen(hub: MusterChild, plan: Plan, begun: Mark, ended: Mark) -> Window:
    window = [each for each in hub.seen if begun.at <= each.at < ended.at]
    clusters = [each for each in window if each.check == "apiserver"]
    pairs = [each for each in window if each.check == "location"]
    answering = [each for each in pairs if each.name.endswith(f"/{ANSWERING}")]
    return Window(
        _lateness(clusters, plan.interval_s),
        _lateness(answering, plan.pair_interval_s),
        sum(each.outcome not in ("pass", "finding") for each in (*clusters, *answering)),
        len(pairs) - len(answering),
        (ended.waited_s - begun.waited_s) / (ended.at - begun.at),
    )


def _lateness(seen: Sequence[Seen], interval_s: float) -> list[float]:
    return [each * 1000 for each in lateness_of_all_ticks(seen, interval_s)]


def _ms(lateness: Sequence[float], share: float) -> str:
    return f"{quantile(lateness, share):.1f} ms"
