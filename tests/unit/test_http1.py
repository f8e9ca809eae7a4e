"""One connection against everything a peer may send: recorded answers, cut anywhere, garbage, floods, sudden ends."""

from __future__ import annotations

import asyncio
import gzip
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.loops import on_both_loops
from tests.support.transcripts import read_transcript
from validator.net.failure import ProbeFailure
from validator.net.http1 import MAX_ANSWER_BYTES, HttpAnswer, HttpConnection
from validator.reasons import Reason

KUBE = {title: record for title, record in read_transcript("kube-apiserver-1.36.http").items() if record.whole}
ANSWERED = [title for title, record in KUBE.items() if record.status]
REQUEST = b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Wire(asyncio.Transport):
    """A transport without a network: keeps what is written; `abort` ends the connection a turn later, as a real one."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closing = False
        self.protocol: HttpConnection | None = None

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def pause_reading(self) -> None:
        """Until TLS begins; here what comes is handed over by the test."""

    def is_closing(self) -> bool:
        return self.closing

    def abort(self) -> None:
        if not self.closing:
            self.lose(None)

    def lose(self, exc: Exception | None) -> None:
        self.closing = True
        assert self.protocol is not None
        asyncio.get_running_loop().call_soon(self.protocol.connection_lost, exc)


@dataclass
class Exchange:
    """One request under way on a `Wire`."""

    connection: HttpConnection
    wire: Wire
    task: asyncio.Task[HttpAnswer]

    def feed(self, *chunks: bytes) -> None:
        for chunk in chunks:
            if not self.wire.closing:
                self.connection.data_received(chunk)

    def lose(self, exc: Exception | None = None) -> None:
        if not self.wire.closing:
            self.wire.lose(exc)

    async def end(self) -> HttpAnswer | ProbeFailure:
        """What came of it; raises TimeoutError where it would wait for ever."""
        try:
            return await asyncio.wait_for(self.task, 1.0)
        except ProbeFailure as failure:
            return failure

    async def again(self) -> Exchange:
        return await begin(self.connection, self.wire)


async def begin(connection: HttpConnection | None = None, wire: Wire | None = None) -> Exchange:
    if connection is None or wire is None:
        connection, wire = HttpConnection(), Wire()
        wire.protocol = connection
        connection.connection_made(wire)
    task = asyncio.create_task(connection.exchange(REQUEST))
    await asyncio.sleep(0)
    return Exchange(connection, wire, task)


async def reason(exchange: Exchange) -> Reason | int:
    """The failure's reason, or the status."""
    came = await exchange.end()
    return came.reason if isinstance(came, ProbeFailure) else came.status


def bytewise(data: bytes) -> list[bytes]:
    return [bytes((byte,)) for byte in data]


class TestRecorded:
    @pytest.mark.parametrize("title", ANSWERED)
    async def test_it_is_read_the_same_at_once_and_byte_by_byte(self, title: str) -> None:
        record = KUBE[title]
        whole, parts = await begin(), await begin()
        whole.feed(record.wire)
        parts.feed(*bytewise(record.wire))
        for exchange in (whole, parts):
            came = await exchange.end()
            assert came == record.answer
            assert exchange.connection.usable
            assert exchange.wire.written == REQUEST

    async def test_cut_anywhere_it_is_a_closed_connection_and_never_an_answer(self) -> None:
        wire = KUBE["readyz, anonymous"].wire
        for end in range(len(wire)):
            exchange = await begin()
            exchange.feed(wire[:end])
            exchange.lose()
            came = await exchange.end()
            assert isinstance(came, ProbeFailure)
            assert (came.reason, came.unanswered) == (Reason.CONNECTION_CLOSED, True)
            assert ("before an answer" in came.message) == (end == 0)

    async def test_cut_anywhere_in_a_chunked_one_too(self) -> None:
        wire = KUBE["watch namespaces with bookmarks, 2 s"].wire
        for end in range(0, len(wire), 17):
            exchange = await begin()
            exchange.feed(wire[:end])
            exchange.lose()
            assert await reason(exchange) is Reason.CONNECTION_CLOSED

    async def test_ten_of_them_on_one_connection(self) -> None:
        exchange = await begin()
        for title in ANSWERED[:10]:
            exchange.feed(KUBE[title].wire)
            assert await exchange.end() == KUBE[title].answer
            exchange = await exchange.again()
        exchange.task.cancel()
        await asyncio.wait([exchange.task])


class TestFraming:
    @pytest.mark.parametrize(
        ("sent", "status", "body", "keep_alive"),
        [
            (OK, 200, b"ok", True),
            (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", True),
            (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", 304, b"", True),
            (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", 200, b"ok", False),
            (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, b"ok", False),
            (
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;x=y\r\no\r\n1\r\nk\r\n0\r\nTrailer: t\r\n\r\n",
                200,
                b"ok",
                True,
            ),
            (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, 200, b"ok", True),
            (b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n" + OK, 200, b"ok", True),
        ],
    )
    @pytest.mark.parametrize("split", [bytewise, lambda data: [data]])
    async def test_lengths_chunks_and_interim_answers(
        self, sent: bytes, status: int, body: bytes, *, keep_alive: bool, split: Callable[[bytes], list[bytes]]
    ) -> None:
        exchange = await begin()
        exchange.feed(*split(sent))
        came = await exchange.end()
        assert isinstance(came, HttpAnswer)
        assert (came.status, came.body, came.keep_alive) == (status, body, keep_alive)
        assert exchange.connection.usable == keep_alive
        assert b"link" not in came.headers

    async def test_header_names_are_lower_case_and_the_last_of_two_wins(self) -> None:
        exchange = await begin()
        exchange.feed(b"HTTP/1.1 200 OK\r\nX-A: 1\r\nx-a: 2\r\nContent-Length: 0\r\n\r\n")
        came = await exchange.end()
        assert isinstance(came, HttpAnswer)
        assert came.headers == {b"x-a": b"2", b"content-length": b"0"}

    async def test_a_body_without_a_length_ends_with_the_connection(self) -> None:
        exchange = await begin()
        exchange.feed(b"HTTP/1.1 200 OK\r\n\r\n", b"o", b"k")
        await asyncio.sleep(0)
        assert not exchange.task.done()
        exchange.lose()
        came = await exchange.end()
        assert isinstance(came, HttpAnswer)
        assert (came.body, came.keep_alive, exchange.connection.usable) == (b"ok", False, False)

    async def test_but_not_with_a_reset(self) -> None:
        exchange = await begin()
        exchange.feed(b"HTTP/1.1 200 OK\r\n\r\no")
        exchange.lose(ConnectionResetError(104, "reset"))
        assert await reason(exchange) is Reason.CONNECTION_CLOSED

    async def test_an_interim_answer_and_then_the_end_is_no_answer(self) -> None:
        exchange = await begin()
        exchange.feed(b"HTTP/1.1 100 Continue\r\n\r\n")
        exchange.lose()
        assert await reason(exchange) is Reason.CONNECTION_CLOSED

    async def test_a_gzip_bomb_stays_as_small_as_it_was_sent(self) -> None:
        bomb = gzip.compress(bytes(32 * 1024 * 1024))
        exchange = await begin()
        head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
        exchange.feed(head, bomb)
        came = await exchange.end()
        assert isinstance(came, HttpAnswer)
        assert came.body == bomb


class TestHostile:
    @pytest.mark.parametrize(
        "sent",
        [
            b"220 mail.example ESMTP ready\r\n",
            b"SSH-2.0-OpenSSH_9.2\r\n",
            b"\x15\x03\x01\x00\x02\x02\x28",
            b"HTTP/2 200\r\n\r\n",
            b"HTTP/1.1 two hundred\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nokk",
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
            b"HTTP/1.1 200 OK\r\nno colon here\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nX: a\x00b\r\n\r\n",
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
            b"GET / HTTP/1.1\r\n\r\n",
        ],
    )
    async def test_what_is_not_http_is_malformed_and_ends_the_connection(self, sent: bytes) -> None:
        exchange = await begin()
        exchange.feed(sent)
        came = await exchange.end()
        assert isinstance(came, ProbeFailure)
        assert (came.reason, came.unanswered) == (Reason.MALFORMED_ANSWER, False)
        assert not exchange.connection.usable

    @pytest.mark.parametrize(
        ("head", "more"),
        [
            (b"HTTP/1.1 200 OK\r\n", b"X-Filler: %b\r\n" % (b"a" * 1000)),
            (b"HTTP/1.1 200 OK\r\nX: ", b"a" * 1000),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"3e8\r\n%b\r\n" % (b"a" * 1000)),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n", b"a" * 1000),
            (b"HTTP/1.1 200 OK\r\n\r\n", b"a" * 1000),
            (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 40),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n" * 200),
        ],
        ids=["headers", "one-header", "chunks", "length", "until-close", "interim", "tiny-chunks"],
    )
    async def test_what_never_ends_is_cut_off(self, head: bytes, more: bytes) -> None:
        exchange = await begin()
        exchange.feed(head)
        fed = 0
        while not exchange.wire.closing and fed < 10 * MAX_ANSWER_BYTES:
            exchange.feed(more)
            fed += len(more)
        assert fed <= MAX_ANSWER_BYTES + len(more)
        assert await reason(exchange) is Reason.ANSWER_TOO_LARGE

    async def test_an_answer_at_the_limit_is_none_too_large(self) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
        room = MAX_ANSWER_BYTES - len(head % MAX_ANSWER_BYTES)
        exchange = await begin()
        exchange.feed(head % room, b"a" * room)
        assert await reason(exchange) == 200
        for _ in range(3):  # each answer has the whole limit
            exchange = await exchange.again()
            exchange.feed(head % room, b"a" * room)
            assert await reason(exchange) == 200

    async def test_data_that_nobody_asked_for_ends_the_connection(self) -> None:
        exchange = await begin()
        exchange.feed(OK)
        assert await reason(exchange) == 200
        exchange.connection.data_received(OK)
        assert not exchange.connection.usable

    @pytest.mark.parametrize("surplus", [OK, OK[:20], b"x", b"\r\n\r\nH", OK + OK])
    @pytest.mark.parametrize("split", [lambda *parts: [b"".join(parts)], lambda *parts: list(parts)])
    async def test_two_answers_at_once_are_one_answer_and_the_end(
        self, surplus: bytes, split: Callable[..., list[bytes]]
    ) -> None:
        """Else what is left over would be taken for the answer to the next request."""
        exchange = await begin()
        exchange.feed(*split(OK, surplus))
        came = await exchange.end()
        assert isinstance(came, HttpAnswer)
        assert came.body == b"ok"
        assert not exchange.connection.usable

    @given(
        st.lists(st.one_of(st.binary(max_size=40), st.sampled_from([OK, OK[:30], b"\r\n", b"HTTP/1.1 "])), max_size=6)
    )
    def test_whatever_comes_and_ends_is_an_answer_or_a_failure(self, chunks: list[bytes]) -> None:
        async def scenario() -> None:
            exchange = await begin()
            exchange.feed(*chunks)
            exchange.lose()
            await exchange.end()

        asyncio.run(scenario())


@dataclass
class Peer:
    """The other end of a real TCP connection; sends when told, and sees what comes."""

    sock: socket.socket

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.sock, data)

    async def receive(self) -> bytes:
        try:
            return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self.sock, 65_536), 2.0)
        except ConnectionResetError:
            return b""

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[HttpConnection, Peer]]:
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        transport, connection = await loop.create_connection(HttpConnection, *listener.getsockname())
        transport.resume_reading()  # as `start_tls` does
        sock, _ = listener.accept()
    sock.setblocking(False)
    peer = Peer(sock)
    try:
        yield connection, peer
    finally:
        transport.abort()
        sock.close()
        await asyncio.sleep(0)


async def gone(connection: HttpConnection) -> bool:
    """Whether the socket is let go of, within a few turns."""
    for _ in range(20):
        if connection._transport is None:
            return True
        await asyncio.sleep(0.005)
    return False


@on_both_loops
class TestOnASocket:
    async def test_an_exchange_and_another(self) -> None:
        async with connected() as (connection, peer):
            for _ in range(3):
                task = asyncio.create_task(connection.exchange(REQUEST))
                assert await peer.receive() == REQUEST
                await peer.send(OK)
                assert (await task).body == b"ok"
                assert connection.usable

    @pytest.mark.parametrize("sent", [b"", OK[:10], OK[:-1]])
    @pytest.mark.parametrize("how", ["close", "reset"])
    async def test_the_peer_ends_it_in_the_middle(self, sent: bytes, how: str) -> None:
        async with connected() as (connection, peer):
            task = asyncio.create_task(connection.exchange(REQUEST))
            await peer.receive()
            await peer.send(sent)
            await asyncio.sleep(0.01)
            peer.reset() if how == "reset" else peer.sock.close()
            with pytest.raises(ProbeFailure) as caught:
                await asyncio.wait_for(task, 2.0)
            assert (caught.value.reason, caught.value.unanswered) == (Reason.CONNECTION_CLOSED, True)
            assert await gone(connection)

    async def test_the_peer_ends_it_between_two_exchanges(self) -> None:
        async with connected() as (connection, peer):
            peer.sock.close()
            assert await gone(connection)
            assert not connection.usable
            with pytest.raises(ProbeFailure, match="had closed"):
                await connection.exchange(REQUEST)

    async def test_the_peer_speaks_first(self) -> None:
        async with connected() as (connection, peer):
            await peer.send(b"220 hello\r\n")
            assert await gone(connection)

    async def test_the_peer_announces_the_end(self) -> None:
        async with connected() as (connection, peer):
            task = asyncio.create_task(connection.exchange(REQUEST))
            await peer.receive()
            await peer.send(OK.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
            assert not (await task).keep_alive
            assert await gone(connection)

    @pytest.mark.parametrize("sent", [b"", OK[:10], OK[:-1]])
    async def test_cancelled_at_any_point_it_leaves_no_socket(self, sent: bytes) -> None:
        async with connected() as (connection, peer):
            task = asyncio.create_task(connection.exchange(REQUEST))
            assert await peer.receive() == REQUEST
            await peer.send(sent)
            await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert not connection.usable
            assert await gone(connection)
            assert await peer.receive() == b""

    async def test_cancelled_in_the_turn_in_which_the_answer_comes(self) -> None:
        async with connected() as (connection, peer):
            task = asyncio.create_task(connection.exchange(REQUEST))
            await asyncio.sleep(0)
            connection.data_received(OK)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await gone(connection)
            assert await peer.receive() in (REQUEST, b"")

    async def test_aborted_under_way_it_ends_at_once(self) -> None:
        async with connected() as (connection, peer):
            task = asyncio.create_task(connection.exchange(REQUEST))
            await peer.receive()
            connection.abort()
            connection.abort()
            with pytest.raises(ProbeFailure):
                await asyncio.wait_for(task, 1.0)
            assert await peer.receive() == b""
