"""The whole service as a child process of a benchmark: `muster run`, and one more taker of verdicts.

Verdicts are written to stdout as JSON lists: `[monotonic_s, name, check, lane, outcome, lateness_s, skipped, took_s]`,
where the name of a pair is `cluster/location`; those of agents, where numbered, as `{"reported": [number, …]}`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

import uvloop

from muster.app import App
from muster.direct import DirectSettings
from muster.logs import configure_logs
from muster.pair_probes import direct_settings
from muster.process import prepare_process
from muster.settings import Settings
from muster.sources import make_sources
from validator.model import Verdict
from validator.net.policy import ConnectPolicy
from validator.probes.settings import ApiServerSettings


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path, help="of clusters; without it there are none but those of agents")
    parser.add_argument("--agent-listen", metavar="HOST:PORT")
    parser.add_argument("--agent-tls", type=Path, metavar="DIR", help="with tls.crt and tls.key")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--interval", type=float, required=True)
    parser.add_argument("--timeout", type=float, required=True)
    parser.add_argument("--renew-after", type=float, default=300.0)
    parser.add_argument("--setting", action="append", default=[], metavar="NAME=VALUE", help="any other setting")
    parser.add_argument("--sts", metavar="URL", help="for the hub's own questions about storage on this machine")
    parser.add_argument("--quiet", action="store_true", help="count verdicts only: one line a second")
    options = parser.parse_args()
    more: dict[str, Any] = dict(each.split("=", 1) for each in options.setting)
    settings = Settings(
        data_dir=options.data_dir,
        static=[options.source or _no_clusters(options.data_dir.parent)],
        agent_listen=options.agent_listen,
        agent_tls_certificate=options.agent_tls and options.agent_tls / "tls.crt",
        agent_tls_key=options.agent_tls and options.agent_tls / "tls.key",
        listen="127.0.0.1:0",
        interval_s=options.interval,
        timeout_s=options.timeout,
        log_level="error",
        **more,
    )
    configure_logs(settings.log_level, settings.log_format)
    prepare_process()
    probing = ApiServerSettings(timeout_s=options.timeout, renew_after_s=options.renew_after)
    out = sys.stdout
    app: App
    counted = 0

    def name_of(verdict: Verdict) -> str:
        leading = app.hub.leading
        assert leading is not None
        cluster, location = leading.inventory.clusters[verdict.cluster_id].name, verdict.location_id
        return cluster if location is None else f"{cluster}/{leading.locations.known[location].name}"

    def on_this_machine(settings: Settings) -> DirectSettings:
        usual = direct_settings(settings)
        aws = replace(usual.clouds.aws, sts_endpoint=options.sts)
        return replace(usual, clouds=replace(usual.clouds, aws=aws), policy=ConnectPolicy(allow_loopback=True))

    def observe(verdicts: Sequence[Verdict]) -> None:
        nonlocal counted
        counted += len(verdicts)
        numbers = [v.evidence["number"] for v in verdicts if "number" in v.evidence]
        if numbers:
            out.write(json.dumps({"reported": numbers}) + "\n")
        if options.quiet or numbers:
            return
        now = monotonic()
        rows = [
            [
                now,
                name_of(v),
                v.check,
                v.lane,
                v.outcome,
                v.lateness_s,
                v.skipped_ticks,
                v.duration_s,
            ]
            for v in verdicts
        ]
        out.write(json.dumps(rows) + "\n")

    asking = on_this_machine if options.sts else direct_settings

    def ready(url: str) -> None:
        out.write(json.dumps({"ready": url, "pid": os.getpid()}) + "\n")
        out.flush()

    async def tick() -> None:
        while True:
            await asyncio.sleep(1.0)
            if options.quiet:
                out.write(json.dumps({"at": monotonic(), "verdicts": counted}) + "\n")
            out.flush()

    async def run() -> int:
        nonlocal app
        app = App(settings, make_sources(settings), probing=probing, asking=asking, observe=observe)
        ticking = asyncio.create_task(tick(), name="report")
        try:
            return await app.run(ready)
        finally:
            ticking.cancel()
            out.flush()

    assert threading.current_thread() is threading.main_thread()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run())


def _no_clusters(directory: Path) -> Path:
    path = directory / "none.yaml"
    path.write_text("[]\n")
    return path


if __name__ == "__main__":
    sys.exit(main())
