"""The source `in-cluster`: a pod's service account."""

from __future__ import annotations

from pathlib import Path

from tests.support.kubeconfigs import Reader, ca_pem, first, write
from validator.discovery.in_cluster import InClusterSource
from validator.pem import ca_bundle

ENVIRON = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}


async def test_a_pod_sees_its_cluster(tmp_path: Path) -> None:
    write(tmp_path / "ca.crt", ca_pem())
    write(tmp_path / "token", "pod-token")
    reading = await first(InClusterSource(base=tmp_path, environ=ENVIRON))
    assert reading.problems == ()
    (sighting,) = reading.sightings
    assert sighting.endpoint.url == "https://10.96.0.1:443"
    assert sighting.endpoint.ca_pem == ca_bundle(ca_pem())
    assert sighting.credential is not None
    assert (await sighting.credential.fetch(0)).token == "pod-token"


async def test_ipv6_needs_no_brackets(tmp_path: Path) -> None:
    write(tmp_path / "ca.crt", ca_pem())
    environ = {**ENVIRON, "KUBERNETES_SERVICE_HOST": "fd00::1"}
    reading = await first(InClusterSource(base=tmp_path, environ=environ))
    assert reading.sightings[0].endpoint.host == "fd00::1"


async def test_outside_a_cluster_it_says_so(tmp_path: Path) -> None:
    reading = await first(InClusterSource(base=tmp_path, environ={}))
    assert reading.sightings == ()
    assert not reading.complete
    assert "this is no pod" in reading.problems[0].message
    assert reading.problems[0].remedy


async def test_a_ca_that_comes_later_or_is_renewed_is_seen(tmp_path: Path) -> None:
    reader = Reader(InClusterSource(base=tmp_path, environ=ENVIRON, poll_s=0.02))
    assert "ca.crt does not exist" in (await reader.next()).problems[0].message
    for number in (0, 1):
        write(tmp_path / "ca.crt", ca_pem(number))
        (sighting,) = (await reader.next()).sightings
        assert sighting.endpoint.ca_pem == ca_bundle(ca_pem(number))
    await reader.close()
