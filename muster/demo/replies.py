"""How simulated API servers answer one request: `healthy`, and the many ways of doing worse.

A reply is the bytes of a whole answer, or steps: an iterator of bytes to send, seconds to wait and acts. Steps are
pure (the connection does the sending and the waiting), so that a hostile server is a few lines, can be read in a test
without a socket, and is cancelled by forgetting it.
"""

# ruff: noqa: D103 - each function is named after its row in `behaviours.py`, and the row says what it means

from __future__ import annotations

import functools
import gzip
import itertools
import math
from collections.abc import Callable, Iterator
from enum import Enum
from typing import NamedTuple

from muster.demo import answers
from muster.demo.answers import JSON, NAMESPACE_PATH, TEXT, ApiServer, Request

FOREVER = math.inf
"""A wait that only the end of the connection ends."""

DEAF_LIMIT_S = 60.0
"""How long a connection that nobody reads is kept: longer than any probe waits. Without reading, its end goes unseen,
and descriptors would pile up."""

_BOMB_BYTES = 32 * 1024 * 1024
"""What the gzip bomb unpacks to; it is sent as 32 KB."""


class Act(Enum):
    """A step that is neither bytes nor a wait."""

    HEAR = "wait until the client has sent something"
    IGNORE = "read nothing from here on"
    CLOSE = "end the connection in order"
    RESET = "end it with a TCP reset"


Steps = Iterator[bytes | float | Act]
Reply = bytes | Steps


class Call(NamedTuple):
    """One request and what there is to answer it with."""

    server: ApiServer
    request: Request
    at_s: float
    """Now, in seconds since the epoch."""
    seconds: float
    """The behaviour's own number; its `means` says what is counted."""


Replier = Callable[[Call], Reply]


def healthy(call: Call) -> Reply:
    return call.server.answer(call.request, call.at_s)


# -- late or never


def slow(call: Call) -> Steps:
    yield call.seconds
    yield call.server.answer(call.request, call.at_s + call.seconds)


def no_answer(_call: Call) -> Steps:
    yield FOREVER


def slow_head(call: Call) -> Steps:
    return _drip(call.server.answer(call.request, call.at_s), call.seconds)


def slow_body(call: Call) -> Steps:
    body = answers.health_list(b"/readyz", frozenset())  # an `ok` would be over in two bytes
    yield answers.head(200, TEXT, call.at_s, b"Content-Length: %d\r\n" % len(body))
    yield from _drip(body, call.seconds)


def _drip(data: bytes, pause_s: float) -> Steps:
    for byte in data:
        yield pause_s
        yield bytes((byte,))


# -- who may ask


def unauthorized(call: Call) -> Reply:
    return answers.unauthorized(call.at_s)


def old_token_rejected(call: Call) -> Reply:
    return unauthorized(call) if call.request.token == call.server.token else healthy(call)


def anonymous_off(call: Call) -> Reply:
    known = call.request.token is not None or call.request.certified
    return healthy(call) if known else unauthorized(call)


def namespace_forbidden(call: Call) -> Reply:
    reply = call.server.answer(call.request, call.at_s)
    if call.request.path == NAMESPACE_PATH and _granted(reply):
        return answers.forbidden(NAMESPACE_PATH, call.at_s)
    return reply


# -- not well


def throttled(call: Call) -> Reply:
    body = b"Too many requests, please try again later.\n"
    return answers.render(429, TEXT, body, call.at_s, _retry_after(call))


def unavailable(call: Call) -> Reply:
    return answers.render(503, TEXT, b"service unavailable\n", call.at_s, _retry_after(call))


def _retry_after(call: Call) -> bytes:
    return b"Retry-After: %d\r\n" % call.seconds


def server_error(call: Call) -> Reply:
    return answers.status_answer(500, "Internal error occurred: context canceled", call.at_s)


def not_ready(call: Call) -> Reply:
    failing = frozenset({"etcd", "informer-sync"})
    return answers.unhealthy(b"/readyz", failing, call.at_s) if call.request.path == b"/readyz" else healthy(call)


def flapping(call: Call) -> Reply:
    offset_s = int(call.server.uid[:8], 16)  # or the whole fleet would flap in step
    return not_ready(call) if (call.at_s + offset_s) // call.seconds % 2 else healthy(call)


def frozen_etcd(call: Call) -> Reply:
    path = call.request.path
    reply = call.server.answer(call.request, call.at_s)
    if not _granted(reply):
        return reply  # who may ask is decided without etcd
    if path == NAMESPACE_PATH:
        return no_answer(call)
    return _frozen_livez(call) if path in (b"/livez", b"/healthz") else reply


def _frozen_livez(call: Call) -> Steps:
    yield 2.0
    yield answers.unhealthy(call.request.path, frozenset({"etcd"}), call.at_s + 2.0)


def read_failed(call: Call) -> Reply:
    reply = call.server.answer(call.request, call.at_s)
    if call.request.path == NAMESPACE_PATH and _granted(reply):
        return answers.status_answer(500, "etcdserver: request timed out", call.at_s)
    return reply


def _granted(reply: bytes) -> bool:
    return reply.startswith(b"HTTP/1.1 200")


def no_readyz(call: Call) -> Reply:
    return answers.not_found(call.at_s) if call.request.path == b"/readyz" else healthy(call)


def clock_skew(call: Call) -> Reply:
    return call.server.answer(call.request, call.at_s + call.seconds)


# -- something else than an API server


def redirect(call: Call) -> Reply:
    location = b"Location: https://login.portal.example/sso?from=%b\r\n" % call.request.path
    return answers.render(302, b"text/html; charset=utf-8", b'<a href="/sso">Found</a>.\n', call.at_s, location)


def login_portal(call: Call) -> Reply:
    page = b"<!doctype html><title>Sign in</title><form method=post>User <input name=u></form>\n"
    return answers.render(200, b"text/html; charset=utf-8", page, call.at_s)


def not_http(_call: Call) -> Steps:
    yield b"220 mail.example ESMTP ready\r\n"


# -- hostile


def endless_body(call: Call) -> Steps:
    chunk = b"4000\r\n%b\r\n" % (b"a" * 0x4000)
    head = answers.head(200, TEXT, call.at_s, b"Transfer-Encoding: chunked\r\n")
    return itertools.chain((head,), itertools.repeat(chunk))


def endless_headers(_call: Call) -> Steps:
    yield b"HTTP/1.1 200 OK\r\n"
    for number in itertools.count():
        yield b"X-Filler-%d: %b\r\n" % (number, b"a" * 1000)


def gzip_bomb(call: Call) -> Reply:
    return answers.render(200, JSON, _bomb(), call.at_s, b"Content-Encoding: gzip\r\n")


@functools.cache
def _bomb() -> bytes:
    return gzip.compress(bytes(_BOMB_BYTES))


# -- connections that end


def truncated_body(call: Call) -> Steps:
    yield answers.head(200, TEXT, call.at_s, b"Content-Length: 2000\r\n") + b"[+]ping ok\n"
    yield Act.CLOSE


def close_without_answer(_call: Call) -> Steps:
    yield Act.CLOSE


def reset(_call: Call) -> Steps:
    yield Act.RESET


def connection_close(call: Call) -> Steps:
    yield call.server.answer(call.request, call.at_s).replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
    yield Act.CLOSE


# -- instead of TLS: steps of a connection that has not been asked anything yet


def deaf() -> Steps:
    yield Act.IGNORE
    yield DEAF_LIMIT_S
    yield Act.RESET


def silent() -> Steps:
    yield FOREVER


def banner() -> Steps:
    yield b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n"
    yield FOREVER


def garbage() -> Steps:
    yield Act.HEAR
    yield b"-ERR unknown command\r\n"
    yield FOREVER


def plain_http() -> Steps:
    yield Act.HEAR
    yield b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n400 Bad Request"
    yield Act.CLOSE


def reset_in_handshake() -> Steps:
    yield Act.HEAR
    yield Act.RESET


def close_in_handshake() -> Steps:
    yield Act.HEAR
    yield Act.CLOSE
