"""The matrix: how each backup location works from each cluster that uses it."""

from __future__ import annotations

from pydantic import AwareDatetime

from muster.api.schemas.clusters import Check
from muster.api.schemas.document import Document


class MatrixCell(Document):
    """One pair: a cluster, and a backup location that it uses."""

    cluster_id: str
    cluster: str
    """The cluster's name."""
    location_id: str
    location: str
    """The location's name."""
    provider: str
    """`azure`, `s3` or `gcs`."""
    account: str | None
    """Azure: the storage account."""
    health: str
    """How the location works from this cluster, by the continuous check; the state of a validation job is not in it."""
    check: str | None
    """The check that decides: `location` or `object-lock`."""
    reason: str | None
    """Why; null = nothing is wrong."""
    stage: str | None
    """Where the question ended, e.g. `identity` or `storage`."""
    message: str
    """What was seen, in a sentence of at most 500 characters; may be empty."""
    since: AwareDatetime | None
    """Since when it is so."""
    age_s: float | None
    """Age of the fact that decides; null = there is none."""
    last_known: str | None
    """While the health is Unknown: the last one that was known."""
    last_success_at: AwareDatetime | None
    """Last time that it worked."""
    method: str | None
    """Who asked: `agent` (from within the cluster), `resource` (what Velero or Stork say of it) or `direct` (the hub
    itself); null = nobody has."""
    flapping: bool
    """It changes to and fro."""
    docs: str | None
    """Where the reason is explained."""


class MatrixCellDetail(MatrixCell):
    """All that is known of one pair."""

    now: AwareDatetime
    """The moment of this picture; every age is counted to it."""
    owner: str
    """Whose location it is."""
    url: str
    """Where the location is, for people."""
    remedy: str | None
    """What to do about the reason that decides."""
    next_due_s: float | None
    """Until the hub asks again; null = it is being asked, or the cluster's agent asks, or nobody does."""
    history: str
    """Path of the pair's history."""
    checks: tuple[Check, ...]
    """Those too that do not decide, e.g. `backups`."""


class MatrixColumn(Document):
    """A location that has cells among those that match."""

    id: str
    name: str
    provider: str
    account: str | None
    pairs: int


class MatrixCause(Document):
    """What pairs that are not healthy have in common. Each of them is in exactly one cause."""

    text: str
    """For people: `12 clusters: RoleMissing on account acme`."""
    scope: str
    """What they share besides the reason: `account`, `location`, `cluster`, `reason` (nothing else), or `rest` (not
    even that: what is beyond fifty causes)."""
    where: str | None
    """Name of the account, location or cluster."""
    health: str
    reason: str | None
    pairs: int
    clusters: int
    locations: int
    cluster_names: tuple[str, ...]
    """The first five."""
    location_names: tuple[str, ...]
    """The first five."""
    since: AwareDatetime | None
    """Of the pair that is so for longest."""
    remedy: str | None
    """What to do about it."""
    docs: str | None
    """Where the reason is explained."""


class MatrixPage(Document):
    """Cells of the matrix. All but `next` and `cells` is about everything that matches, and the same on each page."""

    generation: int
    """Rises whenever the matrix means something else: a pair's health, or a fact that outlived its allowance. Ages grow
    without it."""
    now: AwareDatetime
    """The moment of this picture; every age is counted to it."""
    total: int
    """Cells that match."""
    clusters: int
    """Clusters among them: rows."""
    counts: dict[str, int]
    """Cells by health, worst first; every health is there, whatever the parameter `health` says."""
    locations: tuple[MatrixColumn, ...]
    """Columns, by name."""
    causes: tuple[MatrixCause, ...]
    """The worst and largest first; at most fifty."""
    next: str | None
    """Give it as `after` for the next page; null = this was the last."""
    cells: tuple[MatrixCell, ...]
