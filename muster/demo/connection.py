"""The server side of one simulated connection: TLS, then requests, answered as the cluster's behaviour says.

TLS runs through memory BIOs here and not through `loop.start_tls`: which certificate is shown depends on the address
that was connected to, and asyncio lets one choose that only with a task for each connection and a second transport on
top of the first. It is also what lets a behaviour act before, instead of, or in the middle of TLS. No tasks: a
connection is its state and at most one timer.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import time
from collections.abc import Callable
from enum import Enum
from typing import cast

from muster.demo.answers import Request
from muster.demo.replies import FOREVER, Act, Call, Steps
from muster.demo.site import Site

MAX_REQUEST_BYTES = 64 * 1024
"""Head of one request, or several pipelined; a client that sends more is cut off."""

_STEPS_AT_ONCE = 32
"""After so many steps without a wait the loop gets its turn: an endless body must not starve the other clusters."""

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER on, 0 s: closing sends a RST."""


class _Until(Enum):
    """What the steps in hand wait for."""

    TIME = "a timer, or for ever"
    HEARD = "the client to send something"
    ROOM = "the client to read what was sent"


class Connection(asyncio.Protocol):
    """One accepted connection; `find` gives the site at a local address, None where there is none."""

    def __init__(self, find: Callable[[str], Site | None]) -> None:
        self._find = find
        self._site: Site | None = None
        self._transport: asyncio.Transport | None = None
        self._tls: ssl.SSLObject | None = None
        self._in = ssl.MemoryBIO()
        self._out = ssl.MemoryBIO()
        self._shook_hands = False
        self._inbox = b""
        self._steps: Steps | None = None
        self._until = _Until.TIME
        self._timer: asyncio.Handle | None = None
        self._full = False

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's has another base class
        site = self._find(transport.get_extra_info("sockname")[0])
        if site is None:
            self.reset()
            return
        self._site = site
        site.connections.add(self)
        site.seen.connections += 1
        if site.behaviour.before_tls is None:
            self._tls = site.tls().wrap_bio(self._in, self._out, server_side=True)
        else:
            self._play(site.behaviour.before_tls())

    def data_received(self, data: bytes) -> None:
        if self._tls is not None:
            self._decrypt(self._tls, data)
        elif self._until is _Until.HEARD:
            self._go_on()

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        if self._until is _Until.ROOM:
            self._go_on()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_steps()
        self._transport = None
        self._tls = None
        if self._site is not None:
            self._site.connections.discard(self)
            self._site = None

    def reset(self) -> None:
        """End the connection at once with a RST."""
        self._stop_steps()
        if self._transport is not None:
            sock = self._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self._transport.abort()

    # -- TLS and requests

    def _decrypt(self, tls: ssl.SSLObject, data: bytes) -> None:
        self._in.write(data)
        try:
            if not self._shook_hands:
                tls.do_handshake()
                self._shook_hands = True
                assert self._site is not None
                self._site.seen.handshakes += 1
            while self._in.pending or tls.pending():
                plain = tls.read(MAX_REQUEST_BYTES)
                if not plain:
                    self._close()
                    return
                self._inbox += plain
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            self._close()  # and sends the alert that says why
            return
        self._serve()

    def _serve(self) -> None:
        """Answer what has come in, one request at a time; while steps are played, requests wait."""
        while self._steps is None and self._site is not None and not self._ending():
            head, end, rest = self._inbox.partition(b"\r\n\r\n")
            if not end:
                break
            self._inbox = rest
            self._stop_steps()
            self._answer(self._site, head)
        if len(self._inbox) > MAX_REQUEST_BYTES:
            self.reset()
        else:
            self._flush()

    def _answer(self, site: Site, head: bytes) -> None:
        site.seen.requests += 1
        behaviour = site.behaviour
        request = request_from(head, certified=behaviour.client_certificate)
        reply = behaviour.reply(Call(site.server, request, time.time(), behaviour.seconds))
        if isinstance(reply, bytes):
            self._send(reply)
        else:
            self._play(reply)
        if behaviour.idle_close:
            self._timer = asyncio.get_running_loop().call_later(behaviour.seconds, self._close)

    def _send(self, data: bytes) -> None:
        if self._tls is not None:
            self._tls.write(data)
        elif self._transport is not None:
            self._transport.write(data)

    def _flush(self) -> None:
        if self._out.pending and self._transport is not None:
            self._transport.write(self._out.read())

    def _close(self) -> None:
        """End the connection in order: close_notify where TLS is up, then FIN."""
        self._stop_steps()
        if self._transport is None or self._ending():
            return
        if self._tls is not None and self._shook_hands:
            with contextlib.suppress(ssl.SSLError):  # the peer's own close_notify is not waited for
                self._tls.unwrap()
        self._flush()
        self._transport.close()

    def _ending(self) -> bool:
        return self._transport is None or self._transport.is_closing()

    # -- steps

    def _play(self, steps: Steps) -> None:
        self._steps = steps
        self._step()

    def _go_on(self) -> None:
        """What the steps waited for has come."""
        self._until = _Until.TIME
        self._step()
        self._serve()

    def _step(self) -> None:
        """Play steps until one waits, the client doesn't keep up, or others should have their turn."""
        loop = asyncio.get_running_loop()
        for _ in range(_STEPS_AT_ONCE):
            if self._steps is None or self._ending():
                return
            if self._full:
                self._until = _Until.ROOM
                return
            match next(self._steps, None):
                case None:
                    self._steps = None
                case bytes() as data:
                    self._send(data)
                    self._flush()
                case Act.HEAR:
                    self._until = _Until.HEARD
                    return
                case Act.IGNORE:
                    assert self._transport is not None
                    self._transport.pause_reading()
                case Act.CLOSE:
                    self._close()
                case Act.RESET:
                    self.reset()
                case seconds:
                    if seconds != FOREVER:
                        self._timer = loop.call_later(seconds, self._go_on)
                    return
        self._timer = loop.call_soon(self._go_on)

    def _stop_steps(self) -> None:
        self._steps = None
        self._until = _Until.TIME
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def request_from(head: bytes, *, certified: bool = False) -> Request:
    """The request in a head (without its blank line); what can't be read is left empty, and so answered with a 405."""
    line, _, fields = head.partition(b"\r\n")
    method, _, rest = line.partition(b" ")
    path, _, query = rest.partition(b" ")[0].partition(b"?")
    return Request(method, path, query, _bearer(fields), certified)


def _bearer(fields: bytes) -> bytes | None:
    for line in fields.split(b"\r\n"):
        if line[:14].lower() == b"authorization:":
            scheme, _, token = line[14:].strip().partition(b" ")
            return token.strip() if scheme.lower() == b"bearer" else None
    return None
