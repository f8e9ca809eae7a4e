"""`muster probe` as a process against real TLS servers: URL and kubeconfig, good and bad."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from muster.demo.fleet import SimulatedFleet
from muster.demo.site import SimulatedCluster


@pytest.fixture
async def fleet() -> AsyncIterator[SimulatedFleet]:
    async with SimulatedFleet(seed=1) as fleet:
        yield fleet


async def probe(*arguments: str | Path, **variables: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "muster",
        "probe",
        *map(str, arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONWARNINGS": "error", **variables},
    )
    out, err = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


def options(cluster: SimulatedCluster, directory: Path) -> list[str | Path]:
    (directory / "ca.pem").write_text(cluster.ca_pem)
    (directory / "token").write_text(cluster.token + "\n")
    return [cluster.server, "--ca", directory / "ca.pem", "--token-file", directory / "token"]


async def test_a_healthy_cluster_shows_every_stage_and_what_was_seen(fleet: SimulatedFleet, tmp_path: Path) -> None:
    cluster = await fleet.add("good")
    code, out, err = await probe(*options(cluster, tmp_path))
    assert (code, err) == (0, "")
    for stage in ("connect", "tls", "http", "read"):
        assert re.search(rf"✔ {stage} +[\d.]+ ms +━", out)
    assert re.search(r"tls +TLSv1.3", out)
    assert re.search(r"certificate_expires +\S+ \(in \d+ d\)", out)
    assert re.search(r"version +v1\.", out)
    assert cluster.uid in out
    assert "✔ Healthy   credential" in out
    assert cluster.token not in out


@pytest.mark.parametrize(
    ("behaviour", "code", "says"),
    [
        ("expired", 1, ["✖ tls", "CertificateExpired", "kubeadm certs renew"]),
        ("expiring-soon", 0, ["▲ tls", "CertificateExpiringSoon", "(in 5 d)"]),
        ("unauthorized", 1, ["✔ http", "CredentialRejected", "Fetch a fresh kubeconfig"]),
        ("tls-hang", 1, ["✖ tls", "TLSTimeout", "· http"]),
        ("not-ready", 1, ["✖ http", "NotReady", "failing_checks"]),
    ],
)
async def test_a_broken_one_shows_where_it_ends_and_what_to_do(
    fleet: SimulatedFleet, tmp_path: Path, behaviour: str, code: int, says: list[str]
) -> None:
    cluster = await fleet.add("broken", behaviour)
    ended, out, _ = await probe(*options(cluster, tmp_path), "--timeout", "1.5")
    assert ended == code
    for words in says:
        assert words in out
    assert "docs/reasons.md#" in out


async def test_without_the_ca_the_certificate_is_not_trusted(fleet: SimulatedFleet) -> None:
    cluster = await fleet.add("good")
    code, out, _ = await probe(cluster.server)
    assert code == 1
    assert "CertificateUntrusted" in out
    code, out, _ = await probe(cluster.server, "--insecure")
    assert code == 0
    assert "TLSVerificationDisabled" in out


async def test_a_context_brings_its_own_credential(fleet: SimulatedFleet, tmp_path: Path) -> None:
    cluster = await fleet.add("good")
    (tmp_path / "ca.pem").write_text(cluster.ca_pem)
    (tmp_path / "token").write_text(cluster.token)
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": cluster.server, "certificate-authority": "ca.pem"}}],
        "users": [
            {"name": "file", "user": {"tokenFile": "token"}},
            {"name": "exec", "user": {"exec": {
                "apiVersion": "client.authentication.k8s.io/v1", "command": "/bin/false", "interactiveMode": "Never"}}},
        ],
        "contexts": [
            {"name": "prod", "context": {"cluster": "c", "user": "file"}},
            {"name": "plugin", "context": {"cluster": "c", "user": "exec"}},
        ],
    }  # fmt: skip
    path = tmp_path / "config"
    path.write_text(json.dumps(config))
    path.chmod(0o600)
    code, out, _ = await probe("--context", "prod", "-o", "json", KUBECONFIG=str(path))
    asked = json.loads(out)
    assert (code, asked["name"], asked["health"]) == (0, "prod", "Healthy")
    assert asked["checks"][0]["evidence"]["cluster_uid"] == cluster.uid
    assert cluster.token not in out
    # The plugin fails: the cluster is reachable all the same, and the credential says why it is not.
    code, out, _ = await probe("--kubeconfig", path, "--context", "plugin")
    assert code == 1
    assert "✔ Healthy   apiserver" in out
    assert "CredentialUnavailable" in out
    code, _, err = await probe("--kubeconfig", path)
    assert code == 2
    assert "--context: plugin, prod" in err
    code, _, err = await probe("--kubeconfig", path, "--context", "nope")
    assert code == 2
    assert "nope" in err
