"""How much of the time a cluster, or the fleet, could be reached."""

from __future__ import annotations

from pydantic import AwareDatetime

from muster.api.schemas.document import Document


class Shares(Document):
    """Seconds by what was known. Their sum is the time in which the cluster was in the fleet; of the fleet, of all."""

    up_s: float
    """Healthy or Degraded."""
    down_s: float
    """Unhealthy or Unreachable."""
    unknown_s: float
    """Nothing was known: before the first contact, of facts that had aged, or while the hub itself was away."""
    paused_s: float
    """A person had taken it out of judgement."""
    availability: float | None
    """up / (up + down); null = nothing was known."""


class Bucket(Shares):
    """One step of the window, on whole multiples of it (UTC): the first and the last may be shorter."""

    begin: AwareDatetime
    end: AwareDatetime


class Availability(Shares):
    """Of one cluster, or of all that there were, over a window."""

    cluster_id: str | None
    """null = the whole fleet."""
    begin: AwareDatetime
    end: AwareDatetime
    step_s: int
    """Length of a bucket."""
    outages: int
    """Times that it went down within the window, while it was not paused."""
    longest_outage_s: float
    """Within the window; of the fleet, the longest of any cluster."""
    buckets: tuple[Bucket, ...]
