"""How much of the time clusters could be reached."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from aiohttp import web
from pydantic import TypeAdapter

from collector.availability import Report, Share
from muster.access.roles import Role
from muster.api import schemas
from muster.api.answers import json_list
from muster.api.availability_queries import DAY_S, AvailabilityQuery
from muster.api.names import Names, as_uuid
from muster.api.picture import Pictures
from muster.api.present import instant
from muster.api.problems import Kind, ProblemError
from muster.api.queries import read_query
from muster.api.table import Route
from validator.clock import Clock


class AvailabilityReads:
    """Handlers on one hub."""

    def __init__(self, clock: Clock, pictures: Pictures, names: Names) -> None:
        self._clock = clock
        self._pictures = pictures
        self._names = names

    def routes(self) -> list[Route]:
        """Its rows of the route table."""
        away = (Kind.NOT_LEADING, Kind.STORE_UNAVAILABLE)
        return [
            Route(
                "GET",
                "/api/v1/availability",
                self.fleet,
                Role.VIEWER,
                "How much of the time the fleet could be reached",
                schemas.Availability,
                AvailabilityQuery,
                problems=away,
            ),
            Route(
                "GET",
                "/api/v1/clusters/{cluster}/availability",
                self.cluster,
                Role.VIEWER,
                "How much of the time one cluster could be reached",
                schemas.Availability,
                AvailabilityQuery,
                problems=(*away, Kind.CLUSTER_NOT_FOUND, Kind.AMBIGUOUS_CLUSTER),
            ),
        ]

    async def fleet(self, request: web.Request) -> web.Response:
        """Of all clusters that there were, in cluster seconds."""
        return await self._answer(request, None)

    async def cluster(self, request: web.Request) -> web.Response:
        """Of one cluster; by its id also of one that has left the fleet."""
        return await self._answer(request, request.match_info["cluster"])

    async def _answer(self, request: web.Request, name: str | None) -> web.Response:
        query = read_query(AvailabilityQuery, request.query)
        availability = self._pictures.leading().availability
        now = self._clock.now()
        window = query.window(now, now - availability.retention_days() * DAY_S)
        cluster_id = None if name is None else (as_uuid(name) or await self._names.find(name))
        report = await availability.report(window, cluster_id)
        if report is None:
            detail = f"No cluster has the id {cluster_id}, and none had it within the retention."
            raise ProblemError(Kind.CLUSTER_NOT_FOUND, detail, suggestions=[])
        return await json_list(_head(report, cluster_id), report.buckets, _bucket, _BUCKETS)


def _head(report: Report, cluster_id: UUID | None) -> schemas.Availability:
    return schemas.Availability(
        **_share(report.total),
        cluster_id=None if cluster_id is None else str(cluster_id),
        step_s=report.window.step_s,
        outages=report.outages,
        longest_outage_s=round(report.longest_outage_s, 3),
        buckets=(),
    )


def _bucket(share: Share) -> schemas.Bucket:
    return schemas.Bucket(**_share(share))


def _share(share: Share) -> dict[str, Any]:
    return {
        "begin": instant(share.begin),
        "end": instant(share.end),
        "up_s": round(share.up_s, 3),
        "down_s": round(share.down_s, 3),
        "unknown_s": round(share.unknown_s, 3),
        "paused_s": round(share.paused_s, 3),
        "availability": None if share.availability is None else round(share.availability, 9),
    }


_BUCKETS = TypeAdapter(list[schemas.Bucket])
