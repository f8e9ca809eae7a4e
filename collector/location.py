"""A backup location as the hub knows it: where it is, whose it is, and which clusters use it. Pure.

After creation nothing of it changes but its assignments. Whoever could move a location to another bucket under the same
name could make a green cell speak of a bucket that nobody has asked about.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from collector.key_references import key_reference_problem
from validator.locations import Environment, FieldProblem, Location, Provider, location_problems

MAX_OWNER_CHARS = 253
"""As long as a Kubernetes name."""

_AMAZON = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws")


@dataclass(frozen=True, slots=True)
class Assignment:
    """A cluster that uses the location."""

    cluster_id: UUID
    assigned_at: float
    """Hub clock, seconds since the epoch."""
    by: str


@dataclass(frozen=True, slots=True)
class BackupLocation:
    """Keyed by our own UUID."""

    where: Location
    """What its probes need."""
    owner: str
    encryption_key: str | None
    """The name of a key that is kept elsewhere; never a key."""
    sync: bool
    """List the backups that are there, first of all when a cluster is assigned at creation."""
    allow_shared: bool
    """Other locations may have the same bucket."""
    created_at: float
    created_by: str
    assignments: Mapping[UUID, Assignment]
    """By cluster."""
    version: int = 1
    deleting_at: float | None = None
    """DeletePending since then; None: it stays."""
    deleting_by: str | None = None

    @property
    def id(self) -> UUID:
        """Of the location, for ever."""
        return self.where.id

    @property
    def name(self) -> str:
        """Unique while the location exists."""
        return self.where.name

    @property
    def bucket(self) -> str:
        """The same text for the same bucket."""
        return bucket_of(self.where)

    def is_made_as(self, other: BackupLocation) -> bool:
        """Whether somebody asked for the same thing: all but what the service itself has added."""
        return self._asked_for() == other._asked_for()

    def _asked_for(self) -> tuple[object, ...]:
        fields = (getattr(self.where, field) for field in Location.__slots__ if field != "id")
        rest = (self.owner, self.encryption_key, self.sync, self.allow_shared, self.created_by)
        return (*fields, *rest, frozenset(self.assignments))


def bucket_of(where: Location) -> str:
    """The same text for the same bucket, however its endpoint is spelt.

    All of Amazon counts as one: where a bucket of China has the name of one elsewhere, the question is asked in vain.
    """
    match where.provider:
        case Provider.AZURE:
            return f"azure:{where.environment}:{where.account}/{where.container}"
        case Provider.GCS:
            return f"gcs:{where.container}"
        case Provider.S3:
            return f"s3:{_store_of(where.endpoint)}/{where.container}"


def problems_of(new: BackupLocation) -> tuple[FieldProblem, ...]:
    """Everything that is wrong with what somebody typed, with the rules; no secret is repeated."""
    problems = [*location_problems(new.where)]
    if new.encryption_key is not None:
        environment = new.where.environment if new.where.provider is Provider.AZURE else None
        if (problem := key_reference_problem(new.encryption_key, environment)) is not None:
            problems.append(FieldProblem("encryption_key", problem))
    if not 1 <= len(new.owner) <= MAX_OWNER_CHARS or not new.owner.isprintable() or new.owner.strip() != new.owner:
        problems.append(
            FieldProblem("owner", f"is 1 to {MAX_OWNER_CHARS} printable characters, with no space first or last")
        )
    return tuple(problems)


def others_of(new: BackupLocation, known: Collection[BackupLocation]) -> list[BackupLocation]:
    """The locations with the same bucket, by name."""
    return sorted(
        (each for each in known if each.id != new.id and each.bucket == new.bucket), key=lambda each: each.name
    )


def from_row(row: Mapping[str, Any]) -> BackupLocation:
    """A location as `read_locations` gives it."""
    environment = row["environment"]
    where = Location(
        id=row["id"],
        name=row["name"],
        provider=Provider(row["provider"]),
        container=row["container"],
        account=row["account"],
        environment=None if environment is None else Environment(environment),
        resource_group=row["resource_group"],
        subscription_id=row["subscription_id"],
        region=row["region"],
        endpoint=row["endpoint"],
        path_style=row["path_style"],
        write_probe=row["write_probe"],
    )
    assigned: Sequence[tuple[str, float, str]] = row["assignments"]
    assignments = [Assignment(UUID(cluster), at, by) for cluster, at, by in assigned]
    return BackupLocation(
        where=where,
        owner=row["owner"],
        encryption_key=row["encryption_key"],
        sync=row["sync"],
        allow_shared=row["allow_shared"],
        created_at=row["created_at"],
        created_by=row["created_by"],
        assignments={each.cluster_id: each for each in assignments},
        version=row["version"],
        deleting_at=row["deleting_at"],
        deleting_by=row["deleting_by"],
    )


def to_row(new: BackupLocation) -> tuple[object, ...]:
    """What `insert_location` takes after the epoch."""
    where = new.where
    return (
        where.id,
        where.name,
        where.provider,
        where.account,
        where.container,
        where.environment,
        where.resource_group,
        where.subscription_id,
        where.region,
        where.endpoint,
        where.path_style,
        where.write_probe,
        new.encryption_key,
        new.sync,
        new.owner,
        new.bucket,
        new.allow_shared,
        new.created_at,
        new.created_by,
    )


def _store_of(endpoint: str | None) -> str:
    """Whose S3: `amazon`, or host and port."""
    if endpoint is None:
        return "amazon"
    parts = urlsplit(endpoint)
    host = (parts.hostname or "").rstrip(".")
    if host.endswith(_AMAZON):
        return "amazon"
    return f"{host}:{parts.port or {'http': 80}.get(parts.scheme, 443)}"
