"""The check `workload-identity` of a cluster, as the hub sees it over the cluster's API: the doctor, every so often.

It never says more than *finding*. It tells why backups will fail, not that they do: that is the pairs' to say, and a
cluster whose Velero uses a key of its own is well. For the same reason only service accounts are judged on which
somebody has set something up for an identity (an annotation, a pod label, an identity variable).

A right that is missing is a finding, too, and names the verb: the cluster is well, we can't see it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from validator.answer import Fact
from validator.clock import Clock
from validator.cluster_api.reader import ClusterReader, Refused
from validator.credentials import Credential
from validator.doctor import azure
from validator.doctor.case import Case
from validator.doctor.cluster import diagnose
from validator.doctor.fact import METHOD, fact_of
from validator.doctor.facts import AccountSeen, ClusterSeen, Unread
from validator.doctor.kubectl import Kubectl
from validator.doctor.step import GRAVITY
from validator.model import Check, Endpoint, Outcome
from validator.net.dialer import Dialer
from validator.net.failure import ProbeFailure
from validator.probes.workload_identity import backup_accounts, see_account, see_cluster
from validator.reasons import Reason, Stage
from validator.repeated import without_token
from validator.resources.reading import unread_facts

MAX_ACCOUNTS = 4
"""Judged at once; a cluster has our agent, and Velero or Stork."""

TIMEOUT_S = 20.0
"""Of one look: some twenty GETs on one connection."""

_INJECTED = ("AZURE_FEDERATED_TOKEN_FILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI")
"""Variables that only workload identity has; keys have others, and GOOGLE_APPLICATION_CREDENTIALS may be either."""


class IdentityCheck:
    """Looks at one cluster. `name` is what people call it: it goes into the commands."""

    def __init__(
        self, name: str, endpoint: Endpoint, *, dialer: Dialer, clock: Clock, timeout_s: float = TIMEOUT_S
    ) -> None:
        self._name = name
        self._endpoint = endpoint
        self._dialer = dialer
        self._clock = clock
        self._timeout_s = timeout_s

    async def look(self, credential: Credential) -> Fact:
        """One look. Never raises for what the cluster does."""
        reader = ClusterReader(
            self._endpoint, credential, dialer=self._dialer, clock=self._clock, timeout_s=self._timeout_s
        )
        try:
            fact = await self._fact(reader)
        except ProbeFailure as failure:
            (fact,) = unread_facts(failure, [Check.WORKLOAD_IDENTITY])
        finally:
            reader.close()
        (fact,) = without_token([fact], credential.token)
        return fact

    async def _fact(self, reader: ClusterReader) -> Fact:
        try:
            names = await backup_accounts(reader)
        except Refused as refused:
            if refused.status == 404:  # an API server of another kind
                return _well("the API server knows no service accounts")
            return _forbidden(f"the hub may not list serviceaccounts: {refused.message}", self._kubectl, refused.user)
        if not names:
            return _well("no service account of a backup product is there")
        accounts = [await see_account(reader, name) for name in names[:MAX_ACCOUNTS]]
        cluster = await see_cluster(reader)
        now = self._clock.now()
        meant = [account for account in accounts if is_set_up(account)]
        lacking = tuple(dict.fromkeys(_lacking(accounts, cluster)))
        if meant:
            return self._judged(meant, cluster, lacking, now)
        if lacking:
            user = next((each.user for each in _refusals(accounts, cluster) if each.user), "")
            return _forbidden(f"the hub lacks rights: {', '.join(lacking)}", self._kubectl, user)
        found = ", ".join(str(account.name) for account in accounts)
        return _well(f"nothing is set up for workload identity on {found}")

    def _judged(
        self, accounts: Sequence[AccountSeen], cluster: ClusterSeen, lacking: Sequence[str], now: float
    ) -> Fact:
        cases = [Case(self._name, account, cluster, now, self._kubectl) for account in accounts]
        facts = [fact_of(diagnose(case), case) for case in cases]
        worst = min(facts, key=lambda fact: GRAVITY.index(fact.outcome))
        evidence = {**worst.evidence, "accounts": len(accounts)}
        if lacking:
            evidence["missing_rights"] = ", ".join(lacking)
        outcome = Outcome.PASS if worst.outcome is Outcome.PASS else Outcome.FINDING
        text = worst.message
        if worst.reason is Reason.RESOURCE_FORBIDDEN and lacking:
            text = f"the hub lacks rights: {', '.join(lacking)} ({text})"
        return replace(worst, outcome=outcome, message=text, evidence=evidence)

    @property
    def _kubectl(self) -> Kubectl:
        return Kubectl(self._name)


def is_set_up(account: AccountSeen) -> bool:
    """Whether somebody means it to have an identity. Pods with a static key only, or none, are nobody's mistake."""
    return bool(account.annotations) or any(
        azure.USE_LABEL in pod.labels or any(map(pod.has, _INJECTED)) for pod in account.running
    )


def _refusals(accounts: Sequence[AccountSeen], cluster: ClusterSeen) -> Iterator[Unread]:
    seen: list[object] = [cluster.issuer, cluster.webhooks]
    for account in accounts:
        seen += [account.account, account.pods, account.nodes, account.namespace_labels]
    return (each for each in seen if isinstance(each, Unread) and each.forbidden)


def _lacking(accounts: Sequence[AccountSeen], cluster: ClusterSeen) -> Iterator[str]:
    """`list pods`, `get nodes`: what was refused, as a rule of RBAC has it."""
    for refusal in _refusals(accounts, cluster):
        path, query, _ = refusal.call.removeprefix("GET ").partition("?")
        *_, kind, last = path.split("/")
        if kind == ".well-known":
            yield f"get {path}"
        else:
            yield f"list {last}" if query else f"get {kind}"


def _well(message: str) -> Fact:
    return Fact(Check.WORKLOAD_IDENTITY, Outcome.PASS, message=message, evidence={"method": METHOD})


def _forbidden(message: str, kubectl: Kubectl, user: str) -> Fact:
    evidence = {"method": METHOD, "fix": "; ".join(kubectl.allow(user))}
    return Fact(Check.WORKLOAD_IDENTITY, Outcome.FINDING, Reason.RESOURCE_FORBIDDEN, Stage.RESOURCE, message, evidence)
