"""What workload identity in Stork needs of Portworx on the cluster: versions, and the Operator itself. Pure.

A version that is not shown is no failure: what can't be read is not held against a cluster, the evidence says so.

Sources: Portworx Backup's documentation of federated mode (the versions); the Operator's `storagecluster.go`; Stork's
`cmd/stork/stork.go` (ConfigMap `stork-version`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from validator.model import Evidence
from validator.printable import printable
from validator.reasons import Reason
from validator.resources import document as read
from validator.resources.versions import Version, version_from, version_of_image

STORK_NEEDED = Version((26, 3, 0, 0))
OPERATOR_NEEDED = Version((26, 2, 0, 0))
ENTERPRISE_NEEDED = Version((3, 6, 1, 0))

NOT_SHOWN = "not shown"


@dataclass(frozen=True, slots=True)
class StorageCluster:
    """The Operator's resource: the fields on the allowlist, no other."""

    where: str
    enterprise: Version | None
    operator: Version | None
    stork: bool
    """Whether the Operator runs Stork."""


@dataclass(frozen=True, slots=True)
class Portworx:
    """What is installed; None where it could not be read."""

    stork: Version | None
    storage_clusters: tuple[StorageCluster, ...] | None


@dataclass(frozen=True, slots=True)
class Missing:
    """One prerequisite that is not met."""

    reason: Reason
    message: str


def stork_version(document: object) -> Version | None:
    """From the ConfigMap `kube-system/stork-version`."""
    return version_from(read.text(document, "data.version") or "")


def storage_cluster(document: object) -> StorageCluster:
    """From a `StorageCluster` of core.libopenstorage.org; the environment variables in it are not looked at."""
    shown = read.text(document, "status.version") or read.text(document, "spec.version")
    namespace, name = (read.text(document, f"metadata.{key}") or "" for key in ("namespace", "name"))
    return StorageCluster(
        where=f"{printable(namespace)}/{printable(name)}",
        enterprise=version_from(shown or "") or version_of_image(read.text(document, "spec.image") or ""),
        operator=version_from(read.text(document, "status.operatorVersion") or ""),
        stork=read.flag(document, "spec.stork.enabled"),
    )


def missing(found: Portworx) -> tuple[Missing, ...]:
    """Everything that is known to be missing; the gravest first: without the Operator, versions don't matter."""
    clusters = found.storage_clusters
    if clusters is not None and not any(cluster.stork for cluster in clusters):
        why = f"{clusters[0].where} has stork.enabled: false" if clusters else "there is no StorageCluster"
        return (Missing(Reason.STANDALONE_STORK, f"Stork runs without the Portworx Operator: {why}"),)
    needs = [("Stork", found.stork, STORK_NEEDED)]
    for cluster in clusters or ():
        if cluster.stork:
            needs.append(("Portworx Operator", cluster.operator, OPERATOR_NEEDED))
            needs.append(("Portworx Enterprise", cluster.enterprise, ENTERPRISE_NEEDED))
    return tuple(
        Missing(Reason.VERSION_TOO_OLD, f"{what} is {version}, needed is {needed} or later")
        for what, version, needed in needs
        if version is not None and version < needed
    )


def evidence_of(found: Portworx) -> Evidence:
    """The versions, for the evidence of the check `stork`."""
    clusters: Sequence[StorageCluster] = [cluster for cluster in found.storage_clusters or () if cluster.stork]
    return {
        "stork_version": _shown([found.stork]),
        "operator_version": _shown([cluster.operator for cluster in clusters]),
        "enterprise_version": _shown([cluster.enterprise for cluster in clusters]),
    }


def _shown(versions: Sequence[Version | None]) -> str:
    """The lowest one: it decides."""
    known = [version for version in versions if version is not None]
    return str(min(known)) if known else NOT_SHOWN
