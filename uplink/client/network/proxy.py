"""The proxy on the way out, where there is one.

What can't be used is refused, and never gone round: a connection past the proxy is what a firewall's owner forbade. An
https:// proxy is refused, because aiohttp has one TLS context for proxy and target: the proxy would be offered our
certificate, and its CA could vouch for the vendor. SOCKS is not spoken here.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]  # typeshed has it for macOS only

DIRECT = "direct"
"""As the setting: no proxy, whatever the environment says."""

VARIABLES = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
"""Asked in this order, as curl does."""


class ProxyError(ValueError):
    """The proxy can't be used: the text says why, and has no password in it."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """`authorization` is the value of `Proxy-Authorization`; empty = none."""

    host: str
    port: int
    authorization: str = field(default="", repr=False)

    def __str__(self) -> str:
        return f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Proxies:
    """Which proxy leads to an endpoint: the setting's, else the environment's."""

    setting: str | None = field(default=None, repr=False)
    """`http://[user:password@]host[:port]`, or `direct`."""
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)

    def to(self, host: str, port: int) -> Proxy | None:
        """The proxy; None = there is none on the way. Raises `ProxyError`."""
        if self.setting:
            return None if self.setting == DIRECT else parse(self.setting, "the proxy of the settings")
        name = next((name for name in VARIABLES if self.environ.get(name)), None)
        if name is None or self._bypassed(host, port):
            return None
        return parse(self.environ[name], f"the proxy of {name}")

    def _bypassed(self, host: str, port: int) -> bool:
        no = self.environ.get("no_proxy") or self.environ.get("NO_PROXY") or ""
        return bool(no) and bool(proxy_bypass_environment(f"{host}:{port}", {"no": no}))


def parse(url: str, what: str = "the proxy") -> Proxy:
    """A proxy from its URL. Raises `ProxyError`."""
    usual = f"{what} has to be http://[user:password@]host[:port]"
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host, port = parts.hostname, parts.port or 80
    except ValueError:
        raise ProxyError(usual) from None
    if parts.scheme == "https":
        raise ProxyError(
            f"{what} is an https:// one, which is not used: it would be offered the certificate that is for the "
            "endpoint alone. Give its http:// address; what goes through is encrypted to the endpoint either way"
        )
    if parts.scheme != "http":
        raise ProxyError(f"{usual}; SOCKS is not spoken here")
    if not host or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ProxyError(usual)
    if parts.username is None:
        return Proxy(host, port)
    user = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
    return Proxy(host, port, f"Basic {base64.b64encode(user).decode()}")
