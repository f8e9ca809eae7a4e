"""One HTTP session for a cloud SDK, in which the SDK does not decide what must not be left to it.

Names go through our resolver, every address is judged by the policy before it is connected to, bodies are bounded,
proxies of the environment and cookies are not used, and no redirect carries a token elsewhere. SDKs hide each of these
well: botocore signs and sends on after a redirect, and gcloud-aio reads bodies of any length.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from validator.net.failure import ProbeFailure
from validator.net.policy import ConnectPolicy, Destination
from validator.net.resolver import Resolver, is_literal
from validator.reasons import Reason, Stage

MAX_ANSWER_BYTES = 1024 * 1024
"""Of any answer that a probe reads: a list of one key, a token, an error."""

DNS_DEADLINE_S = 4.0
"""Of one look-up; the probe's own timeout bounds the whole."""

KEEP_ALIVE_S = 15.0
"""Connections serve the questions of one ask and of its neighbours; with minutes between asks, none longer."""

Session = aiohttp.ClientSession
"""What is opened here."""

AddressCheck = Callable[[str, str], None]
"""Told host and address before a connection is made; raises `ProbeFailure(ENDPOINT_REFUSED)`."""

ERRORS = (aiohttp.ClientError, OSError, ValueError, ProbeFailure)
"""What a request through such a session ends in, for `transport_failure`."""


class TooLargeError(aiohttp.ClientPayloadError):
    """The answer went on after `MAX_ANSWER_BYTES`."""


class SdkSessions:
    """One session for each kind of destination, made with its first use. Owned by who makes it.

    Without a limit of their own: lanes bound the asks.
    """

    def __init__(self, policy: ConnectPolicy, resolver: Resolver, tls: ssl.SSLContext) -> None:
        self._policy = policy
        self._resolver = resolver
        self._tls = tls
        self._sessions: dict[Destination, aiohttp.ClientSession] = {}

    def to(self, destination: Destination) -> aiohttp.ClientSession:
        """The session for such destinations; it stays open until `close`."""
        if destination not in self._sessions:
            self._sessions[destination] = self._open(destination)
        return self._sessions[destination]

    async def close(self) -> None:
        """Close them all."""
        sessions, self._sessions = list(self._sessions.values()), {}
        for session in sessions:
            await session.close()

    def _open(self, destination: Destination) -> aiohttp.ClientSession:
        def check(host: str, address: str) -> None:
            self._policy.check(host, address, destination)

        return open_session(self._resolver, check, self._tls)


def open_session(
    resolver: Resolver, check: AddressCheck, tls: ssl.SSLContext, keep_alive_s: float = KEEP_ALIVE_S
) -> aiohttp.ClientSession:
    """A session for as many probes as like; its owner closes it. No limit of its own: lanes bound the asks."""
    connector = _Connector(
        check,
        limit=0,
        ssl=tls,
        resolver=_CheckedResolver(resolver, check),
        use_dns_cache=False,
        keepalive_timeout=keep_alive_s,
    )
    return aiohttp.ClientSession(
        connector=connector,
        response_class=_BoundedResponse,
        timeout=aiohttp.ClientTimeout(total=None),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        headers={"User-Agent": "muster"},
        middlewares=(refuse_redirects,),
    )


async def refuse_redirects(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Middleware, because some SDKs follow redirects and can't be told not to. A redirect to nowhere passes."""
    response = await handler(request)
    if 300 <= response.status < 400 and (target := response.headers.get("Location")):
        response.close()
        raise ProbeFailure(
            Reason.UNEXPECTED_STORAGE_ANSWER,
            f"{request.url.host} redirects to {_host(target)}; redirects are never followed, because the token would "
            "follow too",
            evidence={"status": response.status},
        )
    return response


def transport_failure(error: Exception, host: str, stage: Stage = Stage.STORAGE) -> ProbeFailure:
    """What a question that got no HTTP answer ended in, told apart by aiohttp's exception. Pure."""
    if isinstance(error, ProbeFailure):
        if error.reason in {Reason.DNS_NAME_NOT_FOUND, Reason.DNS_TIMEOUT, Reason.DNS_FAILURE}:
            return ProbeFailure(Reason.STORAGE_UNREACHABLE, error.message, stage, unanswered=True)
        return error
    if isinstance(error, TimeoutError):
        return ProbeFailure(Reason.STORAGE_TIMEOUT, f"{host} did not answer in time", stage, unanswered=True)
    text = _brief(error)
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError | ssl.SSLError):
        return ProbeFailure(Reason.STORAGE_TLS_FAILED, f"{host}: {text}", stage)
    if isinstance(error, TooLargeError):
        text = f"{host} answers with more than {MAX_ANSWER_BYTES} bytes"
        return ProbeFailure(Reason.UNEXPECTED_STORAGE_ANSWER, text, stage)
    if isinstance(error, aiohttp.ClientResponseError | ValueError) or not isinstance(
        error, aiohttp.ClientError | OSError | EOFError
    ):
        return ProbeFailure(Reason.UNEXPECTED_STORAGE_ANSWER, f"{host} does not answer as HTTP does: {text}", stage)
    return ProbeFailure(Reason.STORAGE_UNREACHABLE, f"{host}: {text}", stage, unanswered=True)


class _Connector(aiohttp.TCPConnector):
    """Judges addresses that are written as such: aiohttp asks no resolver about them.

    Nor does it about `2852039166` and `127.1`, which are no addresses here and some to the C library that connects.
    """

    def __init__(self, check: AddressCheck, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]  # passed on as they are
        self._check = check

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[aiohttp.tracing.Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's own signature
    ) -> aiohttp.connector.Connection:
        host = req.url.raw_host or ""
        if is_literal(host):
            self._check(host, host)
        elif host.replace(".", "").isdigit():
            text = f"{host} is neither a name nor an address in its usual spelling: not connected, no token was sent"
            raise ProbeFailure(Reason.ENDPOINT_REFUSED, text)
        return await super().connect(req, traces, timeout)


class _CheckedResolver(AbstractResolver):
    """Only addresses that the policy allows; what is checked is connected to, so that no second look-up can differ."""

    def __init__(self, resolver: Resolver, check: AddressCheck) -> None:
        self._resolver = resolver
        self._check = check

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        allowed: list[ResolveResult] = []
        refusal: ProbeFailure | None = None
        for address in await self._resolver.resolve(host, DNS_DEADLINE_S):
            try:
                self._check(host, address)
            except ProbeFailure as failure:
                refusal = failure
                continue
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            allowed.append(ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=0))
        if not allowed and refusal is not None:
            raise refusal
        return allowed

    async def close(self) -> None:
        """The resolver is its owner's."""


class _BoundedResponse(aiohttp.ClientResponse):
    """Reads no more than anybody who asks these questions may be sent."""

    async def read(self) -> bytes:
        if self._body is None:
            body = bytearray()
            try:
                async for part in self.content.iter_any():
                    body += part
                    _check_size(body)
            except BaseException:
                self.close()
                raise
            self._body = bytes(body)
        return await super().read()  # lets go of the connection


def _check_size(body: bytearray) -> None:
    if len(body) > MAX_ANSWER_BYTES:
        raise TooLargeError(f"answer of over {MAX_ANSWER_BYTES} bytes")


def _host(url: str) -> str:
    # Only the host: a redirect's path and query may hold a signature.
    rest = url.partition("://")[2] or url
    return rest.partition("/")[0].rpartition("@")[2][:100] or "elsewhere"


def _brief(error: BaseException) -> str:
    inner = getattr(error, "os_error", None) or error
    if isinstance(inner, ssl.SSLCertVerificationError):
        return inner.verify_message[:200]
    if isinstance(inner, ssl.SSLError) and inner.reason:
        return inner.reason.replace("_", " ").lower()
    if isinstance(inner, OSError) and inner.strerror:
        return inner.strerror[:200]
    return type(error).__name__
