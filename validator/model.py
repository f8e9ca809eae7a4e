"""The facts that the validator makes: who is asked, and what the answer was.

Everything here is immutable and free of I/O. The words are DESIGN.md's; nothing in this
package knows PostgreSQL or HTTP serving, so that the same code runs inside a tenant cluster.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple
from uuid import UUID

from validator.reasons import Reason, Stage
from validator.schedule import Lane

Evidence = Mapping[str, str | int | float | bool]
"""What was seen, as flat JSON-able pairs. Keys end in their unit (`_ms`, `_s`, `_bytes`)."""

NO_EVIDENCE: Evidence = MappingProxyType({})

MAX_MESSAGE_CHARS = 500
"""Bound of a verdict's message: one screen line wrapped a few times; longer text is evidence of a bug."""


class Pair(NamedTuple):
    """A cluster and a backup location that it uses."""

    cluster_id: UUID
    location_id: UUID


SubjectId = UUID | Pair
"""What a check is about: a cluster, by its id, or a pair."""


class Outcome(StrEnum):
    """What one answer says. A `finding` passes but degrades."""

    PASS = "pass"  # noqa: S105 - not a password
    FINDING = "finding"
    FAIL = "fail"
    UNKNOWN = "unknown"


class Check(StrEnum):
    """One question about one subject."""

    APISERVER = "apiserver"
    CREDENTIAL = "credential"
    IDENTITY = "identity"
    """Whether the kube-system UID that the cluster shows is its own; asked by the inventory, not by a probe."""
    AGENT = "agent"
    """Whether the agent in the cluster reports."""
    WORKLOAD_IDENTITY = "workload-identity"
    """Whether the cluster's service account has the cloud identity that it should have."""
    VELERO = "velero"
    STORK = "stork"
    LOCATION = "location"
    """Whether a backup location answers from this cluster; the matrix cell."""
    OBJECT_LOCK = "object-lock"
    """Whether what is written to the location is kept, and for how long."""
    BACKUPS = "backups"
    """Whether the newest backup in the location is young enough."""
    MISSING_FILES = "missing-files"
    """Whether all objects are there that the metadata of the backups names."""


class Lifecycle(StrEnum):
    """What the source says the cluster is going through. Only `Active` is judged; the rest is Suspended."""

    ACTIVE = "Active"
    CREATING = "Creating"
    HIBERNATED = "Hibernated"
    WAKING = "Waking"
    MAINTENANCE = "Maintenance"
    MIGRATING = "Migrating"
    DELETING = "Deleting"
    GONE = "Gone"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One answer to one check about one cluster, or about one pair.

    `observed_at` and `received_at` are seconds since the epoch on the hub clock
    (`validator.clock.Clock`); age is counted from `received_at`. They differ only where an agent
    reports: then `observed_at` is the agent's claim and is never used for age.
    """

    check: Check
    cluster_id: UUID
    outcome: Outcome
    observed_at: float
    received_at: float
    duration_s: float
    """From the moment the slot was held to the answer."""
    lateness_s: float
    """From the oldest unanswered due tick to the answer: a skipped tick counts (no coordinated omission)."""
    allowance_s: float
    """How long this fact stands before it is stale: 2.1 x the effective period + timeout (DESIGN, "The engine")."""
    lane: Lane = Lane.LIVE
    """The lane in which it was asked."""
    skipped_ticks: int = 0
    """Ticks of this target that fell due and went unasked since its last answer."""
    reason: Reason | None = None
    """None exactly when the outcome is `pass`."""
    stage: Stage | None = None
    message: str = ""
    evidence: Evidence = field(default_factory=lambda: NO_EVIDENCE)
    location_id: UUID | None = None
    """Of a pair: the location that the cluster was asked about. None: the check is of the cluster itself."""

    @property
    def subject(self) -> SubjectId:
        """What it is about."""
        return self.cluster_id if self.location_id is None else Pair(self.cluster_id, self.location_id)


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP CONNECT proxy from the operator's own kubeconfig (`proxy-url`)."""

    host: str
    port: int
    authorization: str | None = field(default=None, repr=False)
    """Value of `Proxy-Authorization`, never shown."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where an API server answers, and how to know that it is the right one."""

    host: str
    """A DNS name, an IPv4 literal, or an IPv6 literal without brackets."""
    port: int
    ca_pem: str | None = field(default=None, repr=False)
    """PEM bundle that is trusted for this endpoint and nothing else; None = the system's roots."""
    server_name: str | None = None
    """Name to verify in the certificate, if it is not `host` (kubeconfig `tls-server-name`)."""
    insecure: bool = False
    """`insecure-skip-tls-verify`: probed, but shown as the finding TLSVerificationDisabled."""
    proxy: Proxy | None = None
    path: str = ""
    """Before every path that is asked for, without a slash at its end: `/k8s/clusters/c-abcde` behind Rancher."""

    @property
    def authority(self) -> str:
        """`host:port`, as `Host` and CONNECT have it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """`https://host:port` and the path, for people and for keys; carries no secret."""
        return f"https://{self.authority}{self.path}"
