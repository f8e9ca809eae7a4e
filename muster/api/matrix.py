"""The matrix of clusters and backup locations, and one of its cells."""

from __future__ import annotations

from functools import partial
from uuid import UUID

from aiohttp import ETag, web
from pydantic import TypeAdapter

from collector.matrix import KnownPair, cell
from muster.access.roles import Role
from muster.api import matrix_documents as documents
from muster.api import schemas
from muster.api.answers import json_answer, json_list
from muster.api.cursor import CursorError, decode, encode
from muster.api.location_names import find_location
from muster.api.matrix_picture import Matrices
from muster.api.matrix_queries import MatrixQuery, Wanted
from muster.api.names import Names
from muster.api.picture import Pictures
from muster.api.problems import Kind, ProblemError
from muster.api.queries import NoQuery, bad_query, read_query
from muster.api.table import Route
from muster.breath import breathe
from validator.clock import Clock
from validator.health import HealthSettings
from validator.model import Pair

MATRIX = "/api/v1/matrix"
CELL = MATRIX + "/{cluster}/{location}"

_NAMED = (Kind.NOT_LEADING, Kind.CLUSTER_NOT_FOUND, Kind.AMBIGUOUS_CLUSTER, Kind.LOCATION_NOT_FOUND)


class MatrixReads:
    """Handlers on one hub."""

    def __init__(self, clock: Clock, pictures: Pictures, names: Names, settings: HealthSettings) -> None:
        self._clock = clock
        self._pictures = pictures
        self._names = names
        self._settings = settings
        self._matrices = Matrices(clock, pictures)

    def routes(self) -> list[Route]:
        """Its rows of the route table."""
        return [
            Route(
                "GET",
                MATRIX,
                self.matrix,
                Role.VIEWER,
                "How each backup location works from each cluster that uses it",
                schemas.MatrixPage,
                MatrixQuery,
                problems=_NAMED,
                tagged=True,
            ),
            Route(
                "GET",
                CELL,
                self.cell,
                Role.VIEWER,
                "All about one backup location as it works from one cluster",
                schemas.MatrixCellDetail,
                problems=(*_NAMED, Kind.PAIR_NOT_FOUND),
            ),
        ]

    async def matrix(self, request: web.Request) -> web.Response:
        """Cells, with what those that are not healthy have in common.

        The `ETag` is the generation's: 304 as long as no pair means anything else. Ages in an answer that is kept so go
        on from its own moment: the facts may be newer by now, and are never older.
        """
        query = read_query(MatrixQuery, request.query)
        wanted = await self._wanted(query)
        canonical = wanted.canonical()
        try:
            after = None if query.after is None else decode(query.after, canonical)
        except CursorError as error:
            bad_query("after", str(error))
        picture = await self._matrices.now()
        tag = self._matrices.tag(picture, wanted)
        if any(known.value in {tag, "*"} for known in request.if_none_match or ()):
            answer = web.Response(status=304)
        else:
            listed = await picture.lists.get(wanted)
            page, following = listed.page(picture.cells, after, query.limit)
            cursor = None if following is None else encode(following, canonical)
            head = documents.head(listed, picture.locations, picture.generation, picture.now, cursor)
            await breathe()
            answer = await json_list(head, page, partial(documents.matrix_cell, now=picture.now), _CELLS)
        answer.etag = ETag(tag, is_weak=True)  # weak: ages differ under one tag
        answer.headers["Cache-Control"] = "no-cache"  # may be kept, and is asked about every time
        return answer

    async def cell(self, request: web.Request) -> web.Response:
        """One pair with its checks, by the names or ids of its cluster and its location."""
        read_query(NoQuery, request.query)
        leading = self._pictures.leading()
        cluster_id = await self._names.find(request.match_info["cluster"])
        location = await find_location(leading.locations, request.match_info["location"])
        pair, now = Pair(cluster_id, location.id), self._clock.now()
        if (found := leading.pairs.find(pair)) is None:
            detail = f"It does not use {location.name}. See /api/v1/locations/{location.name} for the clusters that do."
            raise ProblemError(Kind.PAIR_NOT_FOUND, detail)
        cluster, location = found
        states = leading.recorder.states.get(pair, {})
        paused = leading.pauses.active(cluster_id, now) is not None
        seen = cell(KnownPair(cluster, location.where, states, paused), now)
        next_due_s = leading.pair_engine.next_due_s(pair)
        document = documents.matrix_cell_detail(seen, cluster, location, states, now, next_due_s, self._settings)
        return json_answer(document)

    async def _wanted(self, query: MatrixQuery) -> Wanted:
        """What the names in a query stand for. Raises `ProblemError`."""
        clusters = {await self._names.find(name) for name in query.cluster} if query.cluster else None
        locations: set[UUID] | None = None
        known = self._pictures.leading().locations
        if query.location:
            locations = {(await find_location(known, name)).id for name in query.location}
        if query.owner:
            owned = {each.id for each in known.known.values() if each.owner == query.owner}
            locations = owned if locations is None else locations & owned
        return Wanted.of(query, clusters, locations)


_CELLS = TypeAdapter(list[schemas.MatrixCell])
