"""A whole agent against a hub's double and pretended clouds: assigned, asked, reported."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import trustme
from aiohttp import web

from muster.agent import Agent
from muster.agent_settings import AgentSettings
from tests.support import pretended_azure
from tests.support.azurite import Azurite
from tests.support.clouds import Handler, Stub, aws_stub, bucket, irsa, metadata
from tests.support.hub_double import CLUSTER, HubDouble, location_document
from tests.support.loops import on_both_loops
from validator.agent.clouds import CloudSettings
from validator.agent.syncing import Syncs
from validator.backups.inventory import Inventory
from validator.backups.listing import Progress
from validator.backups.runner import SyncResult
from validator.locations import Environment, Location, Provider
from validator.net.policy import ConnectPolicy
from validator.probes.aws_clients import AwsSettings
from validator.probes.azure_clouds import AzureCloud
from validator.probes.gcs_clients import GcpSettings

S3 = bucket(Provider.S3)
GCS = replace(bucket(Provider.GCS), id=UUID(int=8), name="google")
LOCK = "<ObjectLockConfiguration/>"


def s3(begun: asyncio.Event | None = None, hold: asyncio.Event | None = None) -> Handler:
    """A bucket that answers; says when it is asked first, and answers from `hold` on, if there is one."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        if begun is not None and hold is not None:
            begun.set()
            await hold.wait()
        if request.method == "HEAD":
            return web.Response(headers={"x-amz-bucket-region": "eu-central-1"})
        if "object-lock" in request.query:
            return web.Response(text=LOCK, content_type="text/xml")
        listing = "<ListBucketResult><Name>backups</Name><IsTruncated>false</IsTruncated></ListBucketResult>"
        return web.Response(text=listing, content_type="text/xml")

    return answer


async def google(request: web.BaseRequest) -> web.StreamResponse:
    if request.path.endswith("/o"):
        return web.json_response({"kind": "storage#objects"})
    return web.json_response({"kind": "storage#bucket", "location": "EU"})


@pytest.fixture
async def hub(cloud_ca: trustme.CA) -> AsyncIterator[HubDouble]:
    async with HubDouble(cloud_ca).running() as double:
        yield double


@asynccontextmanager
async def agent(
    hub: HubDouble,
    folder: Path,
    clouds: CloudSettings | None = None,
    environ: Mapping[str, str] | None = None,
    syncs: Syncs | None = None,
) -> AsyncIterator[Agent]:
    """One that runs."""
    (folder / "hub-token").write_text("hub-token")
    (folder / "ca.pem").write_bytes(hub.ca.cert_pem.bytes())
    settings = AgentSettings(
        hub=hub.url,
        cluster_id=CLUSTER,
        token_file=folder / "hub-token",
        ca_file=folder / "ca.pem",
        storage_ca_file=folder / "ca.pem",
        health_listen=("127.0.0.1", 0),
    )
    made = Agent(
        settings,
        clouds=clouds,
        policy=ConnectPolicy(allow_loopback=True),
        environ=environ or {},
        syncs=syncs,
        first_round_s=900.0,  # or the hour decides what is asked unasked
    )
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    running = asyncio.create_task(made.run(port.set_result), name="agent")
    try:
        assert await asyncio.wait_for(port, 5) > 0
        yield made
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def aws(stub: Stub, **more: Any) -> CloudSettings:
    return CloudSettings(aws=AwsSettings(endpoint=stub.url, sts_endpoint=stub.url, loopback=True, **more))


async def test_two_clouds_answer_through_one_agent_and_a_request_is_answered_at_once(
    hub: HubDouble, tmp_path: Path
) -> None:
    async with aws_stub(s3()).running() as amazon, metadata(google).running() as node:
        clouds = replace(aws(amazon), gcp=GcpSettings(endpoint=node.url, plain_http=True, metadata_host=node.host))
        hub.assign(S3, GCS, requests=[])
        async with agent(hub, tmp_path, clouds, irsa(tmp_path)) as running:
            await hub.until(lambda: hub.reports)
            asked = [hub.ask(S3.id), hub.ask(GCS.id)]
            await hub.until(lambda: hub.about(S3.id) and hub.about(GCS.id))
            await hub.until(lambda: not hub.document["requests"])
            assert running.standing.ready
    found = [hub.about(each)[-1] for each in (S3.id, GCS.id)]
    assert [(each["outcome"], each["request"], each["evidence"]["method"]) for each in found] == [
        ("pass", asked[0], "agent"),
        ("pass", asked[1], "agent"),
    ]
    assert found[0]["period_s"] == pytest.approx(900, abs=450)
    assert "canary" not in json.dumps(hub.reports)


@on_both_loops
async def test_nothing_is_sent_where_only_the_hub_says_so(hub: HubDouble, tmp_path: Path) -> None:
    """Foreign endpoints, authorities and clouds: each is a fact, and nobody was asked, not even for a token."""
    async with aws_stub(s3()).running() as stranger:
        azure = location_document(pretended_azure.location("c-1"))
        foreign: list[dict[str, Any]] = [
            location_document(replace(S3, id=uuid4(), endpoint=stranger.url)),
            location_document(replace(S3, id=uuid4(), endpoint="https://s3.evil.example")),
            azure | {"id": str(uuid4()), "endpoint": stranger.url},
            azure | {"id": str(uuid4()), "authority": stranger.url},
            azure | {"id": str(uuid4()), "environment": stranger.url},
            azure | {"id": str(uuid4()), "environment": "AzureChinaCloud"},
            location_document(GCS, id=str(uuid4()), endpoint=stranger.url),
        ]
        hub.assign(*foreign)
        environ = irsa(tmp_path) | {
            "AZURE_CLIENT_ID": pretended_azure.CLIENT,
            "AZURE_TENANT_ID": pretended_azure.TENANT,
            "AZURE_FEDERATED_TOKEN_FILE": str(tmp_path / "token"),
        }
        async with agent(hub, tmp_path, environ=environ):
            await hub.until(lambda: hub.reports)
            for each in foreign:
                hub.ask(UUID(each["id"]))
            await hub.until(lambda: not hub.document["requests"])
        assert stranger.asked == []
    assert {verdict["location_id"] for verdict in hub.verdicts} == {each["id"] for each in foreign}
    assert {verdict["reason"] for verdict in hub.verdicts} == {"EndpointRefused"}


async def test_targets_follow_the_assignment_without_a_restart(hub: HubDouble, tmp_path: Path) -> None:
    async with aws_stub(s3()).running() as amazon:
        hub.assign(S3)
        async with agent(hub, tmp_path, aws(amazon), irsa(tmp_path)):
            await hub.until(lambda: hub.reports)
            hub.ask(S3.id)
            await hub.until(lambda: hub.about(S3.id))
            other = replace(S3, id=uuid4(), container="others")
            hub.assign(other, interval_s=1, timeout_s=0.9)  # another pace, another engine
            await hub.until(lambda: len(hub.about(other.id)) >= 2)
            before = len(hub.about(S3.id))
            moved = replace(other, container="moved")
            hub.assign(moved)
            await hub.until(lambda: any(one["evidence"].get("container") == "moved" for one in hub.about(other.id)))
    assert len(hub.about(S3.id)) == before
    assert hub.about(other.id)[0]["period_s"] == pytest.approx(1, abs=0.6)
    assert len({report["boot"] for report in hub.reports}) == 1


async def test_an_answer_is_of_an_ask_that_began_after_the_request(hub: HubDouble, tmp_path: Path) -> None:
    begun, hold = asyncio.Event(), asyncio.Event()
    async with aws_stub(s3(begun, hold)).running() as amazon:
        hub.assign(S3)
        async with agent(hub, tmp_path, aws(amazon), irsa(tmp_path)):
            await hub.until(lambda: hub.reports)
            first = hub.ask(S3.id)
            await asyncio.wait_for(begun.wait(), 5)
            second, third = hub.ask(S3.id), hub.ask(S3.id)
            await asyncio.sleep(0.7)
            hub.withdraw(third)
            await asyncio.sleep(0.7)
            hold.set()
            await hub.until(lambda: len(hub.about(S3.id)) == 2)
            await asyncio.sleep(0.3)
    assert [verdict["request"] for verdict in hub.about(S3.id)] == [first, second]


class Listing:
    """A `Syncs` that does as it is told."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.broken = False
        self.cancelled = 0
        self.at_once = 0
        self.most_at_once = 0

    async def run(self, location: Location, request_id: UUID, progress: Progress) -> SyncResult:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            progress(10, 30)
            await self.go.wait()
            if self.broken:
                raise RuntimeError("a defect")
            return SyncResult(30, Inventory(30, 1000, 2, (), (), 0, ""))
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.at_once -= 1


async def test_a_sync_tells_its_progress_and_its_result_and_ends_when_nobody_wants_it(
    hub: HubDouble, tmp_path: Path
) -> None:
    listing = Listing()
    hub.assign(S3, GCS)
    async with agent(hub, tmp_path, syncs=listing):
        await hub.until(lambda: hub.reports)
        unwanted, *asked = [hub.ask(S3.id, "sync") for _ in range(4)]
        await hub.until(lambda: [sync for sync in hub.syncs if (sync["listed"], sync["of"]) == (10, 30)])
        hub.withdraw(unwanted)
        await hub.until(lambda: listing.cancelled == 1)
        listing.go.set()
        await hub.until(lambda: not hub.document["requests"])
        listing.broken = True
        broken = hub.ask(S3.id, "sync")
        await hub.until(lambda: not hub.document["requests"])
    assert listing.most_at_once == 2
    ended = {sync["request"]: sync for sync in hub.syncs if sync["state"] != "InProgress"}
    assert ended.keys() == {*asked, broken}
    assert {ended[each]["inventory"]["objects"] for each in asked} == {30}
    assert (ended[broken]["state"], "RuntimeError" in ended[broken]["message"]) == ("Failed", True)


@pytest.mark.slow
async def test_azurite_through_an_agent_with_its_sdk_imported_on_first_use(
    hub: HubDouble, azurite: Azurite, cloud_ca: trustme.CA, tmp_path: Path
) -> None:
    name = f"c-{uuid4().hex[:12]}"
    with azurite.service() as service:
        service.create_container(name)
        service.get_container_client(name).upload_blob("backups/b1/velero-backup.json", b"{}")
    entra = pretended_azure.Entra()
    async with pretended_azure.PretendedServer(cloud_ca, entra.answer).running() as authority:
        cloud = AzureCloud(authority.url, azurite.url, "https://localhost:1", "api://AzureADTokenExchange")
        clouds = CloudSettings(azure={Environment.PUBLIC: cloud})
        (tmp_path / "token").write_text(pretended_azure.assertion())
        environ = {
            "AZURE_CLIENT_ID": pretended_azure.CLIENT,
            "AZURE_TENANT_ID": pretended_azure.TENANT,
            "AZURE_FEDERATED_TOKEN_FILE": str(tmp_path / "token"),
        }
        where = pretended_azure.location(name)
        hub.assign(where)
        async with agent(hub, tmp_path, clouds, environ):
            await hub.until(lambda: hub.reports)
            validate, sync = hub.ask(where.id), hub.ask(where.id, "sync")
            await hub.until(lambda: not hub.document["requests"], 30)
    (verdict,) = hub.about(where.id)
    assert (verdict["outcome"], verdict["request"]) == ("pass", validate)
    assert hub.about(where.id, "object-lock")[0]["outcome"] == "pass"
    listed = hub.syncs[-1]
    assert (listed["request"], listed["state"], listed["inventory"]["objects"]) == (sync, "Succeeded", 1)
    assert pretended_azure.SIGNATURE_CANARY not in json.dumps(hub.reports)
