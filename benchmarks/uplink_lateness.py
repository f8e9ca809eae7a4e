"""Does telemetry delay the living? Lateness of probes with telemetry off, and on with an endpoint that hangs.

One service over one fleet, in turns, so that both meet the same machine: off, then on. On means all three streams with
everything gathered and encoded anew, a certificate that works, and an ingest that takes every connection and answers
nothing: uploads run into their deadline, and the spool fills. Lateness = due -> answer, of every tick.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import aiohttp

from benchmarks.harness import MusterChild, lateness_of_all_ticks, muster_child, quantile
from muster.demo.running import running_fleet
from uplink.receiver.activations import Activations

ORGANISATION = "acme"
SETTLE_S = 3.0
"""After each switch: enrolment, and the first look."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How it is measured."""

    clusters: int
    interval_s: float
    timeout_s: float
    phase_s: float
    turns: int


FULL = Plan(clusters=1000, interval_s=5.0, timeout_s=4.0, phase_s=60.0, turns=2)
QUICK = Plan(clusters=300, interval_s=2.0, timeout_s=1.5, phase_s=4.0, turns=1)


@dataclass(slots=True)
class Ingest:
    """A way to the receiver that can be made to hang."""

    port: int = 0
    hangs: bool = False
    hung: int = 0
    """Requests that were taken while it hung."""
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    async def serve(self, to: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_connection("127.0.0.1", to)
        self._writers |= {writer, ours}
        with contextlib.suppress(OSError):
            await asyncio.gather(self._pipe(reader, ours, counted=True), self._pipe(theirs, writer))

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counted: bool = False) -> None:
        while some := await reader.read(65536):
            if self.hangs:
                self.hung += counted
                continue
            writer.write(some)
            await writer.drain()
        writer.close()

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()


@asynccontextmanager
async def ingest_to(port: int) -> AsyncIterator[Ingest]:
    made = Ingest()
    server = await asyncio.start_server(lambda r, w: made.serve(port, r, w), "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        made.cut()
        server.close()


class Switch:
    """Telemetry of the service, by its API."""

    def __init__(self, child: MusterChild, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._url = f"{child.url}/api/v1/telemetry"

    async def on(self, token: str) -> None:
        terms = await self._ask("GET", "/terms")
        await self._ask(
            "PUT",
            "",
            {
                "streams": ["metrics", "logs", "inventory"],
                "commitments_sha256": terms["commitments_sha256"],
                "dictionary_version": terms["dictionary_version"],
                "plain_names": [],
                "free_text": [],
                "activation_token": token,
                "interface": "api",
            },
        )
        async with asyncio.timeout(20):
            while (await self._ask("GET", ""))["link"]["state"] != "active":  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.1)

    async def off(self) -> None:
        await self._ask("DELETE", "")

    async def _ask(self, method: str, path: str, body: dict[str, object] | None = None) -> dict[str, Any]:
        async with self._session.request(method, self._url + path, json=body) as answer:
            document: dict[str, Any] = await answer.json(content_type=None)
            if answer.status >= 400:
                raise SystemExit(f"{method} {path}: {document}")
            return document


async def lateness(plan: Plan, activations: Activations, now: float, receiver_port: int, ca: str) -> dict[str, float]:
    """Figures, in ms and as ratios. `ca` is the receiver's."""
    taken: dict[str, list[float]] = {"off": [], "on": []}
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as directory:
        (ca_file := Path(directory, "ca.pem")).write_text(ca)
        async with (
            ingest_to(receiver_port) as ingest,
            running_fleet(Path(directory), groups=[(plan.clusters, "healthy")], warm=True) as fleet,
            muster_child(
                fleet.source,
                interval_s=plan.interval_s,
                timeout_s=plan.timeout_s,
                more=_settings(receiver_port, ingest.port, ca_file),
            ) as child,
            aiohttp.ClientSession(headers=child.headers) as session,
        ):
            await child.first_picture(set(fleet.clusters), 60)
            switch = Switch(child, session)
            for _ in range(plan.turns):
                taken["off"] += await _phase(plan, child)
                _, token = await activations.create(ORGANISATION, now, 3600)
                ingest.hangs = False
                await switch.on(token)
                ingest.hangs = True
                taken["on"] += await _phase(plan, child)
                await switch.off()
                ingest.cut()
            if not ingest.hung:
                raise SystemExit("nothing was sent while the endpoint hung: the figures would say nothing")
    p99 = {name: quantile(values, 0.99) * 1000 for name, values in taken.items()}
    mean = {name: sum(values) / len(values) * 1000 for name, values in taken.items()}
    print(
        f"{plan.clusters} clusters, telemetry off: lateness p99 {p99['off']:.1f} ms, mean {mean['off']:.2f} ms "
        f"({len(taken['off'])} ticks); on, with an endpoint that hangs: {p99['on']:.1f} ms, mean {mean['on']:.2f} ms "
        f"({len(taken['on'])} ticks, {ingest.hung} pieces sent into the void)",
        flush=True,
    )
    return {
        "lateness_ratio_on": p99["on"] / p99["off"],
        "lateness_more_ms_on": p99["on"] - p99["off"],
        "mean_lateness_ratio_on": mean["on"] / mean["off"],
    }


def _settings(register_port: int, ingest_port: int, ca_file: Path) -> list[str]:
    settings = {
        "telemetry_organisation": ORGANISATION,
        "telemetry_register_url": f"https://localhost:{register_port}",
        "telemetry_ingest_url": f"https://localhost:{ingest_port}",
        "telemetry_ca_file": str(ca_file),
    }
    return [part for name, value in settings.items() for part in ("--setting", f"{name}={value}")]


async def _phase(plan: Plan, child: MusterChild) -> list[float]:
    """Lateness in seconds of every tick of a while."""
    await asyncio.sleep(SETTLE_S)
    begin = monotonic()
    await asyncio.sleep(plan.phase_s)
    seen = [each for each in child.seen if each.check == "apiserver" and each.at >= begin]
    return lateness_of_all_ticks(seen, plan.interval_s)
