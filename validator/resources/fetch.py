"""Reads the resources of one cluster over its API: which paths, and what their answers mean.

Five GETs at most where all is there, four where nothing is: Velero's locations, Stork's (a kind that is absent costs a
second GET, for why), and only if Stork has some, the versions that it needs. Lists are of all namespaces at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from validator.cluster_api.reader import ClusterReader, Refused
from validator.model import Check
from validator.printable import printable
from validator.resources.portworx import Portworx, storage_cluster, stork_version
from validator.resources.reading import Access, ClusterReading, ProductReading
from validator.resources.resource import LocationResource
from validator.resources.stork import STATUS_PATHS, backup_location
from validator.resources.velero import backup_storage_location

VELERO_LIST = "/apis/velero.io/v1/backupstoragelocations"
STORK_LIST = "/apis/stork.libopenstorage.org/v1alpha1/backuplocations"
STORK_VERSION = "/api/v1/namespaces/kube-system/configmaps/stork-version"
STORAGE_CLUSTERS = "/apis/core.libopenstorage.org/v1/storageclusters"

MAX_RESOURCES = 300
"""Of one product in one cluster; real clusters have one to ten."""
MAX_STORAGE_CLUSTERS = 10
"""The Operator allows one."""

_Parse = Callable[[Mapping[str, Any]], LocationResource]


async def read_cluster(
    reader: ClusterReader, read_at: float, status_paths: Sequence[str] = STATUS_PATHS
) -> ClusterReading:
    """All of it. Raises `ProbeFailure` where the cluster does not let itself be read at all."""
    velero = await _product(reader, Check.VELERO, VELERO_LIST, "BackupStorageLocationList", backup_storage_location)
    stork = await _product(
        reader, Check.STORK, STORK_LIST, "BackupLocationList", lambda each: backup_location(each, status_paths)
    )
    portworx = await _portworx(reader) if stork.resources else None
    return ClusterReading(read_at, (velero, stork), portworx)


async def _product(reader: ClusterReader, check: Check, path: str, kind: str, parse: _Parse) -> ProductReading:
    try:
        listed = await reader.items(path, kind, MAX_RESOURCES)
    except Refused as refused:
        if refused.status == 404:
            return ProductReading(check, Access.ABSENT, note=await _why_absent(reader, path))
        return ProductReading(check, Access.FORBIDDEN, note=refused.message)
    return ProductReading(check, Access.READ, tuple(map(parse, listed.items)), more=not listed.whole)


async def _why_absent(reader: ClusterReader, path: str) -> str:
    """Not installed, or another version of the kind than the one that is read here."""
    _, _, group, version, kind = path.split("/")
    absent = f"the cluster has no {kind}.{group}"
    try:
        versions = (await reader.get(f"/apis/{group}", "APIGroup")).get("versions")
    except Refused:
        return absent
    served = [each.get("version") for each in versions if isinstance(each, dict)] if isinstance(versions, list) else []
    known = [printable(each, 20) for each in served[:10] if isinstance(each, str)]
    return f"the cluster serves {group} as {', '.join(known)}, and no {kind} of {version}" if known else absent


async def _portworx(reader: ClusterReader) -> Portworx:
    try:
        stork = stork_version(await reader.get(STORK_VERSION, "ConfigMap"))
    except Refused:
        stork = None
    try:
        listed = await reader.items(STORAGE_CLUSTERS, "StorageClusterList", MAX_STORAGE_CLUSTERS)
    except Refused as refused:
        # Without the kind there is no Operator; without the right nobody knows.
        return Portworx(stork, () if refused.status == 404 else None)
    return Portworx(stork, tuple(map(storage_cluster, listed.items)))
