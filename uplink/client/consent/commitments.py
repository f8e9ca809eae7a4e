"""The commitments document: what somebody reads before they consent. Its bytes are what was consented to."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

PAGE = "docs/telemetry-commitments.md"
"""A copy of the same bytes, so that `sha256sum` of it is the digest in the record."""

_VERSION = re.compile(r"^Version (\d+)\.$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Commitments:
    """One version of it."""

    version: str
    sha256: str
    text: str


@cache
def commitments() -> Commitments:
    """Of this release."""
    return read_commitments(files("uplink.client.consent").joinpath("commitments.md").read_bytes())


def read_commitments(raw: bytes) -> Commitments:
    """Raises ValueError where it does not say its version."""
    text = raw.decode()
    if (found := _VERSION.search(text)) is None:
        raise ValueError("the commitments do not say `Version N.` on a line of their own")
    return Commitments(found[1], hashlib.sha256(raw).hexdigest(), text)
