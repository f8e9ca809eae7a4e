"""All that one diagnosis rests on: what was seen, how commands are written for this cluster, and when."""

from __future__ import annotations

from dataclasses import dataclass, field

from validator.doctor.facts import AccountName, AccountSeen, ClusterSeen, Node, Pod, Unread
from validator.doctor.kubectl import Kubectl


@dataclass(frozen=True, slots=True)
class Case:
    """One service account of one cluster at one moment."""

    cluster_name: str
    """What people call it: the context's name. EKS and GKE write their own names into it."""
    seen: AccountSeen
    cluster: ClusterSeen
    now: float
    kubectl: Kubectl = field(default_factory=Kubectl)

    @property
    def name(self) -> AccountName:
        """The service account's."""
        return self.seen.name

    @property
    def pods(self) -> tuple[Pod, ...]:
        """What runs as it."""
        return self.seen.running

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Where."""
        return self.seen.known_nodes

    @property
    def issuer(self) -> str | None:
        """`iss` of its tokens, where it could be read."""
        return None if isinstance(self.cluster.issuer, Unread) else self.cluster.issuer

    def node_label(self, key: str) -> str | None:
        """The label's value on the first node that has it."""
        return next((node.labels[key] for node in self.nodes if key in node.labels), None)

    def restart(self, *pods: Pod) -> tuple[str, ...]:
        """Commands that have these pods made anew; without any, all of them."""
        return self.kubectl.restart(self.name.namespace, pods or self.pods)
