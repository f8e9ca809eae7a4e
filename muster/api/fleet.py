"""The fleet, its clusters, and one of them."""

from __future__ import annotations

from functools import partial

from aiohttp import ETag, web
from pydantic import TypeAdapter

from muster.access.roles import Role
from muster.api import present, schemas
from muster.api.answers import json_answer, json_list
from muster.api.cursor import CursorError, decode, encode
from muster.api.fleet_queries import ClustersQuery
from muster.api.names import Names
from muster.api.picture import Picture, Pictures
from muster.api.problems import Kind, ProblemError
from muster.api.queries import NoQuery, bad_query, read_query
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
        self._fleet: tuple[Picture, schemas.Fleet] | None = None

    def routes(self) -> list[Route]:
        """Its rows of the route table."""
        busy = (Kind.NOT_LEADING,)
        return [
            Route(
                "GET",
                "/api/v1/fleet",
                self.fleet,
                Role.VIEWER,
                "The fleet in numbers",
                schemas.Fleet,
                problems=busy,
                tagged=True,
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
        """The fleet in numbers. Its `ETag` is the generation: 304 as long as no cluster means anything else."""
        read_query(NoQuery, request.query)
        picture = await self._pictures.now()
        tag = self._pictures.tag(picture)
        if any(known.value in {tag, "*"} for known in request.if_none_match or ()):
            answer = web.Response(status=304)
        else:
            if self._fleet is None or self._fleet[0] is not picture:  # 2 ms at 10,000 clusters
                document = await present.fleet(self._hub, picture.leading, picture.snapshot, picture.generation)
                self._fleet = (picture, document)
            answer = json_answer(self._fleet[1])
        answer.etag = ETag(tag, is_weak=True)  # weak: ages and lateness differ under one tag
        answer.headers["Cache-Control"] = "no-cache"  # may be kept, and is asked about every time
        return answer

    async def clusters(self, request: web.Request) -> web.Response:
        """Clusters, those that need attention first."""
        query = read_query(ClustersQuery, request.query)
        canonical = query.canonical()
        try:
            position = None if query.after is None else decode(query.after, canonical)
        except CursorError as error:
            bad_query("after", str(error))
        picture = await self._pictures.now()
        page = await picture.lists.page(query, position, query.limit)
        head = schemas.ClusterPage(
            now=present.instant(page.now),
            total=page.total,
            next=None if page.following is None else encode(page.following, canonical),
            clusters=(),
        )
        return await json_list(head, page.views, partial(present.cluster, now=page.now), _CLUSTERS)

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
