"""What a person who helps needs to see of an organisation: its installations, clusters, health over time, last logs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from uplink.receiver.storing import Store

MAX_ORGS = 1000
MAX_INSTALLATIONS = 100
MAX_CLUSTERS = 2000
MAX_CHANGES = 5000
MAX_LOGS = 50

SINCE_S = 14 * 86_400.0
"""How far back health is shown."""


@dataclass(frozen=True, slots=True)
class OrgLine:
    """One line of all organisations. Instants are seconds since the epoch."""

    id: str
    stored_bytes: int
    installations: int
    certificates: int
    waiting: int
    received_at: float | None


@dataclass(frozen=True, slots=True)
class Installation:
    """One, with its newest certificate that works, if any."""

    id: UUID
    created_at: float
    serial: str | None
    ends_at: float | None
    batches: int
    received_at: float | None


@dataclass(frozen=True, slots=True)
class Cluster:
    """One, as it was told of last."""

    uid: str
    installation_id: UUID
    attributes: dict[str, Any]
    health: str | None
    health_at: float | None
    first_seen_at: float
    last_seen_at: float


@dataclass(frozen=True, slots=True)
class Change:
    """A cluster's health from this moment on."""

    uid: str
    health: str
    at: float


@dataclass(frozen=True, slots=True)
class LogLine:
    """One record."""

    at: float
    severity: str
    event: str
    body: str
    attributes: dict[str, Any]


@dataclass(frozen=True, slots=True)
class OrgView:
    """All of one organisation; lists are bounded, newest first."""

    id: str
    stored_bytes: int
    installations: list[Installation]
    clusters: list[Cluster]
    changes: list[Change]
    logs: list[LogLine]


async def show_orgs(store: Store, now: float) -> list[OrgLine]:
    """All of them. Raises `StoreError`."""
    return [OrgLine(**row) for row in await store.db.fetch(store.sql["show_orgs"], now, MAX_ORGS)]


async def show_org(store: Store, organisation: str, now: float, *, since_s: float = SINCE_S) -> OrgView | None:
    """One of them; None if there is none. Raises `StoreError`."""
    db, sql = store.db, store.sql
    row = await db.fetchrow(sql["show_org"], organisation)
    if row is None:
        return None
    return OrgView(
        id=row["id"],
        stored_bytes=row["stored_bytes"],
        installations=[
            Installation(**each)
            for each in await db.fetch(sql["show_installations"], organisation, now, MAX_INSTALLATIONS)
        ],
        clusters=[Cluster(**each) for each in await db.fetch(sql["show_clusters"], organisation, MAX_CLUSTERS)],
        changes=[
            Change(**each) for each in await db.fetch(sql["show_health"], organisation, now - since_s, MAX_CHANGES)
        ],
        logs=[LogLine(**each) for each in await db.fetch(sql["show_logs"], organisation, MAX_LOGS)],
    )


async def counts(store: Store) -> dict[str, int]:
    """What the receiver has counted, e.g. dead letters. Raises `StoreError`."""
    return {row["name"]: row["count"] for row in await store.db.fetch(store.sql["counts"])}
