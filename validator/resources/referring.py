"""Which backups, schedules and restores of a cluster refer to a place: what a deletion of the location waits for.

The products' locations at this place first; then, only where there is one, what names it. Bounded: who wants to know
whether anything refers to a place is served by the first few hundred. Restores of Velero name a backup or a schedule,
no location; one whose backup is gone refers to nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from validator.cluster_api.reader import ClusterReader, Refused, segments
from validator.locations import FieldProblem
from validator.printable import printable
from validator.resources import document as read
from validator.resources.fetch import MAX_RESOURCES, STORK_LIST, VELERO_LIST
from validator.resources.places import Place, place_of
from validator.resources.resource import LocationResource
from validator.resources.stork import backup_location
from validator.resources.velero import backup_storage_location

MAX_REFERRING = 300
"""Of one kind and one location."""

_LABEL = "velero.io/storage-location"
_LABEL_CHARS = 63
"""Velero cuts longer values and puts a hash at their end."""


class ReferenceKind(StrEnum):
    """What refers."""

    BACKUP = "backup"
    SCHEDULE = "schedule"
    RESTORE = "restore"


@dataclass(frozen=True, slots=True)
class Reference:
    """One resource that refers to the place."""

    kind: ReferenceKind
    namespace: str
    name: str


class NotWhole(Exception):  # noqa: N818 - a state of the world, not a defect
    """More than is read, and nothing in what was read: nobody knows."""


async def references(reader: ClusterReader, place: Place) -> tuple[Reference, ...]:
    """All that refer to it, of both products. Raises `Refused` (403), `ProbeFailure`, `NotWhole`."""
    return (*await _of_velero(reader, place), *await _of_stork(reader, place))


async def _of_velero(reader: ClusterReader, place: Place) -> list[Reference]:
    found: list[Reference] = []
    for document in await _all(reader, VELERO_LIST, "BackupStorageLocationList"):
        resource = backup_storage_location(document)
        if not _is_at(resource, place):
            continue
        namespace, name, default = resource.namespace, resource.name, read.flag(document, "spec.default")
        there = ("apis", "velero.io", "v1", "namespaces", namespace)
        label = [("labelSelector", f"{_LABEL}={name}")] if len(name) <= _LABEL_CHARS else []
        backups = await _those(
            reader,
            segments(*there, "backups"),
            "BackupList",
            lambda each, name=name: read.text(each, "spec.storageLocation") == name,  # type: ignore[misc]
            label,
        )
        schedules = await _those(
            reader,
            segments(*there, "schedules"),
            "ScheduleList",
            lambda each, name=name, default=default: _goes_to(each, name, default=default),  # type: ignore[misc]
        )
        restores = await _those(
            reader,
            segments(*there, "restores"),
            "RestoreList",
            lambda each, of=backups, by=schedules: (  # type: ignore[misc]
                read.text(each, "spec.backupName") in of or read.text(each, "spec.scheduleName") in by
            ),
        )
        found += _references(namespace, backups, schedules, restores)
    return found


async def _of_stork(reader: ClusterReader, place: Place) -> list[Reference]:
    found: list[Reference] = []
    for document in await _all(reader, STORK_LIST, "BackupLocationList"):
        resource = backup_location(document)
        if not _is_at(resource, place):
            continue
        there = ("apis", "stork.libopenstorage.org", "v1alpha1", "namespaces", resource.namespace)
        named = [
            await _those(
                reader,
                segments(*there, plural),
                kind,
                lambda each, path=path, name=resource.name: read.text(each, path) == name,  # type: ignore[misc]
            )
            for plural, kind, path in _OF_STORK
        ]
        found += _references(resource.namespace, *named)
    return found


_OF_STORK = (
    ("applicationbackups", "ApplicationBackupList", "spec.backupLocation"),
    ("applicationbackupschedules", "ApplicationBackupScheduleList", "spec.template.spec.backupLocation"),
    ("applicationrestores", "ApplicationRestoreList", "spec.backupLocation"),
)


def _goes_to(schedule: Mapping[str, Any], name: str, *, default: bool) -> bool:
    wanted = read.text(schedule, "spec.template.storageLocation")
    return wanted == name or (wanted is None and default)


async def _all(reader: ClusterReader, path: str, kind: str) -> tuple[Mapping[str, Any], ...]:
    """Every location of a product; none where it is not installed. Raises `NotWhole` where there are too many."""
    try:
        listed = await reader.items(path, kind, MAX_RESOURCES)
    except Refused as refused:
        if refused.status == 404:
            return ()
        raise
    if not listed.whole:
        raise NotWhole(f"there are more than {MAX_RESOURCES} at {path}")
    return listed.items


async def _those(
    reader: ClusterReader,
    path: str,
    kind: str,
    wanted: Callable[[Mapping[str, Any]], bool],
    query: Sequence[tuple[str, str | int]] = (),
) -> set[str]:
    """Names of those that are wanted."""
    try:
        listed = await reader.items(path, kind, MAX_REFERRING, query)
    except Refused as refused:
        if refused.status == 404:  # an older product without the kind
            return set()
        raise
    names = {read.text(each, "metadata.name") or "" for each in listed.items if wanted(each)}
    if not names and not listed.whole:
        raise NotWhole(f"there are more than {MAX_REFERRING} at {path}")
    return names


def _is_at(resource: LocationResource, place: Place) -> bool:
    return not isinstance(resource.place, FieldProblem) and place_of(resource.place) == place


def _references(namespace: str, *names: Collection[str]) -> Iterator[Reference]:
    for kind, some in zip(ReferenceKind, names, strict=True):
        for name in sorted(some):
            yield Reference(kind, printable(namespace), printable(name))
