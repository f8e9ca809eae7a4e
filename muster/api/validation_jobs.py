"""Validate a backup location from its clusters now, and see how far that is."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from functools import partial
from typing import Annotated

from aiohttp import web
from pydantic import Field, TypeAdapter

from collector.validation import Job, JobState
from collector.validation_jobs import MOST_RUNNING, TooManyJobs
from muster.access.principal import PRINCIPAL
from muster.access.roles import Role
from muster.api import location_documents, schemas, validation_documents
from muster.api import location_refusals as refusals
from muster.api.answers import json_list
from muster.api.bodies import read_body
from muster.api.cursor import MAX_CURSOR_CHARS, CursorError, Position, decode, encode
from muster.api.location_desk import BODY, CLUSTERS, LOCATION, NAMED, LocationDesk
from muster.api.picture import Pictures
from muster.api.present import instant
from muster.api.problems import Kind, ProblemError
from muster.api.queries import NoQuery, Query, bad_query, read_query, some_of
from muster.api.table import Route
from validator.clock import Clock

MAX_LISTED = 5000
"""Jobs on one page: some 2.5 MB of JSON."""


class ValidationsQuery(Query):
    """Which jobs to list. They come by name of the cluster."""

    state: Annotated[frozenset[JobState], *some_of(JobState)] = Field(default_factory=frozenset)
    """Only jobs in this state."""
    limit: Annotated[int, Field(ge=1, le=MAX_LISTED)] = 1000
    """Jobs on a page."""
    after: Annotated[str, Field(min_length=1, max_length=MAX_CURSOR_CHARS)] | None = None
    """The `next` of the page before, of the same query."""


class ValidationRoutes:
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
                LOCATION + "/validate",
                self.validate,
                Role.OPERATOR,
                "Validate it from its clusters now",
                schemas.ValidationsAsked,
                body=schemas.ValidationRequest,
                body_required=False,
                status=202,
                problems=(
                    *NAMED,
                    *CLUSTERS,
                    *BODY,
                    Kind.LOCATION_DELETING,
                    Kind.PAIR_NOT_FOUND,
                    Kind.BUSY,
                    Kind.STORE_UNAVAILABLE,
                ),
                changes=True,
                action="location.validate",
            ),
            Route(
                "GET",
                LOCATION + "/validations",
                self.validations,
                Role.VIEWER,
                "How its last validations stand",
                schemas.ValidationJobPage,
                ValidationsQuery,
                problems=NAMED,
            ),
        ]

    async def validate(self, request: web.Request) -> web.Response:
        """Begin a validation job for each cluster, or join the one that is under way: one a pair at a time.

        Answers at once. A job goes from `Pending` over `InProgress` to `Valid` or `Failed`: follow it with
        `GET .../validations` or the event `validation`. Every job ends, also across a restart; one that was left too
        long fails with `ValidationTimeout`. The health of the pair is another matter: this answer counts there as any.
        """
        read_query(NoQuery, request.query)
        wanted = await read_body(request, schemas.ValidationRequest, required=False)
        location = await self._desk.find(request)
        if location.deleting_at is not None:
            raise refusals.deleting(location)
        assigned = location.assignments.keys()
        named = None if wanted.clusters is None else await self._desk.clusters(wanted.clusters, location)
        clusters = set(assigned) if named is None else named
        names = self._pictures.leading().inventory.clusters
        if strangers := sorted(names[each].name if each in names else str(each) for each in clusters - assigned):
            raise refusals.not_assigned(location, strangers)
        if not clusters:
            raise refusals.not_assigned(location, [])
        after = location_documents.listed("clusters", clusters)
        beside = self._desk.audited(request, "location.validate", location.name, None, after)
        try:
            asked = await self._pictures.leading().validations.ask(
                location.id, clusters, request[PRINCIPAL].name, beside
            )
        except TooManyJobs:
            raise ProblemError(
                Kind.BUSY, f"{MOST_RUNNING:,} validations are under way, and no more are begun. Wait for some to end."
            ) from None
        head = schemas.ValidationsAsked(
            location_id=str(location.id), location=location.name, joined=len(asked.joined), validations=()
        )

        def shown(job: Job) -> schemas.AskedValidationJob:
            joined = job.pair.cluster_id in asked.joined
            return validation_documents.asked_job(job, location, names, joined=joined)

        response = await json_list(head, self._by_name(asked.jobs.values()), shown, _ASKED)
        response.set_status(202)
        return response

    async def validations(self, request: web.Request) -> web.Response:
        """The last validation job of each cluster that uses the location, where there was one."""
        query = read_query(ValidationsQuery, request.query)
        canonical = json.dumps(["validations", request.match_info["location"], sorted(query.state)])
        try:
            after = None if query.after is None else decode(query.after, canonical)
        except CursorError as error:
            bad_query("after", str(error))
        location = await self._desk.find(request)
        jobs = self._pictures.leading().validations.of(location.id)
        found = self._by_name(job for job in jobs if not query.state or job.state in query.state)
        following = [job for job in found if after is None or self._place(job) > after]
        page = following[: query.limit]
        counts = Counter(job.state for job in jobs)
        head = schemas.ValidationJobPage(
            location_id=str(location.id),
            location=location.name,
            now=instant(self._clock.now()),
            counts={state.value: counts[state] for state in JobState},
            total=len(found),
            next=encode(self._place(page[-1]), canonical) if len(following) > len(page) else None,
            validations=(),
        )
        clusters = self._pictures.leading().inventory.clusters
        shown = partial(validation_documents.job_of, location=location, clusters=clusters)
        return await json_list(head, page, shown, _PAGE)

    def _by_name(self, jobs: Iterable[Job]) -> list[Job]:
        return sorted(jobs, key=self._place)

    def _place(self, job: Job) -> Position:
        """Where it stands in the list: last those whose cluster is not in the fleet."""
        cluster_id = job.pair.cluster_id
        cluster = self._pictures.leading().inventory.clusters.get(cluster_id)
        return Position(int(cluster is None), 0.0, "" if cluster is None else cluster.name, str(cluster_id))


_ASKED = TypeAdapter(list[schemas.AskedValidationJob])
_PAGE = TypeAdapter(list[schemas.ValidationJob])
