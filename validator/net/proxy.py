"""HTTP CONNECT through the proxy of the operator's own kubeconfig.

Only `http://` proxies: through an `https://` one two TLS sessions would nest, and a client certificate meant for the
API server must never be offered to a proxy. Foreign kubeconfigs can't name a proxy at all (see discovery).
"""

from __future__ import annotations

import asyncio

from validator.model import Endpoint, Proxy
from validator.net.failure import ProbeFailure
from validator.reasons import Reason

MAX_REPLY_BYTES = 8 * 1024
"""Bound of the proxy's answer to CONNECT: a status line and a few headers."""


class _Reply(asyncio.Protocol):
    """Collects the head of the proxy's answer; nothing after it may come before TLS begins."""

    def __init__(self) -> None:
        self._head = bytearray()
        self.done: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self._head += data
        if self.done.done():
            return
        if b"\r\n\r\n" in self._head:
            self.done.set_result(bytes(self._head))
        elif len(self._head) > MAX_REPLY_BYTES:
            self.done.set_exception(ProbeFailure(Reason.PROXY_FAILED, "the proxy's answer to CONNECT never ends"))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(
                ProbeFailure(Reason.PROXY_FAILED, "the proxy closed the connection", unanswered=True)
            )


async def open_tunnel(
    transport: asyncio.Transport, connection: asyncio.Protocol, endpoint: Endpoint, proxy: Proxy
) -> None:
    """Ask the proxy for a tunnel to `endpoint` and give the transport back to `connection`.

    Raises `ProbeFailure(PROXY_FAILED)`. The caller bounds the time.
    """
    reply = _Reply()
    transport.set_protocol(reply)
    transport.resume_reading()
    authority = endpoint.authority
    authorization = f"Proxy-Authorization: {proxy.authorization}\r\n" if proxy.authorization else ""
    transport.write(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{authorization}\r\n".encode())
    head = await reply.done
    status_line = head.split(b"\r\n", 1)[0].decode("latin-1")[:100]
    parts = status_line.split(" ", 2)
    if len(parts) < 2 or not parts[0].startswith("HTTP/1.") or parts[1] != "200":
        raise ProbeFailure(
            Reason.PROXY_FAILED, f"the proxy {proxy.host}:{proxy.port} answered {status_line!r} to CONNECT {authority}"
        )
    transport.pause_reading()
    transport.set_protocol(connection)
