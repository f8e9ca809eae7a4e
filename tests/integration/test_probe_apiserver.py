"""The probe under the engine against hostile API servers: what is said of each, and how it goes on with them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from uuid import UUID, uuid4

import pytest
from structlog.testing import capture_logs

from muster.demo import answers, replies
from muster.demo.behaviours import BEHAVIOURS, Behaviour, behaviour_from
from muster.demo.fleet import SimulatedFleet
from muster.demo.pki import Certificate
from muster.demo.replies import FOREVER, Act, Call, Reply, Steps
from muster.demo.site import SimulatedCluster
from tests.support.loops import on_both_loops
from tests.support.servers import credential_of, endpoint_of, need_ipv6
from validator.clock import FakeClock
from validator.credentials import (
    BrokenCredential,
    ClientCertificate,
    Credential,
    CredentialError,
    CredentialSource,
    StaticCredential,
)
from validator.engine import Engine
from validator.keeper import CredentialKeeper
from validator.model import Check, Endpoint, Outcome, Verdict
from validator.net.dialer import Dialer, StageDeadlines
from validator.net.failure import ProbeFailure
from validator.net.tls import TlsContexts
from validator.probes.apiserver import ApiServerProbe
from validator.probes.settings import ApiServerSettings
from validator.reasons import REASONS, Health, Reason, Stage
from validator.schedule import Lane, ScheduleSettings
from validator.testing import Collected, RenewableCredential, ScriptedResolver

HOURLY = ScheduleSettings(interval_s=3600.0, timeout_s=2.5, backoff_max_s=3600.0)
"""Nothing falls due by itself: the test hastens what it wants asked."""
DEADLINES = StageDeadlines(dns_s=0.5, connect_s=0.5, tls_s=0.6, http_s=0.9)
QUICK = ApiServerSettings(timeout_s=2.5, read_timeout_s=0.6, reuse_timeout_s=0.5, slow_after_s=0.3)
NAMESPACE = b"/api/v1/namespaces/kube-system"


class Hub:
    """An engine with real probes, and what became of them."""

    def __init__(self) -> None:
        self.clock = FakeClock(time.time())
        self.said = Collected()
        self.engine = Engine(HOURLY, self.said, self.clock, 10_000)
        self.keeper = CredentialKeeper(self.clock)
        self.resolver = ScriptedResolver({})
        self.dialer = Dialer(self.resolver, TlsContexts(), DEADLINES)
        self.uids: dict[UUID, str] = {}

    def add(
        self,
        endpoint: Endpoint,
        credential: CredentialSource | None = None,
        *,
        settings: ApiServerSettings = QUICK,
        target: UUID | None = None,
    ) -> UUID:
        """Take up a target; it is asked when the test says so."""
        key = target or uuid4()
        probe = ApiServerProbe(
            endpoint,
            credential,
            dialer=self.dialer,
            keeper=self.keeper,
            clock=self.clock,
            settings=settings,
            on_uid=lambda uid: self.uids.__setitem__(key, uid),
            hasten=lambda: self.engine.hasten(key),
        )
        self.engine.add(key, "cluster", probe)
        return key

    def watch(self, cluster: SimulatedCluster, *, settings: ApiServerSettings = QUICK) -> UUID:
        """Take up a simulated cluster with its own token."""
        return self.add(endpoint_of(cluster), credential_of(cluster), settings=settings)

    async def ask(self, target: UUID, times: int = 1) -> Verdict:
        """Have it asked; gives the last `apiserver` verdict."""
        for _ in range(times):
            before = len(self.said.of(target))
            self.engine.hasten(target)
            await self.said.wait_for(target, before + 1)
        return self.said.of(target)[-1]

    def credential(self, target: UUID) -> Verdict | None:
        """What was last said of its credential."""
        found = self.said.of(target, Check.CREDENTIAL)
        return found[-1] if found else None


@asynccontextmanager
async def running() -> AsyncIterator[Hub]:
    hub = Hub()
    tasks = [asyncio.create_task(hub.engine.run()), asyncio.create_task(hub.keeper.run())]
    try:
        yield hub
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(result) for result in results} == {asyncio.CancelledError}


def scripted(*script: Callable[[Call], Reply], name: str = "scripted") -> Behaviour:
    """One reply a request, over all connections; healthy afterwards."""
    steps = iter(script)

    def reply(call: Call) -> Reply:
        return next(steps, replies.healthy)(call)

    return Behaviour(name, "plays a script", reply=reply)


def hang_up(_call: Call) -> Steps:
    yield Act.CLOSE


def reset(_call: Call) -> Steps:
    yield Act.RESET


def silence(_call: Call) -> Steps:
    yield FOREVER


healthy = replies.healthy


async def disconnected(fleet: SimulatedFleet, name: str) -> bool:
    """Whether the cluster's connections have all gone, soon."""
    for _ in range(200):
        if not fleet.connected(name):
            return True
        await asyncio.sleep(0.005)
    return False


# -- every behaviour

UNANSWERED = {
    "full-backlog",
    "refuse",
    "black-hole-accept",
    "tls-hang",
    "garbage",
    "banner",
    "plain-http",
    "reset-in-handshake",
    "close-in-handshake",
    "no-answer",
    "frozen-etcd",
    "slow-head",
    "slow-body",
    "truncated-body",
    "close-without-answer",
    "reset",
}
"""Nothing usable came in time: these belong to the dead lane."""

OUTCOMES = {Health.DEGRADED: Outcome.FINDING, Health.UNKNOWN: Outcome.UNKNOWN}


@dataclass(frozen=True)
class Said:
    """What matters of two verdicts, the second asked after the first."""

    outcome: Outcome
    reason: Reason | None
    stage: Stage | None
    credential: Reason | None
    lanes: tuple[Lane, Lane]


def expected(row: Behaviour) -> Said:
    reason, credential = row.expect, None
    if reason is not None and REASONS[reason].stage is Stage.CREDENTIAL:
        reason, credential = None, reason
    outcome = Outcome.PASS if reason is None else OUTCOMES.get(REASONS[reason].health, Outcome.FAIL)
    stage = None if reason is None else REASONS[reason].stage
    return Said(outcome, reason, stage, credential, (Lane.LIVE, Lane.DEAD if row.name in UNANSWERED else Lane.LIVE))


@on_both_loops
async def test_each_behaviour_has_its_reason_stage_outcome_and_lane_and_shows_no_token(fleet: SimulatedFleet) -> None:
    tuned = {"slow": "slow:0.4", "flapping": "flapping:1000000000"}
    rows = {name: behaviour_from(tuned.get(name, name)) for name in BEHAVIOURS}
    with capture_logs() as logs:
        async with running() as hub:
            clusters = {name: await fleet.add(name, row) for name, row in rows.items()}
            targets = {name: hub.watch(cluster) for name, cluster in clusters.items()}
            await asyncio.gather(*(hub.ask(target, 2) for target in targets.values()))
    said = {}
    for name, target in targets.items():
        first, second = hub.said.of(target)[:2]
        credential = hub.credential(target)
        said[name] = Said(
            first.outcome,
            first.reason,
            first.stage,
            None if credential is None else credential.reason,
            (first.lane, second.lane),
        )
    flapping = said.pop("flapping")
    assert flapping.reason in (None, Reason.NOT_READY)
    assert said == {name: expected(rows[name]) for name in said}
    shown = repr([hub.said.verdicts, logs, hub.engine._targets])
    assert not [name for name, cluster in clusters.items() if cluster.token in shown]
    assert logs == []
    for name, target in targets.items():
        for verdict in hub.said.of(target):
            assert 0 <= verdict.duration_s < QUICK.timeout_s + 0.5, name
            assert len(verdict.message) <= 500


# -- kept connections


@on_both_loops
class TestKeptConnections:
    async def test_the_next_ask_uses_it_and_says_so(self, fleet: SimulatedFleet) -> None:
        async with running() as hub:
            target = hub.watch(await fleet.add("one"), settings=replace(QUICK, renew_after_s=1e9))
            first = await hub.ask(target)
            hub.clock.advance(30.0)
            second = await hub.ask(target)
        assert {"connect_ms", "tls_ms", "http_ms", "read_ms", "version_ms"} <= set(first.evidence)
        assert "reused" not in first.evidence
        assert not {"connect_ms", "tls_ms"} & set(second.evidence)
        assert (second.evidence["reused"], second.evidence["connection_age_s"]) == (True, 30.0)
        assert fleet.seen("one").connections == 1

    async def test_one_that_the_peer_has_closed_is_replaced_and_no_failure(self, fleet: SimulatedFleet) -> None:
        async with running() as hub:
            target = hub.watch(await fleet.add("one", "idle-close:0.02"))
            for number in range(1, 4):
                assert (await hub.ask(target)).outcome is Outcome.PASS
                assert await disconnected(fleet, "one")
                assert fleet.seen("one").connections >= number

    @pytest.mark.parametrize("end", [hang_up, reset])
    async def test_one_that_ends_when_it_is_asked_is_replaced_and_no_failure(
        self, fleet: SimulatedFleet, end: Callable[[Call], Steps]
    ) -> None:
        first_ask = [healthy] * 3  # /readyz, the namespace, /version
        async with running() as hub:
            target = hub.watch(await fleet.add("one", scripted(*first_ask, end)))
            await hub.ask(target)
            verdict = await hub.ask(target)
        assert (verdict.outcome, verdict.lane) == (Outcome.PASS, Lane.LIVE)
        assert verdict.evidence["kept_connection_died"] == Reason.CONNECTION_CLOSED
        assert "reused" not in verdict.evidence
        assert fleet.seen("one").connections == 2

    async def test_one_that_is_silently_dead_is_replaced_within_the_timeout(self, fleet: SimulatedFleet) -> None:
        async with running() as hub:
            target = hub.watch(await fleet.add("one", scripted(healthy, healthy, healthy, silence)))
            await hub.ask(target)
            verdict = await hub.ask(target)
        assert (verdict.outcome, verdict.lane) == (Outcome.PASS, Lane.LIVE)
        assert verdict.evidence["kept_connection_died"] == Reason.ANSWER_TIMEOUT
        assert QUICK.reuse_timeout_s <= verdict.duration_s < QUICK.timeout_s

    async def test_one_that_ends_between_two_questions_of_one_ask_is_replaced_too(self, fleet: SimulatedFleet) -> None:
        """As when a load balancer lets every connection have one request."""
        async with running() as hub:
            target = hub.watch(await fleet.add("one", scripted(healthy, hang_up)))
            verdict = await hub.ask(target)
        assert (verdict.outcome, verdict.reason) == (Outcome.PASS, None)
        assert fleet.seen("one").connections == 2

    async def test_a_server_that_ends_the_fresh_one_as_well_is_a_failure(self, fleet: SimulatedFleet) -> None:
        async with running() as hub:
            target = hub.watch(await fleet.add("one", scripted(healthy, healthy, healthy, hang_up, hang_up)))
            await hub.ask(target)
            verdict = await hub.ask(target)
        assert (verdict.outcome, verdict.reason) == (Outcome.FAIL, Reason.CONNECTION_CLOSED)
        assert fleet.seen("one").connections == 2

    async def test_it_is_renewed_in_time_and_the_new_certificate_is_seen(self, fleet: SimulatedFleet) -> None:
        async with running() as hub:
            target = hub.watch(await fleet.add("one"))
            before = await hub.ask(target)
            site = fleet._site("one")  # the certificate changes, and the connection stays
            site.cluster = replace(
                site.cluster, behaviour=replace(BEHAVIOURS["healthy"], certificate=Certificate.EXPIRING_SOON)
            )
            site._context = None
            hub.clock.advance(QUICK.renew_after_s)
            after = await hub.ask(target)
        assert before.outcome is Outcome.PASS
        assert (after.outcome, after.reason) == (Outcome.FINDING, Reason.CERTIFICATE_EXPIRING_SOON)
        assert after.message == "the server's certificate expires in 5.0 d"
        assert before.evidence["certificate_expires"] != after.evidence["certificate_expires"]
        assert fleet.seen("one").connections == 2
        assert fleet.connected("one") <= 1

    async def test_connections_that_begin_together_are_not_renewed_together(self, fleet: SimulatedFleet) -> None:
        async with running() as hub:
            names = [f"c-{number}" for number in range(30)]
            targets = [hub.watch(await fleet.add(name)) for name in names]
            await asyncio.gather(*(hub.ask(target) for target in targets))
            hub.clock.advance(QUICK.renew_after_s / 2)
            await asyncio.gather(*(hub.ask(target) for target in targets))
        renewed = sum(fleet.seen(name).connections == 2 for name in names)
        assert 3 <= renewed <= 27  # 15 expected, with a deviation of 2.7

    async def test_a_removed_target_drops_its_connection_at_once(self, fleet: SimulatedFleet) -> None:
        async with running() as hub:
            target = hub.watch(await fleet.add("one"))
            await hub.ask(target)
            assert fleet.connected("one") == 1
            hub.engine.remove(target)
            assert await disconnected(fleet, "one")

    @pytest.mark.parametrize("behaviour", ["no-answer", "tls-hang", "slow-body", "frozen-etcd"])
    @pytest.mark.parametrize("change", ["remove", "replace"])
    async def test_a_target_that_goes_or_changes_in_mid_ask_leaves_no_connection(
        self, fleet: SimulatedFleet, behaviour: str, change: str
    ) -> None:
        cluster = await fleet.add("one", behaviour)
        other = await fleet.add("other")
        async with running() as hub:
            target = hub.watch(cluster)
            hub.engine.hasten(target)
            while not fleet.connected("one"):  # noqa: ASYNC110 - a server tells nobody
                await asyncio.sleep(0.002)
            await asyncio.sleep(0.05)
            if change == "remove":
                hub.engine.remove(target)
            else:
                hub.add(endpoint_of(other), credential_of(other), target=target)
                assert (await hub.said.wait_for(target))[0].outcome is Outcome.PASS
            assert await disconnected(fleet, "one")
            await asyncio.sleep(0.05)
            assert fleet.seen("one").connections == 1

    async def test_when_the_engine_ends_every_connection_is_gone(self, fleet: SimulatedFleet) -> None:
        names = ["healthy", "no-answer", "slow-body"]
        async with running() as hub:
            targets = [hub.watch(await fleet.add(name, name)) for name in names]
            await hub.ask(targets[0])
            for target in targets:
                hub.engine.hasten(target)
            await asyncio.sleep(0.1)
        for name in names:
            assert await disconnected(fleet, name)


# -- the credential


@on_both_loops
class TestCredentials:
    async def test_a_401_is_reachable_and_a_credential_fact(self, fleet: SimulatedFleet) -> None:
        async with running() as hub:
            target = hub.watch(await fleet.add("one", "unauthorized"))
            verdict = await hub.ask(target)
            credential = hub.credential(target)
        assert (verdict.outcome, verdict.lane) == (Outcome.PASS, Lane.LIVE)
        assert credential is not None
        assert (credential.outcome, credential.reason, credential.stage) == (
            Outcome.FAIL,
            Reason.CREDENTIAL_REJECTED,
            Stage.CREDENTIAL,
        )

    async def test_a_403_is_reachable_and_a_finding(self, fleet: SimulatedFleet) -> None:
        async with running() as hub:
            target = hub.watch(await fleet.add("one", "namespace-forbidden"))
            verdict = await hub.ask(target)
            credential = hub.credential(target)
        assert verdict.outcome is Outcome.PASS
        assert credential is not None
        assert (credential.outcome, credential.reason) == (Outcome.FINDING, Reason.PERMISSION_DENIED)

    async def test_a_refused_token_is_fetched_anew_and_shown_at_once(self, fleet: SimulatedFleet) -> None:
        cluster = await fleet.add("one", "old-token-rejected")
        source = RenewableCredential(Credential(cluster.token), Credential(cluster.next_token))
        async with running() as hub:
            await source.fetch(0.0)
            target = hub.add(endpoint_of(cluster), source)
            await hub.ask(target)
            facts = await hub.said.wait_for(target, 2, Check.CREDENTIAL, within_s=2.0)
        assert [fact.outcome for fact in facts] == [Outcome.FAIL, Outcome.PASS]
        assert [verdict.outcome for verdict in hub.said.of(target)] == [Outcome.PASS, Outcome.PASS]
        assert source.rejected == [Credential(cluster.token)]
        assert hub.uids[target] == cluster.uid

    async def test_a_token_that_stays_refused_makes_no_storm(self, fleet: SimulatedFleet) -> None:
        cluster = await fleet.add("one", "unauthorized")
        source = RenewableCredential(*(Credential(f"token-{number}") for number in range(100)))
        async with running() as hub:
            await source.fetch(0.0)
            target = hub.add(endpoint_of(cluster), source)
            await hub.ask(target)
            await asyncio.sleep(0.3)
        assert source.fetches <= 3
        assert fleet.seen("one").requests <= 3

    async def test_a_credential_that_comes_in_mid_ask_is_used_at_once(self, fleet: SimulatedFleet) -> None:
        cluster = await fleet.add("one", scripted(lambda call: replies.slow(call._replace(seconds=0.2))))
        source = RenewableCredential(Credential(cluster.token), hold=True)
        async with running() as hub:
            target = hub.add(endpoint_of(cluster), source)
            hub.engine.hasten(target)
            await asyncio.sleep(0.05)
            source.go_on()
            (fact,) = await hub.said.wait_for(target, 1, Check.CREDENTIAL, within_s=2.0)
        assert fact.outcome is Outcome.PASS
        assert len(hub.said.of(target)) == 2

    async def test_reachability_does_not_wait_for_a_credential_that_hangs(self, fleet: SimulatedFleet) -> None:
        cluster = await fleet.add("one")
        async with running() as hub:
            target = hub.add(endpoint_of(cluster), RenewableCredential(Credential(cluster.token), hold=True))
            verdict = await hub.ask(target)
            assert (verdict.outcome, hub.credential(target)) == (Outcome.PASS, None)

    @pytest.mark.parametrize("behaviour", ["healthy", "anonymous-off"])
    async def test_one_that_can_t_be_had_is_its_own_fact_and_no_outage(
        self, fleet: SimulatedFleet, behaviour: str
    ) -> None:
        source = BrokenCredential(Reason.CREDENTIAL_INVALID, "token: not base64")
        async with running() as hub:
            target = hub.add(endpoint_of(await fleet.add("one", behaviour)), source)
            await hub.ask(target)
            (fact, *_) = await hub.said.wait_for(target, 1, Check.CREDENTIAL, within_s=2.0)
        assert (fact.outcome, fact.reason, fact.message) == (
            Outcome.FAIL,
            Reason.CREDENTIAL_INVALID,
            "token: not base64",
        )
        assert {verdict.outcome for verdict in hub.said.of(target)} == {Outcome.PASS}

    async def test_the_failure_is_over_as_soon_as_it_can_be_had(self, fleet: SimulatedFleet) -> None:
        cluster = await fleet.add("one")
        gone = CredentialError(Reason.CREDENTIAL_UNAVAILABLE, "the token file is not there")
        async with running() as hub:
            target = hub.add(endpoint_of(cluster), RenewableCredential(gone, Credential(cluster.token)))
            await hub.ask(target)
            await hub.said.wait_for(target, 1, Check.CREDENTIAL)
            hub.clock.advance(60.0)
            await hub.ask(target)
            facts = await hub.said.wait_for(target, 2, Check.CREDENTIAL, within_s=2.0)
            while facts[-1].outcome is not Outcome.PASS:
                facts = await hub.said.wait_for(target, len(facts) + 1, Check.CREDENTIAL, within_s=2.0)

    async def test_without_any_credential_nothing_is_said_of_it(self, fleet: SimulatedFleet) -> None:
        async with running() as hub:
            for behaviour in ("healthy", "anonymous-off"):
                target = hub.add(endpoint_of(await fleet.add(behaviour, behaviour)))
                assert (await hub.ask(target)).outcome is Outcome.PASS
                assert hub.credential(target) is None

    async def test_a_client_certificate_is_enough(self, fleet: SimulatedFleet) -> None:
        cluster = await fleet.add("one", "client-certificate-required")
        pair = fleet.authority("one").client("muster", ["system:masters"])
        certificate = ClientCertificate(pair.certificate_pem, pair.key_pem)
        async with running() as hub:
            target = hub.add(endpoint_of(cluster), StaticCredential(Credential(client_certificate=certificate)))
            verdict = await hub.ask(target)
            credential = hub.credential(target)
        assert verdict.outcome is Outcome.PASS
        assert credential is not None
        assert credential.outcome is Outcome.PASS
        assert "BEGIN" not in repr(hub.said.verdicts)

    async def test_another_client_certificate_means_another_connection(self, fleet: SimulatedFleet) -> None:
        cluster = await fleet.add("one", "client-certificate-required")
        pairs = [fleet.authority("one").client(user) for user in ("a", "b")]
        source = RenewableCredential(
            *(Credential(client_certificate=ClientCertificate(pair.certificate_pem, pair.key_pem)) for pair in pairs)
        )
        async with running() as hub:
            await source.fetch(0.0)
            target = hub.add(endpoint_of(cluster), source)
            await hub.ask(target)
            await source.fetch(0.0)
            assert (await hub.ask(target)).outcome is Outcome.PASS
        assert fleet.seen("one").connections == 2


# -- the read, the paths, the findings


@on_both_loops
class TestReading:
    async def test_frozen_storage_is_seen_behind_a_green_readyz_and_so_is_its_thaw(self, fleet: SimulatedFleet) -> None:
        async with running() as hub:
            target = hub.watch(await fleet.add("one"), settings=replace(QUICK, read_every=2))
            assert (await hub.ask(target)).outcome is Outcome.PASS
            await fleet.set_behaviour("one", "frozen-etcd")
            unread, stalled, again = await hub.ask(target), await hub.ask(target), await hub.ask(target)
            await fleet.set_behaviour("one", "healthy")
            thawed = await hub.ask(target)
        assert unread.outcome is Outcome.PASS  # not its turn to be read
        for verdict in (stalled, again):  # once it fails it is read every time
            assert (verdict.outcome, verdict.reason, verdict.stage) == (Outcome.FAIL, Reason.READ_STALLED, Stage.READ)
            assert (verdict.evidence["path"], verdict.evidence["status"]) == ("/readyz", 200)
            assert verdict.message == "/readyz says ok, but reading a namespace took over 1 s"
        assert again.lane is Lane.DEAD
        assert thawed.outcome is Outcome.PASS

    async def test_the_namespace_is_read_every_nth_time_only(self, fleet: SimulatedFleet) -> None:
        settings = replace(QUICK, read_every=3, renew_after_s=1e9)
        async with running() as hub:
            target = hub.watch(await fleet.add("one"), settings=settings)
            read = ["read_ms" in (await hub.ask(target)).evidence for _ in range(7)]
        assert read == [True, False, False, True, False, False, True]

    async def test_the_identity_and_the_version_are_learnt(self, fleet: SimulatedFleet) -> None:
        cluster = await fleet.add("one")
        async with running() as hub:
            target = hub.watch(cluster)
            verdict = await hub.ask(target)
        assert hub.uids[target] == verdict.evidence["cluster_uid"] == cluster.uid
        assert verdict.evidence["version"] == "v1.36.2"

    async def test_a_path_prefix_as_of_a_rancher_proxy_is_before_all_that_is_asked(self, fleet: SimulatedFleet) -> None:
        prefix = b"/k8s/clusters/c-abcde"

        def proxied(call: Call) -> Reply:
            if not call.request.path.startswith(prefix + b"/"):
                return answers.render(404, answers.JSON, b"{}", call.at_s)
            return healthy(call._replace(request=call.request._replace(path=call.request.path.removeprefix(prefix))))

        cluster = await fleet.add("one", Behaviour("proxied", "many clusters on one address", reply=proxied))
        async with running() as hub:
            target = hub.add(replace(endpoint_of(cluster), path=prefix.decode()), credential_of(cluster))
            verdict = await hub.ask(target)
        assert (verdict.outcome, verdict.reason) == (Outcome.PASS, None)
        assert hub.uids[target] == cluster.uid

    async def test_a_namespace_with_as_many_annotations_as_the_api_allows_is_read(self, fleet: SimulatedFleet) -> None:
        body = json.dumps({"metadata": {"uid": str(UUID(int=7)), "annotations": {"a": '"' * 250 * 1024}}}).encode()

        def big(call: Call) -> Reply:
            if call.request.path == NAMESPACE:
                return answers.render(200, answers.JSON, body, call.at_s)
            return healthy(call)

        async with running() as hub:
            target = hub.watch(await fleet.add("one", Behaviour("big", "a large namespace", reply=big)))
            verdict = await hub.ask(target)
        assert (verdict.outcome, verdict.reason) == (Outcome.PASS, None)
        assert hub.uids[target] == str(UUID(int=7))

    async def test_an_old_server_is_asked_for_livez_and_for_readyz_again_when_it_has_one(
        self, fleet: SimulatedFleet
    ) -> None:
        async with running() as hub:
            target = hub.watch(await fleet.add("one", "no-readyz"))
            first, second = await hub.ask(target), await hub.ask(target)
            assert [v.evidence["path"] for v in (first, second)] == ["/livez", "/livez"]
            await fleet.set_behaviour("one", "healthy")
            hub.clock.advance(QUICK.renew_after_s)
            assert (await hub.ask(target)).evidence["path"] == "/readyz"

    @pytest.mark.parametrize(
        ("missing", "path"),
        [((b"/readyz", b"/livez"), "/healthz"), ((b"/readyz", b"/livez", b"/healthz"), "/version")],
    )
    @pytest.mark.parametrize(
        "refuse",
        [lambda call: answers.not_found(call.at_s), lambda call: answers.forbidden(call.request.path, call.at_s)],
    )
    async def test_a_path_that_is_absent_or_forbidden_leads_on_to_the_next(
        self, fleet: SimulatedFleet, missing: tuple[bytes, ...], path: str, refuse: Callable[[Call], bytes]
    ) -> None:
        def reply(call: Call) -> Reply:
            return refuse(call) if call.request.path in missing else healthy(call)

        async with running() as hub:
            target = hub.watch(await fleet.add("one", Behaviour("old", "some paths are missing", reply=reply)))
            verdict = await hub.ask(target)
        assert (verdict.outcome, verdict.evidence["path"]) == (Outcome.PASS, path)

    async def test_403_to_everything_is_reachable_and_404_to_everything_is_no_api_server(
        self, fleet: SimulatedFleet
    ) -> None:
        def forbidden(call: Call) -> Reply:
            return answers.forbidden(call.request.path, call.at_s)

        def absent(call: Call) -> Reply:
            return answers.not_found(call.at_s)

        async with running() as hub:
            one = hub.watch(await fleet.add("one", Behaviour("forbidden", "403", reply=forbidden)))
            other = hub.watch(await fleet.add("other", Behaviour("absent", "404", reply=absent)))
            denied, none = await hub.ask(one), await hub.ask(other)
        assert denied.outcome is Outcome.PASS
        assert denied.message == "answers 403; without a valid credential its readiness can't be read"
        assert (none.outcome, none.reason) == (Outcome.FAIL, Reason.UNEXPECTED_ANSWER)

    async def test_failing_checks_are_evidence(self, fleet: SimulatedFleet) -> None:
        async with running() as hub:
            verdict = await hub.ask(hub.watch(await fleet.add("one", "not-ready")))
        assert verdict.evidence["failing_checks"] == "etcd, informer-sync"

    async def test_retry_after_is_honoured(self, fleet: SimulatedFleet) -> None:
        for name, reason in (("throttled:7200", Reason.THROTTLED), ("unavailable:7200", Reason.SERVICE_UNAVAILABLE)):
            async with running() as hub:
                target = hub.watch(await fleet.add(name.partition(":")[0], name))
                verdict = await hub.ask(target)
                assert verdict.reason is reason
                assert (hub.engine.next_due_s(target) or 0) >= HOURLY.backoff_max_s - 1.0


@on_both_loops
class TestFindings:
    @pytest.mark.parametrize("sign", [1, -1])
    async def test_a_clock_that_is_wrong(self, fleet: SimulatedFleet, sign: int) -> None:
        skewed = Behaviour("skewed", "", reply=lambda call: call.server.answer(call.request, call.at_s + sign * 3600.0))
        async with running() as hub:
            verdict = await hub.ask(hub.watch(await fleet.add("one", skewed)))
        assert (verdict.outcome, verdict.reason) == (Outcome.FINDING, Reason.CLOCK_SKEW)
        assert verdict.message == f"its clock is 3600 s {'ahead of' if sign > 0 else 'behind'} the hub's"
        assert verdict.evidence["skew_s"] == pytest.approx(sign * 3600, abs=3)

    async def test_slow_is_a_finding_with_the_time_it_took(self, fleet: SimulatedFleet) -> None:
        async with running() as hub:
            verdict = await hub.ask(hub.watch(await fleet.add("one", "slow:0.4")))
        assert (verdict.outcome, verdict.reason, verdict.stage) == (Outcome.FINDING, Reason.SLOW_ANSWER, Stage.HTTP)
        assert 400 <= float(verdict.evidence["http_ms"]) < 1000

    @pytest.mark.parametrize("behaviour", ["healthy", "wrong-ca", "wrong-name", "expiring-soon"])
    async def test_without_verification_it_is_asked_and_shown(self, fleet: SimulatedFleet, behaviour: str) -> None:
        cluster = await fleet.add("one", behaviour)
        async with running() as hub:
            target = hub.add(Endpoint(cluster.address, cluster.port, insecure=True), credential_of(cluster))
            verdict = await hub.ask(target)
        assert verdict.outcome is Outcome.FINDING
        if behaviour == "expiring-soon":  # the graver one is the reason, and the other is beside it
            assert verdict.reason is Reason.CERTIFICATE_EXPIRING_SOON
            assert verdict.evidence["also"] == Reason.TLS_VERIFICATION_DISABLED
        else:
            assert verdict.reason is Reason.TLS_VERIFICATION_DISABLED
        assert str(verdict.evidence["certificate_expires"]).endswith("Z")

    async def test_a_dead_address_family_is_a_finding_every_time(self, fleet: SimulatedFleet) -> None:
        need_ipv6()
        cluster = await fleet.add("one")
        await fleet.add("one-v6", "refuse", address="::1", family_of="one")
        async with running() as hub:
            hub.resolver.names[cluster.dns_name] = ("::1", cluster.address)
            target = hub.add(endpoint_of(cluster, cluster.dns_name), credential_of(cluster))
            first, second = await hub.ask(target), await hub.ask(target)
            await fleet.set_behaviour("one-v6", "healthy")
            mended = await hub.ask(target)
        for verdict in (first, second):
            assert (verdict.outcome, verdict.reason) == (Outcome.FINDING, Reason.ADDRESS_FAMILY_DOWN)
            assert verdict.evidence["address"] == cluster.address
        assert mended.outcome is Outcome.PASS

    async def test_out_of_descriptors_is_unknown_and_keeps_the_lane(self, fleet: SimulatedFleet) -> None:
        async with running() as hub:
            cluster = await fleet.add("one")
            failing = Endpoint("one.example", cluster.port, cluster.ca_pem)
            hub.resolver.names["one.example"] = ProbeFailure(Reason.HUB_OUT_OF_DESCRIPTORS, "too many open files")
            target = hub.add(failing)
            verdict, second = await hub.ask(target), await hub.ask(target)
        assert (verdict.outcome, verdict.stage, second.lane) == (Outcome.UNKNOWN, Stage.HUB, Lane.LIVE)
