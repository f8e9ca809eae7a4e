"""Validation jobs as the API gives them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from collector.cluster import Cluster
from collector.location import BackupLocation
from collector.validation import Job
from muster.api import schemas
from muster.api.present import instant, maybe_instant
from muster.api.sse import encoded
from muster.events import Event, Kind
from validator.reasons import REASONS

Clusters = Mapping[UUID, Cluster]


def job_of(job: Job, location: BackupLocation, clusters: Clusters) -> schemas.ValidationJob:
    """In a list."""
    return schemas.ValidationJob(**_members(job, location, clusters))


def asked_job(job: Job, location: BackupLocation, clusters: Clusters, *, joined: bool) -> schemas.AskedValidationJob:
    """To whoever has asked for it."""
    return schemas.AskedValidationJob(**_members(job, location, clusters), joined=joined)


def step_event(job: Job, location: BackupLocation, clusters: Clusters, position: int) -> Event:
    """To whoever listens. Without an id: it is no point to go on from, `GET .../validations` is."""
    named = {"location_id": str(location.id), "location": location.name}
    document = schemas.ValidationStep(**_members(job, location, clusters), **named)
    return Event(encoded(Kind.VALIDATION, document), position, Kind.VALIDATION, job.pair.cluster_id)


def _members(job: Job, location: BackupLocation, clusters: Clusters) -> dict[str, Any]:
    cluster = clusters.get(job.pair.cluster_id)
    name = None if cluster is None else cluster.name
    remedy = None
    if job.reason is not None:
        remedy = REASONS[job.reason].remedy_for(
            name or str(job.pair.cluster_id), location.where.url, location.where.provider
        )
    return {
        "id": str(job.id),
        "cluster_id": str(job.pair.cluster_id),
        "cluster": name,
        "state": job.state,
        "method": job.method or None,
        "reason": job.reason,
        "stage": job.stage,
        "message": job.message,
        "remedy": remedy,
        "asked_at": instant(job.asked_at),
        "asked_by": job.by,
        "began_at": maybe_instant(job.began_at),
        "ended_at": maybe_instant(job.ended_at),
    }
