"""Pairs that the hub itself asks about: real engines and PostgreSQL, API servers that serve Velero and Stork."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from collector.location import BackupLocation
from collector.location_store import HolderKind
from muster.direct import DirectSettings
from store.pool import Database
from tests.support import identity
from tests.support.api_server import TOKEN, ApiServer, api_server, forbidden, status
from tests.support.clouds import hang, irsa, raw_server
from tests.support.locations import new_location, whole_schema
from tests.support.pairing import OF_VELERO, STORK, VELERO, PairHouse, bsl, pair_house
from validator.agent.clouds import CloudSettings
from validator.locations import Provider
from validator.model import Check, Endpoint, Pair
from validator.net.policy import ConnectPolicy
from validator.probes.aws_clients import AwsSettings
from validator.reasons import Health, Reason
from validator.testing import ScriptedResolver

NOWHERE = Endpoint("127.0.0.1", 1)


@pytest.fixture
async def db(database: Database) -> Database:
    return await whole_schema(database)


@pytest.fixture
async def berlin() -> AsyncIterator[ApiServer]:
    async with api_server() as server:
        yield server


def s3(name: str = "acme", *clusters: UUID, owner: str = "ann", **fields: Any) -> BackupLocation:
    wanted = {"provider": Provider.S3, "account": None, "environment": None, "container": name, **fields}
    return new_location(name, *clusters, owner=owner, **wanted)


async def made(house: PairHouse, location: BackupLocation, *clusters: UUID) -> Pair:
    """The location, assigned."""
    await house.locations.create(location)
    await house.assign(location, *clusters)
    return Pair(clusters[0], location.id) if clusters else Pair(UUID(int=0), location.id)


def told(house: PairHouse, pair: Pair) -> tuple[Health, Reason | None] | None:
    state = house.state(pair)
    return None if state is None else (state.health, state.reason)


# -- who asks


async def test_what_velero_says_is_the_cell_and_a_check_of_the_cluster(db: Database, berlin: ApiServer) -> None:
    berlin.list(VELERO, "BackupStorageLocationList", [bsl()])
    async with pair_house(db) as house, api_server() as moved:
        [cluster] = await house.name(berlin=berlin.endpoint)
        pair = await made(house, s3(), cluster)
        await house.until(lambda: told(house, pair) == (Health.HEALTHY, None))
        state = house.state(pair)
        assert state is not None
        assert (state.evidence["method"], state.evidence["resource"]) == (
            "resource",
            "BackupStorageLocation velero/default",
        )
        assert state.evidence["read_age_s"] < 5  # type: ignore[operator]
        assert 2.1 * 1.0 + 3.0 <= state.allowance_s < 2.1 * 2.0 + 3.0  # as the look's interval, not the pair's, has it
        await house.until(lambda: house.state(cluster, Check.VELERO))
        velero = house.state(cluster, Check.VELERO)
        assert velero is not None
        assert velero.health is Health.HEALTHY
        # Another way into the cluster is taken up.
        moved.list(VELERO, "BackupStorageLocationList", [bsl(phase="Unavailable")])
        known = house.inventory.clusters[cluster]
        assert known.sighting is not None
        house.inventory.clusters[cluster] = replace(known, sighting=replace(known.sighting, endpoint=moved.endpoint))
        house.asking.pairing.note()
        await house.until(lambda: told(house, pair) == (Health.UNHEALTHY, Reason.RESOURCE_UNAVAILABLE))


async def test_an_on_demand_ask_reads_the_cluster_first(db: Database, berlin: ApiServer) -> None:
    berlin.list(VELERO, "BackupStorageLocationList", [bsl(phase="Unavailable")])
    async with pair_house(db, resource_interval_s=600.0) as house:
        [cluster] = await house.name(berlin=berlin.endpoint)
        pair = await made(house, s3(), cluster)
        await house.until(lambda: house.asking.pairing.knows(pair))
        await house.looked_again(cluster)
        await house.until(lambda: told(house, pair) == (Health.UNHEALTHY, Reason.RESOURCE_UNAVAILABLE))
        berlin.list(VELERO, "BackupStorageLocationList", [bsl(phase="Puzzled")])
        verdicts = await house.asking.pairing.ask_now(pair)
        assert [(each.check, each.reason) for each in verdicts or ()] == [
            (Check.LOCATION, Reason.RESOURCE_PHASE_UNKNOWN)
        ]
        assert told(house, pair) == (Health.UNKNOWN, Reason.RESOURCE_PHASE_UNKNOWN)


async def test_without_agent_velero_or_a_right_of_the_hubs_own_nobody_asks_and_that_is_said(
    db: Database, berlin: ApiServer
) -> None:
    berlin.put("/apis/velero.io", {"kind": "APIGroup", "name": "velero.io", "versions": [{"version": "v2"}]})
    async with pair_house(db, direct_owners=("platform",)) as house:
        [cluster] = await house.name(berlin=berlin.endpoint)
        pair = await made(house, s3(), cluster)
        await house.until(lambda: told(house, pair) == (Health.UNKNOWN, Reason.NO_ASKER))
        state = house.state(pair)
        assert state is not None
        assert "no agent is installed" in state.message
        assert "neither Velero nor Stork has a resource for s3://acme" in state.message
        assert house.state(cluster, Check.VELERO) is None  # nobody wants what is not there
        berlin.put(VELERO, forbidden("backupstoragelocations"))
        await house.until(lambda: told(house, pair) == (Health.UNKNOWN, Reason.RESOURCE_FORBIDDEN))
        state = house.state(pair)
        assert state is not None
        assert 'cannot list resource "backupstoragelocations"' in state.message
        berlin.put(VELERO, lambda _: status(403, "Forbidden", f"you sent {TOKEN}"))
        await house.until(lambda: (s := house.state(pair)) and "left out" in s.message)
        assert TOKEN not in repr(house.recorder.states)
        # Somebody installs Velero: the method changes by itself.
        berlin.list(VELERO, "BackupStorageLocationList", [bsl()])
        await house.until(lambda: told(house, pair) == (Health.HEALTHY, None))


async def test_a_cluster_with_an_agent_is_left_to_it(db: Database, berlin: ApiServer) -> None:
    berlin.list(VELERO, "BackupStorageLocationList", [bsl()])
    agents: set[UUID] = set()
    async with pair_house(db, has_agent=agents.__contains__) as house:
        [cluster] = await house.name(berlin=berlin.endpoint)
        pair = await made(house, s3(), cluster)
        await house.until(lambda: told(house, pair) == (Health.HEALTHY, None))
        agents.add(cluster)
        house.asking.pairing.note()
        await house.until(lambda: not house.engine.knows(pair))
        assert house.asking.looks.knows(cluster)  # Velero's own check goes on
        agents.clear()
        house.asking.pairing.note()
        await house.until(lambda: house.engine.knows(pair))


# -- coming and going


async def test_what_no_location_is_assigned_to_leaves_nothing_behind(db: Database, berlin: ApiServer) -> None:
    berlin.list(VELERO, "BackupStorageLocationList", [bsl(phase="Unavailable")])
    async with pair_house(db) as house:
        [cluster] = await house.name(berlin=berlin.endpoint)
        location = s3()
        pair = await made(house, location, cluster)
        await house.until(lambda: house.state(cluster, Check.VELERO) and house.state(pair))
        await house.recorder.flush()
        assert await db.fetchval("SELECT count(*) FROM check_states") >= 1
        await house.assign(location, remove=(cluster,))
        await house.until(lambda: not house.recorder.states.get(cluster) and pair not in house.recorder.states)
        await house.until(lambda: not house.asking.looks.knows(cluster) and not house.engine.knows(pair))
        async with asyncio.timeout(5):
            while await db.fetchval("SELECT count(*) FROM check_states"):  # noqa: ASYNC110 - the database has no event
                await asyncio.sleep(0.02)
        assert await db.fetchval("SELECT count(*) FROM pair_states") == 0
        await house.recorder.flush()
        assert await db.fetchval("SELECT count(*) FROM check_states") == 0


async def test_a_location_deleted_in_the_middle_of_an_ask_is_not_brought_back(db: Database, tmp_path: Path) -> None:
    asked = asyncio.Event()

    async def hanging(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await hang(reader, writer)

    async with raw_server(hanging) as host:
        url = f"http://{host}"
        async with pair_house(db, **own_identity(tmp_path, url)) as house:
            [cluster] = await house.name(nowhere=NOWHERE)
            location = s3(owner="platform", endpoint=url, path_style=True)
            pair = await made(house, location, cluster)
            async with asyncio.timeout(5):
                await asked.wait()
            await house.assign(location, remove=(cluster,))
            await house.locations.delete(location.id, "ann")
            await house.until(lambda: not house.engine.knows(pair) and location.id not in house.locations.known)
            await asyncio.sleep(0.05)
            await house.recorder.flush()
            assert pair not in house.recorder.states
            assert await db.fetchval("SELECT count(*) FROM pair_states") == 0


async def test_a_restart_keeps_the_states_before_and_after_the_sources_are_read(
    db: Database, berlin: ApiServer
) -> None:
    berlin.list(VELERO, "BackupStorageLocationList", [bsl()])
    async with pair_house(db) as house:
        [cluster] = await house.name(berlin=berlin.endpoint)
        pair = await made(house, s3(), cluster)
        await house.until(lambda: told(house, pair) == (Health.HEALTHY, None))
        await house.recorder.flush()
    berlin.put(VELERO, lambda _: None)  # never answers
    async with pair_house(db) as after:
        await asyncio.sleep(0.3)  # more than the first round of pairs
        assert told(after, pair) == (Health.HEALTHY, None)
        assert after.state(cluster, Check.VELERO) is not None
        await after.name(berlin=berlin.endpoint)
        # The cluster can't be read: the method stays what it was, and the reason is the cluster's.
        await after.until(lambda: told(after, pair) == (Health.UNKNOWN, Reason.ANSWER_TIMEOUT))


# -- the hub's own identity


def own_identity(
    folder: Path, url: str, *, loopback: bool = True, resolver: ScriptedResolver | None = None, endpoint: str = ""
) -> dict[str, Any]:
    """A hub that may ask about the platform team's locations, with the role that STS at `url` gives it."""
    environ = irsa(folder)
    aws = AwsSettings(endpoint=url, sts_endpoint=url, allowed_endpoints=frozenset({endpoint or url}), loopback=True)
    direct = DirectSettings(timeout_s=2.0, clouds=CloudSettings(aws=aws), policy=ConnectPolicy(allow_loopback=loopback))
    return {"direct_owners": ("platform",), "direct": direct, "environ": environ, "resolver": resolver}


async def test_a_hub_without_an_identity_says_nothing_against_the_location(db: Database) -> None:
    async with pair_house(db, direct_owners=("platform",)) as house:
        [cluster] = await house.name(nowhere=NOWHERE)
        pair = await made(house, s3(owner="platform"), cluster)
        await house.until(lambda: told(house, pair) == (Health.UNKNOWN, Reason.IDENTITY_UNAVAILABLE), 15)
        state = house.state(pair)
        assert state is not None
        assert state.evidence["method"] == "direct"


class Moto:
    """AWS on loopback, in a thread."""

    def __init__(self) -> None:
        self._server = pytest.importorskip("moto.server").ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        self._server.start()
        host, port = self._server.get_host_and_port()
        self.url = f"http://{host}:{port}"

    def make(self, bucket: str) -> None:
        admin = {"region_name": "eu-central-1", "aws_access_key_id": "admin", "aws_secret_access_key": "admin"}
        client = pytest.importorskip("boto3").client("s3", endpoint_url=self.url, **admin)
        client.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})

    def stop(self) -> None:
        self._server.stop()


@pytest.fixture(scope="module")
def moto() -> Iterator[Moto]:
    server = Moto()
    yield server
    server.stop()


async def test_the_hub_asks_about_its_own_and_a_storage_that_hangs_or_is_no_storage_delays_nobody(
    db: Database, moto: Moto, tmp_path: Path
) -> None:
    moto.make("acme")
    resolver = ScriptedResolver({"storage.example": ("169.254.169.254",)})
    async with raw_server(hang) as stuck:
        hanging, lured = f"http://{stuck}", "https://storage.example:9000"
        options = own_identity(tmp_path, moto.url, resolver=resolver)
        clouds = options["direct"].clouds
        allowed = frozenset({moto.url, hanging, lured})
        aws = replace(clouds.aws, allowed_endpoints=allowed)
        options["direct"] = replace(options["direct"], clouds=replace(clouds, aws=aws))
        async with pair_house(db, **options) as house:
            [cluster] = await house.name(nowhere=NOWHERE)
            at: dict[str, Any] = {"owner": "platform", "path_style": True}
            stuck_pairs = [await made(house, s3(f"stuck{n}", endpoint=hanging, **at), cluster) for n in range(5)]
            lure = await made(house, s3("lure", endpoint=lured, **at), cluster)
            foreign = await made(house, s3("foreign", endpoint="https://other.example", **at), cluster)
            mine = await made(house, s3("acme", **at), cluster)
            theirs = await made(house, s3("theirs"), cluster)
            await house.until(lambda: told(house, mine) == (Health.HEALTHY, None), 20)
            assert all(told(house, each) is None for each in stuck_pairs)
            state = house.state(mine)
            assert state is not None
            assert state.evidence["method"] == "direct"
            await house.until(lambda: told(house, lure) == (Health.UNHEALTHY, Reason.ENDPOINT_REFUSED))
            refused = house.state(lure)
            assert refused is not None
            assert "resolves to 169.254.169.254, which is a metadata service: not connected" in refused.message
            await house.until(lambda: told(house, foreign) == (Health.UNHEALTHY, Reason.ENDPOINT_REFUSED))
            await house.until(lambda: told(house, theirs) == (Health.UNKNOWN, Reason.CONNECTION_REFUSED))
            await house.until(lambda: all(told(house, each) for each in stuck_pairs))
            assert {told(house, each) for each in stuck_pairs} == {(Health.UNREACHABLE, Reason.STORAGE_TIMEOUT)}


# -- workload identity


async def test_the_doctors_facts_degrade_and_never_fail_the_cluster(db: Database, berlin: ApiServer) -> None:
    late = identity.account({"azure.workload.identity/client-id": identity.CLIENT})
    berlin.list("/api/v1/serviceaccounts", "ServiceAccountList", [late])
    berlin.put("/api/v1/namespaces/velero/serviceaccounts/velero", late)
    berlin.put("/api/v1/namespaces/velero", {"kind": "Namespace", "metadata": {"name": "velero"}})
    old = identity.pod(labels=identity.USE, created=identity.BEFORE)
    berlin.list("/api/v1/namespaces/velero/pods", "PodList", [old])
    async with pair_house(db) as house:
        [cluster] = await house.name(berlin=berlin.endpoint)
        location = s3()
        await made(house, location, cluster)
        await house.until(lambda: house.state(cluster, Check.WORKLOAD_IDENTITY))
        state = house.state(cluster, Check.WORKLOAD_IDENTITY)
        assert state is not None
        assert state.health is Health.DEGRADED
        assert Reason.RESTART_NEEDED in str(state.reason) + str(state.evidence.get("also"))
        assert state.evidence["service_account"] == "velero/velero"
        assert "missing_rights" not in state.evidence
        await house.assign(location, remove=(cluster,))
        await house.until(lambda: house.state(cluster, Check.WORKLOAD_IDENTITY) is None)


async def test_a_velero_with_a_key_of_its_own_is_well_and_a_right_that_is_missing_a_finding_that_names_it(
    db: Database, berlin: ApiServer
) -> None:
    plain = identity.account()
    berlin.list("/api/v1/serviceaccounts", "ServiceAccountList", [plain])
    berlin.put("/api/v1/namespaces/velero/serviceaccounts/velero", plain)
    berlin.put("/api/v1/namespaces/velero", {"kind": "Namespace", "metadata": {"name": "velero"}})
    berlin.list("/api/v1/namespaces/velero/pods", "PodList", [identity.pod(env={"AWS_ACCESS_KEY_ID": "x"})])
    async with pair_house(db, identity_interval_s=1.0) as house:
        [cluster] = await house.name(berlin=berlin.endpoint)
        await made(house, s3(), cluster)
        await house.until(lambda: house.state(cluster, Check.WORKLOAD_IDENTITY))
        state = house.state(cluster, Check.WORKLOAD_IDENTITY)
        assert state is not None
        assert state.health is Health.HEALTHY
        berlin.put("/api/v1/serviceaccounts", forbidden("serviceaccounts"))
        await house.until(lambda: (s := house.state(cluster, Check.WORKLOAD_IDENTITY)) and s.health is Health.DEGRADED)
        state = house.state(cluster, Check.WORKLOAD_IDENTITY)
        assert state is not None
        assert state.reason is Reason.RESOURCE_FORBIDDEN
        assert "may not list serviceaccounts" in state.message
        assert "create clusterrole muster-doctor --verb=get,list" in str(state.evidence["fix"])
        assert "oidc:jane@acme.example" in str(state.evidence["fix"])


# -- what refers to a location


def refers(server: ApiServer) -> None:
    """A backup, a schedule and a restore of Velero that refer to `acme`, and some that don't."""
    server.list(VELERO, "BackupStorageLocationList", [bsl(default=True)])

    def named(name: str, **spec: Any) -> dict[str, Any]:
        return {"metadata": {"name": name, "namespace": "velero"}, "spec": spec}

    server.list(
        f"{OF_VELERO}/backups",
        "BackupList",
        [named("b1", storageLocation="default"), named("b2", storageLocation="elsewhere")],
    )
    template = {"storageLocation": "elsewhere"}
    server.list(f"{OF_VELERO}/schedules", "ScheduleList", [named("s1", template={}), named("s2", template=template)])
    server.list(f"{OF_VELERO}/restores", "RestoreList", [named("r1", backupName="b1"), named("r2", backupName="b2")])


async def test_resources_that_refer_to_a_location_hold_it(db: Database, berlin: ApiServer) -> None:
    refers(berlin)
    async with pair_house(db) as house:
        [cluster] = await house.name(berlin=berlin.endpoint)
        location = s3()
        pair = await made(house, location, cluster)
        await house.until(lambda: told(house, pair) == (Health.HEALTHY, None))
        await house.recorder.flush()
        holders = house.asking.references.holders
        assert await holders(house.locations.known[location.id]) == []  # the assignment itself keeps it
        freed = await house.assign(location, remove=(cluster,))
        found = await holders(freed)
        assert {(each.kind, each.name) for each in found} == {
            (HolderKind.BACKUP, "berlin/velero/b1"),
            (HolderKind.SCHEDULE, "berlin/velero/s1"),
            (HolderKind.RESTORE, "berlin/velero/r1"),
        }
        berlin.put(f"{OF_VELERO}/schedules", forbidden("schedules"))
        [unread] = await holders(freed)
        assert unread.kind is HolderKind.UNREAD
        assert 'cannot list resource "schedules"' in unread.name
        berlin.put(VELERO, lambda _: None)
        house.asking.references._deadline_s = 0.3
        [unread] = await holders(freed)
        assert (unread.kind, unread.name) == (HolderKind.UNREAD, "berlin: not asked in time")
        berlin.objects.clear()
        assert await holders(freed) == []  # Velero is gone


async def test_resources_of_stork_hold_it_too(db: Database, berlin: ApiServer) -> None:
    spot = {
        "metadata": {"name": "loc", "namespace": "backup"},
        "location": {"type": "s3", "path": "acme"},
        "status": {"phase": "Valid"},
    }
    berlin.list(STORK, "BackupLocationList", [spot])
    there = "/apis/stork.libopenstorage.org/v1alpha1/namespaces/backup"
    backup = {"metadata": {"name": "ab"}, "spec": {"backupLocation": "loc"}}
    plan = {"metadata": {"name": "as"}, "spec": {"template": {"spec": {"backupLocation": "loc"}}}}
    berlin.list(f"{there}/applicationbackups", "ApplicationBackupList", [backup])
    berlin.list(f"{there}/applicationbackupschedules", "ApplicationBackupScheduleList", [plan])
    async with pair_house(db) as house:
        [cluster] = await house.name(berlin=berlin.endpoint)
        location = s3()
        await house.locations.create(location)
        await house.assign(location, cluster)
        await house.until(lambda: house.asking.pairing.last_read(cluster))
        await house.locations.refresh()
        other = s3("other")
        await made(house, other, cluster)  # so that the cluster is looked at on
        freed = await house.assign(location, remove=(cluster,))
        found = await house.asking.references.holders(freed)
        assert {(each.kind, each.name) for each in found} == {
            (HolderKind.BACKUP, "berlin/backup/ab"),
            (HolderKind.SCHEDULE, "berlin/backup/as"),
        }
