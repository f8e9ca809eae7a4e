"""Thousands of objects listed in Azurite, moto and the emulator of Cloud Storage, with the pod's identity."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest
import trustme

from tests.support.azurite import Azurite
from tests.support.clouds import aws_clients, bucket, gcs_clients, irsa, metadata
from tests.support.pretended_azure import PretendedAzure
from tests.support.pretended_azure import location as azure_location
from validator.backups.gcs import GcsObjects
from validator.backups.listing import Bounds
from validator.backups.runner import SyncResult, SyncRunner
from validator.backups.s3 import S3Objects
from validator.clock import HubClock
from validator.locations import Location, Provider
from validator.reasons import Reason

pytestmark = pytest.mark.slow

UID = "0195b6c0-0000-7000-8000-000000000001"
DONE = json.dumps({"status": {"phase": "Completed", "completionTimestamp": "2026-01-15T08:00:00Z"}}).encode()


def objects(backups: int) -> dict[str, bytes]:
    """Velero at the top, with volume data that has to be left out; one of Stork's; one broken."""
    found = {f"kopia/ns/p{n}": b"x" for n in range(40)} | {f"shop/nightly/{UID}/{f}.json": b"{}" for f in STORK}
    for number in range(backups):
        name = f"daily-{number:04}"
        files = [f"{name}.tar.gz", f"{name}-logs.gz", f"{name}-resource-list.json.gz", "velero-backup.json"]
        found |= {f"backups/{name}/{file}": b"{}" for file in files}
        found[f"backups/{name}/velero-backup.json"] = DONE
    del found["backups/daily-0001/daily-0001.tar.gz"]
    return found


STORK = ("crds", "metadata", "namespaces", "resources")


def fill(made: dict[str, bytes], put: Callable[[str, bytes], object]) -> None:
    """In parallel: the emulators take 2 ms each."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda each: put(*each), made.items()))


def shown(result: SyncResult, backups: int) -> None:
    assert result.inventory is not None, result
    inventory = result.inventory
    velero, stork = sorted(inventory.groups, key=lambda each: each.product, reverse=True)
    assert (inventory.objects, inventory.backups) == (4 * backups + 4 - 1, backups + 1)
    assert (velero.backups, velero.newest_at, velero.phase) == (backups, 1_768_464_000.0, "Completed")
    assert (stork.prefix, stork.backups, stork.newest, stork.phase) == ("shop", 1, "nightly", "")
    assert inventory.truncated == ""


async def run(runner: SyncRunner, location: Location) -> tuple[SyncResult, list[int]]:
    told: list[int] = []
    return await runner.run(location, uuid4(), lambda so_far, of: told.append(so_far)), told


@pytest.fixture
def moto() -> Iterator[str]:
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
async def azure(azurite: Azurite, cloud_ca: trustme.CA, tmp_path: Path) -> AsyncIterator[PretendedAzure]:
    async with PretendedAzure(tmp_path, cloud_ca, blob_url=azurite.url).running() as running:
        yield running


async def test_thousands_of_objects_of_s3(moto: str, tmp_path: Path) -> None:
    from moto.s3.models import s3_backends  # noqa: PLC0415 - with moto alone

    store = s3_backends["123456789012"]["aws"]
    store.create_bucket("backups", "eu-central-1")
    for name, body in objects(500).items():
        store.put_object("backups", name, body)  # in the same process: 0.1 ms each
    async with aws_clients(irsa(tmp_path), moto) as clients:
        runner = SyncRunner({Provider.S3: lambda where: S3Objects(where, clients=clients)}, HubClock())
        result, told = await run(runner, bucket(Provider.S3))
        shown(result, 500)
        assert len(told) == 6  # the top, four pages of 500, the namespace
        assert told == sorted(told)
        result, _ = await run(runner, bucket(Provider.S3, "not-there"))
        assert result.reason is Reason.CONTAINER_NOT_FOUND
        result, _ = await run(runner, bucket(Provider.S3, endpoint="https://elsewhere.example"))
        assert result.reason is Reason.ENDPOINT_REFUSED


async def test_objects_of_cloud_storage() -> None:
    emulator = pytest.importorskip("gcp_storage_emulator.server")
    server = emulator.create_server("127.0.0.1", 0, in_memory=True, default_bucket="backups")
    server.start()
    try:
        url = f"http://127.0.0.1:{server._api._httpd.server_address[1]}"
        async with metadata().running() as node, gcs_clients({}, url, metadata_host=node.host) as clients:
            storage = await clients.storage()
            for name, body in objects(30).items():
                await storage.upload("backups", name, body, content_type="application/octet-stream")
            runner = SyncRunner({Provider.GCS: lambda where: GcsObjects(where, clients=clients)}, HubClock())
            result, _ = await run(runner, bucket(Provider.GCS))
            shown(result, 30)
            result, _ = await run(runner, bucket(Provider.GCS, "not-there"))
            assert result.reason is Reason.CONTAINER_NOT_FOUND
    finally:
        server.stop()


async def test_thousands_of_blobs_of_azure(azure: PretendedAzure, azurite: Azurite) -> None:
    from validator.backups.azure import AzureObjects  # noqa: PLC0415 - wants the SDK

    name = f"c-{uuid4().hex[:12]}"
    with azurite.service() as service:
        container = service.create_container(name)
        fill(objects(250), container.upload_blob)
    assert azure.clients is not None
    clients, environ = azure.clients, azure.environ

    def opened(where: Location) -> AzureObjects:
        return AzureObjects(where, clients=clients, environ=environ)

    runner = SyncRunner({Provider.AZURE: opened}, HubClock(), Bounds(pause_s=0.01))
    result, told = await run(runner, azure_location(name))
    shown(result, 250)
    assert len(told) >= 4
    result, _ = await run(runner, azure_location("not-there"))
    assert result.reason is Reason.CONTAINER_NOT_FOUND
