"""The keys that sign the tokens of each agent: registered by an operator, or read from the cluster itself.

They are read with the hub's own kubeconfig, from the two paths where every API server has them. `jwks_uri` of the
OpenID configuration is not followed: it is a tenant's word on where to connect to.

Keys are read again after `REFRESH_S`, so that one that was taken out of the cluster does not count for ever, and for a
token that they don't know at once, but once a minute at most: anybody can make up a key id. Where a cluster can't be
read, the keys at hand count for a day: an agent is most wanted when the hub can't reach its cluster.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any
from uuid import UUID

import structlog

from collector.agent import Agent
from collector.agents import MAX_AGENTS
from collector.cluster import Cluster
from collector.inventory import Inventory
from muster.agents.key_set import BadKeySet, read_key_set
from muster.agents.tokens import Trusted
from validator.clock import Clock
from validator.cluster_api.reader import ClusterReader, Refused
from validator.credentials import Credential
from validator.doctor.parse import issuer_of
from validator.keeper import CredentialKeeper
from validator.net.dialer import Dialer
from validator.net.failure import ProbeFailure
from validator.reasons import Reason

_log = structlog.get_logger(__name__)

JWKS_PATH = "/openid/v1/jwks"
CONFIGURATION_PATH = "/.well-known/openid-configuration"

READ_S = 5.0
"""For both GETs; an agent waits for them."""

REFRESH_S = 600.0
UNKNOWN_AGAIN_S = 60.0
"""Between two reads because of tokens that the keys at hand don't know."""

FAILED_AGAIN_S = 10.0
"""Between two reads where the one before has failed and nothing is at hand."""

TRUSTED_S = 86_400.0
"""How long keys count that could not be read again."""

READS_AT_ONCE = 64
"""Of different clusters. More are told to come again: after a takeover every agent is new to this instance."""


class KeysUnavailable(Exception):  # noqa: N818 - a state of the world
    """There are no keys to verify with at the moment. The text says why, and what to do."""


@dataclass(slots=True)
class _Read:
    """What was read for one registration."""

    agent: Agent
    trusted: Trusted | None = None
    read_at: float = 0.0
    """Monotonic, as is `tried_at`: of the last read that went well."""
    tried_at: float = float("-inf")
    failure: str = ""
    """Of the last read; empty where it went well."""


class Keys:
    """A `KeySource`. One a leader."""

    def __init__(self, inventory: Inventory, *, dialer: Dialer, keeper: CredentialKeeper, clock: Clock) -> None:
        """`inventory` says where each cluster answers now."""
        self._inventory = inventory
        self._dialer = dialer
        self._keeper = keeper
        self._clock = clock
        self._registered: dict[UUID, tuple[Agent, Trusted]] = {}
        self._read: dict[UUID, _Read] = {}
        self._under_way: dict[UUID, asyncio.Event] = {}

    async def trusted(self, agent: Agent) -> Trusted:
        """What its tokens are checked against. Raises `KeysUnavailable`."""
        if agent.jwks is not None:
            return self._of_registration(agent, agent.jwks)
        known, now = self._known(agent), monotonic()
        again_s = FAILED_AGAIN_S if known.trusted is None else UNKNOWN_AGAIN_S
        due = known.trusted is None or now - known.read_at > REFRESH_S
        if due and now - known.tried_at >= again_s:
            await self._refresh(known)
        if known.trusted is None or monotonic() - known.read_at > TRUSTED_S:
            raise KeysUnavailable(known.failure or "the keys of the cluster are being read")
        return known.trusted

    async def newer(self, agent: Agent, than: Trusted) -> Trusted | None:
        """Other keys than these, read now where that was not done lately."""
        if agent.jwks is not None:
            return None
        known = self._known(agent)
        if known.trusted is than and monotonic() - known.tried_at >= UNKNOWN_AGAIN_S:
            await self._refresh(known)
        return None if known.trusted is than else known.trusted

    # -- how

    def _of_registration(self, agent: Agent, jwks: Mapping[str, object]) -> Trusted:
        found = self._registered.get(agent.cluster_id)
        if found is not None and found[0] is agent:
            return found[1]
        try:
            trusted = Trusted(read_key_set(jwks), agent.issuer)
        except BadKeySet as bad:  # of another release
            raise KeysUnavailable(f"the registered keys can't be used: {bad}") from None
        self._registered[agent.cluster_id] = agent, trusted
        _bound(self._registered)
        return trusted

    def _known(self, agent: Agent) -> _Read:
        known = self._read.get(agent.cluster_id)
        if known is None or known.agent is not agent:
            known = self._read[agent.cluster_id] = _Read(agent)
            _bound(self._read)
        return known

    async def _refresh(self, known: _Read) -> None:
        """Read them, once for all who ask at the same time; never raises."""
        cluster_id = known.agent.cluster_id
        if (under_way := self._under_way.get(cluster_id)) is not None:
            await under_way.wait()  # bounded: whoever reads has a deadline
            return
        if len(self._under_way) >= READS_AT_ONCE:
            known.failure = "the keys of many clusters are being read at once; come again"
            return
        done = self._under_way[cluster_id] = asyncio.Event()
        try:
            fresh = await self._fetch(cluster_id)
        except KeysUnavailable as failure:
            if str(failure) != known.failure:
                _log.info("an agent's keys can't be read", cluster=str(cluster_id), error=str(failure))
            known.failure = str(failure)
        else:
            known.failure, known.read_at = "", monotonic()
            held = known.trusted
            if held is None or (held.keys.digest, held.issuer) != (fresh.keys.digest, fresh.issuer):
                known.trusted = fresh
        finally:
            known.tried_at = monotonic()
            del self._under_way[cluster_id]
            done.set()

    async def _fetch(self, cluster_id: UUID) -> Trusted:
        cluster = self._inventory.clusters.get(cluster_id)
        if cluster is None or cluster.sighting is None:
            raise KeysUnavailable("no source names the cluster at the moment, so its keys can't be read")
        credential = self._credential(cluster)
        endpoint = cluster.sighting.endpoint
        reader = ClusterReader(endpoint, credential, dialer=self._dialer, clock=self._clock, timeout_s=READ_S)
        try:
            async with asyncio.timeout(READ_S):
                keys = read_key_set(await reader.get(JWKS_PATH, None))
                issuer = issuer_of(await reader.get(CONFIGURATION_PATH, None))
        except Refused as refused:
            raise KeysUnavailable(
                f"the hub may not read the cluster's keys: {refused.status} to {refused.call}. Let its account read "
                "/openid/v1/jwks and /.well-known/openid-configuration, or register the keys (--jwks)"
            ) from None
        except ProbeFailure as failure:
            if failure.reason is Reason.CREDENTIAL_REJECTED:
                self._reject(cluster, credential)
            raise KeysUnavailable(f"the cluster's keys can't be read: {failure.message}") from None
        except BadKeySet as bad:
            raise KeysUnavailable(f"the cluster's {JWKS_PATH} can't be used: {bad}") from None
        except TimeoutError:
            raise KeysUnavailable(f"the cluster's keys can't be read: no answer within {READ_S:g} s") from None
        finally:
            reader.close()
        if issuer is None:
            raise KeysUnavailable(f"the cluster's {CONFIGURATION_PATH} names no issuer")
        return Trusted(keys, issuer)

    def _credential(self, cluster: Cluster) -> Credential | None:
        assert cluster.sighting is not None
        source = cluster.sighting.credential
        if source is None:
            return None
        credential = source.current(self._clock.now())
        if credential is None:
            self._keeper.want(source, _nothing)
            error = self._keeper.failure(source)
            raise KeysUnavailable(error.message if error else "the hub's credential for the cluster is being fetched")
        return credential

    def _reject(self, cluster: Cluster, credential: Credential | None) -> None:
        assert cluster.sighting is not None
        if (source := cluster.sighting.credential) is not None and credential is not None:
            source.reject(credential)
            self._keeper.want(source, _nothing)


def _nothing() -> None:
    """Nobody needs to be told: the next report asks again."""


def _bound(kept: dict[UUID, Any]) -> None:
    while len(kept) > MAX_AGENTS:
        del kept[next(iter(kept))]
