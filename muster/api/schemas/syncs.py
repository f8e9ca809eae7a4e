"""Syncs of backup locations, and what was found in them."""

from __future__ import annotations

from typing import Annotated

from pydantic import AwareDatetime, Field

from muster.api.schemas.access import Body
from muster.api.schemas.document import Document


class SyncRequest(Body):
    """List the backups in a location now."""

    cluster: Annotated[str, Field(min_length=1, max_length=1024)] | None = None
    """Whose agent lists, by name or id. null = the hub itself where the location is its own, else the agent that has
    listed it longest ago."""
    queue: bool = False
    """Wait, where the bucket is being listed. Where the location has a sync already, that one is given."""


class Sync(Document):
    """A listing of a backup location."""

    id: str
    location: str
    state: str
    """`Pending`, `InProgress`, `Succeeded` or `Failed`."""
    method: str
    """`agent`, or `direct`: the hub itself."""
    cluster: str | None
    """Whose agent lists; null = the hub itself."""
    by: str
    """Who asked for it; `muster` for those of the interval."""
    asked_at: AwareDatetime
    began_at: AwareDatetime | None
    """It has the bucket since then; null = it waits for it."""
    ended_at: AwareDatetime | None
    listed: int
    """Objects so far."""
    of: int | None
    """Objects that there were the last time; null = never listed before."""
    estimate_s: float | None
    """How long it may take still; null = nobody can say."""
    before: int
    """How many syncs of the same bucket come before it, with the one that has it."""
    reason: str | None
    remedy: str | None
    message: str


class SyncStatus(Document):
    """How the sync of a location stands."""

    location: str
    sync: Sync | None
    """The one under way, or the last one that has ended; null = there was none."""
    waiting: int
    """How many wait for the same bucket, under whatever name."""


class InventoryGroup(Document):
    """Backups that the layout tells apart."""

    product: str
    """`velero` or `stork`."""
    prefix: str
    """Velero: of the store, "" at the top of the bucket. Stork: the namespace. `*` = all that are too many to tell."""
    cluster: str | None
    """Whose they are; null = the layout does not tell."""
    backups: int
    newest: str | None
    """Name of the newest one that is whole and has not failed."""
    newest_at: AwareDatetime | None
    newest_age_s: float | None
    """Now."""
    phase: str | None
    """What its metadata says; null = it was not, or can't be, read."""


class Inventory(Document):
    """What was found in a backup location at its last sync that succeeded."""

    location: str
    at: AwareDatetime
    age_s: float
    took_s: float
    method: str
    """`agent`, or `direct`: the hub itself."""
    cluster: str | None
    """Whose agent has listed it; null = the hub itself."""
    objects: int
    """Listed; volume data of Velero (`kopia`, `restic`) is not."""
    size_bytes: int
    backups: int
    newest_at: AwareDatetime | None
    groups: tuple[InventoryGroup, ...]
    """The one with the newest backup first."""
    missing: tuple[str, ...]
    """Objects that metadata names and that are not there; some of them."""
    missing_total: int
    truncated: str
    """Why this is not all that there is; "" where it is."""
