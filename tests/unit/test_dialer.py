"""From an endpoint to a connection, over real sockets: each stage ends in time, with its reason, and leaves nothing."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from muster.demo.fleet import SimulatedFleet
from muster.demo.site import SimulatedCluster
from tests.support.loops import on_both_loops
from tests.support.servers import endpoint_of, need_ipv6
from validator.model import Endpoint, Proxy
from validator.net.dialer import Dialer, StageDeadlines, Trace
from validator.net.failure import ProbeFailure
from validator.net.tls import TlsContexts
from validator.reasons import Reason, Stage
from validator.testing import ScriptedResolver

QUICK = StageDeadlines(dns_s=0.5, connect_s=0.4, tls_s=0.4, http_s=0.5)
NO_ROUTE = "255.255.255.255"
"""No TCP to a broadcast address: the kernel says ENETUNREACH without sending anything."""
NAME = "api.one.example"


@dataclass
class Dial:
    """One dial and its trace."""

    endpoint: Endpoint
    names: dict[str, tuple[str, ...] | ProbeFailure] = field(default_factory=dict)
    deadlines: StageDeadlines = QUICK
    trace: Trace = field(default_factory=Trace)

    async def run(self, within_s: float = 5.0) -> bytes:
        """Dial, ask one thing, drop the connection. Gives the body."""
        dialer = Dialer(ScriptedResolver(self.names), TlsContexts(), self.deadlines)
        dialled = await dialer.dial(self.endpoint, None, self.trace, asyncio.get_running_loop().time() + within_s)
        try:
            assert dialled.tls.version() == "TLSv1.3"
            return (await dialled.connection.exchange(b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n")).body
        finally:
            dialled.connection.abort()

    async def failure(self, within_s: float = 5.0) -> ProbeFailure:
        with pytest.raises(ProbeFailure) as caught:
            await self.run(within_s)
        return caught.value


def by_name(cluster: SimulatedCluster, *addresses: str, name: str = NAME, **names: Any) -> Dial:
    """The cluster under a name that has these addresses."""
    endpoint = replace(endpoint_of(cluster, name), server_name=cluster.dns_name)
    return Dial(endpoint, {name: addresses or (cluster.address,), **names})


def sockets() -> int:
    """How many this process has open. Not descriptors: libuv opens some of its own when it first needs them."""
    return sum("socket:" in str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.is_symlink())


async def both_families(fleet: SimulatedFleet, v4: str, v6: str) -> SimulatedCluster:
    """A cluster at an IPv4 address, and at ::1 with another behaviour."""
    need_ipv6()
    cluster = await fleet.add("one", v4)
    await fleet.add("one-v6", v6, address="::1", family_of="one")
    return cluster


@on_both_loops
class TestStages:
    async def test_each_stage_is_timed_and_the_connection_is_ready(self, fleet: SimulatedFleet) -> None:
        dial = by_name(await fleet.add("one"))
        assert await dial.run() == b"ok"
        assert list(dial.trace.stages_ms) == ["dns", "connect", "tls"]
        assert all(0 <= ms < 2000 for ms in dial.trace.stages_ms.values())
        assert (dial.trace.address, dial.trace.dead_family) == ("127.64.0.1", "")

    async def test_an_address_needs_no_name_server(self, fleet: SimulatedFleet) -> None:
        dial = Dial(endpoint_of(await fleet.add("one")))
        assert await dial.run() == b"ok"
        assert list(dial.trace.stages_ms) == ["connect", "tls"]

    async def test_an_ipv6_address_too(self, fleet: SimulatedFleet) -> None:
        need_ipv6()
        cluster = await fleet.add("one", address="::1")
        dial = Dial(endpoint_of(cluster))
        assert dial.endpoint.url == f"https://[::1]:{cluster.port}"
        assert await dial.run() == b"ok"

    async def test_a_name_that_fails_is_a_dns_failure_and_its_time_is_kept(self, fleet: SimulatedFleet) -> None:
        dial = by_name(await fleet.add("one"))
        dial.names = {NAME: ProbeFailure(Reason.DNS_TIMEOUT, "no answer", unanswered=True)}
        assert (await dial.failure()).reason is Reason.DNS_TIMEOUT
        assert list(dial.trace.stages_ms) == ["dns"]

    @pytest.mark.parametrize(
        ("behaviour", "reason", "stage", "unanswered", "stages"),
        [
            ("refuse", Reason.CONNECTION_REFUSED, Stage.CONNECT, True, ["connect"]),
            ("full-backlog", Reason.CONNECT_TIMEOUT, Stage.CONNECT, True, ["connect"]),
            ("black-hole-accept", Reason.TLS_TIMEOUT, Stage.TLS, True, ["connect", "tls"]),
            ("tls-hang", Reason.TLS_TIMEOUT, Stage.TLS, True, ["connect", "tls"]),
            ("garbage", Reason.TLS_HANDSHAKE_FAILED, Stage.TLS, True, ["connect", "tls"]),
            ("banner", Reason.TLS_HANDSHAKE_FAILED, Stage.TLS, True, ["connect", "tls"]),
            ("reset-in-handshake", Reason.TLS_HANDSHAKE_FAILED, Stage.TLS, True, ["connect", "tls"]),
            ("close-in-handshake", Reason.TLS_HANDSHAKE_FAILED, Stage.TLS, True, ["connect", "tls"]),
            ("expired", Reason.CERTIFICATE_EXPIRED, Stage.TLS, False, ["connect", "tls"]),
            ("wrong-ca", Reason.CERTIFICATE_UNTRUSTED, Stage.TLS, False, ["connect", "tls"]),
        ],
    )
    async def test_each_failure_has_its_stage_comes_in_time_and_logs_nothing(
        self,
        caplog: pytest.LogCaptureFixture,
        fleet: SimulatedFleet,
        behaviour: str,
        reason: Reason,
        stage: Stage,
        stages: list[str],
        *,
        unanswered: bool,
    ) -> None:
        cluster = await fleet.add("one", behaviour)
        dial = Dial(endpoint_of(cluster))
        async with asyncio.timeout(1.5):
            failure = await dial.failure()
        assert (failure.reason, failure.stage, failure.unanswered) == (reason, stage, unanswered)
        assert f"{cluster.address}:{cluster.port}" in failure.message
        assert list(dial.trace.stages_ms) == stages
        await asyncio.sleep(0)
        assert caplog.records == []  # loops log what goes wrong in their callbacks

    @pytest.mark.parametrize(
        ("behaviour", "reason"), [("full-backlog", Reason.CONNECT_TIMEOUT), ("tls-hang", Reason.TLS_TIMEOUT)]
    )
    async def test_what_is_left_of_the_probe_s_time_bounds_every_stage(
        self, fleet: SimulatedFleet, behaviour: str, reason: Reason
    ) -> None:
        dial = Dial(endpoint_of(await fleet.add("one", behaviour)), deadlines=StageDeadlines())
        async with asyncio.timeout(1.0):
            assert (await dial.failure(within_s=0.2)).reason is reason


@on_both_loops
class TestFamilies:
    async def test_where_both_answer_nothing_is_found(self, fleet: SimulatedFleet) -> None:
        cluster = await both_families(fleet, "healthy", "healthy")
        dial = by_name(cluster, "::1", cluster.address)
        assert await dial.run() == b"ok"
        assert dial.trace.dead_family == ""
        assert dial.trace.address in ("::1", cluster.address)

    @pytest.mark.parametrize(
        ("v4", "v6", "found"),
        [
            ("healthy", "refuse", "IPv6: ::1:{port} refuses the connection"),
            ("refuse", "healthy", "IPv4: 127.64.0.1:{port} refuses the connection"),
            ("healthy", "full-backlog", "IPv6: ::1:{port}: no answer within 0.4 s"),
            ("full-backlog", "healthy", "IPv4: 127.64.0.1:{port}: no answer within 0.4 s"),
        ],
    )
    @pytest.mark.parametrize("v6_first", [True, False])
    async def test_one_dead_family_is_a_finding_and_no_outage(
        self, fleet: SimulatedFleet, v4: str, v6: str, found: str, *, v6_first: bool
    ) -> None:
        cluster = await both_families(fleet, v4, v6)
        addresses = ("::1", cluster.address) if v6_first else (cluster.address, "::1")
        dial = by_name(cluster, *addresses)
        assert await dial.run() == b"ok"
        assert dial.trace.dead_family == found.format(port=cluster.port)
        assert dial.trace.address == (cluster.address if v4 == "healthy" else "::1")

    async def test_a_silent_family_is_waited_for_a_second_and_no_longer(self, fleet: SimulatedFleet) -> None:
        cluster = await both_families(fleet, "healthy", "full-backlog")
        dial = by_name(cluster, "::1", cluster.address)
        dial.deadlines = StageDeadlines()
        async with asyncio.timeout(2.0):
            assert await dial.run() == b"ok"
        assert dial.trace.dead_family == "IPv6: no answer within 1 s of the other family's"

    async def test_nor_so_long_that_no_time_is_left_for_tls(self, fleet: SimulatedFleet) -> None:
        cluster = await both_families(fleet, "healthy", "full-backlog")
        dial = by_name(cluster, "::1", cluster.address)
        dial.deadlines = StageDeadlines()
        assert await dial.run(within_s=0.8) == b"ok"
        assert 350 < dial.trace.stages_ms["connect"] < 600

    @pytest.mark.parametrize("first", ["127.64.0.1", "::1"])
    @pytest.mark.parametrize(
        ("v4", "v6", "reason"),
        [
            ("refuse", "refuse", Reason.CONNECTION_REFUSED),
            ("full-backlog", "full-backlog", Reason.CONNECT_TIMEOUT),
        ],
    )
    async def test_where_both_are_dead_it_is_an_outage(
        self, fleet: SimulatedFleet, v4: str, v6: str, reason: Reason, first: str
    ) -> None:
        cluster = await both_families(fleet, v4, v6)
        dial = by_name(cluster, *sorted(["127.64.0.1", "::1"], key=lambda address: address != first))
        failure = await dial.failure()
        assert (failure.reason, failure.unanswered) == (reason, True)

    @pytest.mark.parametrize("order", [1, -1])
    async def test_of_two_reasons_the_one_says_more_that_is_not_no_route(
        self, fleet: SimulatedFleet, order: int
    ) -> None:
        cluster = await both_families(fleet, "refuse", "refuse")
        assert (await by_name(cluster, *(NO_ROUTE, "::1")[::order]).failure()).reason is Reason.CONNECTION_REFUSED

    @pytest.mark.parametrize("dead", ["refuse", "full-backlog"])
    async def test_one_dead_address_of_two_is_no_outage(self, fleet: SimulatedFleet, dead: str) -> None:
        cluster, other = await fleet.add("one"), await fleet.add("other", dead)
        dial = by_name(cluster, other.address, cluster.address)
        assert await dial.run() == b"ok"
        assert (dial.trace.dead_family, dial.trace.address) == ("", cluster.address)

    async def test_where_all_addresses_are_dead_the_first_failure_is_told_within_the_deadline(
        self, fleet: SimulatedFleet
    ) -> None:
        refused, silent = await fleet.add("one", "refuse"), await fleet.add("other", "full-backlog")
        began = time.monotonic()
        failure = await by_name(refused, refused.address, silent.address).failure()
        assert (failure.reason, failure.unanswered) == (Reason.CONNECTION_REFUSED, True)
        assert time.monotonic() - began < QUICK.connect_s + 0.5

    async def test_no_route_at_all_is_network_unreachable(self, fleet: SimulatedFleet) -> None:
        failure = await by_name(await fleet.add("one"), NO_ROUTE).failure()
        assert (failure.reason, failure.unanswered) == (Reason.NETWORK_UNREACHABLE, True)

    async def test_a_family_that_the_hub_has_no_route_for_is_not_the_cluster_s_fault(
        self, fleet: SimulatedFleet
    ) -> None:
        cluster = await both_families(fleet, "healthy", "healthy")
        dial = by_name(cluster, NO_ROUTE, "::1")
        assert await dial.run() == b"ok"
        assert (dial.trace.dead_family, dial.trace.address) == ("", "::1")

    async def test_localhost_always_has_both_and_is_no_finding(self, fleet: SimulatedFleet) -> None:
        cluster = await both_families(fleet, "healthy", "refuse")
        dial = by_name(cluster, "::1", cluster.address, name="localhost")
        assert await dial.run() == b"ok"
        assert dial.trace.dead_family == ""


@dataclass
class ProxyServer:
    """An HTTP proxy that answers CONNECT with `says`, and then connects to `target` if that was a 200."""

    says: bytes = b"HTTP/1.1 200 Connection established\r\n\r\n"
    target: tuple[str, int] | None = None
    port: int = 0
    asked: list[bytes] = field(default_factory=list)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def proxy(self, authorization: str | None = None) -> Proxy:
        return Proxy("127.0.0.1", self.port, authorization)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.asked.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(self.says)
            await writer.drain()
            if self.target is None:
                await reader.read()
                return
            inner_reader, inner_writer = await asyncio.open_connection(*self.target)
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(pump(reader, inner_writer))
                    group.create_task(pump(inner_reader, writer))
            finally:
                inner_writer.transport.abort()
        except (OSError, EOFError):
            pass
        finally:
            writer.transport.abort()


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.close()


@asynccontextmanager
async def proxying(proxy: ProxyServer) -> AsyncIterator[ProxyServer]:
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        await proxy.serve(reader, writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


@on_both_loops
class TestProxy:
    async def test_through_it_the_cluster_answers_and_the_proxy_is_shown_who_we_are(
        self, fleet: SimulatedFleet
    ) -> None:
        cluster = await fleet.add("one")
        async with proxying(ProxyServer(target=(cluster.address, cluster.port))) as server:
            endpoint = replace(endpoint_of(cluster), proxy=server.proxy("Basic canary"))
            dial = Dial(endpoint)
            assert await dial.run() == b"ok"
        authority = f"{cluster.address}:{cluster.port}"
        assert server.asked == [
            f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\nProxy-Authorization: Basic canary\r\n\r\n".encode()
        ]
        assert "canary" not in repr(endpoint) + repr(dial)
        assert list(dial.trace.stages_ms) == ["connect", "tls"]

    async def test_the_name_is_the_proxy_s_to_resolve_and_ipv6_stands_in_brackets(self, fleet: SimulatedFleet) -> None:
        cluster = await fleet.add("one")
        async with proxying(ProxyServer(target=(cluster.address, cluster.port))) as server:
            endpoint = Endpoint("2001:db8::7", 6443, cluster.ca_pem, cluster.dns_name, proxy=server.proxy())
            assert await Dial(endpoint).run() == b"ok"
        assert server.asked[0].startswith(b"CONNECT [2001:db8::7]:6443 HTTP/1.1\r\n")

    @pytest.mark.parametrize(
        ("says", "message"),
        [
            (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "answered 'HTTP/1.1 407"),
            (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", "answered 'HTTP/1.1 503"),
            (b"220 mail.example ESMTP\r\n\r\n", "answered '220 mail.example ESMTP'"),
            (b"\xff\xfe\x1b[31m\r\n\r\n", "answered"),
            (b"\r\n\r\n", "answered ''"),
            (b"X" * 100_000, "never ends"),
        ],
    )
    async def test_a_proxy_that_refuses_or_is_none(self, fleet: SimulatedFleet, says: bytes, message: str) -> None:
        cluster = await fleet.add("one")
        async with proxying(ProxyServer(says)) as server:
            failure = await Dial(replace(endpoint_of(cluster), proxy=server.proxy("Basic canary"))).failure()
        assert (failure.reason, failure.stage) == (Reason.PROXY_FAILED, Stage.CONNECT)
        assert message in failure.message
        assert failure.message.isprintable()
        assert "canary" not in failure.message
        assert fleet.seen("one").connections == 0

    async def test_a_proxy_that_hangs_is_given_up_in_time(self, fleet: SimulatedFleet) -> None:
        cluster = await fleet.add("one")
        async with proxying(ProxyServer(b"")) as server, asyncio.timeout(1.5):
            failure = await Dial(replace(endpoint_of(cluster), proxy=server.proxy())).failure()
        assert (failure.reason, failure.unanswered) == (Reason.PROXY_FAILED, True)
        assert failure.message == f"the proxy 127.0.0.1:{server.port} did not answer CONNECT in time"

    async def test_a_proxy_that_closes(self, fleet: SimulatedFleet) -> None:
        proxy = await fleet.add("proxy", "close-in-handshake")
        failure = await Dial(replace(endpoint_of(proxy), proxy=Proxy(proxy.address, proxy.port))).failure()
        assert (failure.reason, failure.unanswered) == (Reason.PROXY_FAILED, True)

    @pytest.mark.parametrize("behaviour", ["refuse", "full-backlog"])
    async def test_a_proxy_that_is_not_there_is_the_proxy_s_trouble(
        self, fleet: SimulatedFleet, behaviour: str
    ) -> None:
        cluster = await fleet.add("one")
        gone = await fleet.add("proxy", behaviour)
        failure = await Dial(replace(endpoint_of(cluster), proxy=Proxy(gone.address, gone.port))).failure()
        assert (failure.reason, failure.stage, failure.unanswered) == (Reason.PROXY_FAILED, Stage.CONNECT, True)
        assert f"{gone.address}:{gone.port}" in failure.message

    async def test_a_proxy_whose_name_is_unknown_is_the_proxy_s_trouble_too(self, fleet: SimulatedFleet) -> None:
        cluster = await fleet.add("one")
        failure = await Dial(replace(endpoint_of(cluster), proxy=Proxy("proxy.example", 3128))).failure()
        assert (failure.reason, failure.unanswered) == (Reason.PROXY_FAILED, True)
        assert "proxy.example" in failure.message

    async def test_behind_a_proxy_the_cluster_s_own_troubles_are_told_apart(self, fleet: SimulatedFleet) -> None:
        cluster = await fleet.add("one", "expired")
        async with proxying(ProxyServer(target=(cluster.address, cluster.port))) as server:
            failure = await Dial(replace(endpoint_of(cluster), proxy=server.proxy())).failure()
        assert failure.reason is Reason.CERTIFICATE_EXPIRED


async def cancelled_everywhere(dial: Callable[[], Coroutine[Any, Any, object]]) -> int:
    """Run it again and again, cancelled one turn of the loop later each time, until it comes through."""
    for turns in range(200):
        task = asyncio.create_task(dial())
        for _ in range(turns):
            await asyncio.sleep(0)
        if task.done():
            await task
            return turns
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    raise AssertionError("it never comes through")


@on_both_loops
class TestCancelled:
    async def settled(self, fleet: SimulatedFleet, names: list[str], before: int) -> bool:
        for _ in range(200):
            gc.collect()
            if not any(fleet.connected(name) for name in names) and sockets() <= before:
                return True
            await asyncio.sleep(0.005)
        return False

    async def test_at_every_turn_it_leaves_no_socket(self, fleet: SimulatedFleet) -> None:
        cluster = await both_families(fleet, "healthy", "healthy")
        await by_name(cluster).run()
        assert await self.settled(fleet, ["one", "one-v6"], 10_000)
        before, tasks = sockets(), asyncio.all_tasks()
        turns = await cancelled_everywhere(lambda: by_name(cluster, "::1", cluster.address).run())
        assert turns > 5
        assert await self.settled(fleet, ["one", "one-v6"], before)
        assert asyncio.all_tasks() == tasks

    @pytest.mark.parametrize("behaviour", ["full-backlog", "tls-hang", "black-hole-accept"])
    async def test_in_a_hang_it_leaves_no_socket(self, fleet: SimulatedFleet, behaviour: str) -> None:
        cluster = await fleet.add("one", behaviour)
        before = sockets()
        task = asyncio.create_task(Dial(endpoint_of(cluster), deadlines=StageDeadlines()).run())
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        if behaviour != "black-hole-accept":  # whose server notices nothing, by design
            assert await self.settled(fleet, ["one"], before)

    async def test_nor_does_any_failure(self, fleet: SimulatedFleet) -> None:
        behaviours = ["refuse", "full-backlog", "tls-hang", "garbage", "banner", "expired", "reset-in-handshake"]
        clusters = [await fleet.add(behaviour, behaviour) for behaviour in behaviours]
        before = sockets()
        for cluster in clusters:
            await Dial(endpoint_of(cluster)).failure()
        assert await self.settled(fleet, behaviours, before)


OUT_OF_DESCRIPTORS = """
import asyncio, os, resource, sys, uvloop
from validator.model import Endpoint
from validator.net.dialer import Dialer, StageDeadlines, Trace
from validator.net.failure import ProbeFailure
from validator.net.tls import TlsContexts
from validator.testing import ScriptedResolver

async def main():
    contexts, endpoint = TlsContexts(), Endpoint("one.example", 1, insecure=True)
    contexts.get(endpoint, None)
    resource.setrlimit(resource.RLIMIT_NOFILE, (50, 50))
    try:
        while True:
            os.dup(0)
    except OSError:
        pass
    for addresses in (("127.0.0.1",), ("127.0.0.1", "::1")):
        dialer = Dialer(ScriptedResolver({"one.example": addresses}), contexts, StageDeadlines())
        try:
            await dialer.dial(endpoint, None, Trace(), asyncio.get_running_loop().time() + 5)
        except ProbeFailure as failure:
            print(failure.reason, failure.stage, failure.unanswered)

loop = uvloop.new_event_loop if sys.argv[1] == "uvloop" else asyncio.new_event_loop
with asyncio.Runner(loop_factory=loop) as runner:
    runner.run(main())
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_without_descriptors_it_says_that_it_is_the_hub(loop: str) -> None:
    process = subprocess.run(
        [sys.executable, "-c", OUT_OF_DESCRIPTORS, loop], check=False, capture_output=True, text=True, timeout=30
    )
    assert (process.returncode, process.stderr) == (0, "")
    assert process.stdout.splitlines() == ["HubOutOfDescriptors hub False"] * 2
