"""The matrix as the API gives it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

from collector.causes import MAX_NAMES, Cause, Scope
from collector.cluster import Cluster
from collector.fleet import States
from collector.location import BackupLocation
from collector.matrix import Cell
from muster.api import schemas
from muster.api.matrix_lists import MatrixList
from muster.api.present import ATTENTION, check, instant, maybe_instant
from muster.docs.reasons import reason_link
from validator.health import HealthSettings, shown
from validator.locations import Provider
from validator.model import Check
from validator.reasons import REASONS

_MANY_CLUSTERS = "each of these clusters"
_MANY_LOCATIONS = "each of these locations"


def matrix_cell(cell: Cell, now: float) -> schemas.MatrixCell:
    """One pair in a list, with its age at `now`."""
    return schemas.MatrixCell(**_members(cell, now))


def matrix_cell_detail(
    cell: Cell,
    cluster: Cluster,
    location: BackupLocation,
    states: States,
    now: float,
    next_due_s: float | None,
    settings: HealthSettings,
) -> schemas.MatrixCellDetail:
    """All that is known of one pair at `now`."""
    where = location.where.url
    seen = (shown(states[each], now) for each in Check if each in states)
    return schemas.MatrixCellDetail(
        **_members(cell, now),
        now=instant(now),
        owner=location.owner,
        url=where,
        remedy=None if cell.reason is None else REASONS[cell.reason].remedy_for(cluster.name, where, cell.provider),
        next_due_s=None if next_due_s is None else round(next_due_s, 3),
        history=f"/api/v1/clusters/{cluster.id}/history?location={location.id}",
        checks=tuple(check(each, cluster.name, where, now, settings) for each in seen),
    )


def head(
    listed: MatrixList,
    locations: Mapping[UUID, BackupLocation],
    generation: int,
    now: float,
    following: str | None,
) -> schemas.MatrixPage:
    """A page without its cells."""
    return schemas.MatrixPage(
        generation=generation,
        now=instant(now),
        total=len(listed.pairs),
        clusters=len(listed.rows),
        counts={health.value: listed.counts[health] for health in ATTENTION},
        locations=tuple(_columns(listed, locations)),
        causes=tuple(_cause(cause, locations) for cause in listed.causes),
        next=following,
        cells=(),
    )


def _members(cell: Cell, now: float) -> dict[str, Any]:
    age_s = cell.age_s(now)
    return {
        "cluster_id": str(cell.key.cluster_id),
        "cluster": cell.cluster,
        "location_id": str(cell.key.location_id),
        "location": cell.location,
        "provider": cell.provider,
        "account": cell.account,
        "health": cell.health,
        "check": cell.check,
        "reason": cell.reason,
        "stage": cell.stage,
        "message": cell.message,
        "since": maybe_instant(cell.since),
        "age_s": None if age_s is None else round(age_s, 3),
        "last_known": cell.last_known,
        "last_success_at": maybe_instant(cell.last_success_at),
        "method": cell.method or None,
        "flapping": cell.flapping,
        "docs": None if cell.reason is None else reason_link(cell.reason),
    }


def _columns(listed: MatrixList, locations: Mapping[UUID, BackupLocation]) -> Iterator[schemas.MatrixColumn]:
    for location_id, number in listed.columns.items():
        where = locations[location_id].where
        yield schemas.MatrixColumn(
            id=str(location_id), name=where.name, provider=where.provider, account=where.account, pairs=number
        )


def _cause(cause: Cause, locations: Mapping[UUID, BackupLocation]) -> schemas.MatrixCause:
    reason = cause.reason
    return schemas.MatrixCause(
        text=cause.text,
        scope=cause.scope.name.lower(),
        where=cause.where or None,
        health=cause.health,
        reason=reason,
        pairs=len(cause.pairs),
        clusters=len(cause.clusters),
        locations=len(cause.locations),
        cluster_names=cause.clusters[:MAX_NAMES],
        location_names=cause.locations[:MAX_NAMES],
        since=maybe_instant(cause.since),
        remedy=None if reason is None else REASONS[reason].remedy_for(*_whom(cause, locations)),
        docs=None if reason is None else reason_link(reason),
    )


def _whom(cause: Cause, locations: Mapping[UUID, BackupLocation]) -> tuple[str, str, Provider | None]:
    """For the remedy: which clusters, where, and in whose cloud if it is one."""
    who = cause.clusters[0] if len(cause.clusters) == 1 else _MANY_CLUSTERS
    providers = {locations[each.location_id].where.provider for each in cause.pairs}
    provider = providers.pop() if len(providers) == 1 else None
    if len(cause.locations) == 1:
        return who, locations[cause.pairs[0].location_id].where.url, provider
    return who, f"account {cause.where}" if cause.scope is Scope.ACCOUNT else _MANY_LOCATIONS, provider
