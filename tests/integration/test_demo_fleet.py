"""The simulated fleet does what its registry says: real TLS on real sockets, asked by a plain client."""

from __future__ import annotations

import asyncio
import base64
import gzip
import signal
import socket
import ssl
import stat
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import aiodns
import psutil
import pytest
import uvloop
import yaml

from muster.demo.behaviours import BEHAVIOURS
from muster.demo.dns import LOOPBACK, Records, Trouble, name_server
from muster.demo.fleet import SimulatedFleet
from muster.demo.running import FleetError, RunningFleet, running_fleet
from muster.demo.site import SimulatedCluster
from tests.support import servers
from tests.support.servers import CONNECT, DONE, HTTP, TLS, Asked, Client, ask, need_ipv6

fleet = servers.fleet

NAMESPACE = "/api/v1/namespaces/kube-system"

GIVE_UP_S = 0.7

REPOSITORY = Path(__file__).parents[2]

UNASKED = {
    "full-backlog": (CONNECT, TimeoutError),
    "refuse": (CONNECT, ConnectionRefusedError),
    "black-hole-accept": (TLS, TimeoutError),
    "tls-hang": (TLS, TimeoutError),
    "garbage": (TLS, ssl.SSLError),
    "banner": (TLS, ssl.SSLError),
    "plain-http": (TLS, ssl.SSLError),
    "reset-in-handshake": (TLS, ConnectionResetError),
    "close-in-handshake": (TLS, ConnectionResetError),
    "expired": (TLS, ssl.SSLCertVerificationError),
    "not-yet-valid": (TLS, ssl.SSLCertVerificationError),
    "wrong-name": (TLS, ssl.SSLCertVerificationError),
    "wrong-ca": (TLS, ssl.SSLCertVerificationError),
    "client-certificate-required": (HTTP, ssl.SSLError),
    "slow": (HTTP, TimeoutError),
    "no-answer": (HTTP, TimeoutError),
    "slow-head": (HTTP, TimeoutError),
    "slow-body": (HTTP, TimeoutError),
    "not-http": (HTTP, TimeoutError),
    "endless-headers": (HTTP, asyncio.LimitOverrunError),
    "truncated-body": (HTTP, asyncio.IncompleteReadError),
    "close-without-answer": (HTTP, asyncio.IncompleteReadError),
    "reset": (HTTP, ConnectionResetError),
}
"""Stage and error of a request that brings no answer."""

ANSWERED = {
    "healthy": (200, 200),
    "expiring-soon": (200, 200),
    "unauthorized": (401, 401),
    "old-token-rejected": (401, 401),
    "anonymous-off": (200, 200),
    "namespace-forbidden": (200, 403),
    "throttled": (429, 429),
    "unavailable": (503, 503),
    "server-error": (500, 500),
    "not-ready": (500, 200),
    "read-failed": (200, 500),
    "no-readyz": (404, 200),
    "clock-skew": (200, 200),
    "redirect": (302, 302),
    "login-portal": (200, 200),
    "endless-body": (200, 200),
    "gzip-bomb": (200, 200),
    "connection-close": (200, 200),
    "idle-close": (200, 200),
}
"""Status of /readyz and of a namespace read. `flapping` and `frozen-etcd` have tests of their own."""


def summary(readyz: Asked, namespace: Asked) -> object:
    if readyz.error is not None:
        return readyz.stage, type(readyz.error)
    return readyz.status, namespace.status


async def outcomes(clusters: list[SimulatedCluster]) -> dict[str, object]:
    async def one(cluster: SimulatedCluster) -> object:
        readyz = await ask(cluster, timeout_s=GIVE_UP_S)
        return summary(readyz, await ask(cluster, NAMESPACE, timeout_s=GIVE_UP_S))

    return dict(zip((c.name for c in clusters), await asyncio.gather(*map(one, clusters)), strict=True))


async def every_behaviour() -> dict[str, object]:
    async with SimulatedFleet(seed=1) as fleet:
        return await outcomes([await fleet.add(name, name) for name in [*UNASKED, *ANSWERED]])


def test_no_behaviour_is_untried() -> None:
    assert {*UNASKED, *ANSWERED, "flapping", "frozen-etcd"} == set(BEHAVIOURS)


def test_each_behaviour_does_what_it_says_on_asyncio() -> None:
    assert asyncio.run(every_behaviour()) == UNASKED | ANSWERED


def test_each_behaviour_does_what_it_says_on_uvloop() -> None:
    # uvloop turns a FIN within the handshake, and a reset, into other words for the same.
    assert uvloop.run(every_behaviour()) == UNASKED | ANSWERED


@pytest.mark.parametrize(
    ("behaviour", "code"), [("expired", 10), ("not-yet-valid", 9), ("wrong-ca", 20), ("wrong-name", 64)]
)
async def test_a_bad_certificate_fails_for_its_own_reason(fleet: SimulatedFleet, behaviour: str, code: int) -> None:
    asked = await ask(await fleet.add("bad", behaviour))
    assert isinstance(asked.error, ssl.SSLCertVerificationError)
    assert asked.error.verify_code == code


async def test_a_good_certificate_is_good_for_the_address_and_the_name(fleet: SimulatedFleet) -> None:
    cluster = await fleet.add("good")
    for host in (None, cluster.dns_name, "kubernetes.default.svc"):
        client = Client(cluster, host=host)
        assert (await client.ask("/readyz")).stage == DONE
        client.close()


async def test_an_expiring_certificate_has_five_days_left(fleet: SimulatedFleet) -> None:
    asked = await ask(await fleet.add("soon", "expiring-soon"))
    left_s = ssl.cert_time_to_seconds(str(asked.certificate["notAfter"])) - time.time()
    assert 4.9 < left_s / 86_400 < 5.1


async def test_a_ca_vouches_for_its_own_cluster_only(fleet: SimulatedFleet) -> None:
    one, other = await fleet.add("one"), await fleet.add("other")
    assert (await ask(other)).status == 200
    mixed = Client(replace(other, ca_pem=one.ca_pem))
    assert isinstance((await mixed.ask("/readyz")).error, ssl.SSLCertVerificationError)


async def test_a_client_certificate_of_the_clusters_ca_opens_the_door(fleet: SimulatedFleet) -> None:
    cluster = await fleet.add("mtls", "client-certificate-required")
    client = Client(cluster, certificate=fleet.authority("mtls").client("muster", ["viewers"]))
    assert (await client.ask(NAMESPACE)).status == 200
    client.close()
    stranger = await fleet.add("stranger")
    client = Client(cluster, certificate=fleet.authority(stranger.name).client("muster"))
    asked = await client.ask(NAMESPACE)
    assert asked.status == 0
    assert isinstance(asked.error, (ssl.SSLError, ConnectionError, EOFError))


async def test_the_namespace_has_the_clusters_own_uid(fleet: SimulatedFleet) -> None:
    one, other = await fleet.add("one"), await fleet.add("other")
    assert one.uid != other.uid
    for cluster in (one, other):
        assert f'"uid":"{cluster.uid}"'.encode() in (await ask(cluster, NAMESPACE)).body


async def test_anonymous_requests_see_health_but_no_namespace(fleet: SimulatedFleet) -> None:
    cluster = await fleet.add("c")
    assert (await ask(cluster, "/version", as_client=False)).status == 200
    assert (await ask(cluster, NAMESPACE, as_client=False)).status == 403
    strict = await fleet.add("strict", "anonymous-off")
    assert (await ask(strict, as_client=False)).status == 401


async def test_a_rotated_token_is_accepted_and_the_old_one_refused(fleet: SimulatedFleet) -> None:
    old = await fleet.add("c", "old-token-rejected")
    client = Client(old)
    assert (await client.ask("/readyz", token=old.token)).status == 401
    assert (await client.ask("/readyz", token=old.next_token)).status == 200
    assert fleet.rotate_token("c").token == old.next_token
    await fleet.set_behaviour("c", "healthy")
    assert (await client.ask("/readyz", token=old.token)).status == 401
    assert (await client.ask("/readyz", token=old.next_token)).status == 200
    client.close()
    assert fleet.seen("c").handshakes == 1


async def test_frozen_etcd_is_green_at_readyz_only(fleet: SimulatedFleet) -> None:
    cluster = await fleet.add("c", "frozen-etcd")
    assert (await ask(cluster, "/readyz")).status == 200
    livez, namespace, version = await asyncio.gather(
        ask(cluster, "/livez"), ask(cluster, NAMESPACE, timeout_s=GIVE_UP_S), ask(cluster, "/version")
    )
    assert (livez.status, b"[-]etcd failed: reason withheld" in livez.body) == (500, True)
    assert 1.9 < livez.took_s < 3.0
    assert isinstance(namespace.error, TimeoutError)
    assert version.took_s < 1.0
    assert (await ask(cluster, NAMESPACE, as_client=False)).status == 403


async def test_flapping_goes_to_and_fro(fleet: SimulatedFleet) -> None:
    cluster = await fleet.add("c", "flapping:0.2")
    client, seen = Client(cluster), []
    for _ in range(16):
        seen.append((await client.ask("/readyz")).status)
        await asyncio.sleep(0.05)
    client.close()
    assert {200, 500} == set(seen)


async def test_slow_answers_whole_after_its_time(fleet: SimulatedFleet) -> None:
    asked = await ask(await fleet.add("c", "slow:0.3"))
    assert (asked.status, asked.body) == (200, b"ok")
    assert 0.3 <= asked.took_s < 1.0


@pytest.mark.parametrize(("behaviour", "least"), [("slow-head:0.001", 300), ("slow-body:0.001", 800)])
async def test_a_slow_loris_sends_a_whole_answer_byte_by_byte(
    fleet: SimulatedFleet, behaviour: str, least: int
) -> None:
    asked = await ask(await fleet.add("c", behaviour), timeout_s=15.0)
    assert asked.status == 200
    assert asked.took_s > least * 0.001


@pytest.mark.parametrize("behaviour", ["throttled:7", "unavailable:7"])
async def test_retry_after_is_as_asked_for(fleet: SimulatedFleet, behaviour: str) -> None:
    assert (await ask(await fleet.add("c", behaviour))).headers["retry-after"] == "7"


async def test_a_skewed_clock_is_an_hour_ahead(fleet: SimulatedFleet) -> None:
    asked = await ask(await fleet.add("c", "clock-skew"))
    ahead = parsedate_to_datetime(asked.headers["date"]) - datetime.now(UTC)
    assert 3595 < ahead.total_seconds() < 3605


async def test_a_redirect_leads_to_another_host(fleet: SimulatedFleet) -> None:
    asked = await ask(await fleet.add("c", "redirect"))
    assert asked.headers["location"].startswith("https://login.portal.example/")


async def test_a_gzip_bomb_is_small_until_unpacked(fleet: SimulatedFleet) -> None:
    asked = await ask(await fleet.add("c", "gzip-bomb"))
    assert asked.headers["content-encoding"] == "gzip"
    assert len(asked.body) < 64 * 1024
    assert len(gzip.decompress(asked.body)) == 32 * 1024 * 1024


async def test_an_endless_body_does_not_keep_others_waiting(fleet: SimulatedFleet) -> None:
    flood, healthy = await fleet.add("flood", "endless-body"), await fleet.add("healthy")
    reading = asyncio.create_task(Client(flood, max_body_bytes=10**12).ask("/readyz", timeout_s=1.0))
    await asyncio.sleep(0.2)
    assert (await ask(healthy)).took_s < 0.5
    assert len((await reading).body) > 1_000_000
    await gone(fleet, "flood")


async def test_an_idle_connection_is_closed_unannounced(fleet: SimulatedFleet) -> None:
    client = Client(await fleet.add("c", "idle-close:0.3"))
    for _ in range(4):  # asked often enough it stays
        assert (await client.ask("/readyz")).status == 200
        await asyncio.sleep(0.15)
    assert fleet.seen("c").connections == 1
    await gone(fleet, "c")
    assert (await client.ask("/readyz")).error is not None


async def test_connections_are_kept_unless_the_server_says_otherwise(fleet: SimulatedFleet) -> None:
    kept, closing = Client(await fleet.add("kept")), Client(await fleet.add("closing", "connection-close"))
    for _ in range(3):
        assert (await kept.ask("/readyz")).status == 200
    seen = fleet.seen("kept")
    assert (seen.connections, seen.handshakes, seen.requests) == (1, 1, 3)
    assert (await closing.ask("/readyz")).headers["connection"] == "close"
    assert (await closing.ask("/readyz")).error is not None
    kept.close()
    closing.close()


async def test_an_outage_resets_connections_and_ends_as_it_began(fleet: SimulatedFleet) -> None:
    client = Client(cluster := await fleet.add("c"))
    for trouble in ("full-backlog", "refuse", "black-hole-accept", "expired", "full-backlog", "refuse"):
        assert (await client.ask("/readyz")).status == 200
        await fleet.set_behaviour("c", trouble)
        assert (await client.ask("/readyz", timeout_s=0.3)).error is not None
        assert (await ask(cluster, timeout_s=0.3)).stage == UNASKED[trouble][0]
        await fleet.set_behaviour("c", "healthy")
    client.close()


async def test_a_change_of_answers_keeps_the_connection(fleet: SimulatedFleet) -> None:
    client = Client(await fleet.add("c"))
    statuses = []
    for behaviour in ("not-ready", "healthy", "unavailable", "healthy"):
        await fleet.set_behaviour("c", behaviour)
        statuses.append((await client.ask("/readyz")).status)
    client.close()
    assert statuses == [500, 200, 503, 200]
    assert fleet.seen("c").connections == 1


async def test_a_shared_listener_serves_each_address_its_own_cluster() -> None:
    async with SimulatedFleet(shared_listener=True) as fleet:
        names = [f"c{number}" for number in range(20)]
        behaviours = ["healthy", "full-backlog", "black-hole-accept", "tls-hang"] * 5
        clusters = [await fleet.add(name, kind) for name, kind in zip(names, behaviours, strict=True)]
        assert len({cluster.port for cluster in clusters}) == 1
        found = await outcomes(clusters)
        assert [found[name] for name in names] == [(UNASKED | ANSWERED)[kind] for kind in behaviours]
        await fleet.set_behaviour("c1", "healthy")  # whoever was dead can be revived
        await fleet.set_behaviour("c0", "full-backlog")
        assert (await ask(clusters[1])).status == 200
        assert (await ask(clusters[0], timeout_s=0.3)).stage == CONNECT
        with pytest.raises(ValueError, match="can't refuse"):
            await fleet.set_behaviour("c2", "refuse")
        with pytest.raises(ValueError, match="no IPv6"):
            await fleet.add("six", address="::1")


async def test_a_shared_listener_knows_only_its_own_addresses() -> None:
    async with SimulatedFleet(shared_listener=True) as fleet:
        cluster = await fleet.add("c")
        reader, writer = await asyncio.open_connection("127.99.0.1", cluster.port)
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1)
        writer.transport.abort()


async def test_a_cluster_that_left_is_gone_and_its_name_is_free(fleet: SimulatedFleet) -> None:
    cluster = await fleet.add("c")
    with pytest.raises(ValueError, match="used once"):
        await fleet.add("c")
    await fleet.remove("c")
    assert isinstance((await ask(cluster)).error, ConnectionRefusedError)
    assert (await ask(await fleet.add("c"))).status == 200
    with pytest.raises(KeyError):
        await fleet.set_behaviour("never-was", "healthy")


async def test_the_seed_gives_names_tokens_and_uids_but_no_keys() -> None:
    async with SimulatedFleet(seed=5) as one, SimulatedFleet(seed=5) as other, SimulatedFleet(seed=6) as third:
        a, b, c = [await fleet.add("c") for fleet in (one, other, third)]
        assert (a.uid, a.token, a.address) == (b.uid, b.token, b.address)
        assert a.ca_pem != b.ca_pem
        assert a.uid != c.uid
        assert a.token not in repr(a)


async def test_one_family_of_a_dual_stack_cluster_can_be_dead(fleet: SimulatedFleet) -> None:
    need_ipv6()
    four = await fleet.add("dual")
    six = await fleet.add("dual-six", "healthy", address="::1", family_of="dual")
    assert (four.port, four.uid, four.ca_pem, four.dns_name) == (six.port, six.uid, six.ca_pem, six.dns_name)
    for cluster in (four, six):
        client = Client(cluster, host=four.dns_name)
        assert (await client.ask("/readyz", token=four.token)).status == 200
        client.close()
    await fleet.set_behaviour("dual-six", "refuse")
    assert isinstance((await ask(six)).error, ConnectionRefusedError)
    assert (await ask(four)).status == 200


# -- files


@pytest.fixture
async def cluster(fleet: SimulatedFleet) -> SimulatedCluster:
    return await fleet.add("c", labels={"tenant": "alder", "cloud": "azure"})


def test_the_static_source_names_every_cluster_and_hides_from_others(
    fleet: SimulatedFleet, cluster: SimulatedCluster, tmp_path: Path
) -> None:
    source = tmp_path / "fleet.yaml"
    fleet.write_static_source(source)
    (entry,) = yaml.safe_load(source.read_text())["clusters"]
    assert (entry["name"], entry["server"], entry["labels"]) == ("c", cluster.server, cluster.labels)
    assert base64.b64decode(entry["certificate-authority-data"]).decode() == cluster.ca_pem
    token = Path(entry["credential"]["tokenFile"])
    assert token.read_text() == cluster.token
    assert [stat.S_IMODE(path.stat().st_mode) for path in (source, token)] == [0o600, 0o600]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fleet.yaml", "tokens"]


def test_an_empty_fleet_is_an_empty_list(fleet: SimulatedFleet, tmp_path: Path) -> None:
    fleet.write_static_source(tmp_path / "fleet.yaml")
    assert yaml.safe_load((tmp_path / "fleet.yaml").read_text()) == {"clusters": []}


# -- the process


def clusters_of(running: RunningFleet) -> dict[str, SimulatedCluster]:
    """As read from the static source: a client needs no more."""
    found = {}
    for entry in yaml.safe_load(running.source.read_text())["clusters"]:
        address, port = entry["server"].removeprefix("https://").split(":")
        found[entry["name"]] = SimulatedCluster(
            name=entry["name"],
            address=address,
            port=int(port),
            ca_pem=base64.b64decode(entry["certificate-authority-data"]).decode(),
            token=Path(entry["credential"]["tokenFile"]).read_text(),
            next_token="",
            uid=running.clusters[entry["name"]].uid if entry["name"] in running.clusters else "",
            dns_name="",
            behaviour=BEHAVIOURS["healthy"],
            labels=entry.get("labels", {}),
        )
    return found


async def test_a_fleet_process_is_controlled_line_by_line(tmp_path: Path) -> None:
    groups = [(2, "healthy"), (1, "full-backlog"), (1, "slow:0.1")]
    async with running_fleet(tmp_path, groups=groups) as running:
        assert list(running.clusters) == ["healthy-00001", "healthy-00002", "full-backlog-00001", "slow-0-1-00001"]
        clusters = clusters_of(running)
        dead = clusters["full-backlog-00001"]
        assert (await ask(dead, timeout_s=0.3)).stage == CONNECT
        before = time.monotonic()
        revived_at = await running.set_behaviour(dead.name, "healthy")
        assert before <= revived_at <= time.monotonic()
        assert (await ask(dead)).status == 200

        live = clusters["healthy-00001"]
        assert f'"uid":"{live.uid}"'.encode() in (await ask(live, NAMESPACE)).body
        await running.rotate_token(live.name)
        assert (await ask(live)).status == 401
        await running.deliver_token(live.name)
        assert (await ask(live)).status == 401
        assert (await ask(clusters_of(running)[live.name])).status == 200
        assert await running.seen(live.name) == {"connections": 4, "handshakes": 4, "requests": 4}

        await running.add("newcomer", "not-ready")
        assert (await ask(clusters_of(running)["newcomer"])).status == 500
        await running.remove("newcomer")
        assert "newcomer" not in clusters_of(running)
        for command in (running.set_behaviour("never-was", "healthy"), running.set_behaviour(live.name, "bored")):
            with pytest.raises(FleetError, match=r"no (simulated cluster|behaviour) is called"):
                await command
    assert not psutil.pid_exists(running.pid)


async def test_a_command_that_was_given_up_does_not_upset_the_next(tmp_path: Path) -> None:
    async with running_fleet(tmp_path, groups=[(1, "healthy")]) as running:
        given_up = asyncio.create_task(running.set_behaviour("healthy-00001", "not-ready"))
        await asyncio.sleep(0)
        given_up.cancel()
        assert await running.seen("healthy-00001") == {"connections": 0, "handshakes": 0, "requests": 0}


async def test_the_plot_plays_by_itself(tmp_path: Path) -> None:
    async with running_fleet(tmp_path, seed=1, clusters=30, dead=0.3) as running:
        behaviours = [cluster.behaviour for cluster in running.clusters.values()]
        assert len(behaviours) == 30 + 4  # and those that go by name
        assert sum(name != "healthy" for name in behaviours) >= 9
        assert len(clusters_of(running)) == 34


async def test_a_fleet_that_cannot_start_says_so(tmp_path: Path) -> None:
    with pytest.raises(FleetError, match="before it was ready"):
        async with running_fleet(tmp_path / "is-not-there", groups=[(1, "healthy")]):
            pass


PARENT = """
import asyncio, pathlib, sys
from muster.demo.running import running_fleet
async def main():
    async with running_fleet(pathlib.Path(sys.argv[1]), groups=[(3, "healthy")]) as running:
        print(running.pid, flush=True)
        await asyncio.sleep(60)
if sys.argv[2] == "uvloop":
    import uvloop
    uvloop.run(main())
asyncio.run(main())
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
async def test_nothing_of_a_fleet_outlives_its_parent(tmp_path: Path, loop: str, number: signal.Signals) -> None:
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, str(tmp_path), loop, stdout=-1, stderr=-3, cwd=REPOSITORY
    )
    assert parent.stdout is not None
    child = psutil.Process(int(await parent.stdout.readline()))
    parent.send_signal(number)
    await parent.wait()
    psutil.wait_procs([child], timeout=3.0)
    assert not child.is_running()


# -- the name server


async def test_the_name_server_answers_as_scripted() -> None:
    records: Records = {
        "dual.example": ("127.64.0.9", "::1"),
        "four.example": ("127.64.0.9",),
        "broken.example": Trouble.SERVFAIL,
        "silent.example": Trouble.HANG,
    }
    async with name_server(records) as server:
        resolver = aiodns.DNSResolver(nameservers=[LOOPBACK], udp_port=server.port, timeout=0.2, tries=1)
        found = await resolver.getaddrinfo("dual.example", type=socket.SOCK_STREAM)
        assert {node.addr[0] for node in found.nodes} == {b"127.64.0.9", b"::1"}
        found = await resolver.getaddrinfo("four.example", type=socket.SOCK_STREAM)
        assert [node.addr[0] for node in found.nodes] == [b"127.64.0.9"]
        codes = {}
        for name in ("nowhere.example", "broken.example", "silent.example"):
            with pytest.raises(aiodns.error.DNSError) as raised:
                await resolver.getaddrinfo(name, type=socket.SOCK_STREAM)
            codes[name] = raised.value.args[0]
        await resolver.close()
        assert codes == {
            "nowhere.example": aiodns.error.ARES_ENOTFOUND,
            "broken.example": aiodns.error.ARES_ESERVFAIL,
            "silent.example": aiodns.error.ARES_ETIMEOUT,
        }
        assert "silent.example" in server.asked


async def gone(fleet: SimulatedFleet, name: str) -> None:
    """Wait until a cluster holds no connection."""
    async with asyncio.timeout(3.0):
        while fleet.connected(name):  # noqa: ASYNC110 - the fleet has no event for it
            await asyncio.sleep(0.02)
