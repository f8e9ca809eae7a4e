"""Locations that Velero and Stork have in the clusters of some contexts, read with the operator's own kubeconfig."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from muster.cli.probing import BadTarget, Target, target_from_context
from validator.clock import HubClock
from validator.cluster_api.reader import ClusterReader
from validator.credentials import Credential, CredentialError
from validator.locations import Location
from validator.net.dialer import Dialer, StageDeadlines
from validator.net.failure import ProbeFailure
from validator.net.resolver import CaresResolver
from validator.net.tls import TlsContexts
from validator.reasons import REASONS, Reason
from validator.repeated import BEGINNING_CHARS, MIN_CHARS
from validator.resources.adoption import Offer
from validator.resources.fetch import read_cluster
from validator.resources.reading import Access, ClusterReading
from validator.resources.resource import LocationResource

_FIELDS = (
    *("provider", "container", "account", "environment", "resource_group"),
    *("subscription_id", "region", "endpoint", "path_style"),
)


class NotRead(Exception):  # noqa: N818 - a state of the world, not a defect
    """A cluster did not let its resources be read. `remedy` says what to do."""

    def __init__(self, context: str, message: str, remedy: str) -> None:
        super().__init__(f"{context}: {message}")
        self.message = f"{context}: {message}"
        self.remedy = remedy


async def found_in(
    files: Sequence[Path], contexts: Sequence[str], environ: Mapping[str, str], timeout_s: float
) -> dict[str, tuple[LocationResource, ...]]:
    """By context, one after the other. Raises `BadTarget` and `NotRead`."""
    clock, resolver = HubClock(), CaresResolver()
    dialer = Dialer(resolver, TlsContexts(), StageDeadlines())
    found = {}
    try:
        for context in contexts:
            target = await target_from_context(files, context, environ)
            try:
                found[context] = await _read(target, dialer, clock, timeout_s)
            except (ProbeFailure, CredentialError) as error:
                remedy = REASONS[error.reason].remedy_for(target.name, target.endpoint.url)
                raise NotRead(context, f"{error.reason}: {error.message}", remedy) from error
    finally:
        await resolver.close()
    return found


async def _read(target: Target, dialer: Dialer, clock: HubClock, timeout_s: float) -> tuple[LocationResource, ...]:
    credential = await _credential(target, clock)
    reader = ClusterReader(target.endpoint, credential, dialer=dialer, clock=clock, timeout_s=timeout_s)
    try:
        reading = await read_cluster(reader, clock.now())
    finally:
        reader.close()
    if all(product.access is Access.FORBIDDEN for product in reading.products):
        raise ProbeFailure(Reason.RESOURCE_FORBIDDEN, reading.products[0].note)
    if _repeats(reading, credential):
        raise ProbeFailure(Reason.UNEXPECTED_ANSWER, "a resource holds the credential that it was read with")
    return reading.resources


async def _credential(target: Target, clock: HubClock) -> Credential | None:
    source = target.credential
    return None if source is None else source.current(clock.now()) or await source.fetch(clock.now())


def _repeats(reading: ClusterReading, credential: Credential | None) -> bool:
    """A server may write the token into a name, which would be kept."""
    token = credential.token if credential else None
    if token is None or len(token) < MIN_CHARS:
        return False
    return token[:BEGINNING_CHARS].lower() in repr(reading).lower()


def fields_of(location: Location) -> dict[str, Any]:
    """As the API takes them; what is not given is left out."""
    given = {field: getattr(location, field) for field in ("name", *_FIELDS)}
    return {field: value for field, value in given.items() if value not in {None, False}}


def command_of(offer: Offer) -> str:
    """The command line that makes it."""
    words = ["muster", "locations", "create", offer.location.name]
    for field, value in fields_of(offer.location).items():
        if field != "name":
            option = f"--{field.replace('_', '-')}"
            words += [option] if value is True else [option, str(value)]
    return shlex.join(words)


__all__ = ["BadTarget", "NotRead", "command_of", "fields_of", "found_in"]
