"""One look at workload identity in the cluster of a context, with the operator's own kubeconfig."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from muster.cli.probing import BadTarget, Target, target_from_context
from validator.clock import HubClock
from validator.cluster_api.reader import Call, ClusterReader, Refused
from validator.credentials import Credential, CredentialError
from validator.doctor.case import Case
from validator.doctor.cluster import diagnose
from validator.doctor.facts import AccountName, Cloud
from validator.doctor.kubectl import Kubectl
from validator.doctor.parse import is_name
from validator.doctor.step import Diagnosis, Step
from validator.net.dialer import Dialer, StageDeadlines
from validator.net.failure import ProbeFailure
from validator.net.resolver import CaresResolver
from validator.net.tls import TlsContexts
from validator.probes.workload_identity import BACKUP_ACCOUNTS, backup_accounts, see_account, see_cluster
from validator.reasons import REASONS
from validator.repeated import BEGINNING_CHARS, LEFT_OUT, MIN_CHARS

MAX_ACCOUNTS = 4
"""Looked at where none was named."""


class NotExamined(Exception):  # noqa: N818 - a state of the world, not a defect
    """The cluster could not be asked. `remedy` says what to do."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Examined:
    """What one look brought."""

    cluster: str
    endpoint: str
    diagnoses: tuple[Diagnosis, ...]
    calls: tuple[Call, ...]

    @property
    def has_findings(self) -> bool:
        """Whether anything is wrong."""
        return any(diagnosis.findings for diagnosis in self.diagnoses)

    def document(self) -> dict[str, Any]:
        """For programs."""
        return {
            "cluster": self.cluster,
            "endpoint": self.endpoint,
            "accounts": [_account(diagnosis) for diagnosis in self.diagnoses],
            "calls": [{"path": each.path, "status": each.status, "took_ms": each.took_ms} for each in self.calls],
        }


def account_from(text: str) -> AccountName:
    """`NAMESPACE/NAME`. Raises `BadTarget`."""
    namespace, _, name = text.partition("/")
    if not is_name(namespace) or not is_name(name):
        raise BadTarget(f"{text!r} is no service account", "Write it as NAMESPACE/NAME, e.g. velero/velero.")
    return AccountName(namespace, name)


async def examine(
    files: Sequence[Path],
    context: str,
    account: AccountName | None,
    cloud: Cloud | None,
    environ: Mapping[str, str],
    timeout_s: float,
) -> Examined:
    """Look at one service account, or at those of known backup products. Raises `BadTarget` and `NotExamined`."""
    target = await target_from_context(files, context, environ)
    clock, resolver = HubClock(), CaresResolver()
    credential = await _credential(target, clock)
    dialer = Dialer(resolver, TlsContexts(), StageDeadlines())
    reader = ClusterReader(target.endpoint, credential, dialer=dialer, clock=clock, timeout_s=timeout_s)
    kubectl = Kubectl(context, str(files[0]) if len(files) == 1 else None)
    try:
        names = [account] if account else await _accounts(reader)
        first = await see_account(reader, names[0])  # before the rest: does it answer at all?
        cluster = await see_cluster(reader)
        seen = [first, *[await see_account(reader, name) for name in names[1:]]]
    except ProbeFailure as failure:
        remedy = REASONS[failure.reason].remedy_for(target.name, target.endpoint.url)
        raise NotExamined(f"{failure.reason}: {failure.message}", remedy) from failure
    finally:
        reader.close()
        await resolver.close()
    cases = [Case(target.name, each, cluster, clock.now(), kubectl) for each in seen]
    token = credential.token if credential else None
    diagnoses = tuple(_without(diagnose(case, cloud), token) for case in cases)
    return Examined(target.name, target.endpoint.url, diagnoses, reader.calls)


async def _credential(target: Target, clock: HubClock) -> Credential | None:
    source = target.credential
    if source is None:
        return None
    try:
        return source.current(clock.now()) or await source.fetch(clock.now())
    except CredentialError as error:
        remedy = REASONS[error.reason].remedy_for(target.name, target.endpoint.url)
        raise NotExamined(f"{error.reason}: {error.message}", remedy) from error


async def _accounts(reader: ClusterReader) -> list[AccountName]:
    try:
        found = await backup_accounts(reader)
    except Refused as refused:
        text = f"the service accounts of all namespaces can't be listed ({refused.status}: {refused.message})"
        raise BadTarget(text, "Say which one with --service-account NAMESPACE/NAME.") from refused
    if not found:
        raise BadTarget(
            f"there is no service account of a backup product that is known ({', '.join(BACKUP_ACCOUNTS)})",
            "Say which one with --service-account NAMESPACE/NAME.",
        )
    return list(found[:MAX_ACCOUNTS])


def _without(diagnosis: Diagnosis, token: str | None) -> Diagnosis:
    """A server may write the token that it was shown into a name or a message: that is left out."""
    if token is None or len(token) < MIN_CHARS:
        return diagnosis
    secret = token[:BEGINNING_CHARS].lower()

    def clean(text: str) -> str:
        return LEFT_OUT if secret in text.lower() else text

    def without(step: Step) -> Step:
        return replace(step, seen=clean(step.seen), fix=tuple(map(clean, step.fix)))

    return replace(diagnosis, steps=tuple(map(without, diagnosis.steps)))


def _account(diagnosis: Diagnosis) -> dict[str, Any]:
    return {
        "service_account": str(diagnosis.account),
        "cloud": diagnosis.cloud.value if diagnosis.cloud else None,
        "steps": [
            {
                "step": step.name,
                "outcome": step.outcome.value,
                "reason": step.reason.value if step.reason else None,
                "seen": step.seen,
                "fix": list(step.fix),
            }
            for step in diagnosis.steps
        ],
    }
