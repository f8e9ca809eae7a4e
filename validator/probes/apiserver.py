"""The check `apiserver` (and what it learns of `credential`): whether an API server answers and is ready.

One ask is one GET of a health path on a kept connection; every few asks also one namespace read. In order:

1. a connection: kept, or dialled (dns, connect, tls), and renewed every five minutes;
2. `/readyz`, else `/livez`, `/healthz`, `/version` where it is 403 or 404;
3. every Nth time, and while it fails: a GET of the kube-system namespace, which goes through to etcd;
4. facts: the failure, or the gravest finding, or a pass. 401 and 403 mean *reachable*.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from typing import Any

from validator.answer import Answer, Fact
from validator.clock import Clock
from validator.credentials import Credential, CredentialSource
from validator.keeper import CredentialKeeper
from validator.model import Check, Endpoint, Outcome
from validator.net.dialer import Dialer, Trace
from validator.net.failure import ProbeFailure
from validator.net.http1 import HttpAnswer
from validator.probes import readings
from validator.probes.kept import KeptConnection
from validator.probes.readings import HEALTH_PATHS, NAMESPACE_PATH, Standing
from validator.probes.settings import ApiServerSettings
from validator.reasons import REASONS, Health, Reason, Stage
from validator.repeated import without_token


class ApiServerProbe:
    """Asks one API server. Not shared between tasks: the engine asks one at a time.

    `on_uid` is told the kube-system UID whenever it is read: identity is the inventory's, not the probe's.
    `hasten` asks the engine to ask again at once, when a credential has been fetched.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        credential: CredentialSource | None,
        *,
        dialer: Dialer,
        keeper: CredentialKeeper,
        clock: Clock,
        settings: ApiServerSettings,
        on_uid: Callable[[str], None],
        hasten: Callable[[], None],
    ) -> None:
        self._endpoint = endpoint
        self._source = credential
        self._dialer = dialer
        self._keeper = keeper
        self._clock = clock
        self._settings = settings
        self._on_uid = on_uid
        self._hasten = hasten
        self._head = f"Host: {endpoint.authority}\r\nUser-Agent: muster\r\nAccept: */*\r\n"
        self._kept: KeptConnection | None = None
        self._path = 0
        self._asks = 0
        self._next_read = 0
        self._renewing = False
        self._read_failing = False
        self._credential_failing = False
        self._version = ""
        self._skew_s: float | None = None
        if credential is not None and credential.current(clock.now()) is None:
            keeper.want(credential, _wait_for_the_tick)  # so that it is there, most often, when the first tick comes

    async def ask(self) -> Answer:
        self._asks += 1
        until = asyncio.get_running_loop().time() + self._settings.timeout_s
        credential = self._credential_in_hand()
        token = credential.token if credential else None
        seen: dict[str, Any] = {}
        facts: list[Fact] = []
        try:
            await self._question(credential, until, seen, facts)
        except ProbeFailure as failure:
            facts.append(self._failed(failure, seen))
            told = without_token(facts, token)
            answer = Answer(told, unanswered=failure.unanswered, retry_after_s=failure.retry_after_s)
        else:
            facts.append(self._passed(seen))
            answer = Answer(without_token(facts, token))
        if self._kept is not None and not self._kept.connection.usable:
            self._drop()
        return answer

    def close(self) -> None:
        self._drop()

    # -- the question

    async def _question(
        self, credential: Credential | None, until: float, seen: dict[str, Any], facts: list[Fact]
    ) -> None:
        """Everything that is asked of the server in one ask. Raises `ProbeFailure`."""
        standing = await self._ask_health(credential, until, seen)
        if seen["status"] == 401 and credential is not None:
            facts.append(self._rejected(credential))
            return
        if standing is Standing.DENIED:
            seen["note"] = f"answers {seen['status']}; without a valid credential its readiness can't be read"
        if credential is None:
            self._say_missing(facts)
            return
        if self._read_failing or self._credential_failing or self._asks >= self._next_read:
            await self._read(credential, until, seen, facts)

    async def _ask_health(self, credential: Credential | None, until: float, seen: dict[str, Any]) -> Standing:
        denied = False
        if self._usable_connection(credential) is None:
            self._path = 0  # a server that is dialled anew may have learnt `/readyz` meanwhile
        for number in range(self._path, len(HEALTH_PATHS)):
            path = HEALTH_PATHS[number]
            answer = await self._get(path, credential, until, seen, "http_ms")
            seen["path"] = path
            seen["status"] = answer.status
            standing = readings.read_health(path, answer, self._clock.now())
            if standing is Standing.READY:
                self._path = number
                return standing
            if answer.status == 401:
                return standing
            denied = denied or standing is Standing.DENIED
        self._path = 0
        if not denied:
            raise ProbeFailure(Reason.UNEXPECTED_ANSWER, f"404 to all of {', '.join(HEALTH_PATHS)}")
        seen["status"] = 403
        return Standing.DENIED

    async def _read(self, credential: Credential, until: float, seen: dict[str, Any], facts: list[Fact]) -> None:
        """The namespace read: is storage behind the green, is the credential good, which cluster is this."""
        read_until = min(until, asyncio.get_running_loop().time() + self._settings.read_timeout_s)
        # Health waits for a second pass, and that should not take minutes.
        self._next_read = self._asks + (1 if self._credential_failing else self._settings.read_every)
        self._read_failing = True
        try:
            answer = await self._get(NAMESPACE_PATH, credential, read_until, seen, "read_ms")
        except ProbeFailure as failure:
            if failure.reason is not Reason.ANSWER_TIMEOUT:
                raise
            text = f"{seen['path']} says ok, but reading a namespace took over {self._settings.read_timeout_s:.0f} s"
            raise ProbeFailure(Reason.READ_STALLED, text, unanswered=True) from failure
        now = self._clock.now()
        if answer.status == 401:
            self._read_failing = False
            facts.append(self._rejected(credential))
            return
        if answer.status == 403:
            text = "the credential is accepted, but may not get the namespace kube-system"
            facts.append(self._credential_fact(Outcome.FINDING, Reason.PERMISSION_DENIED, text))
        else:
            readings.read_namespace(answer, now)
            facts.append(self._credential_fact(Outcome.PASS, None, ""))
            if uid := readings.namespace_uid(answer):
                seen["cluster_uid"] = uid
                self._on_uid(uid)
        self._read_failing = False
        self._skew_s = readings.skew_s(answer, now)
        if not self._version:
            await self._learn_version(credential, until, seen)

    async def _learn_version(self, credential: Credential, until: float, seen: dict[str, Any]) -> None:
        """Once a connection. Nice to know: whatever goes wrong here is no statement about the cluster."""
        try:
            answer = await self._get("/version", credential, until, seen, "version_ms")
            self._version = readings.read_version(answer) if answer.status == 200 else "not shown"
        except ProbeFailure:
            self._version = "not shown"

    # -- the wire

    async def _get(
        self, path: str, credential: Credential | None, until: float, seen: dict[str, Any], timing: str
    ) -> HttpAnswer:
        """One GET. A kept connection that turns out dead is replaced once, and is never a failure."""
        token = credential.token if credential else None
        authorization = f"Authorization: Bearer {token}\r\n" if token else ""
        request = f"GET {self._endpoint.path}{path} HTTP/1.1\r\n{self._head}{authorization}\r\n".encode()
        started = time.perf_counter()
        kept = self._usable_connection(credential)
        if kept is not None:
            proven = kept.answered_in == self._asks
            patience_s = self._settings.timeout_s if proven else self._settings.reuse_timeout_s
            try:
                return await self._exchange(kept, request, until, patience_s, path)
            except ProbeFailure as failure:
                if not failure.unanswered or (proven and failure.reason is not Reason.CONNECTION_CLOSED):
                    raise
                seen["kept_connection_died"] = failure.reason.value
                self._drop()
            finally:
                seen[timing] = round((time.perf_counter() - started) * 1000, 2)
        kept = await self._dial(credential, until, seen)
        started = time.perf_counter()
        try:
            return await self._exchange(kept, request, until, self._dialer.deadlines.http_s, path)
        finally:
            seen[timing] = round((time.perf_counter() - started) * 1000, 2)

    async def _exchange(
        self, kept: KeptConnection, request: bytes, until: float, patience_s: float, path: str
    ) -> HttpAnswer:
        deadline = min(until, asyncio.get_running_loop().time() + patience_s)
        try:
            async with asyncio.timeout_at(deadline):
                answer = await kept.connection.exchange(request)
        except TimeoutError:
            raise ProbeFailure(Reason.ANSWER_TIMEOUT, f"no whole answer to {path} in time", unanswered=True) from None
        kept.answered_in = self._asks
        return answer

    def _usable_connection(self, credential: Credential | None) -> KeptConnection | None:
        certificate = credential.client_certificate if credential else None
        now = self._clock.now()
        if self._kept is not None and not self._kept.good(certificate, now, self._asks):
            self._renewing = self._kept.old(now)
            self._drop()
        return self._kept

    async def _dial(self, credential: Credential | None, until: float, seen: dict[str, Any]) -> KeptConnection:
        trace = Trace()
        certificate = credential.client_certificate if credential else None
        try:
            dialled = await self._dialer.dial(self._endpoint, certificate, trace, until)
        finally:
            seen.update((f"{stage}_ms", ms) for stage, ms in trace.stages_ms.items())
            if trace.address:
                seen["address"] = trace.address
        self._version = ""
        # A fleet that connects at once (a start, the end of an outage) must not renew at once five minutes later.
        share = 1.0 if self._renewing else random.random()  # noqa: S311 - spreads load, hides nothing
        self._renewing = False
        self._kept = KeptConnection(
            dialled.connection,
            certificate,
            trace,
            dialled.tls,
            opened_at=self._clock.now(),
            opened_in=self._asks,
            lifetime_s=share * self._settings.renew_after_s,
        )
        return self._kept

    def _drop(self) -> None:
        if self._kept is not None:
            self._kept.connection.abort()
            self._kept = None

    # -- the credential

    def _credential_in_hand(self) -> Credential | None:
        if self._source is None:
            return None
        credential = self._source.current(self._clock.now())
        if credential is None:
            self._keeper.want(self._source, self._hasten)
        return credential

    def _say_missing(self, facts: list[Fact]) -> None:
        error = self._keeper.failure(self._source) if self._source else None
        if error is not None:
            facts.append(self._credential_fact(Outcome.FAIL, error.reason, error.message))
        elif self._credential_failing:
            text = "the API server answered 401 to it, and no other one has come yet"
            facts.append(self._credential_fact(Outcome.FAIL, Reason.CREDENTIAL_REJECTED, text))

    def _rejected(self, credential: Credential) -> Fact:
        assert self._source is not None
        self._source.reject(credential)
        if self._source.current(self._clock.now()) is None:
            self._keeper.want(self._source, self._hasten)
        return self._credential_fact(Outcome.FAIL, Reason.CREDENTIAL_REJECTED, "the API server answers 401 to it")

    def _credential_fact(self, outcome: Outcome, reason: Reason | None, message: str) -> Fact:
        self._credential_failing = outcome is Outcome.FAIL
        stage = None if reason is None else Stage.CREDENTIAL
        return Fact(Check.CREDENTIAL, outcome, reason, stage, message, every=self._settings.read_every)

    # -- facts

    def _failed(self, failure: ProbeFailure, seen: dict[str, Any]) -> Fact:
        if self._kept is not None:
            seen = {**self._kept.evidence(self._clock.now(), self._asks), **seen}
        health = REASONS[failure.reason].health
        outcome = {Health.DEGRADED: Outcome.FINDING, Health.UNKNOWN: Outcome.UNKNOWN}.get(health, Outcome.FAIL)
        return Fact(
            Check.APISERVER, outcome, failure.reason, failure.stage, failure.message, {**seen, **failure.evidence}
        )

    def _passed(self, seen: dict[str, Any]) -> Fact:
        assert self._kept is not None
        now = self._clock.now()
        evidence = {**self._kept.evidence(now, self._asks), **seen}
        if self._version:
            evidence["version"] = self._version
        if self._skew_s is not None:
            evidence["skew_s"] = self._skew_s
        findings = self._findings(now, seen)
        if not findings:
            return Fact(Check.APISERVER, Outcome.PASS, message=seen.get("note", ""), evidence=evidence)
        (reason, text), *others = findings
        if others:
            evidence["also"] = ", ".join(other for other, _ in others)
        return Fact(Check.APISERVER, Outcome.FINDING, reason, REASONS[reason].stage, text, evidence)

    def _findings(self, now: float, seen: dict[str, Any]) -> list[tuple[Reason, str]]:
        """What is not as it should be though it answers; the gravest first."""
        assert self._kept is not None
        limits = self._settings
        found: list[tuple[Reason, str]] = []
        if (left := self._kept.expires_at - now) < limits.expiring_within_s:
            found.append(
                (Reason.CERTIFICATE_EXPIRING_SOON, f"the server's certificate expires in {left / 86400:.1f} d")
            )
        if self._kept.trace.dead_family:
            found.append((Reason.ADDRESS_FAMILY_DOWN, self._kept.trace.dead_family))
        if self._skew_s is not None and abs(self._skew_s) > limits.skew_limit_s:
            way = "ahead of" if self._skew_s > 0 else "behind"
            found.append((Reason.CLOCK_SKEW, f"its clock is {abs(self._skew_s):.0f} s {way} the hub's"))
        if seen["http_ms"] > limits.slow_after_s * 1000:
            found.append((Reason.SLOW_ANSWER, f"{seen['path']} took {seen['http_ms'] / 1000:.1f} s"))
        if self._endpoint.insecure:
            found.append((Reason.TLS_VERIFICATION_DISABLED, "the server's certificate is not verified"))
        return found


def _wait_for_the_tick() -> None:
    """A new target's first credential hastens nothing: a fleet that starts must not be asked at once."""
