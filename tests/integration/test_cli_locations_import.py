"""`muster locations import`: from the resources of a TLS API server to locations of a real API."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import Result

from muster.demo.fleet import SimulatedFleet
from store.pool import Database
from tests.support.cli import muster
from tests.support.location_api import LocationApi, location_api
from tests.support.locations import whole_schema
from tests.support.resources import STORK, VELERO, Served, ServedResources

CANARY = "c4n4ry-never-to-be-seen"


def bsl(name: str, bucket: str, provider: str = "aws") -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "velero"},
        "spec": {
            "provider": provider,
            "objectStorage": {"bucket": bucket, "prefix": "prod"},
            "config": {"region": "eu-central-1"},
            "credential": {"name": CANARY, "key": CANARY},
        },
    }


STORK_LOCATION = {
    "metadata": {"name": "stork-one", "namespace": "backup"},
    "location": {
        "type": "s3",
        "path": "acme-backups",
        "s3Config": {"secretAccessKey": CANARY, "endpoint": "s3.amazonaws.com"},
    },
}

RESOURCES: Served = {VELERO: [bsl("default", "acme-backups"), bsl("nas", "x", "nfs")], STORK: [STORK_LOCATION]}


@pytest.fixture
async def api(database: Database) -> AsyncIterator[LocationApi]:
    async with location_api(await whole_schema(database)) as api:
        yield api


async def kubeconfig(fleet: SimulatedFleet, directory: Path, documents: Served) -> Path:
    """One context, `one`."""
    cluster = await fleet.add("one", ServedResources(documents).behaviour)
    (directory / "ca.pem").write_text(cluster.ca_pem)
    path = directory / "kubeconfig"
    path.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [
                    {
                        "name": "c",
                        "cluster": {"server": cluster.server, "certificate-authority": str(directory / "ca.pem")},
                    }
                ],
                "users": [{"name": "u", "user": {"token": cluster.token}}],
                "contexts": [{"name": "one", "context": {"cluster": "c", "user": "u"}}],
            }
        )
    )
    path.chmod(0o600)
    return path


async def run(path: Path, *arguments: str, server: str = "") -> Result:
    return await asyncio.to_thread(
        muster, "locations", "import", "--context", "one", "--kubeconfig", str(path), *arguments, server=server
    )


async def test_what_could_be_taken_over_is_listed_without_a_service(fleet: SimulatedFleet, tmp_path: Path) -> None:
    path = await kubeconfig(fleet, tmp_path, RESOURCES)
    result = await run(path)
    assert result.exit_code == 0, result.output
    assert "acme-backups" in result.stdout
    assert "and 1 more" in result.stdout
    assert "muster locations create acme-backups --provider s3 --container acme-backups --region eu-central-1" in (
        result.stdout
    )
    assert "not one: BackupStorageLocation velero/nas (prefix prod): spec.provider: nfs is none of" in result.stdout
    listed = json.loads((await run(path, "-o", "json")).stdout)
    assert [each["used_by"] for each in listed["locations"]] == [["one"]]
    assert CANARY not in result.output + json.dumps(listed)
    assert fleet.cluster("one").token not in result.output


async def test_with_create_they_are_made_once_and_assigned(
    fleet: SimulatedFleet, tmp_path: Path, api: LocationApi
) -> None:
    path = await kubeconfig(fleet, tmp_path, RESOURCES)
    result = await run(path, "--create", server=api.url)
    assert result.exit_code == 0, result.output
    assert "made" in result.stdout
    again = await run(path, "--create", "--cluster", "berlin", server=api.url)
    assert again.exit_code == 0, again.output
    assert "there already: acme-backups" in again.stdout
    shown = json.loads((await api.cli("show", "acme-backups", "-o", "json")).stdout)
    assert (shown["provider"], shown["region"], shown["endpoint"]) == ("s3", "eu-central-1", None)
    assert [each["name"] for each in shown["clusters"]] == ["berlin"]


@pytest.mark.parametrize(
    ("documents", "code", "text"),
    [
        ({}, 0, "Neither Velero nor Stork has a location there"),
        ({VELERO: 403, STORK: 403}, 3, "one: ResourceForbidden"),
        ({VELERO: 500}, 3, "one: ServerError"),
    ],
)
async def test_a_cluster_that_has_none_or_does_not_tell(
    fleet: SimulatedFleet, tmp_path: Path, documents: Served, code: int, text: str
) -> None:
    result = await run(await kubeconfig(fleet, tmp_path, documents))
    assert (result.exit_code, text in result.output) == (code, True), result.output


async def test_a_server_that_writes_the_token_into_a_name_is_not_imported(
    fleet: SimulatedFleet, tmp_path: Path
) -> None:
    served: dict[str, Any] = {}
    path = await kubeconfig(fleet, tmp_path, served)
    served[VELERO] = [bsl(fleet.cluster("one").token.lower(), "acme-backups")]
    result = await run(path)
    assert result.exit_code == 3
    assert fleet.cluster("one").token not in result.output


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "--context is missing"),
        (["--context", "a", "--cluster", "berlin"], "--cluster goes with --create"),
        (["--context", "a", "--context", "b", "--create", "--cluster", "c"], "--cluster goes with one --context"),
        (["--context", "a", "--kubeconfig", "/nowhere"], "/nowhere does not exist"),
    ],
)
def test_command_lines_that_make_no_sense(arguments: list[str], text: str) -> None:
    result = muster("locations", "import", *arguments)
    assert (result.exit_code, text in result.stderr) == (2, True), result.stderr
