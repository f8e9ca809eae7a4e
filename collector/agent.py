"""An agent as the hub knows it: whose reports are taken for which cluster, and what was heard last. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import UUID

DEFAULT_ACCOUNT = ("muster-agent", "muster-agent")
"""Namespace and service account that the chart makes."""

MAX_BOOTS = 32
"""Starts of one agent whose last sequence number is kept. A token lives for an hour at most, and in an hour the kubelet
starts a crashing pod some twenty times: what is older than these can't be replayed with a token that still counts."""


@dataclass(frozen=True, slots=True)
class Agent:
    """One registration. The same object until it changes: what was verified for it is kept with it."""

    cluster_id: UUID
    name: str | None
    """Of a cluster that only has its agent; None: a source names the cluster."""
    namespace: str
    service_account: str
    jwks: Mapping[str, Any] | None
    """The keys that sign its tokens; None: they are read through the hub's own kubeconfig."""
    issuer: str | None
    """Registered with the keys; None: not known, or read with them."""
    registered_at: float
    registered_by: str

    @property
    def subject(self) -> str:
        """`sub` of its tokens."""
        return f"system:serviceaccount:{self.namespace}:{self.service_account}"

    def is_made_as(self, other: Agent) -> bool:
        """Whether somebody asked for the same thing."""
        return self._asked_for() == other._asked_for()

    def _asked_for(self) -> tuple[object, ...]:
        return self.name, self.namespace, self.service_account, self.jwks, self.issuer, self.registered_by


class Boot(NamedTuple):
    """One start of the agent's process."""

    sequence: int
    """Of its newest report."""
    dropped: int
    """Verdicts that it had to drop since then, as of that report."""


@dataclass(slots=True)
class Heard:
    """What an agent has told of itself. Hub clock, but for what is said to be the agent's."""

    boots: dict[UUID, Boot] = field(default_factory=dict)
    """The newest last."""
    version: str | None = None
    last_report_at: float | None = None
    skew_s: float | None = None
    """The agent's clock minus the hub's."""

    def knows(self, boot: UUID, sequence: int) -> bool:
        """Whether this report, or a later one of the same start, was taken already."""
        known = self.boots.get(boot)
        return known is not None and sequence <= known.sequence

    def note(self, boot: UUID, sequence: int, dropped: int) -> int:
        """Take a report's number; gives how many verdicts were dropped since the report before."""
        before = self.boots.pop(boot, None)
        self.boots[boot] = Boot(sequence, dropped)
        while len(self.boots) > MAX_BOOTS:
            del self.boots[next(iter(self.boots))]
        return max(0, dropped - (before.dropped if before else 0))


def agent_from(row: Mapping[str, Any]) -> Agent:
    """As `read_agents` gives it."""
    return Agent(
        cluster_id=row["cluster_id"],
        name=row["name"],
        namespace=row["namespace"],
        service_account=row["service_account"],
        jwks=row["jwks"],
        issuer=row["issuer"],
        registered_at=row["registered_at"],
        registered_by=row["registered_by"],
    )


def heard_from(row: Mapping[str, Any]) -> Heard:
    """The rest of that row."""
    boots = {UUID(boot): Boot(sequence, dropped) for boot, sequence, dropped in row["boots"]}
    return Heard(boots, row["version"], row["last_report_at"], row["skew_s"])


def heard_row(cluster_id: UUID, heard: Heard) -> dict[str, object]:
    """As `note_heard` takes it."""
    return {
        "cluster_id": str(cluster_id),
        "boots": [[str(boot), *told] for boot, told in heard.boots.items()],
        "version": heard.version,
        "last_report_at": heard.last_report_at,
        "skew_s": heard.skew_s,
    }
