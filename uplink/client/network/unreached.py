"""Why a request had no answer: told apart by what somebody has to do about it."""

from __future__ import annotations

import ssl
from enum import StrEnum

import aiohttp

from uplink.client.network.proxy import Proxy
from validator.net.tls import brief, is_client_certificate_alert


class Obstacle(StrEnum):
    """What was in the way."""

    SILENCED = "silenced"
    """We were: nothing may be sent. No fault of anybody's."""
    DNS = "dns"
    CONNECT = "connect"
    """Refused, reset, closed: also how an asyncio server shows that it does not like our certificate."""
    PROXY = "proxy"
    TLS = "tls"
    """The server is not the one that the anchors vouch for, or speaks no TLS."""
    IDENTITY = "identity"
    """The server refused our certificate with an alert."""
    TIMEOUT = "timeout"
    TOO_LARGE = "too-large"
    PROTOCOL = "protocol"
    """What came is no HTTP."""
    SETTINGS = "settings"
    """Proxy, anchors or key can't be used."""


class Unreached(OSError):  # noqa: N818 - what it is
    """The request had no answer. The text is for people; it names host and remedy and holds no secret."""

    def __init__(self, obstacle: Obstacle, message: str) -> None:
        super().__init__(0, message)
        self.obstacle = obstacle

    def __str__(self) -> str:
        return self.strerror or ""


class Silenced(Unreached):
    """Nothing may be sent now. What was under way was cut off."""

    def __init__(self) -> None:
        super().__init__(Obstacle.SILENCED, "nothing may be sent")


class AnswerTooLarge(aiohttp.ClientPayloadError):
    """The answer went on after its bound."""


INSPECTED = (
    "A proxy that looks into TLS has a certificate of its own: have it let this host through, since a client "
    "certificate can't be looked into"
)


def unreached(error: BaseException, where: str, proxy: Proxy | None) -> Unreached:
    """What a request to `where` (host and port) ended in. Pure."""
    alert = next((each for each in _chain(error) if is_client_certificate_alert(each)), None)
    if alert is not None:
        return Unreached(Obstacle.IDENTITY, f"{where} does not accept our certificate: {brief(alert)}")
    if isinstance(error, AnswerTooLarge):
        return Unreached(Obstacle.TOO_LARGE, f"{where} answered with more than it may: {error}")
    if isinstance(error, TimeoutError):
        return Unreached(Obstacle.TIMEOUT, f"{where} did not answer in time")
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return Unreached(Obstacle.PROXY, _refusal(error.status, where, proxy))
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return Unreached(Obstacle.PROXY, f"the proxy {proxy} can't be reached: {_brief(error)}")
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        asked = where if proxy is None else f"the proxy {proxy}"
        return Unreached(Obstacle.DNS if proxy is None else Obstacle.PROXY, f"{asked} has no address: {_brief(error)}")
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return Unreached(Obstacle.TLS, f"{where} is not vouched for by the trust anchors: {_brief(error)}. {INSPECTED}")
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        return Unreached(Obstacle.TLS, f"no TLS with {where}: {_brief(error)}")
    if isinstance(error, aiohttp.ServerDisconnectedError) or (
        isinstance(error, aiohttp.ClientOSError) and isinstance(error.__cause__, aiohttp.ClientConnectionResetError)
    ):
        return Unreached(Obstacle.CONNECT, f"{where} closed the connection")
    if isinstance(error, OSError):
        return Unreached(Obstacle.CONNECT, f"{where}: {_brief(error)}")
    return Unreached(Obstacle.PROTOCOL, f"{where} does not answer as HTTP does: {_brief(error)}")


def _refusal(status: int, where: str, proxy: Proxy | None) -> str:
    if status == 407:
        return f"the proxy {proxy} wants other credentials than those that it was given (407)"
    return f"the proxy {proxy} answered {status} to CONNECT {where}: it does not let us through"


def _chain(error: BaseException | None) -> list[BaseException]:
    """The error and what is behind it; without aiohttp's own, whose text may hold a URL and with it a password."""
    found: list[BaseException] = []
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        if not isinstance(error, aiohttp.ClientError):
            found.append(error)
        error = getattr(error, "os_error", None) or error.__cause__ or error.__context__
    return found


def _brief(error: BaseException) -> str:
    for each in _chain(error):
        if isinstance(each, ssl.SSLCertVerificationError):
            return each.verify_message[:200]
        if isinstance(each, OSError):
            return brief(each)
    return type(error).__name__
