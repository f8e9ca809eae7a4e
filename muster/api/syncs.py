"""List the backups in a location, see how far that is, and what was found."""

from __future__ import annotations

from aiohttp import web

from collector.location import BackupLocation
from collector.sync import Sync
from collector.sync_seams import LocationGoing, NoAsker, SyncBusy
from muster.access.principal import PRINCIPAL
from muster.access.roles import Role
from muster.api import location_refusals as refusals
from muster.api import schemas
from muster.api import sync_documents as documents
from muster.api.answers import json_answer
from muster.api.bodies import read_body
from muster.api.location_desk import BODY, CLUSTERS, LOCATION, NAMED, LocationDesk
from muster.api.picture import Pictures
from muster.api.problems import Kind
from muster.api.queries import NoQuery, read_query
from muster.api.table import Route
from validator.clock import Clock


class SyncRoutes:
    """Handlers on one hub."""

    def __init__(self, clock: Clock, pictures: Pictures, desk: LocationDesk) -> None:
        self._clock = clock
        self._pictures = pictures
        self._desk = desk

    def routes(self) -> list[Route]:
        """Its rows of the route table."""
        return [
            Route(
                "POST",
                LOCATION + "/sync",
                self.start,
                Role.OPERATOR,
                "List its backups now",
                schemas.Sync,
                body=schemas.SyncRequest,
                body_required=False,
                status=202,
                problems=(
                    *NAMED,
                    *CLUSTERS,
                    *BODY,
                    Kind.LOCATION_DELETING,
                    Kind.NO_SYNC_ASKER,
                    Kind.SYNC_BUSY,
                    Kind.STORE_UNAVAILABLE,
                ),
                changes=True,
                action="location.sync",
            ),
            Route(
                "GET",
                LOCATION + "/sync",
                self.status,
                Role.VIEWER,
                "How its sync stands",
                schemas.SyncStatus,
                problems=NAMED,
            ),
            Route(
                "GET",
                LOCATION + "/inventory",
                self.inventory,
                Role.VIEWER,
                "Which backups it has",
                schemas.Inventory,
                problems=(*NAMED, Kind.NO_INVENTORY),
            ),
        ]

    async def start(self, request: web.Request) -> web.Response:
        """List the backups in the location: by the agent of a cluster that uses it, or by the hub itself.

        Answers at once; follow it with `GET .../sync`. One sync at a time has a bucket, also where locations share it:
        whoever is refused is told who has it, since when, how far it is and how long it may take, and may wait for its
        turn with `queue`. Every sync ends, also across a restart. Nothing in the bucket is changed.
        """
        read_query(NoQuery, request.query)
        wanted = await read_body(request, schemas.SyncRequest, required=False)
        location = await self._desk.find(request)
        if location.deleting_at is not None:
            raise refusals.deleting(location)
        cluster = None
        if wanted.cluster is not None:
            cluster = next(iter(await self._desk.clusters([wanted.cluster], location)))
        by = request[PRINCIPAL].name
        after = {"cluster": None if cluster is None else str(cluster), "queue": wanted.queue}
        beside = self._desk.audited(request, "location.sync", location.name, None, after)
        syncs = self._pictures.leading().syncs
        try:
            begun = await syncs.start(location, cluster, by, queue=wanted.queue, beside=beside)
        except NoAsker:
            raise documents.nobody(location, wanted.cluster) from None
        except LocationGoing:
            raise refusals.deleting(location) from None
        except SyncBusy as busy:
            theirs = self._desk.locations.known.get(busy.holder.location_id)
            now = self._clock.now()
            raise documents.busy(busy.holder, location, theirs, now, busy.waiting, full=busy.full) from None
        return json_answer(self._document(begun, location), 202)

    async def status(self, request: web.Request) -> web.Response:
        """How the sync of a location stands: the one under way, or the last one that has ended."""
        read_query(NoQuery, request.query)
        location = await self._desk.find(request)
        syncs = self._pictures.leading().syncs
        known = syncs.of(location.id)
        shown = None if known is None else self._document(known, location)
        status = schemas.SyncStatus(location=location.name, sync=shown, waiting=syncs.waiting(location.bucket))
        return json_answer(status)

    async def inventory(self, request: web.Request) -> web.Response:
        """What the last sync that succeeded has found: backups, their newest, and files that are missing."""
        read_query(NoQuery, request.query)
        location = await self._desk.find(request)
        leading = self._pictures.leading()
        if (kept := leading.syncs.inventory(location.id)) is None:
            raise documents.no_inventory(location)
        return json_answer(documents.inventory(kept, location, leading.inventory.clusters, self._clock.now()))

    def _document(self, known: Sync, location: BackupLocation) -> schemas.Sync:
        leading = self._pictures.leading()
        before = leading.syncs.place(known)
        return documents.sync(known, location, leading.inventory.clusters, self._clock.now(), before)
