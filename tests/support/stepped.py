"""`muster run` with a wall clock that SIGUSR1 sets an hour ahead and SIGUSR2 an hour back; set by `MUSTER_*`."""

from __future__ import annotations

import asyncio
import signal
import sys
import time

import uvloop

from muster.app import App
from muster.logs import configure_logs
from muster.settings import load_settings
from muster.sources import make_sources
from validator.clock import HubClock

STEP_S = 3600.0


def main() -> int:
    stepped_s = 0.0

    def step(by_s: float) -> None:
        nonlocal stepped_s
        stepped_s += by_s

    async def run() -> int:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, step, STEP_S)
        loop.add_signal_handler(signal.SIGUSR2, step, -STEP_S)
        settings = load_settings()
        configure_logs(settings.log_level, settings.log_format)
        clock = HubClock(wall=lambda: time.time() + stepped_s)
        return await App(settings, make_sources(settings), clock=clock).run()

    return uvloop.run(run())


if __name__ == "__main__":
    sys.exit(main())
