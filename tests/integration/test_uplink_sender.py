"""The sender: each row of the status table, on a spool in a real PostgreSQL, and once against the real receiver."""

from __future__ import annotations

import asyncio
import hashlib
import time
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path
from random import Random

import pytest
import structlog

from store.pool import Database
from tests.support.receiving import receiving
from tests.support.uplinking import (
    DICTIONARY,
    Rig,
    Said,
    ScriptedLine,
    batches_of,
    consent,
    real_line,
    standing_of,
    until,
    waiting_ids,
)
from uplink.client.consent.dictionary import Dictionary
from uplink.client.consent.record import Given
from uplink.client.consent.streams import Stream
from uplink.client.encoding.halve import halved
from uplink.client.network.transport import Transport
from uplink.client.network.unreached import Obstacle, Silenced, Unreached
from uplink.client.spooling.pace import Pace
from uplink.client.spooling.sender import POISON
from uplink.client.spooling.spool import Bounds
from uplink.wire.otlp import Code, Signal, accepted, pack, parse, refusal, unpack

HTML = "text/html"


class Started:
    """A rig with a consent and some batches."""

    def __init__(self, db: Database, directory: Path) -> None:
        self.line = ScriptedLine()
        self.given = consent()
        self.rig = Rig(db, directory, lambda: self.line)
        self.db = db

    async def begin(self, count: int = 2, *, stream: Stream = Stream.LOGS, records: int = 1) -> list[str]:
        await self.rig.begin(self.given)
        batches = batches_of(self.given, count, stream, records)
        await self.rig.spool.add(self.given, batches, time.time())
        return [str(batch.id) for batch in batches]

    async def step(self) -> float | None:
        return await self.rig.sender.step()

    @property
    def word(self) -> str:
        return self.rig.sender.state.word


@pytest.fixture
def started(uplink_db: Database, tmp_path: Path) -> Started:
    return Started(uplink_db, tmp_path)


async def test_h19_a_row_goes_only_after_a_proper_200(started: Started) -> None:
    ids = await started.begin()
    assert await started.step() == 0.0
    assert await waiting_ids(started.db) == ids[1:]
    state = started.rig.sender.state
    assert (state.word, state.sent_batches, state.sent_records) == ("active", 1, 1)
    assert state.last_success_at == pytest.approx(time.time(), abs=5)
    await started.rig.steps()
    assert started.line.ids == ids
    path, body, headers = started.line.posts[0]
    assert path == "/v1/logs"
    assert headers["Content-Type"] == "application/x-protobuf"
    assert headers["Content-Encoding"] == "gzip"
    assert parse(Signal.LOGS, unpack(body))


@pytest.mark.parametrize(
    "said",
    [
        Said(200, HTML, b"<html>log in"),
        Said(200, None),
        Said(200, body=b"\xff\xff\xff"),
        Said(200, body=b"\x1f\x8b", content_encoding="gzip"),
        Said(204),
        Said(500, HTML),
    ],
)
async def test_h21_what_is_no_proper_200_keeps_the_batch(started: Started, said: Said) -> None:
    ids = await started.begin()
    started.line.otherwise = lambda *_: said
    for _ in range(POISON + 3):
        wait_s = await started.step()
        assert wait_s is not None
        assert wait_s > 0
    assert await waiting_ids(started.db) == ids, "a portal for a night must not empty the queue"
    assert (await started.rig.spool.backlog()).quarantined == 0
    assert started.word == "degraded"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_h21_a_redirect_holds(started: Started, status: int) -> None:
    ids = await started.begin()
    started.line.answers = [Said(status, HTML)]
    assert (await started.step() or 0) > 0
    assert (started.word, await waiting_ids(started.db)) == ("held", ids)


@pytest.mark.parametrize(
    ("status", "content_type"), [(400, HTML), (400, None), (404, HTML), (407, HTML), (413 - 1, HTML), (495, HTML)]
)
async def test_h17_a_4xx_without_protobuf_is_no_verdict_and_holds(
    started: Started, status: int, content_type: str | None
) -> None:
    ids = await started.begin()
    started.line.answers = [Said(status, content_type, b"<html>400 The SSL certificate error")] * 5
    for _ in range(5):
        assert (await started.step() or 0) > 0
    assert (started.word, await waiting_ids(started.db)) == ("held", ids)
    assert "receiver" in started.rig.sender.state.detail


@pytest.mark.parametrize("status", [400, 404, 409, 415, 500, 501])
async def test_a_verdict_of_the_receiver_drops_and_counts(started: Started, status: int) -> None:
    ids = await started.begin()
    started.line.answers = [Said(status, body=refusal(Code.INVALID_ARGUMENT, "no"))]
    assert await started.step() == 0.0
    assert await waiting_ids(started.db) == ids[1:]
    assert await started.rig.spool.counts() == {"refused": 1}


@pytest.mark.parametrize("status", [429, 502, 503, 504])
@pytest.mark.parametrize("content_type", ["application/x-protobuf", HTML])
async def test_h26_waits_as_long_as_it_is_told_and_not_less(started: Started, status: int, content_type: str) -> None:
    ids = await started.begin()
    started.line.answers = [Said(status, content_type, retry_after="120")]
    wait_s = await started.step()
    assert wait_s is not None
    assert 120 <= wait_s <= 144
    state = started.rig.sender.state
    assert state.word == "degraded"
    assert state.next_attempt_at == pytest.approx(time.time() + wait_s, abs=5)
    assert await waiting_ids(started.db) == ids


def test_h26_a_storm_is_spread_and_h11_what_is_absurd_is_bounded() -> None:
    pace, now = Pace(), 1_800_000_000.0
    waits = [pace.wait_s("60", 1, Random(seed), now) for seed in range(50)]
    assert min(waits) >= 60
    assert max(waits) - min(waits) > 8
    assert pace.wait_s("-5", 1, Random(1), now) >= 1
    assert pace.wait_s("99999999", 1, Random(1), now) <= 1.2 * 86_400
    assert pace.wait_s("soon", 1, Random(1), now) >= 60
    assert pace.wait_s(formatdate(now + 30, usegmt=True), 1, Random(1), now) >= 30
    backoffs = [pace.backoff_s(failures, Random(failures)) for failures in range(1, 40)]
    assert backoffs[0] <= 1
    assert max(backoffs) <= 3600
    assert min(backoffs[20:]) >= 1800, "half of the cap at least"


async def test_h26_a_receiver_that_paces_us_does_not_fill_the_log(started: Started) -> None:
    await started.begin(20)
    started.line.answers = [Said(each, retry_after="0") for _ in range(20) for each in (429, 200)]
    with structlog.testing.capture_logs() as lines:
        await started.rig.steps()
    assert len(started.line.posts) == 40
    assert [line["event"] for line in lines] == ["telemetry is not received", "telemetry is received again"]


async def test_h24_partial_success_is_done_and_its_rejects_are_counted(started: Started) -> None:
    (first, second) = await started.begin(2, records=5)
    started.line.answers = [Said(body=accepted(Signal.LOGS, rejected=2, message="two are too old"))]
    assert await started.step() == 0.0
    assert await waiting_ids(started.db) == [second]
    assert first not in await waiting_ids(started.db)
    assert await started.rig.spool.counts() == {"rejected": 2}
    assert started.rig.sender.state.sent_records == 3


@pytest.mark.parametrize("stream", [Stream.LOGS, Stream.METRICS])
async def test_h25_413_halves_in_place_with_new_ids_and_loses_nothing(started: Started, stream: Stream) -> None:
    ids = await started.begin(2, stream=stream, records=600)
    limit, received = 20_000, []

    def answer(path: str, body: bytes, headers: object) -> Said:
        raw = unpack(body)
        if len(raw) > limit:
            return Said(413, HTML)
        received.append(raw)
        return Said()

    started.line.otherwise = answer
    before = [row["records"] for row in await started.db.fetch("SELECT records FROM uplink_spool ORDER BY ordinal")]
    await started.rig.steps()
    assert await waiting_ids(started.db) == []
    assert await started.rig.spool.counts() == {}
    assert len(received) > 4
    assert len(set(started.line.ids)) == len(started.line.ids), "an id is never used for other bytes"
    assert started.line.ids[0] == ids[0]
    assert started.rig.sender.state.sent_records == sum(before)


@pytest.mark.parametrize("stream", [Stream.LOGS, Stream.METRICS])
def test_halves_are_the_whole_in_order_and_the_same_each_time(stream: Stream) -> None:
    (batch,) = batches_of(consent(), 1, stream, 7)
    parts = halved(batch)
    assert parts is not None
    assert parts == halved(batch)
    assert len({batch.id, parts[0].id, parts[1].id}) == 3
    assert parts[0].records + parts[1].records == batch.records
    (first, second), whole = [parse(batch.signal, part.raw) for part in parts], parse(batch.signal, batch.raw)

    def said(request: object) -> list[str]:
        if stream is Stream.LOGS:
            return [str(r) for rl in request.resource_logs for sl in rl.scope_logs for r in sl.log_records]  # type: ignore[attr-defined]
        return [
            f"{m.name} {p}"
            for rm in request.resource_metrics  # type: ignore[attr-defined]
            for sm in rm.scope_metrics
            for m in sm.metrics
            for p in (m.gauge.data_points or m.sum.data_points)
        ]

    assert said(first) + said(second) == said(whole)


async def test_h25_413_to_almost_nothing_is_no_receiver(started: Started) -> None:
    ids = await started.begin(1)
    started.line.otherwise = lambda *_: Said(413, HTML)
    for _ in range(POISON + 2):
        await started.step()
    assert await waiting_ids(started.db) == ids


async def test_h13_401_and_403_hold_and_ask_for_another_certificate_once(started: Started) -> None:
    ids = await started.begin()
    started.line.answers = [Said(401), Said(403, HTML), Said(401)]
    for _ in range(3):
        assert (await started.step() or 0) > 0
    assert (started.word, started.rig.refused) == ("held", [1])
    assert await waiting_ids(started.db) == ids
    started.line.generation = 2
    started.line.answers = [Said(401)]
    await started.step()
    assert started.rig.refused == [1, 2]
    await started.rig.steps()
    assert await waiting_ids(started.db) == []


async def test_h17_an_alert_to_our_certificate_is_a_matter_of_identity(started: Started) -> None:
    ids = await started.begin()
    started.line.answers = [Unreached(Obstacle.IDENTITY, "ingest:443 does not accept our certificate")]
    await started.step()
    assert (started.word, started.rig.refused) == ("held", [1])
    assert await waiting_ids(started.db) == ids


@pytest.mark.parametrize("obstacle", [Obstacle.PROXY, Obstacle.TLS, Obstacle.SETTINGS])
async def test_h22_what_a_person_has_to_mend_is_held(started: Started, obstacle: Obstacle) -> None:
    ids = await started.begin()
    started.line.answers = [Unreached(obstacle, "the proxy wants other credentials (407)")]
    await started.step()
    assert started.word == "held"
    assert "407" in started.rig.sender.state.detail
    assert await waiting_ids(started.db) == ids


async def test_an_outage_is_waited_for_and_then_all_goes_in_order(started: Started) -> None:
    ids = await started.begin(4)
    started.line.answers = [Unreached(Obstacle.CONNECT, "refused")] * 6
    async with started.rig.running():
        await until(lambda: started.line.ids[-4:] == ids)
    assert started.line.ids == [ids[0]] * 6 + ids
    assert started.line.most_under_way == 1


async def test_after_88_hours_without_the_endpoint_all_inside_the_bound_arrives_in_order_and_the_rest_is_counted(
    started: Started,
) -> None:
    await started.rig.begin(started.given)
    started.rig.spool._bounds = Bounds(age_s=72 * 3600)
    began, made = time.time() - 88 * 3600, batches_of(started.given, 88 * 6)
    batches = [replace(batch, made_at=began + number * 600) for number, batch in enumerate(made)]
    for batch in batches:
        await started.rig.spool.add(started.given, [batch], batch.made_at)
    started.line.answers = [Unreached(Obstacle.CONNECT, "refused")]
    await started.rig.steps(1000)
    inside = [str(batch.id) for batch in batches if batch.made_at >= batches[-1].made_at - 72 * 3600]
    assert started.line.ids[1:] == inside
    assert await started.rig.spool.counts() == {"too-old": len(batches) - len(inside)}
    assert await waiting_ids(started.db) == []


async def test_h20_a_poison_batch_is_set_aside_when_an_empty_request_succeeds(started: Started) -> None:
    poison, *rest = await started.begin(3)

    def answer(path: str, body: bytes, headers: dict[str, str]) -> Said:
        return Said(500, HTML) if headers.get("Idempotency-Key") == poison else Said()

    started.line.otherwise = answer  # type: ignore[assignment]
    await started.rig.steps()
    assert started.line.ids == [*[poison] * POISON, None, *rest]
    assert unpack(started.line.posts[POISON][1]) == b"", "the control is empty"
    assert (await started.rig.spool.backlog()).quarantined == 1
    assert await started.rig.spool.counts() == {"quarantined": 1}
    assert started.word == "active"


async def test_h16_skew_is_seen_and_shown(started: Started) -> None:
    await started.begin(1)
    started.line.answers = [Said(date=formatdate(time.time() - 3600, usegmt=True))]
    await started.step()
    assert started.rig.sender.state.clock_skew_s == pytest.approx(3600, abs=3)


async def test_h10_a_stream_that_is_suspended_waits_and_one_that_is_off_goes(started: Started) -> None:
    ids = await started.begin(1)
    metrics = batches_of(started.given, 1, Stream.METRICS)
    await started.rig.spool.add(started.given, metrics, time.time())
    scope = {**started.given.scope}
    scope[Stream.LOGS] = scope[Stream.LOGS].model_copy(update={"fields": {}})  # the dictionary says more than it
    suspended = started.given.model_copy(update={"scope": scope})
    started.rig.gate.admit(standing_of(suspended))
    assert await started.rig.gate.ask()
    await started.rig.steps()
    assert started.line.ids == [str(metrics[0].id)]
    assert await waiting_ids(started.db) == ids


async def test_h10_a_field_that_is_no_longer_allowed_never_leaves(started: Started) -> None:
    ids = await started.begin(1, records=3)
    field = "event:muster.transition:reason"
    given = _without(started.given, field)
    kind = DICTIONARY.kinds["muster.transition"]
    smaller = replace(kind, attributes={name: each for name, each in kind.attributes.items() if name != "reason"})
    dictionary = Dictionary(DICTIONARY.version, DICTIONARY.resource, {**DICTIONARY.kinds, smaller.name: smaller})
    started.rig.sender._dictionary = dictionary
    started.rig.spool._made.clear()  # another release has started
    started.rig.gate.admit(replace(standing_of(started.given), record=given))
    assert await started.rig.gate.ask()
    await started.rig.steps()
    ((_, body, headers),) = started.line.posts
    assert b"ConnectTimeout" not in unpack(body)
    assert b"Unreachable" in unpack(body)
    assert headers["Idempotency-Key"] not in ids, "the same id with other bytes would be a 409"


async def test_h27_a_row_that_somebody_wrote_into_the_table_is_filtered(started: Started) -> None:
    (own,) = await started.begin(1)
    (batch,) = batches_of(started.given, 1)
    request = parse(batch.signal, batch.raw)
    request.resource_logs[0].scope_logs[0].log_records[0].body.string_value = "canary-5ecret"
    raw = request.SerializeToString()
    digest = hashlib.sha256(raw).digest()
    await started.db.execute("UPDATE uplink_spool SET body = $1, sha256 = $2", pack(raw), digest)
    await started.rig.steps()
    ((_, body, headers),) = started.line.posts
    assert b"canary" not in unpack(body)
    assert headers["Idempotency-Key"] != own


def _without(given: Given, field: str) -> Given:
    scope = given.scope[Stream.LOGS]
    fields = {own: digest for own, digest in scope.fields.items() if own != field}
    return given.model_copy(update={"scope": {**given.scope, Stream.LOGS: scope.model_copy(update={"fields": fields})}})


async def test_without_a_certificate_nothing_is_posted(started: Started) -> None:
    ids = await started.begin()
    started.rig.sender._line = lambda: None
    assert await started.step() is None
    assert (started.word, started.line.posts, await waiting_ids(started.db)) == ("enrolling", [], ids)


async def test_sent_has_the_newest_copies_and_each_digest_is_the_sent_one(started: Started) -> None:
    ids = await started.begin(6)
    started.rig.copies._most = 3
    started.line.answers = [Unreached(Obstacle.CONNECT, "refused")]
    await started.rig.steps()
    directory = started.rig.copies._directory
    copies = sorted(directory.iterdir())
    assert [copy.name.rpartition("Z-")[2] for copy in copies] == [f"logs-{own}.pb.gz" for own in ids[-3:]]
    assert copies[-1].read_bytes() == started.line.posts[-1][1]
    assert {copy.stat().st_mode & 0o777 for copy in copies} == {0o600}


async def test_h18_a_disk_that_takes_no_copies_holds_nothing_up(started: Started, tmp_path: Path) -> None:
    await started.begin(2)
    (tmp_path / "sent").write_text("in the way")
    await started.rig.steps()
    assert await waiting_ids(started.db) == []
    assert "sent" in started.rig.sender.state.no_copy


async def test_h18_h4_without_the_database_nothing_is_sent(started: Started, uplink_database: str) -> None:
    await started.begin()
    away = await Database.open(uplink_database)
    await away.close()
    started.rig.epochs._db = started.rig.spool._db = away
    async with started.rig.running():
        await asyncio.sleep(0.7)
        assert started.word == "silent"
        assert started.line.posts == []


async def test_silenced_under_way_is_no_failure(started: Started) -> None:
    ids = await started.begin()
    started.line.answers = [Silenced()]
    await started.step()
    assert started.rig.sender._failures == 0
    assert await waiting_ids(started.db) == ids


async def test_forget_is_one_delete_after_what_was_under_way(started: Started) -> None:
    await started.begin()
    assert await started.rig.sender.forget() == 204
    assert started.line.deleted == ["/v1/installation"]
    started.rig.gate.shut()
    with pytest.raises(Unreached):
        await started.rig.sender.forget()
    assert len(started.line.deleted) == 1


async def test_to_a_real_receiver_each_batch_is_stored_once(
    uplink_db: Database, receiver_url: str, tmp_path: Path
) -> None:
    async with receiving(receiver_url, tmp_path / "receiver") as desk:
        identity = await desk.enrol()
        given = consent(installation=identity.installation)
        rig = Rig(uplink_db, tmp_path, lambda: line)
        transport = Transport(rig.gate.is_open)
        rig.gate._abort = transport.abort
        line = real_line(transport, desk, identity)
        try:
            await rig.begin(given)
            batches = [
                *batches_of(given, 3),
                *batches_of(given, 2, Stream.METRICS),
                *batches_of(given, 1, Stream.INVENTORY),
            ]
            await rig.spool.add(given, batches, time.time())
            await rig.steps()
            await rig.spool.add(given, batches[:2], time.time())  # as if no answer had come
            await rig.steps()
            rows = await desk.store.db.fetch("SELECT batch_id FROM receiver_batches ORDER BY ordinal")
            assert [row["batch_id"] for row in rows] == [batch.id for batch in batches]
            assert await desk.store.db.fetchval("SELECT count(*) FROM receiver_logs") == 3
            assert rig.sender.state.clock_skew_s == pytest.approx(0, abs=3)
            assert await rig.sender.forget() == 204
            assert await desk.store.db.fetchval("SELECT count(*) FROM receiver_batches") == 0
        finally:
            await transport.close()
