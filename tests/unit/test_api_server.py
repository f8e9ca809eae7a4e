"""The rules that hold for every request: hosts, headers, methods, problems, start and stop."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator

import aiohttp
import pytest

from muster.access.hosts import is_loopback
from muster.api.server import ListenError
from tests.support.hub import LOCAL_TOKEN, MadeUpHub, api_server
from tests.support.runtime import bearer


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async def metrics() -> bytes:
        raise RuntimeError("a defect that knows the password hunter2")

    server = api_server(MadeUpHub(), metrics)
    await server.start()
    yield server.url
    await server.stop()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(headers=bearer(LOCAL_TOKEN)) as session:
        yield session


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/api/v1/clusters", "/nowhere", "/metrics"])
async def test_every_answer_is_kept_from_caches_and_browsers(
    session: aiohttp.ClientSession, url: str, path: str
) -> None:
    async with session.get(url + path) as response:
        assert response.headers["Cache-Control"] == ("no-cache" if "ETag" in response.headers else "no-store")
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]
        assert response.headers["Server"] == "muster"  # neither Python's nor aiohttp's release


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8645", "127.0.0.1.evil.example", "localhost.evil.example", "10.0.0.1", "0.0.0.0"],
)
async def test_a_page_elsewhere_cannot_read_the_fleet_through_a_name_of_its_own(
    session: aiohttp.ClientSession, url: str, host: str
) -> None:
    for path in ("/api/v1/fleet", "/healthz", "/nowhere"):
        async with session.get(url + path, headers={"Host": host}) as response:
            assert response.status == 421
            assert (await response.json(content_type=None))["type"] == "/problems/wrong-host"


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1", "127.0.0.2:99", "[::1]", "[::1]:8645"])
async def test_names_of_this_machine_are_answered(session: aiohttp.ClientSession, url: str, host: str) -> None:
    async with session.get(f"{url}/healthz", headers={"Host": host}) as response:
        assert response.status == 200


@pytest.mark.parametrize("host", ["", "user@127.0.0.1", "[::1", "::1]", "127.0.0.1:port", "1", "[fe80::1%lo]"])
def test_what_is_no_loopback_address_is_none(host: str) -> None:
    assert not is_loopback(host)


async def test_a_path_that_does_not_exist_is_a_problem(session: aiohttp.ClientSession, url: str) -> None:
    async with session.get(f"{url}/api/v1/cluster") as response:
        assert response.status == 404
        assert response.content_type == "application/problem+json"
        assert set(await response.json(content_type=None)) == {"type", "title", "status", "detail"}


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_nothing_can_be_written(session: aiohttp.ClientSession, url: str, method: str) -> None:
    async with session.request(method, f"{url}/api/v1/fleet", data=b"x" * 100_000) as response:
        assert response.status == 405
        assert response.headers["Allow"] == "GET, HEAD"
        assert (await response.json(content_type=None))["type"] == "/problems/method-not-allowed"


async def test_a_defect_shows_a_number_and_nothing_of_the_inside(
    session: aiohttp.ClientSession, url: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    async with session.get(f"{url}/metrics") as response:
        text = await response.text()
    assert response.status == 500
    problem = json.loads(text)
    assert problem["type"] == "/problems/defect"
    for word in ("Traceback", "RuntimeError", "hunter2", ".py"):
        assert word not in text
    assert problem["incident"] in caplog.text + capsys.readouterr().out


async def test_metrics_are_given_as_prometheus_reads_them(session: aiohttp.ClientSession) -> None:
    hub = MadeUpHub()
    hub.stand_by("the database")  # a standby is scraped too
    server = api_server(hub)
    await server.start()
    async with session.get(f"{server.url}/metrics") as response:
        assert response.status == 200
        assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        assert await response.read() == b"muster_up 1\n"
    await server.stop()


async def test_a_port_that_is_taken_is_told_with_the_flag() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ListenError) as raised:
            await api_server(MadeUpHub(), port=port).start()
    assert f"127.0.0.1:{port}: Address already in use" in str(raised.value)
    assert "--listen" in str(raised.value)


async def test_stopping_does_not_wait_for_a_request_that_hangs(session: aiohttp.ClientSession) -> None:
    asked, cancelled = asyncio.Event(), asyncio.Event()

    async def hang() -> bytes:
        asked.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return b""

    server = api_server(MadeUpHub(), hang)
    await server.start()
    asking = asyncio.create_task(session.get(f"{server.url}/metrics").__aenter__())
    await asked.wait()
    started = time.monotonic()
    await server.stop()
    assert time.monotonic() - started < 2.0
    with pytest.raises(aiohttp.ClientError):
        await asking
    assert cancelled.is_set()


async def test_a_stopped_server_frees_its_port_though_clients_keep_connections(session: aiohttp.ClientSession) -> None:
    server = api_server(MadeUpHub())
    await server.start()
    async with session.get(f"{server.url}/healthz"):
        pass
    await server.stop()
    again = api_server(MadeUpHub(), port=int(server.url.rpartition(":")[2]))
    await again.start()
    await again.stop()


async def test_what_is_no_http_gets_no_answer_from_the_inside(url: str) -> None:
    host, _, port = url.removeprefix("http://").partition(":")
    for sent in (
        b"\x16\x03\x01\x02\x00garbage\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 20_000 + b"\r\n\r\n",
    ):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(sent)
        answer = await asyncio.wait_for(reader.read(), 5)
        assert b"400" in answer.split(b"\r\n")[0]
        assert b"Traceback" not in answer
        writer.close()
