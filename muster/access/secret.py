"""The text of tokens and other secrets.

Every secret is 256 random bits, and what is kept of it is its SHA-256: a slow hash protects words that people choose,
and would cost each request a tenth of a second. Secrets are found by looking that hash up, so there is no comparison
whose duration could tell anything: to steer the hash one would have to know the secret.
"""

from __future__ import annotations

import hashlib
import re
import secrets

PREFIX = "muster_"
"""Scanners for leaked secrets, and people, know it by this."""

SHOWN_CHARS = 12
"""Of a token, so that it can be found again where it is used: 30 of its 256 bits."""

_TOKEN = re.compile(r"muster_[A-Za-z0-9_-]{43}")


def new_token() -> str:
    """`muster_` and 43 url-safe characters."""
    return PREFIX + new_secret()


def new_secret() -> str:
    """43 url-safe characters: 32 random bytes."""
    return secrets.token_urlsafe(32)


def is_token(text: str) -> bool:
    """Whether it looks like a token: what doesn't needs no looking up."""
    return _TOKEN.fullmatch(text) is not None


def without_tokens(text: str) -> str:
    """The text with the secret part of every token in it left out: people paste one where an id belongs."""
    return _TOKEN.sub(lambda found: f"{found[0][:SHOWN_CHARS]}…", text)


def digest(secret: str) -> bytes:
    """What is kept."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()  # headers may hold any bytes
