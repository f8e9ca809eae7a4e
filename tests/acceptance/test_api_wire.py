"""What comes over the wire and is no honest request: names that are not ours, bombs, smuggling, heads and bodies that
never end. The real service refuses it in words that repeat nothing, keeps nothing of it, and serves the others.
"""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from urllib.parse import urlsplit

import psutil
import pytest

from tests.support.runtime import local_bearer
from tests.support.service import Service, running_service, simulated
from validator.net.connections import HEAD_S

TOKEN_CHARS = re.compile(rb"muster_[A-Za-z0-9_-]{20}")
FLEET = b"GET /api/v1/fleet HTTP/1.1\r\n"
HOST = b"Host: 127.0.0.1\r\n"
AUTH = b"<auth>"
"""Stands for the header with a good token."""
SMUGGLED = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with simulated((2, "healthy")) as fleet, running_service("--static", fleet.source) as service:
        yield service
        assert service.events("API defect") == []
        assert [line for line in service.log.splitlines() if '"level": "error"' in line] == []
        assert "Traceback" not in service.log
        assert not TOKEN_CHARS.search(service.log.encode())


def connected(service: Service) -> socket.socket:
    parts = urlsplit(service.url)
    return socket.create_connection((str(parts.hostname), parts.port or 0), timeout=5)


def ask(service: Service, *pieces: bytes, within_s: float = 5.0, pause_s: float = 0.0) -> bytes:
    """All that is answered until the other side ends it, or nothing has come for a while."""
    auth = f"Authorization: {local_bearer(service.url)['Authorization']}\r\n".encode()
    with connected(service) as connection:
        with suppress(ConnectionError):  # it may be refused before all of it is sent
            for piece in pieces:
                connection.sendall(piece.replace(AUTH, auth))
                time.sleep(pause_s)
        answer = b""
        with suppress(ConnectionError, TimeoutError):
            connection.settimeout(within_s)
            while more := connection.recv(65536):
                answer += more
                connection.settimeout(min(within_s, 0.3))
        return answer


def statuses(answer: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"^HTTP/1\.[01] (\d{3}) ", answer, re.MULTILINE)]


def healthy(service: Service) -> float:
    """How long an honest request takes."""
    started = time.monotonic()
    assert service.get("/api/v1/fleet")[0] == 200
    return time.monotonic() - started


# -- names


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (FLEET + HOST, 200),
        (FLEET, 400),
        (b"GET /api/v1/fleet HTTP/1.0\r\n", 421),
        (FLEET + b"Host:\r\n", 421),
        (FLEET + HOST + HOST, 400),
        (FLEET + HOST + b"Host: evil.example\r\n", 400),
        (FLEET + b"Host: 127.0.0.1, evil.example\r\n", 421),
        (FLEET + b"Host: evil.example@127.0.0.1\r\n", 421),
        (FLEET + b"Host: 127.0.0.1:80:80\r\n", 421),
        (FLEET + b"Host: 127.0.0.1\x00.evil.example\r\n", 400),
        (b"GET http://127.0.0.1/api/v1/fleet HTTP/1.1\r\n" + HOST, 200),
        (b"GET http://evil.example/api/v1/fleet HTTP/1.1\r\n" + HOST, 421),
        (b"GET http://127.0.0.1/api/v1/fleet HTTP/1.1\r\nHost: evil.example\r\n", 421),
        (b"GET //evil.example/api/v1/fleet HTTP/1.1\r\n" + HOST, 404),
        (b"CONNECT evil.example:80 HTTP/1.1\r\n" + HOST, 421),
        (b"OPTIONS * HTTP/1.1\r\n" + HOST, 404),
        (FLEET + HOST + b"X-Forwarded-Host: evil.example\r\n", 200),
    ],
)
def test_only_requests_to_a_name_of_ours_are_answered(service: Service, head: bytes, status: int) -> None:
    assert statuses(ask(service, head + AUTH + b"\r\n")) == [status]


@pytest.mark.parametrize(
    "path", [b"/healthz/../api/v1/fleet", b"/healthz/%2e%2e/api/v1/fleet", b"/healthz%2f..%2fmetrics"]
)
def test_no_other_spelling_of_a_path_goes_round_the_gate(service: Service, path: bytes) -> None:
    assert statuses(ask(service, b"GET " + path + b" HTTP/1.1\r\n" + HOST + b"\r\n")) == [404]


# -- heads


@pytest.mark.parametrize(
    "head",
    [
        b"".join(b"X-%d: y\r\n" % number for number in range(200)),
        b"".join(b"X-%d: y\r\n" % number for number in range(50_000)),
        b"X: " + b"y" * 1_000_000 + b"\r\n",
        b"y" * 1_000_000 + b": x\r\n",
        b"Cookie: " + b"a=b; " * 200_000 + b"\r\n",
        b"X: a\r\n b\r\n",
        b"X : a\r\n",
        b"X: a\x00b\r\n",
        b"X: a\rb\r\n",
        b"X: a\nY: b\r\n",
        b": no name\r\n",
        b"no colon\r\n",
    ],
    ids=range(12),
)
def test_a_head_that_is_too_large_or_ambiguous_is_refused_and_not_repeated(service: Service, head: bytes) -> None:
    answer = ask(service, FLEET + HOST + AUTH + head + b"\r\n")
    assert_refused(answer)


@pytest.mark.parametrize(
    "line",
    [
        b"GET /" + b"y" * 1_000_000 + b" HTTP/1.1\r\n",
        b"y" * 1_000_000 + b" / HTTP/1.1\r\n",
        b"GET /api/v1/fleet HTTP/1.2\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n",
    ],
    ids=range(5),
)
def test_a_first_line_that_is_none_is_refused_and_not_repeated(service: Service, line: bytes) -> None:
    assert_refused(ask(service, line + HOST + b"\r\n"))


def test_a_token_in_a_broken_head_is_not_repeated(service: Service) -> None:
    service_log = len(service.log)
    answer = ask(service, FLEET + HOST + b"Authorization : Bearer muster_" + b"c" * 43 + b"\r\n\r\n")
    assert_refused(answer)
    assert b"cccc" not in answer
    assert "cccc" not in service.log[service_log:]


def assert_refused(answer: bytes) -> None:
    """Once, as a problem like any other, with nothing of what was sent or of what we are made of."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert statuses(answer) == [400]
    assert json.loads(body)["type"] == "/problems/bad-request"
    assert b"\r\nServer: muster\r\n" in head
    assert b"\r\nX-Content-Type-Options: nosniff" in head
    assert len(answer) < 1000
    assert not TOKEN_CHARS.search(answer)


# -- two readings of one request


@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
        b"Content-Length: 40\r\nContent-Length: 0\r\n\r\n",
        b"Content-Length: 0, 0\r\n\r\n",
        b"Content-Length: +0\r\n\r\n",
        b"Content-Length: -1\r\n\r\n",
        b"Content-Length: 99999999999999999999999\r\n\r\n",
        b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: identity\r\n\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n2\n{}\n0\n\n",
    ],
    ids=range(16),
)
def test_a_length_that_can_be_read_in_two_ways_ends_the_connection(service: Service, framing: bytes) -> None:
    post = b"POST /api/v1/tokens HTTP/1.1\r\n" + HOST + AUTH + b"Content-Type: application/json\r\n"
    answer = ask(service, post + framing + SMUGGLED)
    assert 200 not in statuses(answer), "what came after it was no request of its own"
    assert statuses(answer) == [400]


def test_an_upgrade_that_nobody_offers_is_a_plain_request(service: Service) -> None:
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    assert statuses(ask(service, FLEET + HOST + AUTH + upgrade + b"\r\n")) == [200]


# -- bodies

LENGTH = 10_000_000


def chunks(total: int) -> Iterator[bytes]:
    for _ in range(total // 100_000):
        yield b"186a0\r\n" + b" " * 100_000 + b"\r\n"
    yield b"0\r\n\r\n"


@pytest.mark.parametrize("path", [b"/api/v1/tokens", b"/api/v1/session", b"/api/v1/clusters/healthy-00001/pause"])
@pytest.mark.parametrize("auth", [AUTH, b""], ids=["known", "stranger"])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_ten_megabytes_are_refused_and_not_kept(service: Service, path: bytes, auth: bytes, framing: str) -> None:
    head = b"POST " + path + b" HTTP/1.1\r\n" + HOST + auth + b"Content-Type: application/json\r\nConnection: close\r\n"
    before = psutil.Process(service.pid).memory_info().rss
    if framing == "length":
        pieces: Sequence[bytes] = [
            head + b"Content-Length: %d\r\n\r\n" % LENGTH,
            *[b" " * 100_000] * (LENGTH // 100_000),
        ]
    else:
        pieces = [head + b"Transfer-Encoding: chunked\r\n\r\n", *chunks(LENGTH)]
    [status] = statuses(ask(service, *pieces))
    assert status == (413 if auth or b"session" in path else 401)
    assert psutil.Process(service.pid).memory_info().rss - before < 8_000_000
    healthy(service)


@pytest.mark.slow
def test_heads_and_bodies_that_never_end_hold_nobody_else_up_and_are_dropped(service: Service) -> None:
    """500 half heads, 100 half bodies of strangers: no lockout, no pile of memory, and all gone after ten seconds."""
    body = (
        b"POST /api/v1/session HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    )
    process = psutil.Process(service.pid)
    rss, descriptors = process.memory_info().rss, process.num_fds()
    started = time.monotonic()
    with ExitStack() as stack:
        slow = [stack.enter_context(connected(service)) for _ in range(600)]
        for number, connection in enumerate(slow):
            connection.sendall(FLEET + HOST + b"X-A: b\r\n" if number < 500 else body)
        took_s = []
        while time.monotonic() - started < HEAD_S - 2:
            for connection in slow[:500]:
                connection.sendall(b"X")
            took_s.append(healthy(service))
            time.sleep(0.25)
        assert process.num_fds() >= descriptors + 600, "they were all taken"
        assert process.memory_info().rss - rss < 40_000_000
        assert sorted(took_s)[len(took_s) // 2] < 0.2
        assert max(took_s) < 1.5
        ends = time.monotonic() + 6
        while process.num_fds() > descriptors + 10 and time.monotonic() < ends:
            time.sleep(0.2)
        assert process.num_fds() <= descriptors + 10
        answered = [connection.recv(100) for connection in slow[500:]]
        assert all(answer.startswith(b"HTTP/1.1 408 ") for answer in answered)
    assert healthy(service) < 1.0
