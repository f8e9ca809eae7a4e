"""Backup locations: list, show, make, delete."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from uuid import UUID, uuid4, uuid5

from aiohttp import web
from pydantic import TypeAdapter

from collector.location import BackupLocation
from collector.location_store import HolderKind, LocationHeld
from collector.locations import BucketShared, LocationConflict, NameTaken, TooManyLocations
from muster.access.principal import PRINCIPAL
from muster.access.roles import Role
from muster.api import location_documents as documents
from muster.api import location_refusals as refusals
from muster.api import schemas
from muster.api.answers import json_list
from muster.api.bodies import read_body
from muster.api.cursor import CursorError, decode, encode
from muster.api.location_desk import BODY, CLUSTERS, LOCATION, LOCATIONS, NAMED, LocationDesk
from muster.api.location_queries import DeletionQuery, LocationsQuery, place_of
from muster.api.once import answer_once, key_of
from muster.api.problems import Kind
from muster.api.queries import NoQuery, bad_query, read_query
from muster.api.table import Route
from muster.idempotency import Idempotency
from validator.clock import Clock

_REQUESTS = UUID("0d1a4f0e-7c53-4a51-9d1b-5b6d1c0a2f4e")
"""Namespace of ids that are made of requests."""


class LocationRoutes:
    """Handlers on one hub."""

    def __init__(self, clock: Clock, desk: LocationDesk, idempotency: Idempotency) -> None:
        self._clock = clock
        self._desk = desk
        self._idempotency = idempotency

    def routes(self) -> list[Route]:
        """Its rows of the route table."""
        return [
            Route(
                "GET",
                LOCATIONS,
                self.locations,
                Role.VIEWER,
                "Backup locations, by name",
                schemas.LocationPage,
                LocationsQuery,
                problems=(Kind.NOT_LEADING, *CLUSTERS),
            ),
            Route(
                "GET",
                LOCATION,
                self.location,
                Role.VIEWER,
                "All about one backup location",
                schemas.LocationDetail,
                problems=NAMED,
            ),
            Route(
                "POST",
                LOCATIONS,
                self.create,
                Role.OPERATOR,
                "Make a backup location",
                schemas.LocationDetail,
                body=schemas.LocationCreate,
                status=201,
                problems=(
                    Kind.NOT_LEADING,
                    *CLUSTERS,
                    *BODY,
                    Kind.LOCATION_EXISTS,
                    Kind.BUCKET_SHARED,
                    Kind.TOO_MANY_LOCATIONS,
                    Kind.STORE_UNAVAILABLE,
                ),
                idempotent=True,
                changes=True,
                action="location.create",
            ),
            Route(
                "DELETE",
                LOCATION,
                self.delete,
                Role.OPERATOR,
                "Delete what is known of it; backup data stays",
                schemas.LocationDetail,
                DeletionQuery,
                status=202,
                problems=(*NAMED, Kind.LOCATION_HELD, Kind.STORE_UNAVAILABLE),
                if_match=True,
                changes=True,
                action="location.delete",
            ),
        ]

    async def locations(self, request: web.Request) -> web.Response:
        """Backup locations, by name."""
        query = read_query(LocationsQuery, request.query)
        canonical = query.canonical()
        try:
            after = None if query.after is None else decode(query.after, canonical)
        except CursorError as error:
            bad_query("after", str(error))
        cluster = None if not query.cluster else next(iter(await self._desk.clusters([query.cluster])))
        found = [
            each
            for each in self._desk.locations.known.values()
            if query.matches(each)
            and (cluster is None or cluster in each.assignments)
            and (not query.status or self._desk.status(each) in query.status)
        ]
        following = sorted((each for each in found if after is None or place_of(each) > after), key=place_of)
        page = following[: query.limit]
        more = len(following) > len(page)
        head = schemas.LocationPage(
            total=len(found), next=encode(place_of(page[-1]), canonical) if more else None, locations=()
        )
        return await json_list(head, page, self._desk.listed, _PAGE)

    async def location(self, request: web.Request) -> web.Response:
        """One location with its clusters, by name or id. The `ETag` is that of its assignment."""
        read_query(NoQuery, request.query)
        return self._desk.answer(await self._desk.find(request))

    async def create(self, request: web.Request) -> web.Response:
        """Make a location, and assign it to clusters.

        Afterwards only the assignment can be changed. An `Idempotency-Key` makes it safe to send again.
        """
        read_query(NoQuery, request.query)
        wanted = await read_body(request, schemas.LocationCreate)
        by, now = request[PRINCIPAL].name, self._clock.now()
        new, problems = documents.read_location(wanted, _new_id(request), by, now)
        if problems:
            raise refusals.bad_fields(problems)
        clusters = await self._desk.clusters(wanted.clusters)
        new = replace(new, assignments=documents.assigned_by(clusters, by, now))
        return await answer_once(self._idempotency, request, partial(self._create, request, new))

    async def _create(self, request: web.Request, new: BackupLocation) -> web.Response:
        beside = self._desk.audited(request, "location.create", new.name, None, documents.audited(new))
        try:
            return self._desk.answer(await self._desk.locations.create(new, beside), status=201)
        except NameTaken as taken:
            raise refusals.exists(taken.current) from None
        except BucketShared as shared:
            raise refusals.shared(shared.others) from None
        except TooManyLocations:
            raise refusals.too_many() from None

    async def delete(self, request: web.Request) -> web.Response:
        """Delete what Muster knows of a location. Backup data in the bucket is never touched.

        Refused while clusters are assigned, while backups, schedules or restores refer to it, and while a sync is under
        way: `holders` names them. For the resources the clusters that used it are asked now, for ten seconds at most;
        one that can't be read is a holder, too, unless `force` is set. Afterwards it is `DeletePending` until the rest
        is removed in the background, also across a restart. With `If-Match` only in the state that it names.
        """
        query = read_query(DeletionQuery, request.query)
        current = await self._desk.find(request)
        version = current.version if "If-Match" in request.headers else None
        outside = await self._desk.outside(current)
        unread = [each.name for each in outside if query.force and each.kind is HolderKind.UNREAD]
        holders = [each for each in outside if each.name not in unread]
        after = {"forced": True, "unread": unread[: refusals.MOST_HOLDERS]} if unread else None
        beside = self._desk.audited(request, "location.delete", current.name, documents.audited(current), after)
        try:
            marked = await self._desk.locations.delete(current.id, request[PRINCIPAL].name, version, beside, holders)
        except LocationHeld as held:
            raise refusals.held(current, held.holders) from None
        except LocationConflict as conflict:
            self._desk.conflict(conflict, current)
        return self._desk.answer(marked, status=202)


def _new_id(request: web.Request) -> UUID:
    """The same request under the same `Idempotency-Key` gets the same id: one that was done and not heard of is known.

    The key's own row knows that, too, unless the instance died between the two transactions. Raises `ProblemError`.
    """
    key, principal = key_of(request), request[PRINCIPAL]
    return uuid5(_REQUESTS, f"{principal.kind}:{principal.name}:{key}") if key else uuid4()


_PAGE = TypeAdapter(list[schemas.Location])
