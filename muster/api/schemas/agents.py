"""Agents: which clusters have one, and how one is installed."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import AwareDatetime, Field, model_validator

from muster.api.schemas.access import Body
from muster.api.schemas.document import Document

_NAME = r"^[A-Za-z0-9]+([._:/@ -]+[A-Za-z0-9]+)*$"
_DNS_LABEL = r"^[a-z0-9]+(-+[a-z0-9]+)*$"
_DNS_NAME = r"^[a-z0-9]+([.-]+[a-z0-9]+)*$"


class AgentRegistration(Body):
    """Whose reports are to be taken for a cluster: `name`, of one that the hub can't reach, or else `cluster`."""

    name: Annotated[str, Field(min_length=1, max_length=253, pattern=_NAME)] | None = None
    """Of a new cluster, of which the hub will know nothing but what its agent reports."""
    cluster: Annotated[str, Field(min_length=1, max_length=1024)] | None = None
    """Name or id of a cluster that the hub knows."""
    jwks: dict[str, Any] | None = None
    """The cluster's public keys, as `kubectl get --raw /openid/v1/jwks` prints them. null = the hub reads them."""
    issuer: Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^\S+$")] | None = None
    """`iss` of its tokens, to be compared: only with `jwks`. null = it is not compared."""
    namespace: Annotated[str, Field(max_length=63, pattern=_DNS_LABEL)] = "muster-agent"
    """Where the agent runs."""
    service_account: Annotated[str, Field(max_length=253, pattern=_DNS_NAME)] = "muster-agent"
    """As which it runs."""

    @model_validator(mode="after")
    def _one_cluster(self) -> Self:
        if (self.name is None) == (self.cluster is None):
            raise ValueError("give either `name`, of a cluster that the hub can't reach, or `cluster`, of one it knows")
        if self.name is not None and self.jwks is None:
            raise ValueError("`jwks` is needed for a cluster that the hub can't reach: it can't read the keys itself")
        if self.jwks is None and self.issuer is not None:
            raise ValueError("`issuer` goes with `jwks`: where the hub reads the keys, it reads the issuer too")
        return self


class AgentInstall(Document):
    """What the agent has to be told."""

    hub_url: str | None
    """Where it reports; null = the hub does not know under which name it is reached (setting `agent_url`)."""
    hub_id: str
    audience: str
    """Of the token that is projected for it."""
    cluster_id: str
    command: str
    """For a shell whose kubectl is at the cluster."""


class Agent(Document):
    """Whose reports are taken for a cluster, and what was heard."""

    cluster_id: str
    cluster: str
    """Its name; of one that has left the fleet its id."""
    reachable: bool
    """false = the hub knows nothing of the cluster but what the agent reports."""
    namespace: str
    service_account: str
    keys: str
    """`registered`, or `read`: by the hub itself, with its kubeconfig."""
    key_ids: tuple[str, ...]
    """Of registered keys."""
    issuer: str | None
    """Of registered keys; null = not compared, or read with the keys."""
    registered_at: AwareDatetime
    registered_by: str
    version: str | None
    """Release of the agent; null = it has never reported."""
    last_report_at: AwareDatetime | None
    clock_skew_s: float | None
    """Its clock minus the hub's, as of the last report."""
    dropped: int
    """Verdicts that it could not deliver since its process began."""


class AgentDetail(Agent):
    """One agent, with how to install it."""

    install: AgentInstall


class AgentPage(Document):
    """Agents, by name of their cluster."""

    hub_id: str
    audience: str
    total: int
    next: str | None
    """Give it as `after` for the next page; null = this was the last."""
    agents: tuple[Agent, ...]
