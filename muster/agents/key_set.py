"""The public keys of one cluster's service-account issuer, from a JWKS document. Pure; it is hostile input."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from validator.printable import printable

ALGORITHMS = ("RS256", "ES256")
"""What Kubernetes signs service-account tokens with. Symmetric ones would make a public key a secret that all know."""

MAX_KEYS = 20
"""A cluster has one or two; a rotation leaves one more."""
MAX_KID_CHARS = 256
MIN_RSA_BITS, MAX_RSA_BITS = 2048, 8192
"""The upper bound is for our CPU: a check of 16384 bits takes milliseconds."""

MAX_EXPONENT_BITS = 64
"""Everybody has 65537 (17 bits). One as long as the key makes a check of 50 µs take 9 ms, before anything bounds how
often a stranger may have one done, and the keys that are read from a cluster are its owner's to choose."""

_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
"""Members that only private and symmetric keys have (RFC 7518, 6.2.2, 6.3.2, 6.4.1)."""

_PUBLIC = {"RSA": ("kty", "kid", "n", "e"), "EC": ("kty", "kid", "crv", "x", "y")}


class BadKeySet(ValueError):  # noqa: N818 - what it is, not what it does
    """The document can't be used; the text names the key and what to do. Repeats nothing of a key."""


@dataclass(frozen=True, slots=True)
class KeySet:
    """Keys by id. The same object until they change: what was verified with it is kept with it."""

    keys: Mapping[str, RSAKey | ECKey]
    document: Mapping[str, Any]
    """The public members alone, as they are kept."""
    digest: bytes
    """The same for the same keys."""


def read_key_set(document: object) -> KeySet:
    """The keys of a JWKS. Raises `BadKeySet`."""
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise BadKeySet("it is no JWKS: a JSON object with `keys`, as `kubectl get --raw /openid/v1/jwks` prints it")
    if not 1 <= len(listed) <= MAX_KEYS:
        raise BadKeySet(f"it has {len(listed)} keys, and 1 to {MAX_KEYS} are taken")
    keys: dict[str, RSAKey | ECKey] = {}
    kept: list[dict[str, str]] = []
    for number, each in enumerate(listed, 1):
        public = _public_members(each, number)
        if public["kid"] in keys:
            raise BadKeySet(f"key {number} has the `kid` of another one")
        keys[public["kid"]] = _key(public, number)
        kept.append(public)
    canonical = {"keys": sorted(kept, key=lambda each: each["kid"])}
    return KeySet(keys, canonical, hashlib.sha256(json.dumps(canonical, sort_keys=True).encode()).digest())


def _public_members(key: object, number: int) -> dict[str, str]:
    if not isinstance(key, dict):
        raise BadKeySet(f"key {number} is no JSON object")
    if private := sorted(_PRIVATE & key.keys()):
        raise BadKeySet(
            f"key {number} has {', '.join(private)}: it is a private or a secret key, and only the public part "
            "belongs here. Consider it as known to others, and replace it"
        )
    if key.get("use", "sig") != "sig":
        raise BadKeySet(f"key {number} is not for signatures: its `use` is {printable(str(key['use']))}")
    members = _PUBLIC.get(str(key.get("kty")))
    if members is None or key.get("alg", ALGORITHMS[0]) not in ALGORITHMS:
        raise BadKeySet(
            f"key {number} is for neither {' nor '.join(ALGORITHMS)}, and tokens are signed by nothing else"
        )
    public = {name: key.get(name) for name in members}
    if bad := [name for name, value in public.items() if not isinstance(value, str) or not value]:
        raise BadKeySet(f"key {number} has no {', '.join(f'`{name}`' for name in bad)}")
    texts = {name: str(value) for name, value in public.items()}
    if len(texts["kid"]) > MAX_KID_CHARS or not texts["kid"].isprintable():
        raise BadKeySet(
            f"key {number}: its `kid` has more than {MAX_KID_CHARS} characters, or some that can't be shown"
        )
    if max(map(len, texts.values())) > MAX_RSA_BITS // 4:
        raise BadKeySet(f"key {number} is longer than {MAX_RSA_BITS} bits")
    return texts


def _key(public: Mapping[str, str], number: int) -> RSAKey | ECKey:
    try:
        if public["kty"] == "EC":
            if public["crv"] != "P-256":
                raise BadKeySet(f"key {number}: ES256 is signed with a key of P-256")
            ec = ECKey.import_key(dict(public))
            ec.public_key.public_numbers()  # parses: a point that is not on the curve is found out here
            return ec
        rsa = RSAKey.import_key(dict(public))
        bits = rsa.public_key.key_size
        exponent = rsa.public_key.public_numbers().e
    except (JoseError, ValueError, TypeError) as error:
        if isinstance(error, BadKeySet):
            raise
        raise BadKeySet(f"key {number} is no {public['kty']} key") from None
    if not MIN_RSA_BITS <= bits <= MAX_RSA_BITS:
        raise BadKeySet(f"key {number} has {bits} bits, and {MIN_RSA_BITS} to {MAX_RSA_BITS} are taken")
    if exponent.bit_length() > MAX_EXPONENT_BITS:
        raise BadKeySet(f"key {number} has an exponent of more than {MAX_EXPONENT_BITS} bits; 65537 is usual")
    return rsa
