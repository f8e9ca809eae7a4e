"""Reasons about what is read of Velero and Stork over the cluster's own API."""

from __future__ import annotations

from validator.words import Health, Reason, ReasonInfo, Stage

_BAD, _DUNNO, _WARN = Health.UNHEALTHY, Health.UNKNOWN, Health.DEGRADED

RESOURCE_ROWS: dict[Reason, ReasonInfo] = {
    Reason.RESOURCE_ABSENT: ReasonInfo(
        Stage.RESOURCE,
        _BAD,
        False,
        "The cluster has no such resource, or not even its kind (Velero or Stork is not installed, or older).",
        "On {cluster}: `kubectl get backupstoragelocations -A` (Velero) or `kubectl get backuplocations -A` (Stork); "
        "install the product or create the resource. The message names what was looked for.",
    ),
    Reason.RESOURCE_FORBIDDEN: ReasonInfo(
        Stage.RESOURCE,
        _DUNNO,
        False,
        "The hub may not read the resource (403), so nothing is known of it.",
        "Bind the `muster-viewer` ClusterRole (get and list on velero.io and stork.libopenstorage.org) to the hub's "
        "user in {cluster}.",
    ),
    Reason.RESOURCE_UNAVAILABLE: ReasonInfo(
        Stage.RESOURCE,
        _BAD,
        True,
        "The product in the cluster says that the location does not work for it.",
        "Read its own message in the evidence; `velero backup-location get` or `kubectl describe backuplocation` on "
        "{cluster} has more.",
    ),
    Reason.RESOURCE_STALE: ReasonInfo(
        Stage.RESOURCE,
        _DUNNO,
        True,
        "The product's own check of the location is too old to be believed, whatever it says.",
        "Check that the Velero or Stork deployment runs on {cluster} (one hanging location holds up Velero's others), "
        "and that `validationFrequency` is not 0.",
    ),
    Reason.RESOURCE_READ_ONLY: ReasonInfo(
        Stage.RESOURCE,
        _WARN,
        False,
        "Velero may only read the location: restores work, but no backup is written to it.",
        "If the restore is over, on {cluster}: `kubectl -n velero edit backupstoragelocation NAME`, and set "
        "`spec.accessMode` to ReadWrite.",
    ),
    Reason.RESOURCE_PHASE_UNKNOWN: ReasonInfo(
        Stage.RESOURCE,
        _DUNNO,
        False,
        "The resource has no state yet, or one that this release does not know.",
        "Wait for its first check; if the message names a state, upgrade Muster or set the status path for this "
        "version of Velero or Stork.",
    ),
    Reason.VERSION_TOO_OLD: ReasonInfo(
        Stage.RESOURCE,
        _BAD,
        False,
        "A component on the cluster is too old for locations with workload identity (needed: Stork 26.3.0, Portworx "
        "Operator 26.2.0, Portworx Enterprise 3.6.1).",
        "Upgrade the component in the evidence on {cluster}.",
    ),
    Reason.STANDALONE_STORK: ReasonInfo(
        Stage.RESOURCE,
        _BAD,
        False,
        "Stork was installed by itself, not by the Portworx Operator; workload identity is set on the StorageCluster, "
        "which a standalone Stork does not have.",
        "Install Stork through the Operator (a StorageCluster with `stork.enabled: true`) on {cluster}.",
    ),
}
