"""The registry of what a simulated cluster can be like: one row a behaviour, one dict.

A row says how the address answers SYNs (`door`), what comes instead of TLS (`before_tls`), which certificate is shown,
how requests are answered (`reply`), and what a probe ought to make of it (`expect`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from types import MappingProxyType

from muster.demo import replies
from muster.demo.pki import Certificate
from muster.demo.replies import Replier, Steps
from validator.reasons import Reason


class Door(Enum):
    """What the address does with a SYN."""

    OPEN = "accepts"
    REFUSE = "nothing listens: a TCP reset"
    FULL = "a full backlog: the SYN is dropped, the connect times out"


@dataclass(frozen=True, slots=True)
class Behaviour:
    """One way of being a cluster."""

    name: str
    means: str
    expect: Reason | None = None
    """What the probe reports, at once or when it has read the namespace too; None = a pass."""
    reply: Replier = replies.healthy
    door: Door = Door.OPEN
    before_tls: Callable[[], Steps] | None = None
    """Played on each new connection in place of TLS."""
    certificate: Certificate = Certificate.GOOD
    client_certificate: bool = False
    """Whether TLS demands a client certificate of the cluster's own CA."""
    seconds: float = 0.0
    """What `means` calls N."""
    idle_close: bool = False
    """Whether a kept connection is closed N seconds after an answer."""

    def lasting(self, seconds: float) -> Behaviour:
        """The same with another N."""
        return replace(self, seconds=seconds)

    def same_connections(self, other: Behaviour) -> bool:
        """Whether a connection of `other` can go on under this one: they differ in their answers only."""
        return (self.door, self.before_tls, self.certificate, self.client_certificate) == (
            other.door,
            other.before_tls,
            other.certificate,
            other.client_certificate,
        )


_ROWS = (
    Behaviour("healthy", "answers at once"),
    # nothing there
    Behaviour("full-backlog", "SYNs are dropped: connecting times out", Reason.CONNECT_TIMEOUT, door=Door.FULL),
    Behaviour("refuse", "nothing listens", Reason.CONNECTION_REFUSED, door=Door.REFUSE),
    Behaviour(
        "black-hole-accept", "accepts, then neither reads nor writes", Reason.TLS_TIMEOUT, before_tls=replies.deaf
    ),
    # no TLS
    Behaviour("tls-hang", "reads the ClientHello, never answers it", Reason.TLS_TIMEOUT, before_tls=replies.silent),
    Behaviour("garbage", "text in answer to the ClientHello", Reason.TLS_HANDSHAKE_FAILED, before_tls=replies.garbage),
    Behaviour("banner", "an SSH greeting, unasked", Reason.TLS_HANDSHAKE_FAILED, before_tls=replies.banner),
    Behaviour(
        "plain-http", "plain HTTP: a 400 to the ClientHello", Reason.TLS_HANDSHAKE_FAILED, before_tls=replies.plain_http
    ),
    Behaviour(
        "reset-in-handshake", "a TCP reset in TLS", Reason.TLS_HANDSHAKE_FAILED, before_tls=replies.reset_in_handshake
    ),
    Behaviour("close-in-handshake", "a FIN in TLS", Reason.TLS_HANDSHAKE_FAILED, before_tls=replies.close_in_handshake),
    # certificates
    Behaviour("expired", "expired an hour ago", Reason.CERTIFICATE_EXPIRED, certificate=Certificate.EXPIRED),
    Behaviour(
        "not-yet-valid", "valid in an hour", Reason.CERTIFICATE_NOT_YET_VALID, certificate=Certificate.NOT_YET_VALID
    ),
    Behaviour(
        "expiring-soon", "expires in 5 days", Reason.CERTIFICATE_EXPIRING_SOON, certificate=Certificate.EXPIRING_SOON
    ),
    Behaviour("wrong-name", "for another name", Reason.CERTIFICATE_NAME_MISMATCH, certificate=Certificate.WRONG_NAME),
    Behaviour("wrong-ca", "of a rotated CA", Reason.CERTIFICATE_UNTRUSTED, certificate=Certificate.WRONG_CA),
    Behaviour(
        "client-certificate-required",
        "TLS demands a client certificate",
        Reason.CLIENT_CERTIFICATE_REJECTED,
        client_certificate=True,
    ),
    # credentials
    Behaviour("unauthorized", "401 to everything", Reason.CREDENTIAL_REJECTED, replies.unauthorized),
    Behaviour(
        "old-token-rejected",
        "401 to the token in use; accepts the next one",
        Reason.CREDENTIAL_REJECTED,
        replies.old_token_rejected,
    ),
    Behaviour("anonymous-off", "401 to anonymous requests, also to /readyz", None, replies.anonymous_off),
    Behaviour(
        "namespace-forbidden", "403 to the namespace read", Reason.PERMISSION_DENIED, replies.namespace_forbidden
    ),
    # not well
    Behaviour("slow", "answers after N s", Reason.SLOW_ANSWER, replies.slow, seconds=3.5),
    Behaviour("no-answer", "TLS is up, requests are never answered", Reason.ANSWER_TIMEOUT, replies.no_answer),
    Behaviour("throttled", "429, Retry-After N s", Reason.THROTTLED, replies.throttled, seconds=20.0),
    Behaviour("unavailable", "503, Retry-After N s", Reason.SERVICE_UNAVAILABLE, replies.unavailable, seconds=20.0),
    Behaviour("server-error", "500 without a list of checks", Reason.SERVER_ERROR, replies.server_error),
    Behaviour("not-ready", "500 to /readyz with failing checks", Reason.NOT_READY, replies.not_ready),
    Behaviour("flapping", "N s healthy, N s not ready", Reason.NOT_READY, replies.flapping, seconds=15.0),
    Behaviour(
        "frozen-etcd",
        "/readyz 200, /livez 500 after 2 s, a namespace read hangs",
        Reason.READ_STALLED,
        replies.frozen_etcd,
    ),
    Behaviour("read-failed", "/readyz 200, a namespace read is a 500", Reason.READ_FAILED, replies.read_failed),
    Behaviour("no-readyz", "404 to /readyz, as old servers do", None, replies.no_readyz),
    Behaviour("clock-skew", "its clock is N s ahead", Reason.CLOCK_SKEW, replies.clock_skew, seconds=3600.0),
    # something else
    Behaviour("redirect", "302 to another host", Reason.UNEXPECTED_REDIRECT, replies.redirect),
    Behaviour("login-portal", "200 text/html to everything", Reason.UNEXPECTED_ANSWER, replies.login_portal),
    Behaviour("not-http", "mail greeting inside TLS", Reason.MALFORMED_ANSWER, replies.not_http),
    # hostile
    Behaviour("slow-head", "headers at one byte every N s", Reason.ANSWER_TIMEOUT, replies.slow_head, seconds=1.0),
    Behaviour("slow-body", "body at one byte every N s", Reason.ANSWER_TIMEOUT, replies.slow_body, seconds=1.0),
    Behaviour("endless-body", "a body without an end", Reason.ANSWER_TOO_LARGE, replies.endless_body),
    Behaviour("endless-headers", "headers without an end", Reason.ANSWER_TOO_LARGE, replies.endless_headers),
    Behaviour("gzip-bomb", "32 KB that unpack to 32 MB, unasked", Reason.UNEXPECTED_ANSWER, replies.gzip_bomb),
    # connections that end
    Behaviour("truncated-body", "closes within the body", Reason.CONNECTION_CLOSED, replies.truncated_body),
    Behaviour("close-without-answer", "closes on request", Reason.CONNECTION_CLOSED, replies.close_without_answer),
    Behaviour("reset", "a TCP reset on request", Reason.CONNECTION_CLOSED, replies.reset),
    Behaviour("connection-close", "closes after each answer, announced", None, replies.connection_close),
    Behaviour("idle-close", "closes N s after an answer, unannounced", seconds=5.0, idle_close=True),
)

BEHAVIOURS: Mapping[str, Behaviour] = MappingProxyType({row.name: row for row in _ROWS})


def behaviour_from(text: str) -> Behaviour:
    """A row by name, with its N where given: `slow`, `slow:2.5`. Raises ValueError that lists the names."""
    name, _, seconds = text.partition(":")
    row = BEHAVIOURS.get(name)
    if row is None:
        raise ValueError(f"no behaviour is called {name!r}; there are: {', '.join(BEHAVIOURS)}")
    if not seconds:
        return row
    if not (seconds.replace(".", "", 1).isdigit() and float(seconds) > 0):
        raise ValueError(f"{text!r}: what follows the colon is a number of seconds above 0")
    return row.lasting(float(seconds))
