"""Key sets that would cost the hub more than they may, and those that cost nothing to take."""

from __future__ import annotations

import json
import secrets
import time
from base64 import urlsafe_b64encode
from typing import Any

import pytest

from muster.agents.key_set import MAX_RSA_BITS, BadKeySet, read_key_set
from muster.agents.tokens import TokenRefused, signed_claims


def number(value: int) -> str:
    return text(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def text(value: bytes) -> str:
    return urlsafe_b64encode(value).rstrip(b"=").decode()


def odd(bits: int) -> int:
    return secrets.randbits(bits) | 1 << (bits - 1) | 1


def key_set(bits: int, exponent: int) -> dict[str, Any]:
    return {"keys": [{"kty": "RSA", "kid": "k", "n": number(odd(bits)), "e": number(exponent)}]}


@pytest.mark.parametrize("bits", [2048, 3072])
def test_an_exponent_as_long_as_the_key_is_refused_since_a_check_takes_a_hundred_times_as_long(bits: int) -> None:
    with pytest.raises(BadKeySet, match="65537 is usual"):
        read_key_set(key_set(bits, odd(bits - 1)))


@pytest.mark.parametrize("exponent", [3, 65537, 2**32 + 1])
def test_exponents_that_are_in_use_are_taken(exponent: int) -> None:
    assert list(read_key_set(key_set(2048, exponent)).keys) == ["k"]


def test_the_longest_key_that_is_taken_is_one_that_tokens_can_be_checked_with_quickly() -> None:
    keys = read_key_set(key_set(MAX_RSA_BITS, 65537))
    header = text(json.dumps({"alg": "RS256", "kid": "k"}).encode())
    token = f"{header}.{text(b'{}')}.{text(secrets.token_bytes(MAX_RSA_BITS // 8))}"
    started = time.perf_counter()
    with pytest.raises(TokenRefused, match="bad signature"):  # and not: too long
        signed_claims(token, keys)
    assert time.perf_counter() - started < 0.1
