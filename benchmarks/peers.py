"""Debian's Prometheus and blackbox_exporter over the same targets, each target checked against its own CA."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import yaml


class PeerMissingError(Exception):
    """A peer's program is not on this machine."""


def programs() -> tuple[str, str]:
    """Paths of both. Raises `PeerMissingError` with the remedy."""
    found = [shutil.which(name) for name in ("prometheus", "prometheus-blackbox-exporter")]
    if None in found:
        raise PeerMissingError("apt-get install prometheus prometheus-blackbox-exporter (make bench does, as root)")
    return found[0] or "", found[1] or ""


def versions() -> str:
    """Both versions, for the record."""
    lines = []
    for program in programs():
        done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False, timeout=10)
        lines.append((done.stdout or done.stderr).splitlines()[0].split(" (")[0])
    return "; ".join(lines)


@asynccontextmanager
async def prometheus_and_blackbox(
    source: Path, directory: Path, interval_s: float, timeout_s: float
) -> AsyncIterator[tuple[list[int], str]]:
    """Both running over the clusters of a static source; gives their pids and Prometheus' URL."""
    prometheus, blackbox = programs()
    ports = [_free_port(), _free_port()]
    _write_configs(source, directory, ports[1], interval_s, timeout_s)
    commands = [
        [blackbox, f"--config.file={directory}/blackbox.yml", f"--web.listen-address=127.0.0.1:{ports[1]}"],
        [
            prometheus,
            f"--config.file={directory}/prometheus.yml",
            f"--storage.tsdb.path={directory}/tsdb",
            f"--web.listen-address=127.0.0.1:{ports[0]}",
        ],
    ]
    processes: list[asyncio.subprocess.Process] = []
    url = f"http://127.0.0.1:{ports[0]}"
    with (directory / "peers.log").open("wb") as log:
        try:
            for command in commands:
                process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log)
                processes.append(process)
            await _ready(f"{url}/-/ready")
            yield [p.pid for p in processes], url
        finally:
            for process in processes:
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(signal.SIGTERM)
            for process in processes:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(10):
                        await process.wait()
                with contextlib.suppress(ProcessLookupError):
                    process.kill()


async def verdicts(url: str) -> float:
    """How many probes have been made and how many of them succeeded at the newest look: `(count)`."""
    query = 'sum(count_over_time(probe_success{job="clusters"}[1h]))'
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{url}/api/v1/query", params={"query": query}, timeout=aiohttp.ClientTimeout(10)) as answer,
    ):
        rows = (await answer.json())["data"]["result"]
    return float(rows[0]["value"][1]) if rows else 0.0


async def up(url: str) -> float:
    """Share of the targets that blackbox_exporter finds well, to know that both sides measure the same thing."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(
            f"{url}/api/v1/query", params={"query": "avg(probe_success)"}, timeout=aiohttp.ClientTimeout(10)
        ) as answer,
    ):
        rows = (await answer.json())["data"]["result"]
    return float(rows[0]["value"][1]) if rows else 0.0


def _write_configs(source: Path, directory: Path, blackbox_port: int, interval_s: float, timeout_s: float) -> None:
    clusters = yaml.load(source.read_text(), Loader=yaml.CSafeLoader)["clusters"]
    modules: dict[str, object] = {}
    groups = []
    for number, cluster in enumerate(clusters):
        modules[f"m{number}"] = {
            "prober": "http",
            "http": {
                "bearer_token_file": cluster["credential"]["tokenFile"],
                "tls_config": {"ca_file": _ca_file(directory, number, cluster)},
                "fail_if_body_not_matches_regexp": ["^ok$"],
            },
        }
        target = f"{cluster['server']}/readyz"
        groups.append({"targets": [target], "labels": {"__param_module": f"m{number}", "cluster": cluster["name"]}})
    # JSON is YAML, and PyYAML's emitter would take minutes.
    (directory / "blackbox.yml").write_text(json.dumps({"modules": modules}))
    (directory / "targets.json").write_text(json.dumps(groups))
    job = {
        "job_name": "clusters",
        "metrics_path": "/probe",
        "scrape_interval": f"{interval_s:.0f}s",
        "scrape_timeout": f"{timeout_s:.0f}s",
        "file_sd_configs": [{"files": [f"{directory}/targets.json"]}],
        "relabel_configs": [
            {"source_labels": ["__address__"], "target_label": "__param_target"},
            {"source_labels": ["__param_target"], "target_label": "instance"},
            {"target_label": "__address__", "replacement": f"127.0.0.1:{blackbox_port}"},
        ],
    }
    (directory / "prometheus.yml").write_text(json.dumps({"scrape_configs": [job]}))


def _ca_file(directory: Path, number: int, cluster: dict[str, str]) -> str:
    path = directory / "ca" / f"{number}.pem"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(base64.b64decode(cluster["certificate-authority-data"]))
    return str(path)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def _ready(url: str) -> None:
    async with asyncio.timeout(60), aiohttp.ClientSession() as session:
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(url) as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.2)
