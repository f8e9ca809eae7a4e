"""Servers that are hostile, broken, slow, or something else: every command ends, in time and with a sentence."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from muster.cli import transport
from muster.cli.errors import Lost, NotReachable, Silent
from muster.cli.transport import Request, Transport
from tests.support.cli import muster
from tests.support.scripted import Asked, http, scripted, stream

GET = Request("GET", "/api/v1/fleet")


def drip(piece: bytes) -> Iterator[bytes]:
    """One piece after the other, for ever: each within any timeout of a socket."""
    while True:
        yield piece
        time.sleep(0.02)


def endless_body(_: Asked) -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
    yield from iter(lambda: b" " * 1_000_000, b"")


def dripping_body(_: Asked) -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
    yield from drip(b" ")


def dripping_head(_: Asked) -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nX: "
    yield from drip(b"x")


def endless_head(_: Asked) -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\n"
    yield from iter(lambda: b"X-More: " + b"x" * 1000 + b"\r\n", b"")


def silent(_: Asked) -> Iterator[bytes]:
    time.sleep(5)
    yield b""


@pytest.mark.parametrize("answer", [dripping_body, dripping_head, silent])
def test_a_slow_server_is_given_up_after_the_deadline_however_it_drips(
    answer: Callable[[Asked], Iterator[bytes]],
) -> None:
    with scripted(answer) as service:
        started = time.monotonic()
        with pytest.raises(NotReachable, match=r"within 0\.3 s"):
            Transport(service.url, answer_s=0.3).ask(GET)
        assert time.monotonic() - started < 2


def test_an_endless_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "MAX_ANSWER_BYTES", 3_000_000)
    for answer, says in ((endless_body, "larger than any"), (endless_head, "does not speak HTTP")):
        with scripted(answer) as service, pytest.raises(NotReachable, match=says):
            Transport(service.url).ask(GET)


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x00\xff" * 1000,
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>",
        http("{}"),
        http("[" * 100_000),
        http(b"\xff\xfe"),
        http('{"generation": 1}', "application/problem+json", "503 X"),
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{",
        b"HTTP/1.1 99999999999999999999 OK\r\n\r\n",
        b"",
    ],
)
def test_whatever_is_not_muster_ends_every_command_with_3_and_a_sentence(answer: bytes) -> None:
    with scripted(lambda _: [answer]) as service:
        for command in (
            ["status"],
            ["history"],
            ["availability"],
            ["audit"],
            ["token", "list"],
            ["log-level"],
            ["login"],
            ["pause", "x", "--reason", "r"],
            ["resume", "x"],
            ["validate", "x"],
            ["events", "--follow"],
        ):
            result = muster(*command, server=service.url)
            assert result.exit_code == 3, (command, result.output)
            assert result.stderr.startswith("muster: the service is not reachable")
            assert "Traceback" not in result.output
            assert result.output.replace("\n", "").isprintable()


def test_an_answer_that_is_cut_off_is_told_from_one_that_never_came() -> None:
    short = b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nx"
    with scripted(lambda _: [short]) as service, pytest.raises(Lost, match="499 bytes early"):
        Transport(service.url).ask(GET)


def test_a_stream_that_falls_silent_or_has_endless_lines_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "MAX_LINE_BYTES", 100_000)

    def pausing(_: Asked) -> Iterator[bytes]:
        yield stream("text/event-stream") + b": hello\n"
        time.sleep(5)

    def long_line(_: Asked) -> Iterator[bytes]:
        yield stream("text/event-stream")
        yield from iter(lambda: b"data: " + b"x" * 10_000, b"")

    for answer, error in ((pausing, Silent), (long_line, NotReachable)):
        with (
            scripted(answer) as service,
            pytest.raises(error),
            Transport(service.url).stream(GET, "text/event-stream", 0.2, None) as lines,
        ):
            list(lines.lines())


def test_whoever_waits_is_freed_when_it_is_closed() -> None:
    with scripted(silent) as service:
        client = Transport(service.url)
        closer = threading.Timer(0.2, client.close)
        closer.start()
        started = time.monotonic()
        with pytest.raises(NotReachable):
            client.ask(GET)
        assert time.monotonic() - started < 3
        with pytest.raises(NotReachable, match="given up"):
            client.ask(GET)


def test_https_trusts_the_ca_that_is_named_and_no_other(tmp_path: Path) -> None:
    ours, other = trustme.CA(), trustme.CA()
    for ca, name in ((ours, "ours.pem"), (other, "other.pem")):
        ca.cert_pem.write_to_path(tmp_path / name)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.issue_cert("127.0.0.1").configure_cert(context)
    with scripted(lambda _: [http('{"level": "info"}')], context) as service:
        good = muster("log-level", "--ca-file", str(tmp_path / "ours.pem"), server=service.url)
        assert (good.exit_code, good.stdout) == (0, "info\n")
        bad = muster("log-level", server=service.url, MUSTER_CA_FILE=str(tmp_path / "other.pem"))
        assert bad.exit_code == 3
        assert "is not trusted" in bad.stderr
        assert "--ca-file FILE" in bad.stderr
        assert len(service.asked) == 1
    (tmp_path / "junk.pem").write_text("junk")
    for name, says in (("junk.pem", "no PEM file"), ("none.pem", "No such file")):
        refused = muster("log-level", "--ca-file", str(tmp_path / name), server="https://127.0.0.1:1")
        assert refused.exit_code == 2
        assert says in refused.stderr
        assert "--ca-file or MUSTER_CA_FILE" in refused.stderr


def test_https_to_a_plain_port_says_so() -> None:
    with scripted(lambda _: [http("{}")]) as service:
        result = muster("log-level", server=service.url.replace("http:", "https:"))
    assert result.exit_code == 3
    assert "does not speak TLS" in result.stderr


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    with scripted(lambda _: [http('{"level": "info"}')]) as service:
        assert muster("log-level", server=service.url).exit_code == 0
