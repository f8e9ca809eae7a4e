"""One kept HTTP/1.1 connection, parsed by llhttp (httptools), with every byte counted.

Why not aiohttp's client: it does not tell TCP from TLS, and on the hot path (a kept connection, one small GET)
this costs a third of it; `docs/decisions/0003-probe-transport.md` has the figures. No redirects, no decompression
(a gzip bomb stays as small as it was sent), no cookies, no pipelining.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import cast

import httptools

from validator.net.failure import ProbeFailure
from validator.net.tls import brief, is_client_certificate_alert
from validator.reasons import Reason

MAX_ANSWER_BYTES = 1024 * 1024
"""Headers and body together. `/readyz?verbose` of a real server is 2 KB, its kube-system namespace 0.5 KB; but the API
lets a namespace have 256 KiB of annotations, which JSON's escapes may double and managedFields name once more."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """Status, the headers with lower-case names (last one wins), and the whole body as sent."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes
    keep_alive: bool


class HttpConnection(asyncio.Protocol):
    """Client side of one connection: one exchange at a time, bounded, abortable at any moment.

    Errors of `exchange`: `ProbeFailure` with CONNECTION_CLOSED, MALFORMED_ANSWER, ANSWER_TOO_LARGE or
    CLIENT_CERTIFICATE_REJECTED. It has no deadline of its own: the caller's `asyncio.timeout` is the deadline.
    """

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[HttpAnswer] | None = None
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._received_bytes = 0
        self._headers_done = False

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are none by isinstance
        self._transport.pause_reading()  # a server that speaks before TLS is TLS's to judge; start_tls resumes

    def upgraded(self, transport: asyncio.Transport) -> None:
        """TLS is up: from now on `transport` is the encrypted one."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if not self._expecting:
            self.abort()  # nobody asked: not a server to go on talking with
            return
        self._received_bytes += len(data)
        if self._received_bytes > MAX_ANSWER_BYTES:
            self._fail(ProbeFailure(Reason.ANSWER_TOO_LARGE, f"more than {MAX_ANSWER_BYTES} bytes"))
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail(ProbeFailure(Reason.MALFORMED_ANSWER, "the server switches protocols unasked"))
        except httptools.HttpParserError as error:
            self._fail(ProbeFailure(Reason.MALFORMED_ANSWER, f"what answers is not HTTP ({str(error)[:150]})"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._waiter is None:
            return
        if exc is None and self._until_close():
            self.on_message_complete()
            return
        if exc is not None and is_client_certificate_alert(exc):
            failure = ProbeFailure(
                Reason.CLIENT_CERTIFICATE_REJECTED, f"the server refuses our certificate: {brief(exc)}"
            )
        else:
            how = "before an answer" if self._received_bytes == 0 else "in the middle of an answer"
            failure = ProbeFailure(Reason.CONNECTION_CLOSED, f"the peer closed the connection {how}", unanswered=True)
        failure.__cause__ = exc
        self._fail(failure)

    # -- httptools' callbacks

    def on_message_begin(self) -> None:
        if not self._expecting:
            self.abort()  # two answers in one piece: the next request must not be given what is left over
        self._headers = {}
        self._body = []
        self._headers_done = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        self._headers_done = True

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if 100 <= status < 200:
            self._headers_done = False  # of an interim answer: the real one is still to come
            return
        if self._waiter is None or self._waiter.done():
            return
        keep_alive = self._transport is not None and self._parser.should_keep_alive()
        self._waiter.set_result(HttpAnswer(status, self._headers, b"".join(self._body), keep_alive))

    # -- for the probe

    @property
    def usable(self) -> bool:
        """Whether another exchange can be tried on it."""
        return self._transport is not None and not self._transport.is_closing()

    async def exchange(self, request: bytes) -> HttpAnswer:
        """Send one request and wait for its whole answer; on any failure or cancellation the connection is gone."""
        if self._transport is None:
            raise ProbeFailure(Reason.CONNECTION_CLOSED, "the peer had closed the connection", unanswered=True)
        self._received_bytes = 0
        self._headers_done = False
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            self._transport.write(request)
            answer = await self._waiter
        except BaseException:
            self.abort()
            raise
        finally:
            self._waiter = None
        if not answer.keep_alive:
            self.abort()
        return answer

    def abort(self) -> None:
        """Drop the connection at once: no close_notify is waited for, a hostile peer could withhold it."""
        if self._transport is not None:
            self._transport.abort()

    @property
    def _expecting(self) -> bool:
        return self._waiter is not None and not self._waiter.done()

    def _fail(self, failure: ProbeFailure) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(failure)
        self.abort()

    def _until_close(self) -> bool:
        """Whether the answer has no length of its own and so ends with the connection (RFC 9112, 6.3)."""
        return (
            self._headers_done and b"content-length" not in self._headers and b"transfer-encoding" not in self._headers
        )
