"""The one route table, and what each path answers. All of it only reads."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from itertools import chain
from typing import TypeVar
from uuid import UUID

from aiohttp import web
from pydantic import BaseModel, TypeAdapter

from collector.fleet import ClusterView
from muster.api import present, schemas
from muster.api.picture import Pictures
from muster.api.problems import Kind, ProblemError
from muster.api.queries import ClustersQuery, NoQuery, Position, TransitionsQuery, read_query
from muster.api.suggest import closest
from muster.hub import Hub
from validator.health import HealthSettings

RenderMetrics = Callable[[], Awaitable[bytes]]

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Prometheus' text format."""

MAX_NAME_CHARS = 1024
"""Longest cluster name that is looked up; a longer one is nobody's."""

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)


class Routes:
    """Handlers on one hub."""

    def __init__(self, hub: Hub, render_metrics: RenderMetrics, settings: HealthSettings) -> None:
        self._hub = hub
        self._render_metrics = render_metrics
        self._settings = settings
        self._pictures = Pictures(hub)

    def table(self) -> list[web.RouteDef]:
        """Every path of the service."""
        return [
            web.get("/healthz", self.healthz),
            web.get("/readyz", self.readyz),
            web.get("/metrics", self.metrics),
            web.get("/api/v1/fleet", self.fleet),
            web.get("/api/v1/clusters", self.clusters),
            web.get("/api/v1/clusters/{cluster}", self.cluster),
            web.get("/api/v1/clusters/{cluster}/history", self.cluster_history),
            web.get("/api/v1/transitions", self.transitions),
        ]

    # -- for machines that watch the service

    async def healthz(self, request: web.Request) -> web.Response:
        """The process is alive, and its loop turns."""
        return web.Response(text="ok\n")

    async def readyz(self, request: web.Request) -> web.Response:
        """This instance leads: only then it has a picture. A standby says what it waits for."""
        self._pictures.leading()
        return web.Response(text="ok\n")

    async def metrics(self, request: web.Request) -> web.Response:
        """Prometheus' scrape; also of an instance that does not lead."""
        return web.Response(body=await self._render_metrics(), headers={"Content-Type": METRICS_TYPE})

    # -- the fleet

    async def fleet(self, request: web.Request) -> web.Response:
        """The fleet in numbers."""
        read_query(NoQuery, request.query)
        picture = await self._pictures.now()
        return _json(await present.fleet(self._hub, picture.leading, picture.snapshot))

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
        return await _json_list(head, page, present.cluster, _CLUSTERS)

    async def cluster(self, request: web.Request) -> web.Response:
        """One cluster, by name, other name, id or the beginning of an id."""
        read_query(NoQuery, request.query)
        leading = self._pictures.leading()
        cluster_id = await self._find(request.match_info["cluster"])
        view = self._hub.cluster(cluster_id)
        if view is None:  # gone since it was found
            raise ProblemError(Kind.CLUSTER_NOT_FOUND, f"{cluster_id} has just left the fleet.", suggestions=[])
        next_due_s = leading.engine.next_due_s(cluster_id)
        return _json(present.cluster_detail(view, self._hub.clock.now(), next_due_s, self._settings))

    # -- history

    async def cluster_history(self, request: web.Request) -> web.Response:
        """Transitions of one cluster, newest first; by its id also of one that has left the fleet."""
        return await self._transitions(request, request.match_info["cluster"])

    async def transitions(self, request: web.Request) -> web.Response:
        """Transitions of all clusters, newest first."""
        return await self._transitions(request, None)

    async def _transitions(self, request: web.Request, name: str | None) -> web.Response:
        query = read_query(TransitionsQuery, request.query)
        history = self._pictures.leading().history
        cluster_id = None if name is None else (_uuid(name) or await self._find(name))
        changes = await history.page(cluster_id, query.limit, query.before)
        head = schemas.TransitionPage(next=changes[-1].id if len(changes) == query.limit else None, transitions=())
        return await _json_list(head, changes, present.transition, _TRANSITIONS)

    # -- names

    async def _find(self, name: str) -> UUID:
        """The one cluster that a name stands for. Raises `ProblemError` if there is none, or more than one."""
        leading = self._pictures.leading()
        known = leading.inventory.clusters
        cluster_id = _uuid(name)
        if cluster_id in known:
            return cluster_id
        found = self._hub.find(name[:MAX_NAME_CHARS])
        if len(found) == 1:
            return found[0]
        if found:
            listed = [
                {"id": str(i), "name": known[i].name, "source": known[i].source, "endpoint": known[i].endpoint}
                for i in found[:20]
            ]
            detail = f"{len(found)} clusters are called so. Ask for one of their ids."
            raise ProblemError(Kind.AMBIGUOUS_CLUSTER, detail, clusters=listed)
        suggestions = await closest(name, [each for c in known.values() for each in (c.name, *c.also_known_as)])
        hint = f"Did you mean {', '.join(suggestions)}?" if suggestions else "See /api/v1/clusters for those there are."
        raise ProblemError(Kind.CLUSTER_NOT_FOUND, f"Nothing is called {name[:100]!r}. {hint}", suggestions=suggestions)


_CLUSTERS = TypeAdapter(list[schemas.Cluster])
_TRANSITIONS = TypeAdapter(list[schemas.Transition])


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text) if len(text) == 36 else None
    except ValueError:
        return None


def _json(document: schemas.Document) -> web.Response:
    return web.Response(body=document.model_dump_json().encode(), content_type="application/json")


async def _json_list(
    head: schemas.Document, items: Sequence[T], present_one: Callable[[T], M], adapter: TypeAdapter[list[M]]
) -> web.Response:
    """`head`, whose last member is an empty list, with the items in it: made in chunks, so that probes stay on time."""
    start, end = head.model_dump_json().encode().removesuffix(b"]}"), b"]}"
    parts = [adapter.dump_json([present_one(item) for item in some])[1:-1] async for some in present.chunks(items)]
    return web.Response(body=start + b",".join(parts) + end, content_type="application/json")
