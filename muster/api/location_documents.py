"""Backup locations as the API takes and gives them. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any
from uuid import UUID

from collector.cluster import Cluster
from collector.location import Assignment, BackupLocation, problems_of
from collector.location_status import RollUp
from muster.api import schemas
from muster.api.present import instant, maybe_instant
from validator.locations import FieldProblem, Location, Provider, environment_from
from validator.reasons import Health

MOST_AUDITED = 100
"""Clusters of one change that the audit log names; the rest is counted."""


def read_location(
    wanted: schemas.LocationCreate, location_id: UUID, by: str, now: float
) -> tuple[BackupLocation, tuple[FieldProblem, ...]]:
    """What was asked for, not yet assigned to any cluster, and everything that is wrong with it."""
    environment = None if wanted.environment is None else environment_from(wanted.environment)
    where = Location(
        id=location_id,
        name=wanted.name,
        provider=Provider(wanted.provider),
        container=wanted.container,
        account=wanted.account,
        environment=environment,
        resource_group=wanted.resource_group,
        subscription_id=wanted.subscription_id,
        region=wanted.region,
        endpoint=wanted.endpoint,
        path_style=wanted.path_style,
        write_probe=wanted.write_probe,
    )
    new = BackupLocation(
        where=where,
        owner=by if wanted.owner is None else wanted.owner,
        encryption_key=wanted.encryption_key,
        sync=wanted.sync,
        allow_shared=wanted.allow_shared,
        created_at=now,
        created_by=by,
        assignments={},
    )
    problems = problems_of(new)
    if wanted.environment is not None and environment is None:
        unknown = FieldProblem("environment", "is none of AzurePublicCloud, AzureChinaCloud")
        problems = (*(each for each in problems if each.field != "environment"), unknown)
    return new, problems


def assigned_by(clusters: Iterable[UUID], by: str, now: float) -> dict[UUID, Assignment]:
    """The assignments of a location that is being made."""
    return {cluster_id: Assignment(cluster_id, now, by) for cluster_id in clusters}


def location_etag(location: BackupLocation) -> str:
    """Its entity tag, with its quotes. The id is in it: another location of the same name begins at version 1 again."""
    return f'"l{location.id.hex[:12]}-{location.version}"'


def location(known: BackupLocation, sharing: Collection[BackupLocation], rolled: RollUp) -> schemas.Location:
    """Without its clusters."""
    return schemas.Location(**_members(known, sharing, rolled))


def location_detail(
    known: BackupLocation,
    sharing: Collection[BackupLocation],
    pairs: Mapping[UUID, Health],
    clusters: Mapping[UUID, Cluster],
    rolled: RollUp,
) -> schemas.LocationDetail:
    """With its clusters, by name; last those that are not in the fleet."""
    names = {each: clusters[each].name for each in known.assignments if each in clusters}
    assigned = sorted(
        known.assignments.values(),
        key=lambda each: (each.cluster_id not in names, names.get(each.cluster_id, ""), str(each.cluster_id)),
    )
    return schemas.LocationDetail(
        **_members(known, sharing, rolled),
        clusters=tuple(
            schemas.AssignedCluster(
                id=str(each.cluster_id),
                name=names.get(each.cluster_id),
                health=pairs.get(each.cluster_id, Health.UNKNOWN),
                assigned_at=instant(each.assigned_at),
                assigned_by=each.by,
            )
            for each in assigned
        ),
    )


def audited(known: BackupLocation) -> dict[str, Any]:
    """What the audit log keeps of it."""
    where = known.where
    fields = {name: getattr(where, name) for name in Location.__slots__ if getattr(where, name) not in (None, False)}
    return {
        **fields,
        "id": str(known.id),
        "owner": known.owner,
        "encryption_key": known.encryption_key,
        "sync": known.sync,
        "allow_shared": known.allow_shared,
        **listed("clusters", known.assignments),
    }


def listed(name: str, clusters: Collection[UUID]) -> dict[str, Any]:
    """Clusters for the audit log, which has to stay readable."""
    ids = sorted(map(str, clusters))
    return {name: ids[:MOST_AUDITED], **({f"{name}_total": len(ids)} if len(ids) > MOST_AUDITED else {})}


def _members(known: BackupLocation, sharing: Collection[BackupLocation], rolled: RollUp) -> dict[str, Any]:
    where = known.where
    return {
        "id": str(known.id),
        "name": where.name,
        "provider": where.provider,
        "container": where.container,
        "account": where.account,
        "environment": where.environment,
        "resource_group": where.resource_group,
        "subscription_id": where.subscription_id,
        "region": where.region,
        "endpoint": where.endpoint,
        "path_style": where.path_style,
        "url": where.url,
        "encryption_key": known.encryption_key,
        "owner": known.owner,
        "sync": known.sync,
        "write_probe": where.write_probe,
        "allow_shared": known.allow_shared,
        "shared_with": tuple(each.name for each in sharing),
        "status": rolled.status,
        "message": rolled.message,
        "notes": tuple(_notes(known, sharing)),
        "assigned": len(known.assignments),
        "created_at": instant(known.created_at),
        "created_by": known.created_by,
        "deleting_at": maybe_instant(known.deleting_at),
        "deleting_by": known.deleting_by,
        "version": known.version,
        "etag": location_etag(known),
    }


def _notes(known: BackupLocation, sharing: Collection[BackupLocation]) -> Iterable[str]:
    where = known.where
    if where.provider is Provider.AZURE and where.resource_group is None:
        yield (
            "Object lock can't be read without resource group and subscription id, and both can be given at creation "
            "only."
        )
    if sharing:
        yield f"The same bucket is in use as {', '.join(each.name for each in sharing)}."
