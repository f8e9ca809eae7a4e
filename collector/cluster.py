"""A cluster as the hub knows it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from validator.discovery.source import Sighting
from validator.model import Endpoint, Lifecycle

SYSTEM_CA = ""
"""Stands for the fingerprint where an endpoint is trusted through the system's roots."""


class Key(NamedTuple):
    """How a sighting is recognised: where it answers, and whom it must be signed by."""

    endpoint: str
    ca_sha256: str


def key_of(endpoint: Endpoint) -> Key:
    """The key of an endpoint; a name to verify that differs from the host is part of where it answers."""
    where = endpoint.url if endpoint.server_name is None else f"{endpoint.url}#{endpoint.server_name}"
    ca = SYSTEM_CA if endpoint.ca_pem is None else hashlib.sha256(endpoint.ca_pem.strip().encode()).hexdigest()
    return Key(where, ca)


@dataclass(frozen=True, slots=True)
class Cluster:
    """Keyed by our own UUID: names are reused, endpoints move."""

    id: UUID
    name: str
    source: str
    endpoint: str
    """URL, for people; holds no secret."""
    external_uid: str | None
    """kube-system UID (or the source's own, e.g. a shoot's); None until it has been read once."""
    labels: Mapping[str, str]
    lifecycle: Lifecycle
    first_seen_at: float
    also_known_as: tuple[str, ...] = ()
    """Other contexts or entries that lead to the same cluster."""
    sighting: Sighting | None = None
    """How to reach it; None for a cluster that the database knows and no source has named since the start."""
