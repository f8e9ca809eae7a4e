"""Backup locations, and which clusters use them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from muster.api.schemas.access import Body
from muster.api.schemas.document import Document

Typed = Annotated[str, Field(max_length=500)]
"""A field whose own rule says more."""

Clusters = Annotated[tuple[Annotated[str, Field(min_length=1, max_length=1024)], ...], Field(max_length=1000)]


class LocationCreate(Body):
    """A new backup location. No credential belongs into it: each cluster asks with its own workload identity."""

    name: Typed
    """Unique; lower-case letters, digits, dashes and periods, as Velero and Stork keep it."""
    provider: Literal["azure", "s3", "gcs"]
    container: Typed
    """The container's or bucket's name alone: no prefix, no slash, no URL."""
    account: Typed | None = None
    """Azure: the storage account."""
    environment: Typed | None = None
    """Azure: `AzurePublicCloud` or `AzureChinaCloud`."""
    resource_group: Typed | None = None
    """Azure: needed, with `subscription_id`, before object lock can be read."""
    subscription_id: Typed | None = None
    """Azure: needed, with `resource_group`, before object lock can be read."""
    region: Typed | None = None
    """S3: of the bucket; null = that of whoever asks."""
    endpoint: Typed | None = None
    """S3: `https://HOST` of a compatible store; null = Amazon's."""
    path_style: bool = False
    """S3: the bucket stands in the path instead of the host name."""
    encryption_key: Annotated[str, Field(min_length=1, max_length=8192)] | None = None
    """By reference only: a Key Vault URI, an AWS KMS ARN or alias, a Google KMS resource name, or a Kubernetes Secret
    as `NAMESPACE/NAME#KEY`. A key itself is refused, and not kept."""
    owner: Typed | None = None
    """Whose it is; null = who makes it."""
    sync: bool = False
    """List the backups that are there; with `clusters` the first time at once."""
    write_probe: bool = False
    """Also write, read back and delete a small object at each check. Without it nothing is ever written."""
    allow_shared: bool = False
    """Make it even though another location has the same bucket."""
    clusters: Clusters = ()
    """Those that use it, by name or id."""


class LocationAssignment(Body):
    """All the clusters that use a location."""

    clusters: Clusters
    """By name or id. Those that are not among them are unassigned."""


class LocationAssignmentChange(Body):
    """Clusters to assign and to unassign; the others stay as they are."""

    add: Clusters = ()
    """By name or id. Assigned already: nothing happens."""
    remove: Clusters = ()
    """By name or id. Not assigned: nothing happens."""


class Location(Document):
    """A backup location."""

    id: str
    name: str
    provider: str
    """`azure`, `s3` or `gcs`."""
    container: str
    account: str | None
    environment: str | None
    resource_group: str | None
    subscription_id: str | None
    region: str | None
    endpoint: str | None
    path_style: bool
    url: str
    """Where it is, for people."""
    encryption_key: str | None
    """The name of a key that is kept elsewhere."""
    owner: str
    sync: bool
    write_probe: bool
    """Whether checks write a small object, too."""
    allow_shared: bool
    shared_with: tuple[str, ...]
    """Other locations with the same bucket."""
    status: str
    """`Valid`, `LimitedAvailability`, `ValidationInProgress`, `ValidationFailed` or `DeletePending`."""
    message: str
    """What that is made of, in a sentence."""
    notes: tuple[str, ...]
    """What to know about it, each a sentence."""
    assigned: int
    """How many clusters use it."""
    created_at: AwareDatetime
    created_by: str
    deleting_at: AwareDatetime | None
    """Its deletion began then; null = it stays."""
    deleting_by: str | None
    version: int
    etag: str
    """For `If-Match`: names this state of the assignment. A change of `status` does not change it."""


class AssignedCluster(Document):
    """A cluster that uses a location."""

    id: str
    name: str | None
    """null = it is not in the fleet at the moment."""
    health: str
    """Of the pair: how this location works from this cluster."""
    assigned_at: AwareDatetime
    assigned_by: str


class LocationDetail(Location):
    """A backup location, with its clusters."""

    clusters: tuple[AssignedCluster, ...]


class LocationPage(Document):
    """Locations, by name."""

    total: int
    """How many match."""
    next: str | None
    """Give it as `after` for the next page; null = this was the last."""
    locations: tuple[Location, ...]
