"""What every source of clusters gives: readings, one whenever something changed.

A source never raises for bad input: what it can't read becomes a `SourceProblem`, and the clusters that it named
before stay (a half-written kubeconfig must not empty the fleet).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol
from uuid import UUID

from validator.credentials import CredentialSource
from validator.model import Endpoint, Lifecycle

NO_LABELS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class AgentEndpoint(Endpoint):
    """Where nothing is asked: the cluster's agent reports. `host` is its name, `server_name` its id."""

    @property
    def url(self) -> str:
        """`agent:NAME`."""
        return f"agent:{self.host}"


@dataclass(frozen=True, slots=True)
class Sighting:
    """One cluster as one source names it. Two sightings with one endpoint and CA are one cluster."""

    name: str
    """What people call it: the context's name, the static entry's name. Not a key: names are reused."""
    source: str
    """The source's name, e.g. `kubeconfig` or `static`."""
    endpoint: Endpoint
    credential: CredentialSource | None = None
    """None = asked without any; a 401 is then expected and no `credential` fact is made."""
    labels: Mapping[str, str] = field(default_factory=lambda: NO_LABELS)
    lifecycle: Lifecycle = Lifecycle.ACTIVE
    external_uid: str | None = None
    """UID that the source itself vouches for (`Shoot.status.uid`); a kube-system UID is learnt by the probe."""
    cluster_id: UUID | None = None
    """Of a cluster that the hub can't reach: the id under which its agent is registered. Nothing is asked then at
    `endpoint`, which is an `AgentEndpoint`."""


@dataclass(frozen=True, slots=True)
class SourceProblem:
    """Why a source, or one of its entries, can't be used. Shown to people; holds no secret."""

    where: str
    """File (and entry), e.g. `/etc/muster/kubeconfig: context "prod"`."""
    message: str
    """What is wrong, naming the field."""
    remedy: str
    """What to do."""
    entry: str | None = None
    """The sighting's name, if only that entry is bad: a cluster of that name from this source stays as it was."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The whole of what a source says at one moment."""

    sightings: tuple[Sighting, ...]
    problems: tuple[SourceProblem, ...] = ()
    complete: bool = True
    """False = the source could not be read as a whole: clusters that it does not name stay as they were."""


class Source(Protocol):
    """Where clusters come from."""

    @property
    def name(self) -> str:
        """Unique among the configured sources; part of what is stored."""
        ...

    def readings(self) -> AsyncIterator[Reading]:
        """The first reading at once, then one after each change, until cancelled. Never ends, never raises."""
        ...
