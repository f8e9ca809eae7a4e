"""The service's telemetry of itself: counts verdicts, shows the fleet at `/metrics`, exports both by OTLP.

`observe` is on the path of every verdict and does next to nothing. Reading is slow (0.35 s of CPU for 10,000 clusters)
and therefore divided: what is shown is copied on the loop in small pieces (`collector/measured.py`), then turned into
text in a thread of our own (`collector/instruments.py`). The default executor is for nobody: one slow user of it would
be everybody's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

from collector.instruments import Instruments
from collector.measured import AgentTotals, Instance, Measured, Totals, measure
from collector.otlp import EVERY_S, Export, OtlpSender
from validator.model import Check, Outcome, Verdict
from validator.reasons import Reason
from validator.schedule import Lane, ScheduleSettings

MAX_LATE_TICKS = 20
"""Skipped ticks of one verdict that are recorded as lateness. After a hub was stopped for an hour, 10,000 targets skip
120 each: recording them all would hold the loop for 5 s. `muster_probe_skipped_ticks_total` counts every one."""

_LANES = {lane: {"lane": lane.value} for lane in Lane}
_STAGES = tuple((f"{stage}_ms", {"stage": stage}) for stage in ("dns", "connect", "tls", "http", "read"))


class FleetMetrics:
    """All methods are to be called on the loop's thread; needs no loop to be built.

    `interval_s` is the probe interval: what one skipped tick is worth. `otlp_endpoint` is the base URL of a collector;
    raises ValueError if it is not a URL. `otlp_headers` go with every export, e.g. `Authorization`.
    """

    def __init__(
        self,
        instance: Instance,
        *,
        interval_s: float = ScheduleSettings().interval_s,
        otlp_endpoint: str | None = None,
        otlp_headers: Mapping[str, str] | None = None,
        otlp_every_s: float = EVERY_S,
    ) -> None:
        self._instance = instance
        self._interval_s = interval_s
        self._otlp = OtlpSender(otlp_endpoint, otlp_headers or {}, otlp_every_s) if otlp_endpoint else None
        self._instruments = Instruments(instance.version, otlp=self._otlp is not None)
        self._totals = Totals()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="metrics")
        self._rendering: asyncio.Task[bytes] | None = None

    @property
    def agents(self) -> AgentTotals:
        """To be counted up by whoever takes reports."""
        return self._totals.agents

    def observe(self, verdicts: Iterable[Verdict]) -> None:
        """Count verdicts. About 8 µs each: on a kept connection a probe has one stage."""
        for verdict in verdicts:
            self._totals.verdicts[verdict.check, verdict.outcome, verdict.reason] += 1
            if verdict.check is Check.APISERVER:  # one for each probe: its other facts came with the same answer
                self._observe_probe(verdict)

    def _observe_probe(self, verdict: Verdict) -> None:
        record, lane = self._instruments.lateness.record, _LANES[verdict.lane]
        record(max(0.0, verdict.lateness_s), lane)
        if verdict.skipped_ticks:
            self._totals.skipped_ticks[verdict.lane] += verdict.skipped_ticks
            for tick in range(1, min(verdict.skipped_ticks, MAX_LATE_TICKS) + 1):
                record(max(0.0, verdict.lateness_s - tick * self._interval_s), lane)
        for key, stage in _STAGES:
            took_ms = verdict.evidence.get(key)
            if isinstance(took_ms, (int, float)):
                self._instruments.stages.record(took_ms / 1000, stage)

    @property
    def verdicts(self) -> Mapping[tuple[Check, Outcome, Reason | None], int]:
        """Counts since the start of the process."""
        return self._totals.verdicts

    async def render(self) -> bytes:
        """Prometheus text. Scrapes that come while one is being rendered get the same."""
        if self._rendering is None:
            self._rendering = asyncio.create_task(self._read(self._instruments.text), name="render:metrics")
            self._rendering.add_done_callback(self._rendered)
        return await asyncio.shield(self._rendering)  # a scraper that hangs up takes nobody's answer away

    async def run(self) -> None:
        """Export by OTLP until cancelled; returns at once where no endpoint is set."""
        if self._otlp is not None:
            await self._otlp.run(lambda: self._read(self._instruments.otlp), self._exported)

    def close(self) -> None:
        """Stop rendering; a rendering under way ends by itself, unseen."""
        if self._rendering is not None:
            self._rendering.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _read(self, read: Callable[[Measured], bytes]) -> bytes:
        measured = await measure(self._instance, self._totals)
        return await asyncio.get_running_loop().run_in_executor(self._thread, read, measured)

    def _rendered(self, _: asyncio.Task[bytes]) -> None:
        self._rendering = None

    def _exported(self, result: Export) -> None:
        self._totals.exports[result] += 1
