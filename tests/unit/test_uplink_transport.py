"""The one place that opens connections, against servers and proxies that do their worst."""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from tests.support.loops import on_both_loops
from tests.support.uplink_peers import Impostor, Peer, http, listening, proxying
from uplink.client.network.proxy import Proxies, ProxyError, parse
from uplink.client.network.resolving import Names
from uplink.client.network.skew import skew_s
from uplink.client.network.transport import Answer, Question, Transport
from uplink.client.network.trust import Trust
from uplink.client.network.unreached import Obstacle, Silenced, Unreached

ODD_PASSWORD = "hunter2/canary"
BASIC = "Basic YW5uOmh1bnRlcjIvY2FuYXJ5"  # ann:hunter2/canary


@pytest.fixture(scope="module")
def server() -> Impostor:
    return Impostor()


@asynccontextmanager
async def transport(allowed: Callable[[], bool] = lambda: True, **more: Any) -> AsyncIterator[Transport]:
    made = Transport(allowed, Proxies(**more))
    try:
        yield made
    finally:
        await made.close()


async def ask(peer: Peer, trust: Trust, path: str = "/", **more: Any) -> Answer:
    proxies = {name: more.pop(name) for name in ("setting", "environ") if name in more}
    async with transport(**proxies) as line:
        return await line.ask(Question(more.pop("method", "GET"), peer.url + path, **more), trust)


async def obstacle(peer: Peer, trust: Trust, **more: Any) -> Unreached:
    with pytest.raises(Unreached) as caught:
        await ask(peer, trust, **more)
    assert "hunter2" not in f"{caught.value!r}{caught.value}"
    return caught.value


class Heard:
    """Every name that is looked up and every socket that is made or connected, while it listens."""

    def __init__(self) -> None:
        self.on = True
        self.events: list[str] = []
        sys.addaudithook(self._hear)

    def _hear(self, event: str, _: object) -> None:
        if self.on and event.startswith("socket."):
            self.events.append(event)


async def test_h1_before_consent_there_is_no_name_looked_up_and_no_socket_made(server: Impostor) -> None:
    async with server.saying(http(200)) as peer, transport(lambda: False) as line:
        heard = Heard()
        for url in (peer.url, "https://register.example.com"):
            with pytest.raises(Silenced):
                await line.ask(Question("GET", url), server.trust)
        await line.close()
        heard.on = False
        assert heard.events == []
        heard.on = True  # not deaf
        assert (await ask(peer, server.trust)).status == 200
        heard.on = False
    assert {"socket.__new__", "socket.connect"} <= set(heard.events)
    assert peer.connections == 1


async def test_h3_permission_that_ends_after_the_name_was_found_makes_no_socket(server: Impostor) -> None:
    looks = iter([True, False])
    async with server.saying(http(200)) as peer, transport(lambda: next(looks, False)) as line:
        with pytest.raises(Silenced):
            await line.ask(Question("GET", f"https://127.0.0.1:{peer.port}"), server.trust)
    assert peer.connections == 0


async def test_h22_a_wrong_ca_is_not_believed_and_the_error_tells_of_inspecting_proxies(server: Impostor) -> None:
    async with server.saying(http(200)) as peer:
        error = await obstacle(peer, Impostor().trust)
    assert error.obstacle is Obstacle.TLS
    assert "proxy that looks into TLS" in str(error)
    assert peer.heads == []


async def test_without_anchors_nobody_is_believed_not_even_whom_the_system_trusts(server: Impostor) -> None:
    async with server.saying(http(200)) as peer:
        assert (await obstacle(peer, Trust(""))).obstacle is Obstacle.SETTINGS
    assert peer.connections == 0


async def test_h21_a_redirect_is_an_answer_and_nobody_goes_there(server: Impostor) -> None:
    async with server.saying(http(200)) as other:
        answer = http(307, Location=other.url)
        async with server.saying(answer) as peer:
            got = await ask(peer, server.trust, method="POST", body=b"secret")
    assert (got.status, other.connections) == (307, 0)


@pytest.mark.parametrize("framed", [1, 0])
async def test_h21_an_endless_answer_is_cut_off_at_its_bound(server: Impostor, framed: int) -> None:
    sent = 0

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n" + (b"Content-Length: 9999999999\r\n\r\n" if framed else b"\r\n"))
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()
            sent += 65536

    async with server.saying(endless) as peer:
        error = await obstacle(peer, server.trust, max_answer_bytes=100_000)
    assert error.obstacle is Obstacle.TOO_LARGE
    assert sent < 50_000_000


async def test_h21_a_packed_answer_stays_packed(server: Impostor) -> None:
    async with server.saying(http(200, b"\x1f\x8b bomb", Content_Encoding="gzip")) as peer:
        got = await ask(peer, server.trust)
    assert (got.body, got.content_encoding) == (b"\x1f\x8b bomb", "gzip")
    assert b"Accept-Encoding: identity\r\n" in peer.heads[0]


async def test_a_slow_loris_costs_its_deadline_and_no_more(server: Impostor) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nX: ")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with server.saying(drip) as peer:
        began = time.monotonic()
        error = await obstacle(peer, server.trust, deadline_s=0.3)
    assert error.obstacle is Obstacle.TIMEOUT
    assert time.monotonic() - began < 1.0


@pytest.mark.parametrize("said", [b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", b""])
async def test_h21_what_is_no_http_is_said_to_be_so(server: Impostor, said: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        await writer.drain()

    async with server.saying(talk) as peer:
        error = await obstacle(peer, server.trust)
    assert error.obstacle is (Obstacle.PROTOCOL if said else Obstacle.CONNECT)


async def test_nobody_there_is_a_connect_error() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        peer = Peer(unused.getsockname()[1])
        assert (await obstacle(peer, Impostor().trust)).obstacle is Obstacle.CONNECT


async def test_h16_skew_is_our_clock_against_the_servers(server: Impostor) -> None:
    async with server.saying(http(200, Date="Tue, 15 Nov 1994 08:12:31 GMT")) as peer:
        got = await ask(peer, server.trust)
    assert [skew_s(got.date, 784887151.0 + each) for each in (0, 0.99, 30, -5)] == [0, 0, 30, -6]
    assert skew_s("yesterday", 0) is None
    assert skew_s(None, 0) is None


@on_both_loops
async def test_a_body_travels_whole_with_its_length(server: Impostor) -> None:
    got = bytearray()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        got.extend(head + await reader.readexactly(300_000))
        writer.write(http(200))
        await writer.drain()

    async with server.saying(talk) as peer:
        await ask(peer, server.trust, method="POST", body=b"y" * 300_000, headers={"Content-Type": "text/x"})
    assert b"Content-Length: 300000\r\n" in got
    assert b"chunked" not in got.lower()
    assert got.endswith(b"y" * 300_000)


@on_both_loops
async def test_h23_an_endpoint_with_ipv6_alone(server: Impostor) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(http(200))
        await writer.drain()

    async with listening(talk, server.context, at="::1") as peer, transport() as line:
        for host in ("[::1]", "localhost"):
            assert (await line.ask(Question("GET", f"https://{host}:{peer.port}"), server.trust)).status == 200


# -- proxies


@on_both_loops
async def test_h22_through_a_proxy_by_connect_with_its_credentials(server: Impostor) -> None:
    async with server.saying(http(200)) as peer, proxying(wants=BASIC) as proxy:
        setting = f"http://ann:hunter2%2Fcanary@127.0.0.1:{proxy.port}"
        assert (await ask(peer, server.trust, setting=setting)).status == 200
    assert proxy.heads[0].startswith(f"CONNECT localhost:{peer.port} HTTP/1.1\r\n".encode())
    assert b"roxy" not in peer.heads[0]


async def test_h22_a_proxy_that_refuses_is_never_gone_round(server: Impostor) -> None:
    async with server.saying(http(200)) as peer, proxying(wants=BASIC) as proxy:
        wrong = await obstacle(peer, server.trust, setting=f"http://ann:{ODD_PASSWORD[:7]}@127.0.0.1:{proxy.port}")
        assert (wrong.obstacle, "407" in str(wrong)) == (Obstacle.PROXY, True)
    async with server.saying(http(200)) as second, proxying(status=403) as proxy:
        refused = await obstacle(second, server.trust, environ={"HTTPS_PROXY": f"http://127.0.0.1:{proxy.port}"})
        assert (refused.obstacle, "403" in str(refused)) == (Obstacle.PROXY, True)
    gone = await obstacle(second, server.trust, setting=f"http://127.0.0.1:{proxy.port}")
    assert gone.obstacle is Obstacle.PROXY
    assert peer.connections == second.connections == 0


async def test_h22_a_proxy_that_looks_into_tls_is_not_believed(server: Impostor) -> None:
    looking = Impostor()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await writer.start_tls(looking.context)
        await reader.read()

    async with server.saying(http(200)) as peer, listening(talk) as proxy:
        error = await obstacle(peer, server.trust, setting=f"http://127.0.0.1:{proxy.port}")
    assert (error.obstacle, peer.connections) == (Obstacle.TLS, 0)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("https://ann:hunter2@proxy:8080", "https:// one"),
        ("socks5://ann:hunter2@proxy", "SOCKS"),
        ("http://", "has to be"),
        ("http://proxy:port", "has to be"),
        ("http://proxy/path", "has to be"),
    ],
)
async def test_h22_a_proxy_that_cant_be_used_is_refused_with_the_reason(server: Impostor, url: str, why: str) -> None:
    with pytest.raises(ProxyError, match=why) as caught:
        parse(url)
    assert "hunter2" not in str(caught.value)
    async with server.saying(http(200)) as peer:
        for where in ({"setting": url}, {"environ": {"https_proxy": url}}, {"environ": {"ALL_PROXY": url}}):
            error = await obstacle(peer, server.trust, **where)
            assert (error.obstacle, why in str(error)) == (Obstacle.SETTINGS, True)
    assert peer.connections == 0


def test_h22_which_proxy_leads_there() -> None:
    environ = {"HTTPS_PROXY": "http://a:1", "NO_PROXY": "example.com, 10.0.0.1"}
    assert str(Proxies(environ=environ).to("vendor.example.net", 443)) == "a:1"
    assert Proxies(environ=environ).to("ingest.example.com", 443) is None
    assert Proxies(environ=environ).to("10.0.0.1", 443) is None
    assert str(Proxies("http://b", environ).to("ingest.example.com", 443)) == "b:80"
    assert Proxies("direct", environ).to("vendor.example.net", 443) is None
    assert Proxies().to("vendor.example.net", 443) is None
    assert "hunter2" not in repr(Proxies("http://ann:hunter2@b"))
    assert "Basic" not in repr(parse("http://ann:hunter2@b"))


# -- off


@on_both_loops
async def test_h3_abort_in_an_upload_takes_back_what_the_kernel_still_holds(server: Impostor) -> None:
    """A slow link: after 100 kB it stands still, with a small window, and nearly all of a MiB waits on our side."""
    before, after = 0, 0
    stands, goes, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def link(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal before, after
        await reader.readuntil(b"\r\n\r\n")
        theirs, ours = await asyncio.open_connection("127.0.0.1", peer.port)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        back = asyncio.create_task(_copy(theirs, writer))
        try:
            while some := await reader.read(16384):
                ours.write(some)
                if goes.is_set():
                    after += len(some)
                elif (before := before + len(some)) > 100_000:
                    stands.set()
                    await goes.wait()
        finally:
            back.cancel()
            ours.transport.abort()
            ended.set()

    async with server.saying(http(200)) as peer, listening(link, window=32768) as slow:  # noqa: SIM117 - its port
        async with transport(setting=f"http://127.0.0.1:{slow.port}") as line:
            asking = asyncio.create_task(line.ask(Question("POST", peer.url, body=b"z" * 1_048_576), server.trust))
            await asyncio.wait_for(stands.wait(), 5)
            await asyncio.sleep(0.1)
            began = time.monotonic()
            line.abort()
            with pytest.raises(Silenced):
                await asking
            assert time.monotonic() - began < 0.2
            await asyncio.sleep(0.05)
            goes.set()
            await asyncio.wait_for(ended.wait(), 5)
    assert before + after < 500_000, "what had reached the other side, and no more"


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while some := await reader.read(65536):
        writer.write(some)


@on_both_loops
@pytest.mark.parametrize("stage", ["tcp", "tls", "answer", "proxy"])
async def test_h3_abort_ends_a_request_in_every_stage_at_once(server: Impostor, stage: str) -> None:
    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()
        await reader.read()

    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = [socket.socket() for _ in range(3)]
        for filler in fillers:  # the queue of connections is full: the next SYN gets no answer
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        async with (
            listening(silent, server.context if stage == "answer" else None) as peer,
            transport(setting=f"http://127.0.0.1:{peer.port}" if stage == "proxy" else None) as line,
        ):
            port = full.getsockname()[1] if stage == "tcp" else peer.port
            asking = asyncio.create_task(line.ask(Question("GET", f"https://127.0.0.1:{port}"), server.trust))
            await asyncio.sleep(0.1)
            assert not asking.done()
            began = time.monotonic()
            line.abort()
            with pytest.raises(Silenced):
                await asking
            assert time.monotonic() - began < 0.2
        for filler in fillers:
            filler.close()


@on_both_loops
async def test_h3_abort_in_a_look_up_asks_no_name_server_again(server: Impostor) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        silent.setblocking(False)
        names = Names(["127.0.0.1"], udp_port=silent.getsockname()[1], try_s=0.25)
        line = Transport(lambda: True, names=names)
        asking = asyncio.create_task(line.ask(Question("GET", "https://register.example.com"), server.trust))
        await asyncio.sleep(0.1)
        assert len(_waiting(silent)) >= 1
        line.abort()
        with pytest.raises(Silenced):
            await asking
        await asyncio.sleep(0.6)
        assert _waiting(silent) == [], "a look-up that is only cancelled asks again"
        await line.close()


def _waiting(here: socket.socket) -> list[bytes]:
    found = []
    with suppress(BlockingIOError):
        while True:
            found.append(here.recv(4096))
    return found


async def test_h3_permission_that_ends_in_an_upload_cuts_it_off(server: Impostor) -> None:
    allowed, got = True, bytearray()

    async def slow(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        nonlocal allowed
        await reader.readuntil(b"\r\n\r\n")
        allowed = False
        while some := await reader.read(65536):
            got.extend(some)

    async with server.saying(slow) as peer, transport(lambda: allowed) as line:
        with pytest.raises(Silenced):
            await line.ask(Question("POST", peer.url, body=b"z" * 60_000_000), server.trust)
    assert len(got) < 12_000_000


async def test_after_an_abort_it_can_be_used_again_with_new_connections(server: Impostor) -> None:
    async with server.saying(http(200)) as peer, transport() as line:
        assert (await line.ask(Question("GET", peer.url), server.trust)).status == 200
        assert (await line.ask(Question("GET", peer.url), server.trust)).status == 200
        assert peer.connections == 1
        line.abort()
        assert (await line.ask(Question("GET", peer.url), server.trust)).status == 200
        assert peer.connections == 2
        await line.retire(server.trust)
        assert (await line.ask(Question("GET", peer.url), server.trust)).status == 200
        assert peer.connections == 3


async def test_a_request_that_is_cancelled_leaves_nothing_open(server: Impostor) -> None:
    gone = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reader.read()
        gone.set()

    async with server.saying(silent) as peer, transport() as line:
        asking = asyncio.create_task(line.ask(Question("GET", peer.url), server.trust))
        await asyncio.sleep(0.1)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await asyncio.wait_for(gone.wait(), 1)
