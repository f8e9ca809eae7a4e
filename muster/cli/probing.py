"""One ask of one target, as the service would do it: the same dialer, probe and table of reasons."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from pydantic import BaseModel

from muster.api import present, schemas
from validator.answer import Fact
from validator.clock import HubClock
from validator.credential_sources.files import read_credential
from validator.credential_sources.spec import CredentialSpec
from validator.credentials import CredentialError, CredentialSource, StaticCredential
from validator.discovery.endpoint_fields import endpoint_of
from validator.discovery.fields import FieldError, Fields, Origin
from validator.discovery.kubeconfig import KubeconfigSource, kubeconfig_paths
from validator.discovery.source import Reading
from validator.files import FileError, read_file
from validator.health import HealthSettings, rollup, shown, step
from validator.keeper import CredentialKeeper
from validator.model import Check, Endpoint, Lifecycle, Outcome, Verdict
from validator.net.dialer import Dialer, StageDeadlines
from validator.net.resolver import CaresResolver
from validator.net.tls import TlsContexts
from validator.pem import MAX_CA_BYTES
from validator.probes.apiserver import ApiServerProbe
from validator.probes.settings import ApiServerSettings
from validator.reasons import Stage

NOBODY = UUID(int=0)
"""Id of the cluster: it is in nobody's fleet."""


class BadTarget(Exception):  # noqa: N818 - what is bad is what was asked for
    """The command line, or a file that it names, makes no sense."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Target:
    """Whom to ask."""

    name: str
    endpoint: Endpoint
    credential: CredentialSource | None


class Asked(BaseModel):
    """What one ask brought."""

    name: str
    endpoint: str
    health: str
    checks: tuple[schemas.Check, ...]


def target_from_options(
    url: str, ca: Path | None, token_file: Path | None, server_name: str | None, *, insecure: bool
) -> Target:
    """By the rules of a kubeconfig entry. Raises `BadTarget`."""
    entry = {
        "server": url if "://" in url else f"https://{url}",
        "certificate-authority": str(ca) if ca else None,
        "tls-server-name": server_name,
        "insecure-skip-tls-verify": insecure,
    }
    try:
        endpoint = endpoint_of(Fields(entry, Origin("the command line", Path.cwd())), _text)
    except (FieldError, FileError) as error:
        raise BadTarget(error.message, error.remedy) from error
    if token_file is None:
        return Target(endpoint.host, endpoint, None)
    try:
        credential = read_credential(CredentialSpec("--token-file", token=token_file))
    except CredentialError as error:
        raise BadTarget(error.message, "The file holds the token and nothing else.") from error
    return Target(endpoint.host, endpoint, StaticCredential(credential))


async def ask_context(
    files: Sequence[Path], context: str | None, environ: Mapping[str, str], timeout_s: float
) -> Asked:
    """Ask the cluster of one context. Raises `BadTarget`."""
    return await ask(await target_from_context(files, context, environ), timeout_s)


async def target_from_context(files: Sequence[Path], context: str | None, environ: Mapping[str, str]) -> Target:
    """The cluster of one context, with its credential. Raises `BadTarget`."""
    paths = list(files) or kubeconfig_paths(environ)
    source = KubeconfigSource(paths=paths, contexts=[context] if context else None)
    return _only_one(await anext(source.readings()), context)


async def ask(target: Target, timeout_s: float) -> Asked:
    """Ask once, within the timeout; the credential is fetched before that, with its own deadline."""
    clock, resolver = HubClock(), CaresResolver()
    facts: list[Fact] = []
    credential = target.credential
    if credential is not None and credential.current(clock.now()) is None:
        try:
            await credential.fetch(clock.now())
        except CredentialError as error:
            facts.append(Fact(Check.CREDENTIAL, Outcome.FAIL, error.reason, Stage.CREDENTIAL, error.message))
            credential = None
    probe = ApiServerProbe(
        target.endpoint,
        credential,
        dialer=Dialer(resolver, TlsContexts(), StageDeadlines()),
        keeper=CredentialKeeper(clock),
        clock=clock,
        settings=ApiServerSettings(timeout_s=timeout_s, read_every=1),
        on_uid=lambda _: None,
        hasten=lambda: None,
    )
    started = asyncio.get_running_loop().time()
    try:
        facts += (await probe.ask()).facts
    finally:
        probe.close()
        await resolver.close()
    return _judged(target, facts, clock.now(), asyncio.get_running_loop().time() - started)


def _judged(target: Target, facts: Sequence[Fact], now: float, duration_s: float) -> Asked:
    """By the service's own rules for a first verdict."""
    settings = HealthSettings()
    seen = [shown(step(None, _verdict(fact, now, duration_s), settings), now) for fact in facts]
    seen.sort(key=lambda each: list(Check).index(each.state.check))
    name, url = target.name, target.endpoint.url
    return Asked(
        name=name,
        endpoint=url,
        health=rollup(Lifecycle.ACTIVE, seen).health,
        checks=tuple(present.check(each, name, url, now, settings) for each in seen),
    )


def _verdict(fact: Fact, now: float, duration_s: float) -> Verdict:
    return Verdict(
        check=fact.check,
        cluster_id=NOBODY,
        outcome=fact.outcome,
        observed_at=now,
        received_at=now,
        duration_s=duration_s,
        lateness_s=duration_s,
        allowance_s=1.0,
        reason=fact.reason,
        stage=fact.stage,
        message=fact.message,
        evidence=fact.evidence,
    )


def _only_one(reading: Reading, context: str | None) -> Target:
    """The one cluster that is meant. A problem of an entry that can be asked all the same is the credential's."""
    if len(reading.sightings) == 1:
        (found,) = reading.sightings
        return Target(found.name, found.endpoint, found.credential)
    if reading.sightings:
        names = ", ".join(sorted(sighting.name for sighting in reading.sightings)[:20])
        raise BadTarget("the kubeconfig has several contexts", f"Say which with --context: {names}")
    if reading.problems:
        problem = reading.problems[0]
        raise BadTarget(f"{problem.where}: {problem.message}", problem.remedy)
    raise BadTarget(f"no context {context or ''} was found", "See `kubectl config get-contexts`.")


def _text(path: Path) -> str:
    return read_file(path, MAX_CA_BYTES).text
