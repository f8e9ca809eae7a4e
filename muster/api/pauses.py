"""Take a cluster out of judgement, and put it back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

from aiohttp import web

from collector.pauses import Pause, PauseConflict
from muster.access.audit import Audit
from muster.access.principal import PRINCIPAL
from muster.access.roles import Role
from muster.api import present, schemas
from muster.api.answers import json_answer
from muster.api.bodies import read_body
from muster.api.fleet import CLUSTER
from muster.api.names import Names
from muster.api.once import answer_once
from muster.api.picture import Pictures
from muster.api.problems import Kind, ProblemError
from muster.api.queries import NoQuery, read_query
from muster.api.table import Route
from muster.hub import Hub
from muster.idempotency import Idempotency
from store.pool import Statements
from validator.clean import clean_text
from validator.health import HealthSettings

MAX_REASON_CHARS = 500
"""As in `schemas.PauseRequest`; cleaning may have made it longer."""

_NAMED = (Kind.NOT_LEADING, Kind.CLUSTER_NOT_FOUND, Kind.AMBIGUOUS_CLUSTER, Kind.STORE_UNAVAILABLE)
_BODY = (Kind.BAD_BODY, Kind.UNSUPPORTED_MEDIA_TYPE, Kind.SLOW_REQUEST, Kind.TOO_LARGE)


class PauseActions:
    """Handlers on one hub."""

    def __init__(
        self,
        hub: Hub,
        pictures: Pictures,
        names: Names,
        settings: HealthSettings,
        audit: Audit,
        idempotency: Idempotency,
    ) -> None:
        self._hub = hub
        self._pictures = pictures
        self._names = names
        self._settings = settings
        self._audit = audit
        self._idempotency = idempotency

    def routes(self) -> list[Route]:
        """Its rows of the route table."""
        return [
            Route(
                "POST",
                CLUSTER + "/pause",
                self.pause,
                Role.OPERATOR,
                "Take a cluster out of judgement",
                schemas.ClusterDetail,
                body=schemas.PauseRequest,
                problems=(
                    *_NAMED,
                    *_BODY,
                    Kind.BAD_REQUEST,
                    Kind.ALREADY_PAUSED,
                    Kind.IDEMPOTENCY_CONFLICT,
                    Kind.PRECONDITION_FAILED,
                ),
                idempotent=True,
                if_match=True,
                changes=True,
                action="cluster.pause",
            ),
            Route(
                "POST",
                CLUSTER + "/resume",
                self.resume,
                Role.OPERATOR,
                "Put a cluster back into judgement",
                schemas.ClusterDetail,
                problems=(*_NAMED, Kind.PRECONDITION_FAILED, Kind.NOT_PAUSED),
                if_match=True,
                changes=True,
                action="cluster.resume",
            ),
        ]

    async def pause(self, request: web.Request) -> web.Response:
        """Pause a cluster, or with `If-Match` change the reason and the end of the pause that it names.

        It is asked all the same, so that its end shows the truth; it is Suspended and alerts nobody. An
        `Idempotency-Key` makes it safe to send again. The answer's ETag is in `pause.etag`, too.
        """
        read_query(NoQuery, request.query)
        wanted = await read_body(request, schemas.PauseRequest)
        cluster_id = await self._names.find(request.match_info["cluster"])

        async def act() -> web.Response:
            return await self._pause(request, cluster_id, wanted)

        return await answer_once(self._idempotency, request, act)

    async def _pause(self, request: web.Request, cluster_id: UUID, wanted: schemas.PauseRequest) -> web.Response:
        pauses, by = self._pictures.leading().pauses, request[PRINCIPAL].name
        reason = clean_text(wanted.reason, MAX_REASON_CHARS).strip()
        until = None if wanted.until is None else wanted.until.timestamp()
        if not reason:
            raise _bad("reason", "says nothing")
        after = {"reason": reason, "until": None if wanted.until is None else wanted.until.isoformat()}
        try:
            if (current := self._matched(request, cluster_id)) is None:
                beside = self._audited(request, "cluster.pause", cluster_id, None, after)
                pause = await pauses.pause(cluster_id, reason, by, until, beside)
            else:
                beside = self._audited(request, "cluster.pause", cluster_id, current, after)
                pause = await pauses.change(current, reason, by, until, beside)
        except ValueError as error:
            raise _bad("until", str(error)) from None
        except PauseConflict as conflict:
            if conflict.current is None or "If-Match" in request.headers:
                raise _changed(conflict.current) from None
            raise _already_paused(conflict.current) from None
        return self._detail(cluster_id, present.pause_etag(pause))

    async def resume(self, request: web.Request) -> web.Response:
        """End the pause of a cluster; with `If-Match` only the one that it names."""
        read_query(NoQuery, request.query)
        cluster_id = await self._names.find(request.match_info["cluster"])
        pauses = self._pictures.leading().pauses
        current = self._matched(request, cluster_id) or pauses.active(cluster_id, self._hub.clock.now())
        if current is None:
            raise _not_paused()
        beside = self._audited(request, "cluster.resume", cluster_id, current, None)
        try:
            await pauses.resume(current, request[PRINCIPAL].name, beside)
        except PauseConflict as conflict:
            raise _changed(conflict.current) from None
        return self._detail(cluster_id, None)

    def _matched(self, request: web.Request, cluster_id: UUID) -> Pause | None:
        """The pause that `If-Match` names; None without the header. Raises `ProblemError` if that is not what holds."""
        given = request.headers.get("If-Match")
        if given is None:
            return None
        current = self._pictures.leading().pauses.active(cluster_id, self._hub.clock.now())
        tags = {tag.strip() for tag in given.split(",")}
        if current is None or tags.isdisjoint({"*", present.pause_etag(current)}):
            raise _changed(current)
        return current

    def _audited(
        self, request: web.Request, action: str, cluster_id: UUID, before: Pause | None, after: dict[str, Any] | None
    ) -> Callable[[Statements], Awaitable[None]]:
        """Writes the entry in the transaction of the change."""
        was = None if before is None else present.pause(before).model_dump(mode="json")

        async def beside(transaction: Statements) -> None:
            await self._audit.write(request[PRINCIPAL], action, str(cluster_id), was, after, within=transaction)

        return beside

    def _detail(self, cluster_id: UUID, etag: str | None) -> web.Response:
        if (view := self._hub.cluster(cluster_id)) is None:
            raise ProblemError(Kind.CLUSTER_NOT_FOUND, f"{cluster_id} has just left the fleet.", suggestions=[])
        now, engine = self._hub.clock.now(), self._pictures.leading().engine
        response = json_answer(present.cluster_detail(view, now, engine.next_due_s(cluster_id), self._settings))
        if etag is not None:
            response.headers["ETag"] = etag
        return response


def _changed(current: Pause | None) -> ProblemError:
    """What `If-Match` names is not what is there now."""
    if current is None:
        return ProblemError(Kind.PRECONDITION_FAILED, "It is not paused any more.", pause=None)
    return ProblemError(
        Kind.PRECONDITION_FAILED,
        f"It is {current.message()}. Its ETag is {present.pause_etag(current)} now; look, and send that.",
        pause=present.pause(current).model_dump(mode="json"),
    )


def _already_paused(current: Pause) -> ProblemError:
    return ProblemError(
        Kind.ALREADY_PAUSED,
        f"It is {current.message()}. To change that, send `If-Match: {present.pause_etag(current)}`.",
        pause=present.pause(current).model_dump(mode="json"),
    )


def _not_paused() -> ProblemError:
    return ProblemError(Kind.NOT_PAUSED, "It is not paused; there is nothing to end.")


def _bad(field: str, message: str) -> ProblemError:
    return ProblemError(Kind.BAD_BODY, f"{field}: {message}.", errors=[{"field": field, "message": message}])
