"""One request over HTTP, and its answer. Synchronous and on the standard library: a command asks a few times and ends.

Every answer has an end: in time, by a timer that cuts the connection whatever the other side does (a socket's own
timeout begins again with each byte), and in size. Redirects are not followed: the token was meant for this address.
Proxies from the environment are not used.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from muster.cli.bearer import Bearer, find_bearer, is_this_machine
from muster.cli.errors import BadServer, Lost, NotReachable, Silent

TIMEOUT_S = 10.0
"""For a wait on the socket. The service answers in milliseconds; history waits for its database up to this long."""

ANSWER_S = 60.0
"""For a whole answer: the largest page over a slow line."""

MAX_ANSWER_BYTES = 64 * 1024 * 1024
"""A page of 5,000 clusters with long labels has some 10 MB."""

MAX_LINE_BYTES = 1024 * 1024
"""Of a stream: a check with all its evidence has some 10 KB."""

Query = Sequence[tuple[str, object]]


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole one."""

    status: int
    content_type: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked."""

    method: str
    path: str
    query: Query = ()
    body: Mapping[str, Any] | None = None
    headers: Mapping[str, str] | None = None

    @property
    def target(self) -> str:
        """Path and query."""
        return f"{self.path}?{urlencode(self.query)}" if self.query else self.path


class Stream:
    """An answer whose lines come one by one."""

    def __init__(self, wire: _Wire, response: http.client.HTTPResponse, answer: Answer | None) -> None:
        self._wire = wire
        self._response = response
        self.answer = answer
        """In place of lines: whatever was answered instead of a stream."""

    def lines(self) -> Iterator[str]:
        """Without their ends, until the connection ends. Raises `NotReachable`, also when the other side is silent."""
        while True:
            with self._wire.explained("has said nothing for too long", Silent):
                line = self._response.readline(MAX_LINE_BYTES + 1)
            if not line:
                return
            if len(line) > MAX_LINE_BYTES:
                raise NotReachable(f"{self._wire.url} sends a line that is longer than any of Muster's")
            yield line.decode("utf-8", "replace").rstrip("\r\n")


class _Wire:
    """One connection, cut at its deadline."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._socket: socket.socket | None = None
        self._expired = False

    def carry(self, connected: socket.socket) -> None:
        """From now on `cut` works."""
        self._socket = connected

    def wait(self, silence_s: float) -> None:
        """How long to wait for each byte from now on."""
        if self._socket is not None:
            self._socket.settimeout(silence_s)

    def expire(self) -> None:
        """For the timer's thread."""
        self._expired = True
        self.cut()

    def cut(self) -> None:
        """End whatever waits on it."""
        if self._socket is not None:
            with suppress(OSError):  # ssl's own `shutdown` would end encryption under a thread that reads
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    @contextmanager
    def explained(self, late: str, silent: type[NotReachable] = NotReachable) -> Iterator[None]:
        """Turn what the network does into a sentence. `late` is what to say about the deadline."""
        try:
            yield
        except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: a chunk's size, say
            if self._expired or isinstance(error, TimeoutError):
                raise (NotReachable if self._expired else silent)(f"{self.url} {late}") from None
            raise _said(self.url, error) from error
        if self._expired:
            raise NotReachable(f"{self.url} {late}")


class Transport:
    """To one service. Raises `BadServer`; its methods raise `NotReachable`. `close` may come from another thread."""

    def __init__(
        self, server: str, token_file: Path | None = None, ca_file: Path | None = None, answer_s: float = ANSWER_S
    ) -> None:
        self.url, self._host, self._port = _parsed(server)
        self._token_file = token_file
        self.bearer: Bearer | None = find_bearer(self._host, self._port, token_file)
        """As it was read last: tokens are replaced, and a service that starts again leaves another one."""
        self._tls = _tls(ca_file) if self.url.startswith("https:") else None
        self._answer_s = answer_s
        self._wait_s = min(TIMEOUT_S, answer_s)
        self._lock = threading.Lock()
        self._wires: set[_Wire] = set()
        self._closed = False

    @property
    def is_local(self) -> bool:
        """Whether the service is on this machine."""
        return is_this_machine(self._host)

    @property
    def takes_local_token(self) -> bool:
        """Whether it is the service's own to leave the token, which it does just after it has begun to listen."""
        return self.is_local and self._token_file is None

    def ask(self, request: Request) -> Answer:
        """Ask, and take the whole answer."""
        with self._response(request, self._answer_s) as (wire, response):
            return self._whole(wire, response)

    @contextmanager
    def stream(self, request: Request, media_type: str, silence_s: float, whole_s: float | None) -> Iterator[Stream]:
        """Ask, and take an answer of this type line by line; any other answer is taken whole.

        `silence_s` bounds each wait for a line (`Silent`), `whole_s` everything (None = for ever).
        """
        with self._response(request, whole_s) as (wire, response):
            is_stream = response.status == 200 and _content_type(response) == media_type
            if is_stream:
                wire.wait(silence_s)
            yield Stream(wire, response, None if is_stream else self._whole(wire, response))

    def close(self) -> None:
        """Cut every connection: whoever waits on one gets `NotReachable`, or the end of a stream."""
        with self._lock:
            self._closed = True
            for wire in self._wires:
                wire.cut()

    def _whole(self, wire: _Wire, response: http.client.HTTPResponse) -> Answer:
        with wire.explained(f"does not end its answer within {self._answer_s:g} s"):
            body = response.read(MAX_ANSWER_BYTES + 1)
        if len(body) > MAX_ANSWER_BYTES:
            raise NotReachable(f"the answer of {self.url} is larger than any of Muster's")
        if response.length:
            raise Lost(f"{self.url} ended its answer {response.length} bytes early")
        return Answer(response.status, _content_type(response), dict(response.headers), body)

    @contextmanager
    def _response(self, request: Request, whole_s: float | None) -> Iterator[tuple[_Wire, http.client.HTTPResponse]]:
        """The head of the answer; the connection is closed after the block."""
        wire = _Wire(self.url)
        timer = threading.Timer(whole_s or 0.0, wire.expire)
        timer.daemon = True
        late = f"does not answer within {self._wait_s:g} s"
        with closing(self._connection()) as connection, self._known(wire):
            with wire.explained(late):
                connection.connect()
                wire.carry(connection.sock)
            if whole_s is not None:
                timer.start()
            try:
                with wire.explained(late):
                    connection.request(request.method, request.target, _body(request), self._headers(request))
                    response = connection.getresponse()
                with closing(response):
                    yield wire, response
            finally:
                timer.cancel()

    def _connection(self) -> http.client.HTTPConnection:
        if self._tls is None:
            return http.client.HTTPConnection(self._host, self._port, timeout=self._wait_s)
        return http.client.HTTPSConnection(self._host, self._port, timeout=self._wait_s, context=self._tls)

    @contextmanager
    def _known(self, wire: _Wire) -> Iterator[None]:
        """To `close`."""
        with self._lock:
            if self._closed:
                raise NotReachable(f"{self.url}: given up")
            self._wires.add(wire)
        try:
            yield
        finally:
            with self._lock:
                self._wires.discard(wire)

    def _headers(self, request: Request) -> dict[str, str]:
        headers = {"Accept": "application/json", "User-Agent": "muster-cli", **(request.headers or {})}
        if request.body is not None:
            headers["Content-Type"] = "application/json"
        self.bearer = find_bearer(self._host, self._port, self._token_file)
        if self.bearer is not None:
            headers["Authorization"] = f"Bearer {self.bearer.secret}"
        return headers


def _parsed(server: str) -> tuple[str, str, int]:
    """URL, host and port. Raises `BadServer`."""
    try:
        parts = urlsplit(server)
        port = parts.port
    except ValueError:
        raise BadServer(f"{server!r} is not a URL") from None
    if "@" in parts.netloc:
        raise BadServer("the service's URL holds a user or a password", "Give a token: --token-file FILE.")
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path.strip("/") or parts.query:
        raise BadServer(f"{server!r} is not like http://127.0.0.1:8645 or https://muster.example.com")
    if parts.scheme == "http" and not is_this_machine(parts.hostname):
        raise BadServer(
            f"{parts.hostname} is not this machine, and http:// would show the token to everybody on the way",
            "Use https:// (--ca-file FILE for a CA of your own), or `ssh -L 8645:127.0.0.1:8645 HOST`.",
        )
    return f"{parts.scheme}://{parts.netloc}", parts.hostname, port or (443 if parts.scheme == "https" else 80)


def _tls(ca_file: Path | None) -> ssl.SSLContext:
    """Trusts the file alone, if one is given; else the system's roots. Raises `BadServer`."""
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # ssl.SSLError is one
        why = "is no PEM file with certificates" if isinstance(error, ssl.SSLError) else f": {error.strerror}"
        raise BadServer(
            f"the CA file {ca_file} {why}".replace(" :", ":"), "Correct --ca-file or MUSTER_CA_FILE."
        ) from error


def _body(request: Request) -> bytes | None:
    return None if request.body is None else json.dumps(request.body).encode()


def _content_type(response: http.client.HTTPResponse) -> str:
    return response.headers.get("Content-Type", "").partition(";")[0].strip()


def _said(url: str, error: Exception) -> NotReachable:
    """What the network did, as a sentence."""
    match error:
        case ssl.SSLCertVerificationError():
            return NotReachable(
                f"the certificate of {url} is not trusted: {error.verify_message}",
                "If its CA is your own, name it: --ca-file FILE or MUSTER_CA_FILE.",
                "If not, somebody may be in between: nothing was sent.",
            )
        case ssl.SSLError():
            return NotReachable(f"{url} does not speak TLS as it should ({error.reason or error})")
        case socket.gaierror():
            return NotReachable(f"{url}: {error.strerror}", "Correct the name in --server or MUSTER_SERVER.")
        case http.client.RemoteDisconnected() | http.client.IncompleteRead():
            return Lost(f"{url} ended the connection before the answer was there")
        case ConnectionResetError() | BrokenPipeError():
            return Lost(f"{url} broke the connection before the answer was there")
        case OSError():
            return NotReachable(f"{url}: {error.strerror or error}")
        case _:
            return NotReachable(f"what answers at {url} does not speak HTTP ({type(error).__name__})")
