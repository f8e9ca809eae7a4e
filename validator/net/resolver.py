"""Names to addresses without threads.

`getaddrinfo` in asyncio's default thread pool is a shared slot that a hanging name server fills for everyone
(reference: cpython#120644), so names go through c-ares on the loop.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Sequence
from typing import Any, Protocol

import aiodns

from validator.net.failure import ProbeFailure
from validator.reasons import Reason

MAX_ADDRESSES = 16
"""More addresses than this for one name are cut off: each gets a share of the stage's time."""

_NOT_FOUND = {aiodns.error.ARES_ENOTFOUND, aiodns.error.ARES_EBADNAME, aiodns.error.ARES_ENONAME}
_TIMED_OUT = {aiodns.error.ARES_ETIMEOUT, aiodns.error.ARES_ECONNREFUSED}


class Resolver(Protocol):
    """The seam for names."""

    async def resolve(self, host: str, deadline_s: float) -> tuple[str, ...]:
        """IP literals, preferred first, at least one. Raises `ProbeFailure` with a DNS reason."""
        ...


def is_literal(host: str) -> bool:
    """Whether `host` is an IPv4 or IPv6 address that needs no name server."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class CaresResolver:
    """c-ares through aiodns: /etc/hosts and /etc/resolv.conf are honoured; no cache of our own.

    A kept connection asks no name server at all, and a new one should see DNS changes. c-ares itself keeps answers for
    their TTL, an hour at most (pycares 5 has no switch for that): no longer than the zone's owner allows.
    """

    def __init__(self, nameservers: Sequence[str] | None = None, udp_port: int | None = None) -> None:
        options: dict[str, Any] = {} if udp_port is None else {"udp_port": udp_port, "tcp_port": udp_port}
        # One try of c-ares may last as long as the stage: the stage's own deadline ends it.
        self._resolver = aiodns.DNSResolver(nameservers=nameservers, timeout=2.0, tries=3, **options)

    async def resolve(self, host: str, deadline_s: float) -> tuple[str, ...]:
        if is_literal(host):
            return (host,)
        try:
            async with asyncio.timeout(deadline_s):
                found = await self._resolver.getaddrinfo(host, type=socket.SOCK_STREAM)
        except TimeoutError:
            raise ProbeFailure(
                Reason.DNS_TIMEOUT, f"no name server answered for {host} within {deadline_s:.1f} s", unanswered=True
            ) from None
        except aiodns.error.DNSError as error:
            raise _dns_failure(error, host) from error
        except UnicodeError as error:  # IDNA's rules
            raise ProbeFailure(
                Reason.DNS_NAME_NOT_FOUND, f"{ascii(host)[:100]} is no DNS name", unanswered=True
            ) from error
        addresses = tuple(_text(node.addr[0]) for node in found.nodes[:MAX_ADDRESSES])
        if not addresses:
            raise ProbeFailure(Reason.DNS_FAILURE, f"{host} has no address", unanswered=True)
        return addresses

    async def close(self) -> None:
        """Cancel what is still asked and free the channel."""
        await self._resolver.close()


def _text(address: str | bytes) -> str:
    return address.decode("ascii") if isinstance(address, bytes) else address


def _dns_failure(error: aiodns.error.DNSError, host: str) -> ProbeFailure:
    code = error.args[0] if error.args else None
    text = str(error.args[1])[:200] if len(error.args) > 1 else str(error)[:200]
    if code in _NOT_FOUND:
        return ProbeFailure(Reason.DNS_NAME_NOT_FOUND, f"{host}: {text}", unanswered=True)
    if code in _TIMED_OUT:
        return ProbeFailure(Reason.DNS_TIMEOUT, f"{host}: {text}", unanswered=True)
    return ProbeFailure(Reason.DNS_FAILURE, f"{host}: {text}", unanswered=True)
