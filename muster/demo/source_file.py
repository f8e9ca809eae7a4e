"""Writes a simulated fleet down as the static source's YAML and token files: the service reads it like any other.

Each file appears whole or not at all (written beside, then renamed) and is for its owner only.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterable
from pathlib import Path

from muster.demo.site import SimulatedCluster


def write_static_source(path: Path, clusters: Iterable[SimulatedCluster]) -> None:
    """Write `path` and, beside it, `tokens/<cluster>` for each cluster."""
    clusters = list(clusters)
    for cluster in clusters:
        write_token(path, cluster)
    entries = "".join(_entry(cluster, _token_path(path, cluster)) for cluster in clusters)
    _replace(path, f"clusters:\n{entries}" if entries else "clusters: []\n")


def write_token(source: Path, cluster: SimulatedCluster) -> None:
    """Write only the token file of one cluster, where it differs: what a rotation delivers."""
    path = _token_path(source, cluster)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    if not path.exists() or path.read_text() != cluster.token:
        _replace(path, cluster.token)


def _token_path(source: Path, cluster: SimulatedCluster) -> Path:
    return source.absolute().parent / "tokens" / cluster.name


def _entry(cluster: SimulatedCluster, token_path: Path) -> str:
    """By hand: PyYAML's pure-Python emitter takes half a minute for 10,000 clusters. JSON strings are YAML."""
    labels = "".join(f"      {json.dumps(key)}: {json.dumps(value)}\n" for key, value in cluster.labels.items())
    return (
        f"  - name: {json.dumps(cluster.name)}\n"
        f"    server: {json.dumps(cluster.server)}\n"
        f"    certificate-authority-data: {base64.b64encode(cluster.ca_pem.encode()).decode()}\n"
        f"    credential:\n      tokenFile: {json.dumps(str(token_path))}\n"
        + (f"    labels:\n{labels}" if labels else "")
    )


def _replace(path: Path, text: str) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    beside.rename(path)
