"""The fleet, its clusters, and one of them."""

from __future__ import annotations

from itertools import chain

from aiohttp import web
from pydantic import TypeAdapter

from collector.fleet import ClusterView
from muster.access.roles import Role
from muster.api import present, schemas
from muster.api.answers import json_answer, json_list
from muster.api.names import Names
from muster.api.picture import Pictures
from muster.api.problems import Kind, ProblemError
from muster.api.queries import ClustersQuery, NoQuery, Position, read_query
from muster.api.table import Route
from muster.hub import Hub
from validator.health import HealthSettings

CLUSTER = "/api/v1/clusters/{cluster}"

_NAMED = (Kind.NOT_LEADING, Kind.CLUSTER_NOT_FOUND, Kind.AMBIGUOUS_CLUSTER)


class FleetReads:
    """Handlers on one hub."""

    def __init__(self, hub: Hub, pictures: Pictures, names: Names, settings: HealthSettings) -> None:
        self._hub = hub
        self._pictures = pictures
        self._names = names
        self._settings = settings

    def routes(self) -> list[Route]:
        """Its rows of the route table."""
        busy = (Kind.NOT_LEADING,)
        return [
            Route(
                "GET", "/api/v1/fleet", self.fleet, Role.VIEWER, "The fleet in numbers", schemas.Fleet, problems=busy
            ),
            Route(
                "GET",
                "/api/v1/clusters",
                self.clusters,
                Role.VIEWER,
                "Clusters, those that need attention first",
                schemas.ClusterPage,
                ClustersQuery,
                problems=busy,
            ),
            Route(
                "GET",
                CLUSTER,
                self.cluster,
                Role.VIEWER,
                "All about one cluster",
                schemas.ClusterDetail,
                problems=_NAMED,
            ),
        ]

    async def fleet(self, request: web.Request) -> web.Response:
        """The fleet in numbers."""
        read_query(NoQuery, request.query)
        picture = await self._pictures.now()
        return json_answer(await present.fleet(self._hub, picture.leading, picture.snapshot, 0))

    async def clusters(self, request: web.Request) -> web.Response:
        """Clusters, those that need attention first."""
        query = read_query(ClustersQuery, request.query)
        picture = await self._pictures.now()
        wanted = [*chain.from_iterable(views for health, views in picture.by_health.items() if health in query.health)]
        page: list[ClusterView] = []
        total, more = 0, False
        async for some in present.chunks(wanted, 5 * present.CHUNK):
            for view in filter(query.matches, some):
                total += 1
                if len(page) == query.limit:
                    more = True
                elif query.after is None or Position.of(view) > query.after:
                    page.append(view)
        head = schemas.ClusterPage(
            now=present.instant(picture.snapshot.now),
            total=total,
            next=Position.of(page[-1]).token() if more else None,
            clusters=(),
        )
        return await json_list(head, page, present.cluster, _CLUSTERS)

    async def cluster(self, request: web.Request) -> web.Response:
        """One cluster, by name, other name, id or the beginning of an id."""
        read_query(NoQuery, request.query)
        leading = self._pictures.leading()
        cluster_id = await self._names.find(request.match_info["cluster"])
        view = self._hub.cluster(cluster_id)
        if view is None:  # gone since it was found
            raise ProblemError(Kind.CLUSTER_NOT_FOUND, f"{cluster_id} has just left the fleet.", suggestions=[])
        next_due_s = leading.engine.next_due_s(cluster_id)
        return json_answer(present.cluster_detail(view, self._hub.clock.now(), next_due_s, self._settings))


_CLUSTERS = TypeAdapter(list[schemas.Cluster])
