"""From tokens and PEM text to a checked `Credential`: pure, and silent about the content."""

from __future__ import annotations

import base64
import json
import re

from validator import pem
from validator.credentials import ClientCertificate, Credential

MAX_TOKEN_CHARS = 32 * 1024
"""Entra tokens with 200 groups are about 12 KiB; more than this, API servers and proxies refuse as a header."""

_TOKEN = re.compile(r"[\x21-\x7e]+")


def assemble(token: str | None, chain: str | None, key: str | None, expires_at: float | None = None) -> Credential:
    """A credential from its parts. Raises ValueError, whose text continues "the entry …: " and holds no secret.

    `expires_at` is the issuer's word; without it the earliest of the token's `exp` and the certificate's end counts.
    """
    ends = [] if expires_at is None else [expires_at]
    if token is not None:
        token = checked_token(token)
        if expires_at is None and (expiry := jwt_expiry(token)) is not None:
            ends.append(expiry)
    certificate = None
    if chain is not None or key is not None:
        certificate, end = _certificate(chain, key)
        ends.append(end)
    return Credential(token, certificate, min(ends, default=None))


def _certificate(chain: str | None, key: str | None) -> tuple[ClientCertificate, float]:
    if chain is None or key is None:
        missing, there = ("key", "certificate") if key is None else ("certificate", "key")
        raise ValueError(f"has a client {there} but no client {missing}")
    try:
        chain_pem = pem.client_chain(chain)
    except ValueError as error:
        raise ValueError(f"client certificate {error}") from error
    try:
        key_pem = pem.client_key(key)
    except ValueError as error:
        raise ValueError(f"client key {error}") from error
    return ClientCertificate(chain_pem, key_pem), pem.check_pair(chain_pem, key_pem)


def checked_token(text: str) -> str:
    """The token without the white space around it. Raises ValueError if a header can't carry it."""
    token = text.strip()
    if not token:
        raise ValueError("token is empty")
    if len(token) > MAX_TOKEN_CHARS:
        raise ValueError(f"token is longer than {MAX_TOKEN_CHARS // 1024} KiB")
    if not _TOKEN.fullmatch(token):
        raise ValueError("token holds spaces, line breaks or other characters that an HTTP header can't carry")
    return token


def jwt_expiry(token: str) -> float | None:
    """`exp` of a JWT, unverified: it only tells when to look for a fresh one. None for any other token."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        expiry = claims["exp"]
        is_number = isinstance(expiry, int | float) and not isinstance(expiry, bool)
        return float(expiry) if is_number and 0 < expiry < 1e11 else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
