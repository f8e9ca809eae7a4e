"""What can be asked of the list of locations."""

from __future__ import annotations

import json
from typing import Annotated

from pydantic import Field

from collector.location import BackupLocation
from collector.location_status import LocationStatus
from muster.api.cursor import MAX_CURSOR_CHARS, Position
from muster.api.queries import Query, some_of
from validator.locations import Provider

MAX_LISTED = 1000
"""Locations on one page: some 1 MB of JSON."""


class LocationsQuery(Query):
    """Which locations to list. They come by name."""

    status: Annotated[frozenset[LocationStatus], *some_of(LocationStatus)] = Field(default_factory=frozenset)
    """Only locations of this status."""
    provider: Annotated[frozenset[Provider], *some_of(Provider)] = Field(default_factory=frozenset)
    """Only locations of this provider."""
    owner: Annotated[str, Field(max_length=256)] = ""
    """Only locations of this owner."""
    cluster: Annotated[str, Field(max_length=1024)] = ""
    """Only locations that this cluster uses, by name or id."""
    name: Annotated[str, Field(max_length=256)] = ""
    """Only locations with this text in their name; case does not matter."""
    limit: Annotated[int, Field(ge=1, le=MAX_LISTED)] = 500
    """Locations on a page."""
    after: Annotated[str, Field(min_length=1, max_length=MAX_CURSOR_CHARS)] | None = None
    """The `next` of the page before, of the same query."""

    def matches(self, location: BackupLocation) -> bool:
        """All filters but those of status and cluster."""
        return (
            (not self.provider or location.where.provider in self.provider)
            and (not self.owner or location.owner == self.owner)
            and self.name.casefold() in location.name
        )

    def canonical(self) -> str:
        """The same text for the same list, and for no other list of any kind."""
        sets = [sorted(self.status), sorted(self.provider)]
        return json.dumps(["locations", *sets, self.owner, self.cluster, self.name.casefold()])


class DeletionQuery(Query):
    """How to delete a location."""

    force: bool = False
    """Also where clusters that used it can't be asked whether anything refers to it. What is known to refer to it keeps
    it all the same."""


def place_of(location: BackupLocation) -> Position:
    """Where it stands in the list."""
    return Position(0, 0.0, location.name, str(location.id))
