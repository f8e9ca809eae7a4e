"""The demo's child: a simulated fleet, the service over it and a receiver beside it, in a directory that vanishes.

On stdout are JSON lines: the API's `url` once it listens; later the receiver's `script`, or why there is `no_receiver`.
Logs to stderr. Ends on SIGTERM or SIGINT, and with its parent.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import uvloop
from pydantic import SecretStr

from collector.location import Assignment
from muster.app import App
from muster.demo import backups
from muster.demo.dying import die_with
from muster.demo.receiving import ORGANISATION, DemoReceiver
from muster.demo.running import running_fleet
from muster.hub import Hub
from muster.logs import configure_logs
from muster.process import prepare_process
from muster.settings import Settings
from muster.sources import make_sources
from uplink.client.network.proxy import DIRECT
from validator.net.resolver import CaresResolver

INTERVAL_S = 3.0
TIMEOUT_S = 2.0
"""Ten times as fast as in earnest: the plot's outages last 10 to 150 s, and three answers have to confirm each."""
BACKOFF_MAX_S = 15.0
PAIR_INTERVAL_S = 10.0
PAIR_TIMEOUT_S = 5.0

SHARED_LISTENER_FROM = 3000
"""From so many clusters on, a listening socket each would take too many descriptors; `refuse` is not to be had then."""


def main() -> int:
    """Entry point of the child."""
    parser = argparse.ArgumentParser(prog="python -m muster.demo.service", description=__doc__)
    parser.add_argument("--clusters", type=int, required=True)
    parser.add_argument("--dead", type=float, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--listen", required=True)
    parser.add_argument("--parent", type=int, default=0, metavar="PID", help="end with this process")
    options = parser.parse_args()
    die_with(options.parent, signal.SIGTERM)
    prepare_process()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(options))


async def _serve(options: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory(prefix="muster-demo-") as name:
        directory = Path(name)
        directory.chmod(0o711)  # noqa: ASYNC240 - once, before anything runs; as root the database is another user's
        (directory / "fleet").mkdir(mode=0o700)
        with closing(DemoReceiver(directory / "receiver", directory / "data")) as receiver:
            return await _serve_in(directory, receiver, options)


async def _serve_in(directory: Path, receiver: DemoReceiver, options: argparse.Namespace) -> int:
    settings = Settings(
        database_url=None,
        data_dir=directory / "data",
        static=(directory / "fleet" / "fleet.yaml",),
        listen=options.listen,
        interval_s=INTERVAL_S,
        timeout_s=TIMEOUT_S,
        backoff_max_s=BACKOFF_MAX_S,
        pair_interval_s=PAIR_INTERVAL_S,
        pair_timeout_s=PAIR_TIMEOUT_S,
        resource_interval_s=PAIR_INTERVAL_S,
        telemetry_organisation=ORGANISATION,
        telemetry_register_url=receiver.url,
        telemetry_ingest_url=receiver.url,
        telemetry_ca_file=receiver.ca_file,
        telemetry_proxy=SecretStr(DIRECT),  # a proxy of this machine does not get to its loopback
    )
    configure_logs(settings.log_level, settings.log_format)
    async with running_fleet(
        directory / "fleet",
        seed=options.seed,
        clusters=options.clusters,
        dead=options.dead,
        shared_listener=options.clusters >= SHARED_LISTENER_FROM,
    ) as fleet:
        resolver = partial(CaresResolver, ["127.0.0.1"], fleet.dns_port)
        app = App(settings, make_sources(settings), make_resolver=resolver)
        listening = asyncio.get_running_loop().create_future()
        async with asyncio.TaskGroup() as tasks:
            beside = tasks.create_task(_beside(app.hub, list(fleet.clusters), receiver, listening), name="demo")
            try:
                return await app.run(partial(_say_ready, listening))
            finally:
                beside.cancel()


async def _beside(hub: Hub, names: Sequence[str], receiver: DemoReceiver, listening: asyncio.Future[str]) -> None:
    """What the picture need not wait for."""
    await _stock(hub, names)
    why = await receiver.run(await listening, lambda: _say({"script": str(receiver.script)}))
    _say({"no_receiver": why})


async def _stock(hub: Hub, names: Sequence[str]) -> None:
    """Make the backup locations as soon as their clusters are known, as an operator would."""
    while (leading := hub.leading) is None or not leading.inventory.clusters:  # noqa: ASYNC110 - once, at the start
        await asyncio.sleep(0.1)
    known = {cluster.name: cluster.id for cluster in leading.inventory.clusters.values()}
    now = hub.clock.now()
    for place, users in zip(backups.PLACES, backups.users(names).values(), strict=True):
        assigned = {known[name]: Assignment(known[name], now, "demo") for name in users if name in known}
        await leading.locations.create(place.made(now, assigned))


def _say_ready(listening: asyncio.Future[str], url: str) -> None:
    listening.set_result(url)
    _say({"url": url})


def _say(line: dict[str, str]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
