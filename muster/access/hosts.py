"""Names by which the service may be asked, and whom a request is from."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit

from aiohttp import web


class Hosts:
    """The allow-list for `Host`, and what a proxy in front of us may tell.

    A page from anywhere can point a name of its own at our address (DNS rebinding) and read what answers there; but
    then the browser sends that name. So names are taken from the operator only. An address can't be rebound: loopback
    ones are taken, and the one on which the connection came in, which is what kubelet and Prometheus send.
    """

    def __init__(self, names: Sequence[str] = (), *, behind_proxy: bool = False) -> None:
        """`names` are without ports. `behind_proxy`: somebody else ends TLS and says who asks."""
        self._behind_proxy = behind_proxy
        self.allow(names)

    def allow(self, names: Sequence[str]) -> None:
        """Take these names from now on, and no others."""
        self._names = frozenset(name.lower().strip("[]").rstrip(".") for name in names)

    def takes(self, request: web.Request) -> bool:
        """Whether the request is for us. One with a whole URL in its first line names a host there, too."""
        authority = request.headers.get("Host", "")
        return self._ours(authority, request) and (request.host == authority or self._ours(request.host, request))

    def _ours(self, authority: str, request: web.Request) -> bool:
        if is_loopback(authority):
            return True
        host = host_of(authority)
        return host is not None and (host.rstrip(".") in self._names or _same_address(host, _own_address(request)))

    def source(self, request: web.Request) -> str:
        """Address of whoever asks. Of X-Forwarded-For only the last counts: whatever is before it anybody may write."""
        peer = request.remote or ""
        if not self._behind_proxy:
            return peer
        last = ",".join(request.headers.getall("X-Forwarded-For", [])).rpartition(",")[2].strip()
        try:
            return str(ipaddress.ip_address(last))
        except ValueError:
            return peer

    def is_secure(self, request: web.Request) -> bool:
        """Whether the browser came over TLS."""
        if request.secure:
            return True
        last = ",".join(request.headers.getall("X-Forwarded-Proto", [])).rpartition(",")[2].strip()
        return self._behind_proxy and last.lower() == "https"

    def is_own_page(self, request: web.Request) -> bool:
        """Whether a browser sends this from a page of ours. What is no browser sends neither header, and is no page.

        `same-site` is not enough: another port of this host is the same site.
        """
        if request.headers.get("Sec-Fetch-Site", "same-origin") not in {"same-origin", "none"}:
            return False
        origin = request.headers.get("Origin")
        if origin is None:
            return True
        authority = origin.partition("://")[2]
        if authority.lower() == request.headers.get("Host", "").lower():
            return True
        return self._behind_proxy and host_of(authority) in self._names  # a proxy may have its own idea of Host


def is_loopback(authority: str) -> bool:
    """Whether a `Host` header, with or without a port, names this machine itself."""
    host = host_of(authority)
    try:
        return host is not None and (host == "localhost" or ipaddress.ip_address(host).is_loopback)
    except ValueError:
        return False


def host_of(authority: str) -> str | None:
    """The host of `host:port`, in lower case, without brackets; None if it is none."""
    try:
        parts = urlsplit(f"//{authority}")
        host, _ = parts.hostname, parts.port  # a bad port raises too
    except ValueError:
        return None
    return host if host and "@" not in authority and parts.netloc == authority else None


def _own_address(request: web.Request) -> str:
    name = request.transport.get_extra_info("sockname") if request.transport else None
    return str(name[0]) if isinstance(name, tuple) else ""


def _same_address(one: str, other: str) -> bool:
    try:
        return ipaddress.ip_address(one) == ipaddress.ip_address(other)
    except ValueError:
        return False
