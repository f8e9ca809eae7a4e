"""The one place in the uplink that opens connections.

Whether anything may leave is asked before each name is looked up, each socket is made and each piece of a body is
written; `abort` takes back what is under way, in one go and without waiting. All else of it is what aiohttp would do
otherwise: follow redirects (a POST ends as a GET with 200: data lost, and nobody knows), unpack what a stranger has
packed, read without a bound, go past a proxy that it does not understand, keep cookies.

Nothing exists before the first request that is allowed: no session, no resolver, no socket.
"""

from __future__ import annotations

import asyncio
import io
import socket
import struct
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final
from weakref import WeakSet

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.connector import AddrInfoType
from yarl import URL

from uplink.client.network.connector import Connector, ending
from uplink.client.network.proxy import Proxies, Proxy, ProxyError
from uplink.client.network.resolving import Names
from uplink.client.network.trust import Trust, TrustError, context_of
from uplink.client.network.unreached import AnswerTooLarge, Obstacle, Silenced, Unreached, unreached
from uplink.wire.bounds import MAX_ANSWER_BYTES

CONNECT_S: Final = 20.0
"""For name, TCP, CONNECT and TLS together."""
DEADLINE_S: Final = 60.0
"""For a whole request, unless it asks for another: 1 MiB takes 17 s at 64 KB/s, and the receiver gives it 15 s."""
KEEP_ALIVE_S: Final = 15.0
"""Shorter than servers keep connections (nginx 75 s, aiohttp 75 s): one that has just been closed is seldom met."""
PIECE_BYTES: Final = 32 * 1024
"""Of a body, between two looks at whether it may go on."""

_ABORTED = struct.pack("ii", 1, 0)
"""SO_LINGER: on, 0 s. Closing then sends a RST and throws away what the kernel still holds."""


@dataclass(frozen=True, slots=True)
class Question:
    """One request."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    """Not in any repr or log: it may hold an activation token."""
    body: bytes = field(default=b"", repr=False)
    max_answer_bytes: int = MAX_ANSWER_BYTES
    deadline_s: float = DEADLINE_S


@dataclass(frozen=True, slots=True)
class Answer:
    """Whatever came back, a redirect and a captive portal's page included."""

    status: int
    body: bytes = field(repr=False)
    content_type: str | None = None
    content_encoding: str | None = None
    """We ask for none and unpack none: a body that is packed all the same can't be read."""
    retry_after: str | None = None
    date: str | None = None


class _Line:
    """The connections of one trust."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session
        self.busy = 0
        self.retired = False


class Transport:
    """Shared by enrolment and sender. All of it runs on one loop; `abort` does, too."""

    def __init__(self, allowed: Callable[[], bool], proxies: Proxies | None = None, names: Names | None = None) -> None:
        """`allowed` is asked all the time and has to be cheap: no I/O."""
        self._allowed = allowed
        self._proxies = proxies or Proxies()
        self._lines: dict[Trust, _Line] = {}
        self._ended: list[aiohttp.ClientSession] = []
        """No longer used, and not closed yet."""
        self._names = names or Names()
        self._sockets: WeakSet[socket.socket] = WeakSet()
        self._under_way: set[asyncio.Timeout] = set()

    async def ask(self, question: Question, trust: Trust) -> Answer:
        """Raises `Unreached`; `Silenced`, which is one, at once where nothing may be sent, and as soon as it is so."""
        self._check()
        url = URL(question.url)
        host, port = url.host or "", url.port or 443
        if url.scheme != "https" or not host or url.user is not None:
            raise Unreached(Obstacle.SETTINGS, "an endpoint is https://host[:port][/path], without a user")
        where = f"{host}:{port}"
        try:
            proxy = self._proxies.to(host, port)
            line = self._line(trust)
        except (ProxyError, TrustError) as error:
            raise Unreached(Obstacle.SETTINGS, str(error)) from None
        line.busy += 1
        scope = asyncio.timeout(question.deadline_s)
        cut = False
        try:
            async with scope:
                self._under_way.add(scope)
                try:
                    return await self._exchange(line.session, question, url, proxy)
                finally:
                    cut = scope not in self._under_way
                    self._under_way.discard(scope)
        except (aiohttp.ClientError, OSError, ValueError, EOFError) as error:
            if cut or isinstance(error, Silenced) or not self._allowed():
                raise Silenced from None
            raise unreached(error, where, proxy) from error
        finally:
            line.busy -= 1
            await self._clean(trust, line)

    def abort(self) -> None:
        """Take back all that is under way, now. Returns at once, raises nothing, and needs no network.

        Peers see a RST. What the kernel had not sent yet is thrown away, and so are TLS's and aiohttp's buffers; name
        servers are asked nothing more. Requests end in `Silenced`. A later `ask` is possible, if it is allowed.
        """
        for scope in tuple(self._under_way):
            self._under_way.discard(scope)
            scope.reschedule(-1.0)
        for each in tuple(self._sockets):
            with suppress(OSError):  # closed meanwhile, or never connected
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORTED)
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._sockets.clear()
        self._names.cancel()
        self._ended += (line.session for line in self._lines.values())
        self._lines.clear()

    async def retire(self, trust: Trust) -> None:
        """Use no connection of this trust any more: pooled ones keep their certificate even past its end (E1).

        What is under way ends as it would.
        """
        if (line := self._lines.pop(trust, None)) is not None:
            line.retired = True
            await self._clean(trust, line)

    async def close(self) -> None:
        """Abort, and wait until all of it is gone. Touches no network."""
        self.abort()
        await self._bury()
        await self._names.close()

    def _check(self) -> None:
        if not self._allowed():
            raise Silenced

    def _line(self, trust: Trust) -> _Line:
        if trust not in self._lines:
            connector = Connector(
                ssl=context_of(trust),
                limit=0,
                resolver=_Asked(self._names, self._check),
                use_dns_cache=False,
                keepalive_timeout=KEEP_ALIVE_S,
                socket_factory=self._socket,
            )
            self._lines[trust] = _Line(
                aiohttp.ClientSession(
                    connector=connector,
                    timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT_S),
                    cookie_jar=aiohttp.DummyCookieJar(),
                    trust_env=False,
                    auto_decompress=False,
                    headers={"User-Agent": "muster", "Accept-Encoding": "identity"},
                )
            )
        return self._lines[trust]

    def _socket(self, address: AddrInfoType) -> socket.socket:
        self._check()
        made = socket.socket(address[0], address[1], address[2])
        self._sockets.add(made)
        return made

    async def _exchange(
        self, session: aiohttp.ClientSession, question: Question, url: URL, proxy: Proxy | None
    ) -> Answer:
        try:
            return await self._answer(session, question, url, proxy)
        except aiohttp.ClientOSError as error:
            if isinstance(error, aiohttp.ClientConnectorError):
                raise
            raise error from await ending() or error.__cause__

    async def _answer(
        self, session: aiohttp.ClientSession, question: Question, url: URL, proxy: Proxy | None
    ) -> Answer:
        headers = dict(question.headers)
        if question.body:
            headers["Content-Length"] = str(len(question.body))
        async with session.request(
            question.method,
            url,
            headers=headers,
            data=self._pieces(question.body) if question.body else None,
            allow_redirects=False,
            proxy=None if proxy is None else URL.build(scheme="http", host=proxy.host, port=proxy.port),
            proxy_headers={"Proxy-Authorization": proxy.authorization} if proxy and proxy.authorization else None,
        ) as response:
            body = await _read(response, question.max_answer_bytes)
            got = response.headers
            return Answer(
                response.status,
                body,
                got.get("Content-Type"),
                got.get("Content-Encoding"),
                got.get("Retry-After"),
                got.get("Date"),
            )

    async def _pieces(self, body: bytes) -> AsyncIterator[bytes]:
        """In pieces, since a transport that was handed all of a body flushes all of it (E6)."""
        reader = io.BytesIO(body)
        while piece := reader.read(PIECE_BYTES):
            if not self._allowed():
                self.abort()
                raise Silenced
            yield piece

    async def _clean(self, trust: Trust, line: _Line) -> None:
        if line.retired and not line.busy:
            self._ended.append(line.session)
        await self._bury()

    async def _bury(self) -> None:
        ended, self._ended = self._ended, []
        for session in ended:
            await session.close()


class _Asked(AbstractResolver):
    """Looks names up only while that is allowed."""

    def __init__(self, names: Names, check: Callable[[], None]) -> None:
        self._names = names
        self._check = check

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        self._check()
        return await self._names.resolve(host, port, family)

    async def close(self) -> None:
        """The names are the transport's."""


async def _read(response: aiohttp.ClientResponse, limit: int) -> bytes:
    body = bytearray()
    async for part in response.content.iter_any():
        body += part
        if len(body) > limit:
            response.close()
            raise AnswerTooLarge(f"over {limit} bytes")
    return bytes(body)
