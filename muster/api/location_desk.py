"""What all that handle a location need: which one is meant, in which state, how it is shown and written down."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, NoReturn
from uuid import UUID

from aiohttp import web

from collector.location import BackupLocation
from collector.location_status import RollUp, roll_up
from collector.location_store import Holder
from collector.locations import LocationConflict, Locations
from muster.access.audit import Audit
from muster.access.principal import PRINCIPAL
from muster.api import location_documents as documents
from muster.api import location_refusals as refusals
from muster.api import schemas
from muster.api.answers import json_answer
from muster.api.location_names import find_location
from muster.api.names import Names, as_uuid
from muster.api.picture import Pictures
from muster.api.problems import Kind
from store.pool import Statements
from validator.reasons import Health

LOCATIONS = "/api/v1/locations"
LOCATION = LOCATIONS + "/{location}"

NAMED = (Kind.NOT_LEADING, Kind.LOCATION_NOT_FOUND)
CLUSTERS = (Kind.CLUSTER_NOT_FOUND, Kind.AMBIGUOUS_CLUSTER)
BODY = (Kind.BAD_BODY, Kind.UNSUPPORTED_MEDIA_TYPE, Kind.SLOW_REQUEST, Kind.TOO_LARGE)


class LocationDesk:
    """One a server."""

    def __init__(self, pictures: Pictures, names: Names, audit: Audit) -> None:
        self._pictures = pictures
        self._names = names
        self._audit = audit

    @property
    def locations(self) -> Locations:
        """Those of this instance. Raises `ProblemError` where it does not lead."""
        return self._pictures.leading().locations

    async def find(self, request: web.Request) -> BackupLocation:
        """The location of the path, in the state that `If-Match` names, if the header is there."""
        found = await find_location(self.locations, request.match_info["location"])
        given = request.headers.get("If-Match")
        tags = set() if given is None else {tag.strip() for tag in given.split(",")}
        if given is not None and tags.isdisjoint({"*", documents.location_etag(found)}):
            raise refusals.changed(found, self.document(found))
        return found

    async def clusters(self, names: Iterable[str], current: BackupLocation | None = None) -> set[UUID]:
        """Ids of clusters; of those that a location has by id also where they have left the fleet."""
        assigned = {} if current is None else current.assignments
        found: set[UUID] = set()
        for name in names:
            cluster_id = as_uuid(name)
            if cluster_id is None or cluster_id not in assigned:
                cluster_id = await self._names.find(name)
            found.add(cluster_id)
        return found

    async def outside(self, current: BackupLocation) -> Sequence[Holder]:
        """What in the clusters keeps it from being deleted; nothing more where that has begun."""
        return [] if current.deleting_at is not None else await self._pictures.leading().outside(current)

    def conflict(self, conflict: LocationConflict, asked: BackupLocation) -> NoReturn:
        """Somebody was faster."""
        if conflict.current is None:
            raise refusals.not_found(asked.name, [])
        if conflict.current.deleting_at is not None:
            raise refusals.deleting(conflict.current)
        raise refusals.changed(conflict.current, self.document(conflict.current))

    def audited(
        self,
        request: web.Request,
        action: str,
        subject: str,
        before: Mapping[str, Any] | None,
        after: Mapping[str, Any] | None,
    ) -> Callable[[Statements], Awaitable[None]]:
        """Writes the entry in the transaction of the change."""

        async def beside(transaction: Statements) -> None:
            await self._audit.write(request[PRINCIPAL], action, subject, before, after, within=transaction)

        return beside

    def listed(self, known: BackupLocation) -> schemas.Location:
        """A line of the list."""
        return documents.location(known, self.locations.sharing(known), self._rolled(known, self._healths(known)))

    def status(self, known: BackupLocation) -> str:
        """The word for how it is now."""
        return self._rolled(known, self._healths(known)).status

    def document(self, known: BackupLocation) -> schemas.LocationDetail:
        """With its clusters."""
        leading, healths = self._pictures.leading(), self._healths(known)
        sharing, rolled = leading.locations.sharing(known), self._rolled(known, healths)
        return documents.location_detail(known, sharing, healths, leading.inventory.clusters, rolled)

    def _healths(self, known: BackupLocation) -> Mapping[UUID, Health]:
        """Of its pairs, by cluster."""
        return self._pictures.leading().pairs.healths(known.id)

    def _rolled(self, known: BackupLocation, healths: Mapping[UUID, Health]) -> RollUp:
        leading = self._pictures.leading()
        return roll_up(
            [healths.get(cluster_id, Health.UNKNOWN) for cluster_id in known.assignments],
            worked=leading.pairs.worked(known.id),
            validating=leading.validations.is_running(known.id),
            deleting=known.deleting_at is not None,
        )

    def answer(self, known: BackupLocation, status: int = 200) -> web.Response:
        """The document, with the tag of the assignment."""
        response = json_answer(self.document(known), status)
        response.headers["ETag"] = documents.location_etag(known)
        response.headers["Cache-Control"] = "no-store"  # the tag stays the same where the status does not
        return response
