"""The resource probe against TLS API servers: what it says of Velero and Stork, and how hostile ones are bounded."""

from __future__ import annotations

import asyncio
import copy
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from structlog.testing import capture_logs

from muster.demo import answers
from muster.demo.fleet import SimulatedFleet
from muster.demo.replies import FOREVER, Call, Steps
from muster.demo.site import SimulatedCluster
from tests.support.loops import on_both_loops
from tests.support.resources import (
    STORAGE_CLUSTERS,
    STORK,
    STORK_VERSION,
    VELERO,
    Served,
    ServedResources,
    group,
)
from tests.support.servers import credential_of, endpoint_of
from validator.answer import Answer
from validator.clock import FakeClock
from validator.credentials import BrokenCredential, Credential, CredentialSource
from validator.keeper import CredentialKeeper
from validator.model import Check, Outcome
from validator.net.dialer import Dialer, StageDeadlines
from validator.net.tls import TlsContexts
from validator.probes.resource import PairFromResources, ResourceProbe, ResourceSettings
from validator.reasons import Reason, Stage
from validator.resources.resource import LocationResource
from validator.resources.velero import backup_storage_location
from validator.testing import RenewableCredential, ScriptedResolver

CANARY = "c4n4ry-never-to-be-seen"
NOW = time.time()
QUICK = ResourceSettings(timeout_s=1.5, read_every=1)
DEADLINES = StageDeadlines(dns_s=0.5, connect_s=0.5, tls_s=0.6, http_s=0.5)


def iso(ago_s: float) -> str:
    return datetime.fromtimestamp(NOW - ago_s, UTC).isoformat().replace("+00:00", "Z")


def bsl(name: str = "default", phase: str = "Available", ago_s: float = 20.0, **status: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "name": name,
            "namespace": "velero",
            "creationTimestamp": iso(86_400),
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": CANARY},
        },
        "spec": {
            "provider": "aws",
            "objectStorage": {"bucket": "backups", "caCert": CANARY},
            "config": {"region": "eu-central-1", "customerKeyEncryptionFile": CANARY},
            "credential": {"name": CANARY, "key": CANARY},
        },
        "status": {"phase": phase, "lastValidationTime": iso(ago_s), **status},
    }


def stork_location(status: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "metadata": {"name": "azure", "namespace": "backup"},
        "location": {
            "type": "azure",
            "path": "backups",
            "encryptionKey": CANARY,
            "repositoryPassword": CANARY,
            "azureConfig": {
                "storageAccountName": "tenantbackups",
                "storageAccountKey": CANARY,
                "clientSecret": CANARY,
                "useWorkloadIdentity": True,
            },
            "s3Config": {"accessKeyID": CANARY, "secretAccessKey": CANARY},
            "googleConfig": {"accountKey": CANARY},
        },
        **({} if status is None else {"status": status}),
    }


def portworx(stork: str = "26.3.0", operator: str = "26.2.0", enterprise: str = "3.6.1") -> Served:
    return {
        STORK_VERSION: {"kind": "ConfigMap", "data": {"version": stork, "other": CANARY}},
        STORAGE_CLUSTERS: [
            {
                "metadata": {"name": "px", "namespace": "portworx"},
                "spec": {"stork": {"enabled": True}, "env": [{"name": "PASSWORD", "value": CANARY}]},
                "status": {"version": enterprise, "operatorVersion": operator},
            }
        ],
    }


VALID = {"validationStatus": {"status": "Valid", "lastValidationTime": iso(60)}}


@dataclass
class Asking:
    """A probe on one simulated cluster."""

    cluster: SimulatedCluster
    served: ServedResources
    probe: ResourceProbe
    clock: FakeClock
    wanted: set[Check] = field(default_factory=set)

    def pair(self, resource: LocationResource) -> PairFromResources:
        assert not isinstance(resource.adoptable, tuple)
        return PairFromResources(resource.adoptable, lambda: self.probe.last_read, clock=self.clock, settings=QUICK)


class Hub:
    def __init__(self, fleet: SimulatedFleet) -> None:
        self.fleet = fleet
        self.clock = FakeClock(NOW)
        self.keeper = CredentialKeeper(self.clock)
        self.dialer = Dialer(ScriptedResolver({}), TlsContexts(), DEADLINES)

    async def watch(
        self,
        documents: Served,
        *,
        settings: ResourceSettings = QUICK,
        source: CredentialSource | None = None,
        anonymous: bool = False,
    ) -> Asking:
        served = ServedResources(documents)
        cluster = await self.fleet.add(f"c{len(self.fleet.clusters)}", served.behaviour)
        asking: Asking
        probe = ResourceProbe(
            endpoint_of(cluster),
            None if anonymous else source or credential_of(cluster),
            dialer=self.dialer,
            keeper=self.keeper,
            clock=self.clock,
            settings=settings,
            wanted=lambda: frozenset(asking.wanted),
            hasten=lambda: None,
        )
        asking = Asking(cluster, served, probe, self.clock)
        return asking


@pytest.fixture
async def hub(fleet: SimulatedFleet) -> AsyncIterator[Hub]:
    hub = Hub(fleet)
    working = asyncio.create_task(hub.keeper.run())
    yield hub
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)


def told(answer: Answer) -> list[tuple[Check, Outcome, Reason | None]]:
    return [(fact.check, fact.outcome, fact.reason) for fact in answer.facts]


@on_both_loops
async def test_both_products_are_read_and_their_secrets_are_not(hub: Hub) -> None:
    asking = await hub.watch({VELERO: [bsl()], STORK: [stork_location(VALID)], **portworx()})
    with capture_logs() as logs:
        answer = await asking.probe.ask()
    assert told(answer) == [(Check.VELERO, Outcome.PASS, None), (Check.STORK, Outcome.PASS, None)]
    velero, stork = answer.facts
    assert velero.evidence["method"] == "resource"
    assert velero.evidence["validated_age_s"] == 20.0
    assert stork.evidence["stork_version"] == "26.3.0"
    shown = repr((answer, asking.probe.last_read, logs))
    assert CANARY not in shown
    assert asking.cluster.token not in shown
    assert len(asking.served.asked) == 4
    assert hub.fleet.seen(asking.cluster.name).connections == 1
    assert await closed(hub.fleet, asking.cluster.name)


async def closed(fleet: SimulatedFleet, name: str) -> bool:
    for _ in range(200):
        if not fleet.connected(name):
            return True
        await asyncio.sleep(0.005)
    return False


SAID = (
    "rpc error: GET https://a.blob.core.windows.net/backups?sig=" + CANARY + "\x1b[31m\n"
    "--------------------------------\nRESPONSE 403\nERROR CODE: AuthorizationPermissionMismatch"
)


@pytest.mark.parametrize(
    ("documents", "expected"),
    [
        ({VELERO: [bsl(phase="Unavailable", message=SAID)]}, [(Check.VELERO, Outcome.FAIL, Reason.ROLE_MISSING)]),
        ({VELERO: [bsl(phase="Puzzled")]}, [(Check.VELERO, Outcome.UNKNOWN, Reason.RESOURCE_PHASE_UNKNOWN)]),
        ({VELERO: [bsl(ago_s=600)]}, [(Check.VELERO, Outcome.UNKNOWN, Reason.RESOURCE_STALE)]),
        (
            {STORK: [stork_location(VALID)], **portworx(stork="24.3.2-5e7c6e5")},
            [(Check.STORK, Outcome.FAIL, Reason.VERSION_TOO_OLD)],
        ),
        (
            {STORK: [stork_location(VALID)], STORK_VERSION: {"kind": "ConfigMap", "data": {"version": "26.3.0"}}},
            [(Check.STORK, Outcome.FAIL, Reason.STANDALONE_STORK)],
        ),
        (
            {STORK: [stork_location(VALID)], STORK_VERSION: 403, STORAGE_CLUSTERS: 403},
            [(Check.STORK, Outcome.PASS, None)],
        ),
        ({STORK: [stork_location(None)], **portworx()}, []),
        ({}, []),
        ({VELERO: 403, STORK: 403}, []),
        ({VELERO: [], STORK: []}, []),
    ],
)
async def test_what_is_said_of_a_cluster_from_which_nothing_is_wanted(
    hub: Hub, documents: Served, expected: list[tuple[Check, Outcome, Reason | None]]
) -> None:
    answer = await (await hub.watch(documents)).probe.ask()
    assert told(answer) == expected
    assert CANARY not in repr(answer)
    assert all(fact.message.isprintable() for fact in answer.facts)


@pytest.mark.parametrize(
    ("documents", "outcome", "reason", "text"),
    [
        ({}, Outcome.FAIL, Reason.RESOURCE_ABSENT, "the cluster has no backupstoragelocations.velero.io"),
        (
            {"/apis/velero.io": group("velero.io", "v1beta1", "v2")},
            Outcome.FAIL,
            Reason.RESOURCE_ABSENT,
            "the cluster serves velero.io as v1beta1, v2, and no backupstoragelocations of v1",
        ),
        ({VELERO: []}, Outcome.FAIL, Reason.RESOURCE_ABSENT, "the kind is there, but no resource of it"),
        (
            {VELERO: 403},
            Outcome.UNKNOWN,
            Reason.RESOURCE_FORBIDDEN,
            'User "system:serviceaccount:muster:muster-viewer"',
        ),
    ],
)
async def test_a_wanted_product_that_cannot_be_read(
    hub: Hub, documents: Served, outcome: Outcome, reason: Reason, text: str
) -> None:
    asking = await hub.watch(documents)
    asking.wanted = {Check.VELERO}
    (fact,) = (await asking.probe.ask()).facts
    assert (fact.check, fact.outcome, fact.reason) == (Check.VELERO, outcome, reason)
    assert text in fact.message


async def test_a_product_that_was_there_and_is_gone_is_told(hub: Hub) -> None:
    asking = await hub.watch({VELERO: [bsl()]})
    await asking.probe.ask()
    asking.served.documents = {}
    assert told(await asking.probe.ask()) == [(Check.VELERO, Outcome.FAIL, Reason.RESOURCE_ABSENT)]


async def test_it_reads_every_few_asks_and_its_facts_stand_for_as_long(hub: Hub) -> None:
    asking = await hub.watch({VELERO: [bsl()]}, settings=replace(QUICK, read_every=3))
    answers = [await asking.probe.ask() for _ in range(4)]
    assert [len(answer.facts) for answer in answers] == [1, 0, 0, 1]
    assert answers[0].facts[0].every == 3


async def test_after_a_failed_read_it_reads_at_the_next_ask(hub: Hub) -> None:
    asking = await hub.watch({VELERO: [bsl()]}, settings=replace(QUICK, read_every=3))
    await asking.probe.ask()
    for _ in range(2):
        await asking.probe.ask()
    asking.served.documents = {VELERO: 500}
    (fact,) = (await asking.probe.ask()).facts
    assert (fact.outcome, fact.reason) == (Outcome.UNKNOWN, Reason.SERVER_ERROR)
    asking.served.documents = {VELERO: [bsl()]}
    assert told(await asking.probe.ask()) == [(Check.VELERO, Outcome.PASS, None)]


async def test_pages_are_followed(hub: Hub) -> None:
    locations = [bsl(f"l{number:03}") for number in range(60)] + [bsl("bad", "Unavailable")]
    asking = await hub.watch({VELERO: locations})
    (fact,) = (await asking.probe.ask()).facts
    assert fact.outcome is Outcome.FAIL
    assert (fact.evidence["locations"], fact.evidence["locations_well"]) == (61, 60)


async def test_more_locations_than_a_cluster_can_have_are_not_all_read_and_that_is_said(hub: Hub) -> None:
    asking = await hub.watch({VELERO: [{**bsl(f"l{number}")} for number in range(1000)]})
    (fact,) = (await asking.probe.ask()).facts
    assert (fact.evidence["locations"], fact.evidence["more_locations"]) == (300, True)
    assert len([path for path in asking.served.asked if path.startswith(VELERO)]) == 12


def forever_following(call: Call) -> bytes:
    body = {"kind": "BackupStorageLocationList", "metadata": {"continue": "more"}, "items": [bsl()]}
    return answers.render(200, answers.JSON, json.dumps(body).encode(), call.at_s)


def endless(_call: Call) -> Steps:
    yield b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    while True:
        yield b"8000\r\n" + b" " * 0x8000 + b"\r\n"


def silence(_call: Call) -> Steps:
    yield FOREVER


def repeats_the_token(call: Call) -> bytes:
    token = (call.request.token or b"").decode()
    body = {"kind": "BackupStorageLocationList", "items": [bsl(phase="Unavailable", message=f"you sent {token}")]}
    return answers.render(200, answers.JSON, json.dumps(body).encode(), call.at_s)


@pytest.mark.parametrize(
    ("served", "reason", "unanswered"),
    [
        (endless, Reason.ANSWER_TOO_LARGE, False),
        (forever_following, Reason.ANSWER_TOO_LARGE, False),
        (silence, Reason.ANSWER_TIMEOUT, True),
        (b"not json", Reason.UNEXPECTED_ANSWER, False),
        (b"[" * 100_000, Reason.UNEXPECTED_ANSWER, False),
        (b'"text"', Reason.UNEXPECTED_ANSWER, False),
        (b'{"kind":"Status"}', Reason.UNEXPECTED_ANSWER, False),
        (b'{"kind":"BackupStorageLocationList","items":5}', Reason.UNEXPECTED_ANSWER, False),
        (500, Reason.SERVER_ERROR, False),
    ],
)
async def test_a_hostile_server_costs_bounded_time_and_its_products_are_unknown(
    hub: Hub, served: object, reason: Reason, *, unanswered: bool
) -> None:
    asking = await hub.watch({VELERO: served})
    asking.wanted = {Check.VELERO}
    started = time.monotonic()
    answer = await asking.probe.ask()
    assert time.monotonic() - started < QUICK.timeout_s + 1.0
    (fact,) = answer.facts
    assert (fact.outcome, fact.reason, answer.unanswered) == (Outcome.UNKNOWN, reason, unanswered)
    assert len(asking.served.asked) <= 60


async def test_items_that_are_no_objects_are_left_out(hub: Hub) -> None:
    body = json.dumps({"kind": "BackupStorageLocationList", "items": [5, None, bsl()], "metadata": {"continue": 7}})
    answer = await (await hub.watch({VELERO: body.encode()})).probe.ask()
    assert told(answer) == [(Check.VELERO, Outcome.PASS, None)]


async def test_a_server_that_repeats_the_token_is_not_quoted(hub: Hub) -> None:
    asking = await hub.watch({VELERO: repeats_the_token})
    answer = await asking.probe.ask()
    pair = await asking.pair(backup_storage_location(bsl())).ask()
    assert told(answer) == [(Check.VELERO, Outcome.FAIL, Reason.RESOURCE_UNAVAILABLE)]
    assert told(pair) == [(Check.LOCATION, Outcome.FAIL, Reason.RESOURCE_UNAVAILABLE)]
    shown = [fact.message + str(fact.evidence) for each in (answer, pair) for fact in each.facts]
    assert not [text for text in shown if asking.cluster.token[:32] in text]


async def test_an_offline_cluster_makes_its_pairs_unknown_at_the_stage_that_failed(hub: Hub) -> None:
    asking = await hub.watch({VELERO: [bsl()]})
    await asking.probe.ask()
    await hub.fleet.set_behaviour(asking.cluster.name, "refuse")
    answer = await asking.probe.ask()
    assert told(answer) == [(Check.VELERO, Outcome.UNKNOWN, Reason.CONNECTION_REFUSED)]
    assert answer.unanswered
    (fact,) = (await asking.pair(backup_storage_location(bsl())).ask()).facts
    assert (fact.outcome, fact.stage) == (Outcome.UNKNOWN, Stage.CONNECT)


async def test_each_read_makes_one_fact_of_a_pair(hub: Hub) -> None:
    asking = await hub.watch({VELERO: [bsl()]})
    pair = asking.pair(backup_storage_location(bsl()))
    assert (await pair.ask()).facts == ()
    await asking.probe.ask()
    hub.clock.advance(7.0)
    (fact,) = (await pair.ask()).facts
    assert (fact.check, fact.outcome, fact.evidence["read_age_s"]) == (Check.LOCATION, Outcome.PASS, 7.0)
    assert (await pair.ask()).facts == ()
    await asking.probe.ask()
    assert len((await pair.ask()).facts) == 1


async def test_a_rejected_credential_is_fetched_anew(hub: Hub) -> None:
    asking = await hub.watch({VELERO: [bsl()]})
    source = RenewableCredential(Credential("wrong-token-wrong-token"), Credential(asking.cluster.token))
    await source.fetch(NOW)
    asking.probe._source = source
    asking.wanted = {Check.VELERO}
    answer = await asking.probe.ask()
    assert told(answer) == [(Check.VELERO, Outcome.UNKNOWN, Reason.CREDENTIAL_REJECTED)]
    for _ in range(100):
        if source.current(NOW) is not None:
            break
        await asyncio.sleep(0.01)
    assert told(await asking.probe.ask()) == [(Check.VELERO, Outcome.PASS, None)]


async def test_a_credential_that_cannot_be_had_is_told_and_nothing_is_sent(hub: Hub) -> None:
    source = BrokenCredential(Reason.CREDENTIAL_INVALID, "users[0].user.exec is not allowed here")
    asking = await hub.watch({VELERO: [bsl()]}, source=source)
    asking.wanted = {Check.VELERO}
    assert told(await asking.probe.ask()) == [(Check.VELERO, Outcome.UNKNOWN, Reason.CREDENTIAL_UNAVAILABLE)]
    for _ in range(100):
        if hub.keeper.failure(source) is not None:
            break
        await asyncio.sleep(0.01)
    assert told(await asking.probe.ask()) == [(Check.VELERO, Outcome.UNKNOWN, Reason.CREDENTIAL_INVALID)]
    assert asking.served.asked == []


async def test_an_anonymous_cluster_is_not_read(hub: Hub) -> None:
    asking = await hub.watch({VELERO: [bsl()]}, anonymous=True)
    assert told(await asking.probe.ask()) == []
    assert asking.served.asked == []


async def test_a_cancelled_read_leaves_no_connection(hub: Hub) -> None:
    asking = await hub.watch({VELERO: silence})
    reading = asyncio.create_task(asking.probe.ask())
    for _ in range(200):
        if asking.served.asked:
            break
        await asyncio.sleep(0.005)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert await closed(hub.fleet, asking.cluster.name)


async def test_documents_are_not_changed_by_being_read(hub: Hub) -> None:
    document = bsl()
    before = copy.deepcopy(document)
    backup_storage_location(document)
    assert document == before
