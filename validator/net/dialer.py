"""From an endpoint to a kept connection: dns, connect and tls, each timed and with a deadline of its own.

Both address families are tried at once where a name has both (RFC 8305 without the head start: the point is to
learn that one family is dead, not to prefer one), so one dead family costs a finding, never an outage.
"""

from __future__ import annotations

import asyncio
import errno
import ssl
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from validator.credentials import ClientCertificate
from validator.model import Endpoint
from validator.net.descriptors import room_for_a_probe
from validator.net.failure import ProbeFailure, connect_failure
from validator.net.http1 import HttpConnection
from validator.net.proxy import open_tunnel
from validator.net.resolver import Resolver, is_literal
from validator.net.tls import TlsContexts, handshake_failure
from validator.reasons import Reason

OTHER_FAMILY_GRACE_S = 1.0
"""How much longer than the first family the second may take before it counts as dead: above any round trip on earth."""


@dataclass(frozen=True, slots=True)
class StageDeadlines:
    """Longest time for each stage. The probe's own timeout bounds their sum."""

    dns_s: float = 4.0
    connect_s: float = 5.0
    tls_s: float = 5.0
    http_s: float = 8.0


@dataclass(slots=True)
class Trace:
    """How long each stage took, and what it saw; filled as the dial proceeds, so that a failure has it too."""

    stages_ms: dict[str, float] = field(default_factory=dict)
    addresses: tuple[str, ...] = ()
    address: str = ""
    dead_family: str = ""
    """`IPv4: <why>` or `IPv6: <why>`, when the other one answered."""

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time one stage in milliseconds, also when it fails; what is entered twice adds up."""
        started = time.perf_counter()
        try:
            yield
        finally:
            took_ms = (time.perf_counter() - started) * 1000
            self.stages_ms[name] = round(self.stages_ms.get(name, 0.0) + took_ms, 2)


@dataclass(frozen=True, slots=True)
class Dialled:
    """A connection that is ready for the first request."""

    connection: HttpConnection
    tls: ssl.SSLObject
    """For the server's certificate and the protocol version."""


class Dialer:
    """Opens connections. Stateless but for the TLS contexts; safe for any number of concurrent dials."""

    def __init__(self, resolver: Resolver, contexts: TlsContexts, deadlines: StageDeadlines) -> None:
        self._resolver = resolver
        self._contexts = contexts
        self.deadlines = deadlines

    async def dial(
        self, endpoint: Endpoint, certificate: ClientCertificate | None, trace: Trace, until: float
    ) -> Dialled:
        """Open a connection to `endpoint` before `until` (loop time).

        Raises `ProbeFailure`; leaves no socket behind when it fails or is cancelled.
        """
        context = self._contexts.get(endpoint, certificate)
        transport, connection = await self._connect(endpoint, trace, until)
        try:
            encrypted = await self._upgrade(transport, connection, context, endpoint, trace, until)
        except BaseException:
            transport.abort()
            raise
        tls = encrypted.get_extra_info("ssl_object")
        assert tls is not None
        return Dialled(connection, tls)

    async def _connect(
        self, endpoint: Endpoint, trace: Trace, until: float
    ) -> tuple[asyncio.Transport, HttpConnection]:
        if endpoint.proxy is None:
            return await self._reach(endpoint.host, endpoint.port, trace, until)
        proxy = endpoint.proxy
        try:
            transport, connection = await self._reach(proxy.host, proxy.port, trace, until)
        except ProbeFailure as failure:
            if failure.reason is Reason.HUB_OUT_OF_DESCRIPTORS:
                raise
            text = f"the proxy {proxy.host}:{proxy.port} can't be reached: {failure.message}"
            raise ProbeFailure(Reason.PROXY_FAILED, text, unanswered=failure.unanswered) from failure
        trace.dead_family = ""  # the proxy's: no fault of the cluster
        try:
            with trace.stage("connect"):
                async with asyncio.timeout(_left(self.deadlines.connect_s, until)):
                    await open_tunnel(transport, connection, endpoint, proxy)
        except TimeoutError:
            transport.abort()
            raise ProbeFailure(
                Reason.PROXY_FAILED,
                f"the proxy {proxy.host}:{proxy.port} did not answer CONNECT in time",
                unanswered=True,
            ) from None
        except BaseException:
            transport.abort()
            raise
        return transport, connection

    async def _reach(
        self, host: str, port: int, trace: Trace, until: float
    ) -> tuple[asyncio.Transport, HttpConnection]:
        trace.addresses = await self._resolve(host, trace, until)
        with trace.stage("connect"):
            return await self._connect_any(trace.addresses, host, port, trace, until)

    async def _resolve(self, host: str, trace: Trace, until: float) -> tuple[str, ...]:
        if is_literal(host):
            return (host,)
        with trace.stage("dns"):
            return await self._resolver.resolve(host, _left(self.deadlines.dns_s, until))

    async def _connect_any(
        self, addresses: tuple[str, ...], host: str, port: int, trace: Trace, until: float
    ) -> tuple[asyncio.Transport, HttpConnection]:
        families: dict[str, list[str]] = {}
        for address in addresses:
            families.setdefault(_family(address), []).append(address)
        deadline_s = _left(self.deadlines.connect_s, until)
        if len(families) == 1:
            return await self._attempt_each(addresses, port, trace, deadline_s)
        attempts = {
            asyncio.create_task(
                self._attempt_each(of_family, port, trace, deadline_s), name=f"connect:{family}:{host}"
            ): family
            for family, of_family in families.items()
        }
        won: asyncio.Task[tuple[asyncio.Transport, HttpConnection]] | None = None
        try:
            waiting = set(attempts)
            while waiting and won is None:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                won = next((task for task in done if not task.exception()), None)
            if won is None:
                raise _worst([task.exception() for task in attempts])  # noqa: TRY301 - attempts are closed below
            if waiting:
                left_s = until - asyncio.get_running_loop().time()
                await asyncio.wait(waiting, timeout=min(OTHER_FAMILY_GRACE_S, left_s / 2))  # TLS needs some of it too
        except BaseException:
            _discard(attempts)
            raise
        losers = {task: family for task, family in attempts.items() if task is not won}
        dead = [reason for task, family in losers.items() if (reason := _dead(task, family))]
        _discard(losers)
        trace.address = won.result()[0].get_extra_info("peername")[0]  # both families have written theirs
        if dead and host != "localhost":  # by RFC 6761 that name always has both families
            trace.dead_family = dead[0]
        return won.result()

    async def _attempt_each(
        self, addresses: Sequence[str], port: int, trace: Trace, deadline_s: float
    ) -> tuple[asyncio.Transport, HttpConnection]:
        """One address after the other, as Go's dialer does, each with an equal share of the time that is left.

        Managed API servers often have two addresses, of which one may be down. What is told is the first failure.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + deadline_s
        first: ProbeFailure | None = None
        for number, address in enumerate(addresses):
            trace.address = address
            share_s = max(0.01, (until - loop.time()) / (len(addresses) - number))
            try:
                return await self._attempt(address, port, share_s)
            except ProbeFailure as failure:
                first = first or failure
        assert first is not None  # a name without an address is the resolver's failure
        raise first

    async def _attempt(self, address: str, port: int, deadline_s: float) -> tuple[asyncio.Transport, HttpConnection]:
        where = f"{address}:{port}"
        if not room_for_a_probe():
            raise ProbeFailure(Reason.HUB_OUT_OF_DESCRIPTORS, f"no file descriptor is left for a socket to {where}")
        try:
            async with asyncio.timeout(deadline_s):
                return await asyncio.get_running_loop().create_connection(HttpConnection, address, port)
        except TimeoutError as error:
            if error.errno == errno.ETIMEDOUT:
                raise connect_failure(error, where) from error
            raise ProbeFailure(
                Reason.CONNECT_TIMEOUT, f"{where}: no answer within {deadline_s:.1f} s", unanswered=True
            ) from None
        except OSError as error:
            raise connect_failure(error, where) from error

    async def _upgrade(
        self,
        transport: asyncio.Transport,
        connection: HttpConnection,
        context: ssl.SSLContext,
        endpoint: Endpoint,
        trace: Trace,
        until: float,
    ) -> asyncio.Transport:
        deadline_s = _left(self.deadlines.tls_s, until)
        where = endpoint.url
        try:
            with trace.stage("tls"):
                if transport.is_closing():
                    text = f"{where} closed the connection, or spoke, before TLS began"
                    raise ProbeFailure(Reason.TLS_HANDSHAKE_FAILED, text, unanswered=True)
                async with asyncio.timeout(deadline_s):
                    encrypted = await asyncio.get_running_loop().start_tls(
                        transport,
                        connection,
                        context,
                        server_hostname=endpoint.server_name or endpoint.host,
                        ssl_handshake_timeout=deadline_s + 1.0,  # ours above comes first
                        ssl_shutdown_timeout=1.0,
                    )
        except TimeoutError:
            raise ProbeFailure(
                Reason.TLS_TIMEOUT, f"{where}: no handshake within {deadline_s:.1f} s", unanswered=True
            ) from None
        except (OSError, ssl.SSLError, ssl.CertificateError, EOFError) as error:
            raise handshake_failure(error, where) from error
        if encrypted is None or encrypted.is_closing() or encrypted.get_extra_info("ssl_object") is None:
            raise ProbeFailure(Reason.TLS_HANDSHAKE_FAILED, f"{where} closed the connection", unanswered=True)
        connection.upgraded(encrypted)
        return encrypted


def _family(address: str) -> str:
    return "IPv6" if ":" in address else "IPv4"


def _left(stage_s: float, until: float) -> float:
    """The stage's deadline, cut to what is left of the whole probe; never quite zero, so that errors stay orderly."""
    return max(0.01, min(stage_s, until - asyncio.get_running_loop().time()))


def _dead(task: asyncio.Task[object], family: str) -> str:
    """Why a family is dead, or "" where it isn't the cluster's doing (the hub has no route for that family)."""
    if not task.done():
        return f"{family}: no answer within {OTHER_FAMILY_GRACE_S:.0f} s of the other family's"
    error = task.exception()
    if isinstance(error, ProbeFailure) and error.reason not in (
        Reason.NETWORK_UNREACHABLE,
        Reason.HUB_OUT_OF_DESCRIPTORS,
    ):
        return f"{family}: {error.message}"
    return ""


def _worst(errors: list[BaseException | None]) -> BaseException:
    """The most telling error of all families: "no route" only counts when there is nothing else."""
    known = [error for error in errors if error is not None]
    telling = [e for e in known if not (isinstance(e, ProbeFailure) and e.reason is Reason.NETWORK_UNREACHABLE)]
    return (telling or known)[0]


def _discard(attempts: Iterable[asyncio.Task[tuple[asyncio.Transport, HttpConnection]]]) -> None:
    """Cancel attempts that still run and close the connections of those that came through.

    Without waiting for them: a cancellation in such a wait would leave the connections open.
    """
    for task in attempts:
        task.add_done_callback(_close)
        task.cancel()


def _close(task: asyncio.Task[tuple[asyncio.Transport, HttpConnection]]) -> None:
    if not task.cancelled() and not task.exception():
        task.result()[0].abort()
