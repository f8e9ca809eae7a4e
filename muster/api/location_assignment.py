"""Which clusters use a location: the only thing of it that changes."""

from __future__ import annotations

from functools import partial
from uuid import UUID

from aiohttp import web

from collector.location import BackupLocation
from collector.location_store import Reassignment
from collector.locations import LocationConflict
from muster.access.principal import PRINCIPAL
from muster.access.roles import Role
from muster.api import location_documents as documents
from muster.api import location_refusals as refusals
from muster.api import schemas
from muster.api.bodies import read_body
from muster.api.location_desk import BODY, CLUSTERS, LOCATION, NAMED, LocationDesk
from muster.api.problems import Kind
from muster.api.queries import NoQuery, read_query
from muster.api.table import Route
from validator.clock import Clock
from validator.locations import FieldProblem


class AssignmentRoutes:
    """Handlers on one hub."""

    def __init__(self, clock: Clock, desk: LocationDesk) -> None:
        self._clock = clock
        self._desk = desk

    def routes(self) -> list[Route]:
        """Its rows of the route table."""
        problems = (*NAMED, *CLUSTERS, *BODY, Kind.LOCATION_DELETING, Kind.STORE_UNAVAILABLE)
        assign = partial(
            Route,
            path=LOCATION + "/assignment",
            role=Role.OPERATOR,
            answer=schemas.LocationDetail,
            if_match=True,
            changes=True,
            action="location.assign",
        )
        refuse = partial(
            Route,
            path=LOCATION,
            handler=self.change,
            role=Role.OPERATOR,
            summary="Refused: a location does not change",
            status=409,
            problems=(*NAMED, Kind.LOCATION_IMMUTABLE),
            if_match=True,
            changes=True,
            action="location.change",
        )
        return [
            assign(
                method="PUT",
                handler=self.put,
                summary="Say which clusters use it",
                body=schemas.LocationAssignment,
                problems=(*problems, Kind.PRECONDITION_REQUIRED),
            ),
            assign(
                method="PATCH",
                handler=self.patch,
                summary="Assign it to clusters, or take it from them",
                body=schemas.LocationAssignmentChange,
                problems=problems,
            ),
            refuse(method="PUT"),
            refuse(method="PATCH"),
        ]

    async def put(self, request: web.Request) -> web.Response:
        """Say which clusters use it, all of them; with `If-Match`, so that nobody else's change is undone unseen."""
        read_query(NoQuery, request.query)
        wanted = await read_body(request, schemas.LocationAssignment)
        current = await self._desk.find(request)
        if "If-Match" not in request.headers:
            raise refusals.unconditional(current)
        clusters = await self._desk.clusters(wanted.clusters, current)
        add, remove = clusters - current.assignments.keys(), current.assignments.keys() - clusters
        return await self._reassign(request, current, add, remove, current.version)

    async def patch(self, request: web.Request) -> web.Response:
        """Assign it to some clusters, or take it from some; the others stay. `If-Match` is not needed."""
        read_query(NoQuery, request.query)
        wanted = await read_body(request, schemas.LocationAssignmentChange)
        current = await self._desk.find(request)
        add = await self._desk.clusters(wanted.add)
        remove = await self._desk.clusters(wanted.remove, current)
        if not add and not remove:
            raise refusals.bad_fields([FieldProblem("add", "names no cluster, and `remove` names none, either")])
        if add & remove:
            raise refusals.bad_fields([FieldProblem("remove", "has a cluster that is in `add`, too")])
        version = current.version if "If-Match" in request.headers else None
        return await self._reassign(request, current, add, remove, version)

    async def change(self, request: web.Request) -> web.Response:
        """Refuse: of a location only its assignment can be changed. The answer says what to do instead."""
        read_query(NoQuery, request.query)
        raise refusals.immutable(await self._desk.find(request))

    async def _reassign(
        self, request: web.Request, current: BackupLocation, add: set[UUID], remove: set[UUID], version: int | None
    ) -> web.Response:
        if current.deleting_at is not None:
            raise refusals.deleting(current)
        add, remove = add - current.assignments.keys(), remove & current.assignments.keys()
        if not add and not remove:
            return self._desk.answer(current)
        before = documents.listed("removed", remove) if remove else None
        after = documents.listed("added", add) if add else None
        beside = self._desk.audited(request, "location.assign", current.name, before, after)
        wanted = Reassignment(current.id, add, remove, request[PRINCIPAL].name, self._clock.now(), version)
        try:
            return self._desk.answer(await self._desk.locations.reassign(wanted, beside))
        except LocationConflict as conflict:
            self._desk.conflict(conflict, current)
