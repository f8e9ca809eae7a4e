"""Whether a service-account token is that of a registered agent.

The order of things is the point: the *registration* says which keys, which issuer and which subject; the token has a
say in none of it. Of its header only `alg` (one of two) and `kid` (which of the registered keys) are looked at: `jku`,
`jwk`, `x5u` and `x5c` lead nowhere, since nothing reads them.

A check of a signature takes 60-100 µs, so what was verified is kept by the token's SHA-256 until it ends: a report then
costs a hash. It is kept with the registration and the keys that it was verified by; where either has become another
one, the token is verified anew.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from collector.agent import Agent
from muster.agents.key_set import ALGORITHMS, MAX_RSA_BITS, KeySet
from validator.clock import Clock
from validator.printable import printable

MAX_TOKEN_CHARS = 8000
"""Of a token: a projected one has 1,000 to 1,500, and a header line ends at 8190 bytes."""

MAX_LIFETIME_S = 3600.0 + 10.0
"""From `iat` to `exp`. A volume with `expirationSeconds: 3600` gives exactly that; those that Kubernetes makes itself
ask for 3607, a number that stands for an hour there. A stolen token is worth the more, the longer it lives."""

LEEWAY_S = 60.0
"""For `iat` and `nbf` against our clock; the API server's clock is not ours. `exp` has none: the kubelet renews a token
when a fifth of its time is left."""

_REGISTRY = jws.JWSRegistry(algorithms=ALGORITHMS)
_REGISTRY.max_signature_length = math.ceil(MAX_RSA_BITS / 8 / 3) * 4
"""In base64. joserfc's own bound would refuse every token of a key that was registered with more than 6,144 bits."""

MAX_KEPT = 20_000
"""Verified tokens: twice the agents that there may be, some 6 MB."""


class TokenRefused(Exception):  # noqa: N818 - a state of the world
    """The token shows nothing. The text says why, and repeats nothing of the token but an id."""


class NotThisAgent(TokenRefused):
    """The token is genuine, and of somebody else in that cluster."""


@dataclass(frozen=True, slots=True)
class Trusted:
    """What tokens of one agent are checked against. The same object until any of it changes."""

    keys: KeySet
    issuer: str | None
    """None: not known, and not compared."""


class KeySource(Protocol):
    """Where the keys of a registration are."""

    async def trusted(self, agent: Agent) -> Trusted:
        """Those at hand, or read now where there are none."""
        ...

    async def newer(self, agent: Agent, than: Trusted) -> Trusted | None:
        """Read again, for a token that `than` does not know; None where that was done lately or brought nothing new."""
        ...


@dataclass(frozen=True, slots=True)
class _Kept:
    agent: Agent
    trusted: Trusted
    ends_at: float


class Tokens:
    """Verifies tokens. One a leader."""

    def __init__(self, keys: KeySource, audience: str, clock: Clock) -> None:
        self._keys = keys
        self._audience = audience
        self._clock = clock
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()

    async def verify(self, agent: Agent, token: str) -> None:
        """Raises `TokenRefused`, or what `KeySource` raises where there are no keys at hand."""
        if len(token) > MAX_TOKEN_CHARS or not token.isascii():
            raise TokenRefused(f"this is no JSON Web Token of at most {MAX_TOKEN_CHARS} characters")
        sha256 = hashlib.sha256(token.encode()).digest()
        trusted = await self._keys.trusted(agent)
        kept = self._kept.get(sha256)
        if kept is not None and kept.agent is agent and kept.trusted is trusted:
            if self._clock.now() < kept.ends_at:
                self._kept.move_to_end(sha256)
                return
            raise TokenRefused("the token has expired; the kubelet renews it in the pod's volume")
        try:
            ends_at = self._verified(agent, token, trusted)
        except _NewerKeys as unknown:
            newer = await self._keys.newer(agent, trusted)
            if newer is None:
                raise TokenRefused(str(unknown)) from None
            trusted = newer
            ends_at = self._verified(agent, token, trusted)
        self._kept[sha256] = _Kept(agent, trusted, ends_at)
        if len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)

    def _verified(self, agent: Agent, token: str, trusted: Trusted) -> float:
        claims = signed_claims(token, trusted.keys)
        return judge_claims(claims, agent.subject, self._audience, trusted.issuer, self._clock.now())


class _NewerKeys(TokenRefused):
    """The keys at hand don't fit; newer ones may."""


def signed_claims(token: str, keys: KeySet) -> Mapping[str, Any]:
    """The claims, if one of these keys has signed them. Raises `TokenRefused`."""

    def key_of(unverified: Any) -> RSAKey | ECKey:
        kid = unverified.headers().get("kid")
        key = keys.keys.get(kid) if isinstance(kid, str) else None
        if key is None:
            raise _NewerKeys(
                f"the cluster has no key {printable(str(kid))}: the token is of another cluster, or forged"
            )
        return key

    try:
        payload = jws.deserialize_compact(token, key_of, registry=_REGISTRY).payload
        claims = json.loads(payload)
    except JoseError as error:
        raise TokenRefused(f"the token is not signed as it has to be ({_plain(error)})") from None
    except (ValueError, TypeError, RecursionError):
        raise TokenRefused("this is no JSON Web Token") from None
    if not isinstance(claims, dict):
        raise TokenRefused("this is no JSON Web Token")
    return claims


def judge_claims(claims: Mapping[str, Any], subject: str, audience: str, issuer: str | None, now: float) -> float:
    """When the token ends, if it is what it has to be. Raises `TokenRefused`."""
    issued_at, ends_at = _instant(claims, "iat"), _instant(claims, "exp")
    begins_at = _instant(claims, "nbf") if "nbf" in claims else issued_at
    if ends_at <= now:
        raise TokenRefused(f"the token has expired {now - ends_at:.0f} s ago")
    if ends_at - issued_at > MAX_LIFETIME_S:
        raise TokenRefused("the token lives for more than an hour; project it with `expirationSeconds: 3600`")
    if max(issued_at, begins_at) > now + LEEWAY_S:
        raise TokenRefused(f"the token begins {max(issued_at, begins_at) - now:.0f} s from now: compare the clocks")
    if claims.get("aud") not in ([audience], audience):
        raise TokenRefused(f"the token is not for this hub alone: its audience has to be {audience}, and nothing else")
    if issuer is not None and claims.get("iss") != issuer:
        raise _NewerKeys("the token has another issuer than the cluster")
    if claims.get("sub") != subject:
        raise NotThisAgent(f"the token is not of {subject}, the account that is registered for this cluster")
    return ends_at


def _instant(claims: Mapping[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TokenRefused(f"the token has no `{name}`")
    return float(value)


def _plain(error: JoseError) -> str:
    return printable(str(error.error).replace("_", " "))
