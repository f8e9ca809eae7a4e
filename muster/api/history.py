"""Committed changes of health."""

from __future__ import annotations

from aiohttp import web
from pydantic import TypeAdapter

from muster.access.roles import Role
from muster.api import present, schemas
from muster.api.answers import json_list
from muster.api.history_queries import TransitionsQuery
from muster.api.location_names import find_location
from muster.api.names import Names, as_uuid
from muster.api.picture import Pictures
from muster.api.problems import Kind
from muster.api.queries import read_query
from muster.api.table import Route
from validator.clock import Clock


class HistoryReads:
    """Handlers on one hub."""

    def __init__(self, clock: Clock, pictures: Pictures, names: Names) -> None:
        self._clock = clock
        self._pictures = pictures
        self._names = names

    def routes(self) -> list[Route]:
        """Its rows of the route table."""
        away = (Kind.NOT_LEADING, Kind.STORE_UNAVAILABLE, Kind.LOCATION_NOT_FOUND)
        return [
            Route(
                "GET",
                "/api/v1/clusters/{cluster}/history",
                self.cluster_history,
                Role.VIEWER,
                "Changes of one cluster's health, newest first",
                schemas.TransitionPage,
                TransitionsQuery,
                problems=(*away, Kind.CLUSTER_NOT_FOUND, Kind.AMBIGUOUS_CLUSTER),
            ),
            Route(
                "GET",
                "/api/v1/transitions",
                self.transitions,
                Role.VIEWER,
                "Changes of health, newest first",
                schemas.TransitionPage,
                TransitionsQuery,
                problems=away,
            ),
        ]

    async def cluster_history(self, request: web.Request) -> web.Response:
        """Transitions of one cluster, newest first; by its id also of one that has left the fleet."""
        return await self._transitions(request, request.match_info["cluster"])

    async def transitions(self, request: web.Request) -> web.Response:
        """Transitions of all clusters, newest first."""
        return await self._transitions(request, None)

    async def _transitions(self, request: web.Request, name: str | None) -> web.Response:
        query = read_query(TransitionsQuery, request.query)
        leading = self._pictures.leading()
        location_id = as_uuid(query.location)
        if query.location and location_id is None:
            location_id = (await find_location(leading.locations, query.location)).id
        only, history = query.only(self._clock.now(), location_id), leading.history
        cluster_id = None if name is None else (as_uuid(name) or await self._names.find(name))
        changes = await history.page(cluster_id, query.limit, query.before, only)
        head = schemas.TransitionPage(
            next=changes[-1].id if len(changes) == query.limit else None,
            oldest=present.maybe_instant(await history.oldest()),
            transitions=(),
        )
        return await json_list(head, changes, present.transition, _TRANSITIONS)


_TRANSITIONS = TypeAdapter(list[schemas.Transition])
