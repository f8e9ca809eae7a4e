"""Which backup location a name stands for."""

from __future__ import annotations

from collector.location import BackupLocation
from collector.locations import Locations
from muster.api import location_refusals as refusals
from muster.api.suggest import closest


async def find_location(locations: Locations, name: str) -> BackupLocation:
    """The one with this name or id. Raises `ProblemError`, with the names that are most alike."""
    if (found := locations.find(name)) is None:
        raise refusals.not_found(name, await closest(name, [each.name for each in locations.known.values()]))
    return found
