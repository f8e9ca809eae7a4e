"""Forwarding to another OTLP backend, which is an aiohttp server with moods."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from aiohttp import web
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from structlog.testing import capture_logs

from tests.support.receiving import Desk, Identity, logs, receiving
from uplink.receiver.batches import Batches
from uplink.receiver.forward import DEAD_LETTERS, FORWARDED, POISON, Forwarder
from uplink.receiver.headers import HeadersError, HeadersFile
from uplink.receiver.view import counts
from uplink.wire import names
from uplink.wire.otlp import CONTENT_TYPE, Signal

Mood = Callable[[], web.Response]


class Backend:
    """Takes what it gets, unless it is in another mood."""

    def __init__(self) -> None:
        self.took: list[tuple[str, bytes]] = []
        self.moods: list[Mood] = []
        self.key = ""
        """Without it nothing is taken."""
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        if self.key and request.headers.get("X-Api-Key") != self.key:
            return web.Response(status=401, text="no")
        if self.moods:
            return self.moods.pop(0)()
        self.took.append((request.path, body))
        return web.Response(body=b"", content_type=CONTENT_TYPE)


@pytest.fixture
async def backend() -> AsyncIterator[Backend]:
    backend = Backend()
    app = web.Application()
    app.router.add_post("/v1/{signal}", backend.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert runner.addresses
    backend.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield backend
    await runner.cleanup()


@asynccontextmanager
async def forwarding(receiver_url: str, directory: Path, backend: str, **more: Any) -> AsyncIterator[Desk]:
    async with receiving(receiver_url, directory, forward=backend, **more) as desk:
        yield desk


async def send(desk: Desk, identity: Identity, *bodies: str) -> None:
    for body in bodies:
        assert (await desk.send(identity, logs(body).SerializeToString(), Signal.LOGS, uuid4())).status == 200


async def take(desk: Desk, batches: Batches, identity: Identity, bodies: str) -> None:
    for body in bodies:
        raw = logs(body).SerializeToString()
        await batches.take("acme", identity.installation, uuid4(), Signal.LOGS, raw, desk.clock.now())


@asynccontextmanager
async def sending(forwarder: Forwarder) -> AsyncIterator[None]:
    task = asyncio.create_task(forwarder.run())
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def counted(desk: Desk, name: str, wanted: int) -> None:
    async with asyncio.timeout(8):
        while (await counts(desk.store)).get(name, 0) != wanted:  # noqa: ASYNC110 - the database tells nobody
            await asyncio.sleep(0.02)


def put(file: Path, text: str) -> None:
    """All of it at once."""
    beside = file.with_suffix(".new")
    beside.write_text(text)
    beside.chmod(0o600)
    beside.replace(file)


def bodies(backend: Backend) -> list[str]:
    return [
        ExportLogsServiceRequest.FromString(body).resource_logs[0].scope_logs[0].log_records[0].body.string_value
        for _, body in backend.took
    ]


async def test_batches_go_on_in_order_with_the_organisation_that_the_certificate_says(
    receiver_url: str, tmp_path: Path, backend: Backend
) -> None:
    async with forwarding(receiver_url, tmp_path / "r", backend.url) as desk:
        identity = await desk.enrol("acme")
        await send(desk, identity, "1", "2", "3")
        await counted(desk, FORWARDED, 3)
        assert bodies(backend) == ["1", "2", "3"]
        said = ExportLogsServiceRequest.FromString(backend.took[0][1]).resource_logs[0].resource.attributes
        assert {(each.key, each.value.string_value) for each in said} >= {(names.ORGANISATION, "acme")}
        assert await desk.store.db.fetchval("SELECT count(*) FROM receiver_batches WHERE forward IS NOT NULL") == 0
        await desk.send(identity, b"", Signal.LOGS)
        assert len(backend.took) == 3, "a probe is nobody's business but ours"


async def test_a_backend_that_is_away_or_no_backend_loses_nothing(
    receiver_url: str, tmp_path: Path, backend: Backend
) -> None:
    backend.moods = [
        lambda: web.Response(status=503),
        lambda: web.Response(status=302, headers={"Location": "/elsewhere"}),
        lambda: web.Response(text="<html>", content_type="text/html"),
        lambda: web.Response(status=400, text="<html>", content_type="text/html"),
    ]
    async with receiving(receiver_url, tmp_path / "r") as desk:
        identity = await desk.enrol()
        batches = Batches(desk.store, forwards=True)
        await take(desk, batches, identity, "12")
        async with sending(Forwarder(desk.store, batches, backend.url, desk.clock, first_pause_s=0.02)):
            await counted(desk, FORWARDED, 2)
        assert bodies(backend) == ["1", "2"]
        assert (await counts(desk.store)).get(DEAD_LETTERS, 0) == 0


async def test_a_batch_on_which_the_backend_fails_again_and_again_lets_the_next_ones_pass(
    receiver_url: str, tmp_path: Path, backend: Backend
) -> None:
    backend.moods = [lambda: web.Response(status=500, text="oops")] * POISON
    async with receiving(receiver_url, tmp_path / "r") as desk:
        identity = await desk.enrol()
        batches = Batches(desk.store, forwards=True)
        await take(desk, batches, identity, "12")
        async with sending(Forwarder(desk.store, batches, backend.url, desk.clock, first_pause_s=0.001)):
            await counted(desk, FORWARDED, 1)
        assert bodies(backend) == ["2"]
        assert (await counts(desk.store))[DEAD_LETTERS] == 1


async def test_what_waits_survives_a_restart(receiver_url: str, tmp_path: Path, backend: Backend) -> None:
    async with forwarding(receiver_url, tmp_path / "r", "http://127.0.0.1:9") as desk:
        await send(desk, await desk.enrol(), "1")
    assert backend.took == []
    async with forwarding(receiver_url, tmp_path / "r", backend.url) as desk:
        await counted(desk, FORWARDED, 1)
    assert bodies(backend) == ["1"]


async def test_what_the_backend_refuses_for_good_is_a_dead_letter_and_stays_in_the_store(
    receiver_url: str, tmp_path: Path, backend: Backend
) -> None:
    backend.moods = [lambda: web.Response(status=400, body=b"", content_type=CONTENT_TYPE)]
    async with forwarding(receiver_url, tmp_path / "r", backend.url) as desk:
        await send(desk, await desk.enrol(), "1", "2")
        await counted(desk, FORWARDED, 1)
        assert (await counts(desk.store))[DEAD_LETTERS] == 1
        assert bodies(backend) == ["2"]
        (body,) = await desk.store.db.fetch("SELECT body FROM receiver_batches WHERE forward = 'dead'")
        assert b"1" in gzip.decompress(body["body"])


async def test_the_queue_is_bounded_and_its_oldest_are_counted_as_dead(
    receiver_url: str, tmp_path: Path, backend: Backend
) -> None:
    async with receiving(receiver_url, tmp_path / "r") as desk:
        identity = await desk.enrol()
        batches = Batches(desk.store, forwards=True)
        await take(desk, batches, identity, "12345")
        async with sending(Forwarder(desk.store, batches, backend.url, desk.clock, max_waiting=2)):
            await counted(desk, FORWARDED, 2)
        assert bodies(backend) == ["4", "5"]
        assert (await counts(desk.store))[DEAD_LETTERS] == 3


async def test_a_backend_that_wants_a_key_has_it_from_a_file_also_when_it_is_replaced(
    receiver_url: str, tmp_path: Path, backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    backend.key = "canary-1"
    file = tmp_path / "headers"
    put(file, "X-Api-Key: canary-1\n")
    async with receiving(receiver_url, tmp_path / "r") as desk:
        identity = await desk.enrol()
        batches = Batches(desk.store, forwards=True)
        with capture_logs() as logged:
            forwarder = Forwarder(desk.store, batches, backend.url, desk.clock, HeadersFile(file), first_pause_s=0.02)
            async with sending(forwarder):
                await take(desk, batches, identity, "1")
                await counted(desk, FORWARDED, 1)
                backend.key = "canary-2"
                put(file, "no header, canary-2")
                await take(desk, batches, identity, "2")
                await asyncio.sleep(0.1)
                put(file, "X-Api-Key: canary-2\n")
                await counted(desk, FORWARDED, 2)
        assert bodies(backend) == ["1", "2"]
    assert "canary" not in f"{logged}{caplog.text}"
    told = [each["event"] for each in logged]
    assert told.count("headers for the backend can't be read: those before stay") == 1
    assert {"x-api-key": "***"} in [each.get("headers") for each in logged]


async def test_an_empty_file_of_headers_and_none_are_the_same_and_a_bad_one_stops_the_start(
    receiver_url: str, tmp_path: Path, backend: Backend
) -> None:
    file = tmp_path / "headers"
    put(file, "")
    async with forwarding(receiver_url, tmp_path / "r", backend.url, forward_headers_file=file) as desk:
        await send(desk, await desk.enrol(), "1")
        await counted(desk, FORWARDED, 1)
    file.chmod(0o644)
    with pytest.raises(HeadersError, match="0644"):
        async with forwarding(receiver_url, tmp_path / "r", backend.url, forward_headers_file=file):
            pass


@pytest.mark.parametrize("url", ["http://user:secret@c", "http://user@c"])
def test_a_backends_url_has_no_password(url: str) -> None:
    with pytest.raises(ValueError, match="as a header") as caught:
        Forwarder(None, None, url, None)  # type: ignore[arg-type] # refused before it looks at them
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("endpoint", ["collector:4318", "ftp://collector", "http://", "http://c/?token=x"])
def test_a_backend_that_is_no_base_url_is_refused(endpoint: str) -> None:
    with pytest.raises(ValueError, match="base URL"):
        Forwarder(None, None, endpoint, None)  # type: ignore[arg-type] # refused before it looks at them
