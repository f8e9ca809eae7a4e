"""What is read of a cluster to judge one service account's cloud identity. Immutable, bounded, without secrets.

Whatever could not be read is an `Unread` in its place: the decisions say so instead of guessing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from validator.doctor.selector import Selector

NOTHING: Mapping[str, str] = MappingProxyType({})


class Cloud(StrEnum):
    """Whose identity it is."""

    AZURE = "azure"
    AWS = "aws"
    GCP = "gcp"


@dataclass(frozen=True, slots=True, order=True)
class AccountName:
    """A service account's name."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def subject(self) -> str:
        """The `sub` of its tokens: what every cloud's trust is written for."""
        return f"system:serviceaccount:{self.namespace}:{self.name}"


@dataclass(frozen=True, slots=True)
class Unread:
    """Something that could not be read, and why."""

    call: str
    """`GET /path`."""
    status: int
    """0 where there was no usable answer."""
    message: str
    user: str = ""
    """Whom the server takes us for, where its refusal says so."""

    @property
    def forbidden(self) -> bool:
        """Whether it is a matter of rights."""
        return self.status == 403

    @property
    def absent(self) -> bool:
        """Whether it is not there."""
        return self.status == 404


@dataclass(frozen=True, slots=True)
class Owner:
    """What made a pod, or a service account; for a pod of a Deployment that, not its ReplicaSet."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """Its annotations that have to do with an identity, misspelt ones included."""

    annotations: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    annotated_at: Mapping[str, float] = field(default_factory=dict)
    """Annotation -> the latest moment at which it can have been set (seconds since the epoch), from `managedFields`:
    the time there is of its manager's last change of anything. Empty where the server keeps none."""
    owner: Owner | None = None


@dataclass(frozen=True, slots=True)
class TokenMount:
    """A projected service-account token in a container."""

    path: str
    audience: str
    """Empty = the API server's own."""
    lifetime_s: int
    renewed: bool = True
    """False where it is mounted by `subPath`: such a file stays as it was when the pod started."""


@dataclass(frozen=True, slots=True)
class Container:
    """The identity variables of one container, and its tokens. No other variable is kept."""

    name: str
    env: Mapping[str, str | None] = field(default_factory=dict)
    """None = set, but to a value that is not written here (`valueFrom`), or that is a secret."""
    tokens: tuple[TokenMount, ...] = ()


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod that runs, or is about to, as the service account."""

    name: str
    created_at: float | None
    """Not `startTime`: pods are changed by webhooks when they are created."""
    labels: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    containers: tuple[Container, ...] = ()
    """But those that an annotation of the pod tells the webhook to skip."""
    owner: Owner | None = None
    node: str = ""
    host_network: bool = False

    def has(self, variable: str) -> bool:
        """Whether any container has the variable."""
        return any(variable in container.env for container in self.containers)

    def values(self, variable: str) -> tuple[str, ...]:
        """Its values that are known, over all containers."""
        return known(container.env.get(variable) for container in self.containers)

    def token_at(self, path: str) -> TokenMount | None:
        """The projected token at a path."""
        return next((token for one in self.containers for token in one.tokens if token.path == path), None)


@dataclass(frozen=True, slots=True)
class Node:
    """Where pods run."""

    name: str
    labels: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    provider_id: str = ""


@dataclass(frozen=True, slots=True)
class Webhook:
    """A mutating webhook that is known to inject identities."""

    configuration: str
    name: str
    cloud: Cloud
    namespaces: Selector = field(default_factory=Selector)


@dataclass(frozen=True, slots=True)
class ClusterSeen:
    """What is the same for every service account of a cluster."""

    issuer: str | Unread
    """`iss` of its tokens, exactly as written."""
    webhooks: tuple[Webhook, ...] | Unread


@dataclass(frozen=True, slots=True)
class AccountSeen:
    """One service account and what runs as it."""

    name: AccountName
    account: ServiceAccount | Unread
    pods: tuple[Pod, ...] | Unread = ()
    all_pods: bool = True
    """False where there were more than are read."""
    nodes: tuple[Node, ...] | Unread = ()
    """Of those pods, or, without pods, any one."""
    namespace_labels: Mapping[str, str] | Unread = field(default_factory=lambda: NOTHING)

    @property
    def running(self) -> tuple[Pod, ...]:
        """The pods that are known."""
        return () if isinstance(self.pods, Unread) else self.pods

    @property
    def known_nodes(self) -> tuple[Node, ...]:
        """The nodes that are known."""
        return () if isinstance(self.nodes, Unread) else self.nodes

    @property
    def annotations(self) -> Mapping[str, str]:
        """The service account's; empty where it could not be read."""
        return NOTHING if isinstance(self.account, Unread) else self.account.annotations

    def annotated_at(self, key: str) -> float | None:
        """When the annotation was set, at the latest."""
        return None if isinstance(self.account, Unread) else self.account.annotated_at.get(key)


def known(values: Iterable[str | None]) -> tuple[str, ...]:
    """Each value once, in order."""
    return tuple(dict.fromkeys(value for value in values if value is not None))
