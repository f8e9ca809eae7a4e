"""Which objects are a backup: the layouts of Velero and Stork, recognised from names alone. Pure.

Velero (`pkg/persistence/object_store_layout.go`): `[PREFIX/]backups/NAME/`, with `velero-backup.json` (the metadata),
`NAME.tar.gz` (the contents; no backup can be restored without) and files that some backups have and some have not
(`NAME-logs.gz`, `NAME-volumesnapshots.json.gz`, …). Beside `backups/` lie `restores/`, `metadata/`, `plugins/` and the
repositories of the volumes' data, `restic/` and `kopia/`: millions of blobs whose names say nothing about backups.

Stork (`pkg/applicationmanager/controllers/applicationbackup.go`, `GetObjectPath`): `NAMESPACE/NAME/UID/`, with
`metadata.json`, written last, and `resources.json`; `crds.json` and `namespaces.json` came with later releases, so that
their lack says nothing. An encryption key of the location encrypts what is in them, not their names.

Neither names the cluster that made the backup: Velero's prefix and Stork's namespace are all that a layout tells.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from validator.backups.objects import Listed

SETTLING_S = 3600.0
"""A backup whose metadata is younger may still be being written: Velero uploads the metadata before the contents."""

VELERO_FOLDERS = frozenset({"restores", "restic", "kopia", "metadata", "plugins"})
"""Of a Velero store, beside `backups`: nothing in them is counted."""

VELERO_METADATA = "velero-backup.json"
STORK_METADATA = "metadata.json"

_STORK_DATA = "resources.json"
_UID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Product(StrEnum):
    """Whose layout it is."""

    VELERO = "velero"
    STORK = "stork"


@dataclass(frozen=True, slots=True)
class Backup:
    """One backup that is there."""

    product: Product
    group: str
    """Velero: the prefix of its store, "" at the top. Stork: the namespace."""
    name: str
    metadata: str
    """The object with its metadata."""
    written_at: float
    """When that was written, by the provider's clock."""
    missing: str | None
    """An object that has to be there and is not."""

    @property
    def whole(self) -> bool:
        """Whether all that a restore needs is there."""
        return self.missing is None


@dataclass(slots=True)
class _Folder:
    """One that may be a backup, while its objects come."""

    path: str
    metadata: Listed | None = None
    data: bool = False


class Recogniser:
    """Takes objects in the provider's order, and gives each backup once its folder has ended.

    It holds one folder: every provider gives the objects of a folder one after the other. Where one does not (it may
    come to an S3-compatible store), `in_order` becomes false, and what seems to be missing may only come later.
    """

    def __init__(self) -> None:
        self._folder = _Folder("")
        self._last = ""
        self._by_text = self._by_path = True

    @property
    def in_order(self) -> bool:
        """Names have come by their bytes, or (Azure with a hierarchical namespace) folder by folder."""
        return self._by_text or self._by_path

    def add(self, one: Listed) -> Backup | None:
        """One more object; the backup whose folder it ends, if it was one."""
        if one.name <= self._last:
            self._by_text = False
        if self._last.split("/") >= one.name.split("/"):
            self._by_path = False
        self._last = one.name
        path, _, file = one.name.rpartition("/")
        ended: Backup | None = None
        if path != self._folder.path:
            if (
                path.startswith(f"{self._folder.path}/")
                and _may_be_backup(self._folder.path)
                and not _may_be_backup(path)
            ):
                return None  # a folder in a backup's folder, between two of its files
            ended, self._folder = backup_of(self._folder), _Folder(path)
        folder = self._folder
        if file in (VELERO_METADATA, STORK_METADATA):
            folder.metadata = one
        elif file in (_STORK_DATA, f"{path.rpartition('/')[2]}.tar.gz"):
            folder.data = True
        return ended

    def section(self) -> Backup | None:
        """Another listing begins, whose names need not follow; the backup that the one before ended with."""
        ended, self._folder, self._last = backup_of(self._folder), _Folder(""), ""
        return ended


def backup_of(folder: _Folder) -> Backup | None:
    """The backup that a folder is, if it is one."""
    if folder.metadata is None or not _may_be_backup(folder.path):
        return None
    parts, metadata = folder.path.split("/"), folder.metadata
    if metadata.name.endswith(f"/{VELERO_METADATA}") and parts[-2] == "backups":
        product, group, name, data = Product.VELERO, "/".join(parts[:-2]), parts[-1], f"{parts[-1]}.tar.gz"
    elif metadata.name.endswith(f"/{STORK_METADATA}") and len(parts) == 3 and _UID.fullmatch(parts[2]):
        product, group, name, data = Product.STORK, parts[0], parts[1], _STORK_DATA
    else:
        return None
    missing = None if folder.data else f"{folder.path}/{data}"
    return Backup(product, group, name, metadata.name, metadata.modified_at, missing)


def _may_be_backup(path: str) -> bool:
    """By its path alone."""
    parts = path.split("/")
    return len(parts) >= 2 and (parts[-2] == "backups" or (len(parts) == 3 and bool(_UID.fullmatch(parts[2]))))
