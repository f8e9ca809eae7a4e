"""The demo's backup locations, and what Velero in each simulated cluster says of them.

Pure: time is an argument, and who uses what follows from the names. Nothing of it exists in any cloud; the messages are
those that Velero shows where the named thing is wrong.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID, uuid5

from collector.location import Assignment, BackupLocation
from validator.locations import Environment, Location, Provider

VELERO_LIST = b"/apis/velero.io/v1/backupstoragelocations"

_NAMESPACE = UUID("5f0e1c52-6a0e-4d0c-9a51-5c9d2f6b7a10")

MAX_USERS = 60
"""Clusters that have backups: enough for a picture, few enough for one screen."""


class Place(NamedTuple):
    """One backup location."""

    where: Location
    owner: str
    spec: Mapping[str, Any]
    """As Velero has it."""

    @property
    def name(self) -> str:
        """Of both."""
        return self.where.name

    def made(self, now: float, assigned: Mapping[UUID, Assignment]) -> BackupLocation:
        """As an operator makes it."""
        return BackupLocation(
            where=self.where,
            owner=self.owner,
            encryption_key=None,
            sync=False,
            allow_shared=False,
            created_at=now,
            created_by="demo",
            assignments=assigned,
        )


class Say(NamedTuple):
    """What a Velero says of a location."""

    phase: str
    message: str = ""
    access: str = "ReadWrite"
    checked_ago_s: float = 20.0


PLACES = (
    Place(
        Location(
            uuid5(_NAMESPACE, "backups-weu"),
            "backups-weu",
            Provider.AZURE,
            "velero",
            account="musterdemoweu",
            environment=Environment.PUBLIC,
        ),
        "alder",
        {
            "provider": "velero.io/azure",
            "objectStorage": {"bucket": "velero"},
            "config": {"storageAccount": "musterdemoweu", "useAAD": "true"},
        },
    ),
    Place(
        Location(
            uuid5(_NAMESPACE, "archive-s3"), "archive-s3", Provider.S3, "muster-demo-archive", region="eu-central-1"
        ),
        "birch",
        {
            "provider": "velero.io/aws",
            "objectStorage": {"bucket": "muster-demo-archive"},
            "config": {"region": "eu-central-1"},
        },
    ),
    Place(
        Location(uuid5(_NAMESPACE, "longterm-gcs"), "longterm-gcs", Provider.GCS, "muster-demo-longterm"),
        "cedar",
        {"provider": "velero.io/gcp", "objectStorage": {"bucket": "muster-demo-longterm"}},
    ),
)

_WELL = Say("Available")
_READ_ONLY = Say("Available", access="ReadOnly")
_LEFT_OVER = Say("Available", checked_ago_s=7 * 3600.0)
_TROUBLES: Mapping[str, tuple[Say, ...]] = {
    "backups-weu": (
        Say("Unavailable", "rpc error: code = Unknown desc = RESPONSE 403: AuthorizationPermissionMismatch"),
        Say("Unavailable", "rpc error: code = Unknown desc = RESPONSE 403: AuthorizationFailure"),
        Say("Unavailable", "AADSTS700213: No matching federated identity record found for presented assertion"),
    ),
    "archive-s3": (
        Say("Unavailable", "AccessDenied: not authorized to perform: s3:ListBucket, status code: 403"),
        Say("Unavailable", "not authorized to perform: sts:AssumeRoleWithWebIdentity"),
    ),
    "longterm-gcs": (Say("Unavailable", "rpc error: code = Unknown desc = storage: bucket doesn't exist"),),
}


def users(names: Iterable[str]) -> dict[str, list[str]]:
    """By location: which of these clusters use it. Of the first `MAX_USERS`, each has one to three."""
    found: dict[str, list[str]] = {place.name: [] for place in PLACES}
    for number, name in enumerate(names):
        if number == MAX_USERS:
            break
        for place in places_of(name):
            found[place.name].append(name)
    return found


def places_of(cluster: str) -> Iterator[Place]:
    """What a cluster that has backups uses: most have two, all of them one at least."""
    drawn = _draw(cluster)
    main = drawn % len(PLACES)
    for number, place in enumerate(PLACES):
        if number == main or (drawn >> 8) % 10 < 5:
            yield place


def says(cluster: str, place: Place) -> Say:
    """Seven in ten are well; one trouble each is common, so that it shows as one cause of many cells."""
    drawn, troubles = _draw(f"{cluster}/{place.name}") % 100, _TROUBLES[place.name]
    if drawn < 70:
        return _WELL
    if drawn < 84:
        return troubles[0]
    if drawn < 92:
        return troubles[drawn % len(troubles)]
    return _READ_ONLY if drawn < 96 else _LEFT_OVER


def velero_answer(cluster: str, at_s: float) -> bytes:
    """The list of Velero's locations in this cluster, as its API server gives it."""
    return _list([_item(place, says(cluster, place), at_s) for place in places_of(cluster)])


def buckets(count: int) -> tuple[Place, ...]:
    """So many places that differ in nothing but the number, for benchmarks."""
    names = [f"bucket-{number}" for number in range(count)]
    return tuple(
        Place(
            Location(uuid5(_NAMESPACE, name), name, Provider.S3, name, region="eu-central-1"),
            "bench",
            {"provider": "velero.io/aws", "objectStorage": {"bucket": name}, "config": {"region": "eu-central-1"}},
        )
        for name in names
    )


def well(places: Iterable[Place], at_s: float) -> bytes:
    """The list of a Velero that has all of them and finds them well."""
    return _list([_item(place, _WELL, at_s) for place in places])


def _list(items: list[dict[str, Any]]) -> bytes:
    document = {
        "apiVersion": "velero.io/v1",
        "kind": "BackupStorageLocationList",
        "metadata": {"continue": "", "resourceVersion": "48213"},
        "items": items,
    }
    return json.dumps(document, separators=(",", ":")).encode()


def _item(place: Place, say: Say, at_s: float) -> dict[str, Any]:
    status = {"phase": say.phase, "lastValidationTime": _iso(at_s - say.checked_ago_s)}
    return {
        "apiVersion": "velero.io/v1",
        "kind": "BackupStorageLocation",
        "metadata": {"name": place.name, "namespace": "velero", "creationTimestamp": "2026-03-01T08:00:00Z"},
        "spec": {**place.spec, "accessMode": say.access, "default": True},
        "status": status | ({"message": say.message} if say.message else {}),
    }


def _draw(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
