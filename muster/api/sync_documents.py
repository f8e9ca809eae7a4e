"""Syncs and inventories as the API gives them, and what is said to whoever has to wait. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any
from uuid import UUID

from collector.backup_checks import owners
from collector.cluster import Cluster
from collector.location import BackupLocation
from collector.sync import KeptInventory, Sync, SyncState, estimate_s
from collector.sync_store import MAX_WAITING
from muster.api import schemas
from muster.api.present import instant, maybe_instant
from muster.api.problems import Kind, ProblemError
from validator.reasons import REASONS


def sync(
    known: Sync, location: BackupLocation, clusters: Mapping[UUID, Cluster], now: float, before: int
) -> schemas.Sync:
    """One sync of a location. `before`: how many come before it."""
    name = _name(known.cluster_id, clusters)
    reason = known.reason
    return schemas.Sync(
        id=str(known.id),
        location=location.name,
        state=known.state,
        method=known.method,
        cluster=name,
        by=known.by,
        asked_at=instant(known.asked_at),
        began_at=maybe_instant(known.began_at),
        ended_at=maybe_instant(known.ended_at),
        listed=known.listed,
        of=known.expected,
        estimate_s=estimate_s(known, now) if known.is_open else None,
        before=before,
        reason=reason,
        remedy=None
        if reason is None
        else REASONS[reason].remedy_for(name or "the hub", location.where.url, location.where.provider),
        message=known.message,
    )


def inventory(
    kept: KeptInventory, location: BackupLocation, clusters: Mapping[UUID, Cluster], now: float
) -> schemas.Inventory:
    """The newest inventory of a location, with whose backups they are."""
    found = kept.inventory
    names = {each: names_of(each, clusters) for each in location.assignments if each in clusters}
    whose = owners(found.groups, names)
    return schemas.Inventory(
        location=location.name,
        at=instant(kept.at),
        age_s=round(max(0.0, now - kept.at), 1),
        took_s=round(kept.took_s, 1),
        method="direct" if kept.cluster_id is None else "agent",
        cluster=_name(kept.cluster_id, clusters),
        objects=found.objects,
        size_bytes=found.size_bytes,
        backups=found.backups,
        newest_at=maybe_instant(found.newest_at),
        groups=tuple(
            schemas.InventoryGroup(
                product=group.product,
                prefix=group.prefix,
                cluster=_name(owner, clusters),
                backups=group.backups,
                newest=group.newest or None,
                newest_at=maybe_instant(group.newest_at),
                newest_age_s=None if group.newest_at is None else round(max(0.0, now - group.newest_at), 1),
                phase=group.phase or None,
            )
            for group, owner in zip(found.groups, whose, strict=True)
        ),
        missing=found.missing,
        missing_total=found.missing_total,
        truncated=found.truncated,
    )


def names_of(cluster_id: UUID, clusters: Mapping[UUID, Cluster]) -> Collection[str]:
    """All by which the prefix of a store may call a cluster; none where it has left the fleet."""
    if (cluster := clusters.get(cluster_id)) is None:
        return ()
    return {cluster.name, *cluster.also_known_as, *([cluster.external_uid] if cluster.external_uid else [])}


def busy(
    holder: Sync, location: BackupLocation, theirs: BackupLocation | None, now: float, waiting: int, *, full: bool
) -> ProblemError:
    """Another sync has the bucket. Of a location of another owner the fact is told, and nothing else.

    `theirs`: the location of the holder.
    """
    own = theirs is not None and theirs.owner == location.owner
    who = theirs.name if own and theirs is not None else "a location of another owner"
    since = holder.began_at if holder.began_at is not None else holder.asked_at
    left_s = estimate_s(holder, now)
    of = "" if not holder.expected else f" of about {holder.expected:,}"
    so_far = f"{holder.listed:,}{of} objects listed" if holder.state is SyncState.IN_PROGRESS else "not begun yet"
    left = "" if left_s is None else f", about {left_s:,.0f} s to go"
    then = (
        f"{waiting} wait already, and more than {MAX_WAITING} can't. Ask again later."
        if full
        else 'Ask again later, or wait for your turn: `"queue": true`.'
    )
    members: dict[str, Any] = {
        "holder": {
            "location": who if own else None,
            "state": holder.state,
            "since": instant(since).isoformat(),
            "listed": holder.listed,
            "of": holder.expected,
            "estimate_s": left_s,
            **({"by": holder.by} if own else {}),
        },
        "waiting": waiting,
        "queue_full": full,
    }
    detail = (
        f"The bucket is being listed for {who} since {instant(since):%Y-%m-%d %H:%M:%S} UTC: {so_far}{left}. {then}"
    )
    return ProblemError(Kind.SYNC_BUSY, detail, **members)


def nobody(location: BackupLocation, cluster: str | None) -> ProblemError:
    """Nobody can list it."""
    if cluster is not None:
        detail = f"{cluster[:100]} has no agent that could list {location.name}, or does not use it."
    else:
        detail = (
            f"No cluster that uses {location.name} has an agent, and its owner {location.owner} is not among "
            "`direct_owners`, whose locations the hub lists itself."
        )
    return ProblemError(
        Kind.NO_SYNC_ASKER, f"{detail} Install the agent: `muster clusters add --cluster NAME` prints how."
    )


def no_inventory(location: BackupLocation) -> ProblemError:
    """It was never listed."""
    detail = f"{location.name} has never been listed. POST /api/v1/locations/{location.name}/sync lists it."
    return ProblemError(Kind.NO_INVENTORY, detail)


def _name(cluster_id: UUID | None, clusters: Mapping[UUID, Cluster]) -> str | None:
    if cluster_id is None:
        return None
    return clusters[cluster_id].name if cluster_id in clusters else str(cluster_id)
