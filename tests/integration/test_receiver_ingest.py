"""Ingest at the receiver: what is stored, for whom, how often; and how it goes away again."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from tests.support.receiving import Desk, logs, metrics, receiving
from uplink.receiver.ingest import MAX_BUSY
from uplink.receiver.revoking import revoke
from uplink.receiver.view import show_org, show_orgs
from uplink.wire import names
from uplink.wire.otlp import CONTENT_TYPE, Code, Signal, read_accepted
from uplink.wire.verdicts import Act, verdict


@pytest.fixture
async def desk(receiver_url: str, tmp_path: Path) -> AsyncIterator[Desk]:
    async with receiving(receiver_url, tmp_path / "receiver", quota_mib=1) as desk:
        yield desk


def rows(desk: Desk, table: str) -> str:
    return f"SELECT count(*) FROM receiver_{table}"


async def test_an_empty_request_succeeds_and_is_kept_nowhere(desk: Desk) -> None:
    identity = await desk.enrol()
    for signal in Signal:
        answer = await desk.send(identity, b"", signal, uuid4())
        assert verdict(answer.status, answer.headers["Content-Type"]) is Act.DONE
        assert read_accepted(signal, answer.body) == (0, "")
    assert await desk.store.db.fetchval(rows(desk, "batches")) == 0


async def test_the_organisation_is_the_certificates_whatever_the_body_says(desk: Desk) -> None:
    identity = await desk.enrol("acme")
    await desk.enrol("umbrella")
    sent = metrics({"uid-1": "Healthy"}, organisation="umbrella")
    sent.resource_metrics[0].resource.attributes.add(key=names.INSTALLATION).value.string_value = str(uuid4())
    assert (await desk.send(identity, sent.SerializeToString())).status == 200
    (row,) = await desk.store.db.fetch("SELECT org_id, body FROM receiver_batches")
    assert row["org_id"] == "acme"
    kept = ExportMetricsServiceRequest.FromString(gzip.decompress(row["body"])).resource_metrics[0].resource
    said = [(each.key, each.value.string_value) for each in kept.attributes]
    assert ("service.name", "muster") in said
    assert [value for key, value in said if key == names.ORGANISATION] == ["acme"]
    assert [value for key, value in said if key == names.INSTALLATION] == [str(identity.installation)]
    view = await show_org(desk.store, "umbrella", desk.clock.now())
    assert view is not None
    assert view.clusters == []


async def test_the_same_batch_again_is_answered_alike_and_stored_once(desk: Desk) -> None:
    identity, batch = await desk.enrol(), uuid4()
    raw = logs("a", "b").SerializeToString()
    for _ in range(3):
        answer = await desk.send(identity, raw, Signal.LOGS, batch)
        assert (answer.status, answer.body) == (200, b"")
    assert await desk.store.db.fetchval(rows(desk, "batches")) == 1
    assert await desk.store.db.fetchval(rows(desk, "logs")) == 2
    other = await desk.send(identity, logs("c").SerializeToString(), Signal.LOGS, batch)
    assert other.status == 409
    assert verdict(other.status, other.headers["Content-Type"]) is Act.DROP
    neighbour = await desk.enrol()
    assert (await desk.send(neighbour, raw, Signal.LOGS, batch)).status == 200, "ids are an installation's own"
    assert await desk.store.db.fetchval(rows(desk, "batches")) == 2


async def test_the_view_has_clusters_health_over_time_and_the_last_logs(desk: Desk) -> None:
    identity, now = await desk.enrol(), desk.clock.now()
    for ago, health in (
        (300, "Healthy"),
        (240, "Healthy"),
        (180, "Unreachable"),
        (120, "Unreachable"),
        (60, "Healthy"),
    ):
        raw = metrics({"uid-1": health, "uid-2": "Healthy"}, at=now - ago).SerializeToString()
        assert (await desk.send(identity, raw)).status == 200
    late = metrics({"uid-1": "Degraded"}, at=now - 200).SerializeToString()
    assert (await desk.send(identity, late)).status == 200, "out of order, as after an import"
    assert (await desk.send(identity, logs("it is\x1b[31m dark\x00").SerializeToString(), Signal.LOGS)).status == 200
    view = await show_org(desk.store, "acme", now)
    assert view is not None
    assert {(each.uid, each.health) for each in view.clusters} == {("uid-1", "Healthy"), ("uid-2", "Healthy")}
    assert view.clusters[0].attributes["driver"] == "gardener"
    assert [each.health for each in view.changes if each.uid == "uid-1"] == ["Healthy", "Unreachable", "Healthy"]
    (log,) = view.logs
    assert (log.event, log.severity, log.attributes) == ("cluster.unreachable", "WARN", {"reason": "ConnectTimeout"})
    assert log.body.isprintable(), "nothing that a terminal would obey"
    (installation,) = view.installations
    assert installation.batches == 7
    assert installation.serial == f"{identity.certificate.serial_number:x}"
    (line,) = await show_orgs(desk.store, now)
    assert (line.id, line.installations, line.certificates, line.stored_bytes) == ("acme", 1, 1, view.stored_bytes)
    assert view.stored_bytes > 0


async def test_a_quota_that_is_used_up_holds_the_sender_and_drops_nothing(desk: Desk) -> None:
    identity = await desk.enrol()
    await desk.store.db.execute("UPDATE receiver_orgs SET stored_bytes = 1024 * 1024 - 10")
    answer = await desk.send(identity, logs("x").SerializeToString(), Signal.LOGS)
    assert answer.status == 429
    assert answer.headers["Retry-After"] == "3600"
    assert verdict(answer.status, answer.headers["Content-Type"]) is Act.WAIT
    assert await desk.store.db.fetchval(rows(desk, "batches")) == 0
    assert await desk.store.db.fetchval(rows(desk, "logs")) == 0


async def test_batches_of_one_organisation_are_bounded_and_others_go_on(desk: Desk) -> None:
    identity, other = await desk.enrol("acme"), await desk.enrol("umbrella")
    for _ in range(600):
        desk.receiver.otlp.buckets.wait_s("acme", desk.clock.now())
    answer = await desk.send(identity, b"")
    assert answer.status == 429
    assert answer.headers["Retry-After"] == "1"
    assert Status.FromString(answer.body).code == Code.RESOURCE_EXHAUSTED
    assert (await desk.send(other, b"")).status == 200
    desk.clock.advance(1)
    assert (await desk.send(identity, b"")).status == 200
    with ExitStack() as under_way:
        for _ in range(MAX_BUSY):
            assert under_way.enter_context(desk.receiver.otlp.busy.one("acme"))
        assert (await desk.send(identity, b"")).status == 429
        assert (await desk.send(other, b"")).status == 200
    assert (await desk.send(identity, b"")).status == 200


async def test_forgetting_is_authenticated_complete_and_can_be_repeated(desk: Desk) -> None:
    identity, other = await desk.enrol(), await desk.enrol()
    for sender in (identity, other):
        assert (await desk.send(sender, metrics({"uid-1": "Healthy"}).SerializeToString())).status == 200
        assert (await desk.send(sender, logs("x").SerializeToString(), Signal.LOGS)).status == 200
    assert (await desk.ask("DELETE", names.FORGET_PATH)).status == 401
    assert (await desk.ask("DELETE", names.FORGET_PATH, identity)).status == 204
    for table in ("batches", "clusters", "health", "logs"):
        left = await desk.store.db.fetch(f"SELECT DISTINCT installation_id FROM receiver_{table}")
        assert [row["installation_id"] for row in left] == [other.installation], table
    assert (await desk.ask("DELETE", names.FORGET_PATH, identity)).status == 204, "the first answer may have got lost"
    assert (await desk.send(identity, b"")).status == 403
    view = await show_org(desk.store, "acme", desk.clock.now())
    assert view is not None
    kept = await desk.store.db.fetchval("SELECT sum(octet_length(body)) FROM receiver_batches")
    assert view.stored_bytes == kept


async def test_batches_and_forgetting_at_the_same_time_leave_nothing_and_lock_nobody(desk: Desk) -> None:
    identity = await desk.enrol()

    async def send() -> int:
        return (await desk.send(identity, metrics({"uid-1": "Healthy"}).SerializeToString(), batch=uuid4())).status

    async def forget() -> int:
        await asyncio.sleep(0.05)
        return (await desk.ask("DELETE", names.FORGET_PATH, identity)).status

    statuses = await asyncio.gather(*(send() for _ in range(8)), forget(), *(send() for _ in range(8)))
    assert set(statuses) <= {200, 204, 403, 429}
    assert (await desk.ask("DELETE", names.FORGET_PATH, identity)).status == 204
    for table in ("batches", "clusters", "health", "logs"):
        assert await desk.store.db.fetchval(rows(desk, table)) == 0, table
    assert await desk.store.db.fetchval("SELECT stored_bytes FROM receiver_orgs") == 0


async def test_a_revoked_installation_cant_ask_to_be_forgotten(desk: Desk) -> None:
    identity = await desk.enrol()
    await desk.send(identity, logs("x").SerializeToString(), Signal.LOGS)
    await revoke(desk.store, str(identity.installation), desk.clock.now())
    assert (await desk.ask("DELETE", names.FORGET_PATH, identity)).status == 403
    assert await desk.store.db.fetchval(rows(desk, "batches")) == 1


async def test_retention_takes_what_is_old_and_gives_its_room_back(desk: Desk) -> None:
    identity = await desk.enrol()
    await desk.send(identity, metrics({"uid-1": "Healthy"}).SerializeToString())
    await desk.send(identity, logs("old").SerializeToString(), Signal.LOGS)
    assert await desk.receiver.retention.clean() == 0
    desk.clock.advance(98 * 86_400)  # the retention, and the lifetime of a certificate
    assert await desk.receiver.retention.clean() == 2
    for table in ("batches", "clusters", "health", "logs", "certificates", "activations"):
        assert await desk.store.db.fetchval(rows(desk, table)) == 0, table
    assert await desk.store.db.fetchval("SELECT stored_bytes FROM receiver_orgs") == 0


async def test_without_its_database_it_says_later_and_in_protobuf(desk: Desk) -> None:
    identity = await desk.enrol()
    await desk.store.db.execute("ALTER TABLE receiver_certificates RENAME TO away")
    try:
        answer = await desk.send(identity, b"")
    finally:
        await desk.store.db.execute("ALTER TABLE away RENAME TO receiver_certificates")
    assert answer.status == 503
    assert answer.headers["Content-Type"] == CONTENT_TYPE
    assert int(answer.headers["Retry-After"]) == 10
