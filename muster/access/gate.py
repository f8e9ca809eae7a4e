"""The gate: before any handler runs it is known who asks, and that they may.

Which routes need no token is told by the route table alone: those whose role is None. Paths that don't exist are a 404
for everybody; they are the same in every installation, so there is nothing to learn from them.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence

import structlog
from aiohttp import web

from muster.access.access import Access, Asking, Unauthenticated
from muster.access.bucket import Bucket
from muster.access.principal import PRINCIPAL, STILL_MAY, Principal
from muster.access.secret import digest
from muster.api.problems import Handler, Kind, ProblemError
from muster.api.table import Route
from validator.clock import Clock

_log = structlog.get_logger(__name__)

IN_QUERY = frozenset({"token", "access_token", "api_token", "bearer"})
"""Parameters in which people try to send a token. The first two are in every second tutorial."""

REFUSED_BURST, REFUSED_EVERY_S = 100, 1.0
"""Refused writes that the audit log takes at once, and one every so many seconds after that: else anybody with a
viewer's token could fill the disk. The rest is counted and logged."""

CSRF_HEADER = "X-Muster-CSRF"


class Gate:
    """Lets in who may. One a server."""

    def __init__(self, access: Access, routes: Sequence[Route], clock: Clock) -> None:
        self._access = access
        self._rows = {(route.method, route.path): route for route in routes}
        self._clock = clock
        self._refused = Bucket(REFUSED_BURST, REFUSED_EVERY_S)
        self._dropped = 0

    async def admit(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse, or leave `PRINCIPAL` and `STILL_MAY` in the request and go on. Raises `ProblemError`."""
        if not IN_QUERY.isdisjoint(name.casefold() for name in request.query):
            raise ProblemError(
                Kind.BAD_REQUEST,
                "A token in an address is kept by logs and histories: revoke that one. Tokens travel in the header "
                "`Authorization: Bearer muster_…` only.",
            )
        route = self._row(request)
        if route is None:
            return await handler(request)
        if route.role is None:
            self._refuse_other_pages(request, route)
            return await handler(request)
        try:
            asking = self._access.who(request)
        except Unauthenticated as error:
            raise ProblemError(Kind.UNAUTHENTICATED, str(error)) from None
        request[PRINCIPAL], request[STILL_MAY] = asking.principal, asking.still_may
        try:
            self._check(request, route, asking)
            return await handler(request)
        except ProblemError as error:
            if route.changes:
                await self._note_refused(request, route, asking.principal, error)
            raise

    def _row(self, request: web.Request) -> Route | None:
        """The row of the table; None where no route matches, which the router's handler tells."""
        resource = request.match_info.route.resource
        method = "GET" if request.method == "HEAD" else request.method
        return None if resource is None else self._rows[method, resource.canonical]

    def _check(self, request: web.Request, route: Route, asking: Asking) -> None:
        needed, principal = route.role, asking.principal
        assert needed is not None
        if not principal.role.may(needed):
            detail = f"{principal.name} is {principal.role}, and this takes {needed}. Ask an admin for such a token."
            raise ProblemError(Kind.FORBIDDEN, detail, role=principal.role, needed=needed)
        if asking.session is None or route.method == "GET":
            return  # only what a browser sends by itself can be sent by somebody else's page
        self._refuse_other_pages(request, route)
        if not hmac.compare_digest(digest(request.headers.get(CSRF_HEADER, "")), digest(asking.session.csrf)):
            raise ProblemError(
                Kind.CSRF, f"A session sends {CSRF_HEADER} with every change; GET /api/v1/session has its value."
            )

    def _refuse_other_pages(self, request: web.Request, route: Route) -> None:
        if route.method != "GET" and not self._access.hosts.is_own_page(request):
            raise ProblemError(Kind.CSRF, "This comes from a page of another origin, and only our own may change.")

    async def _note_refused(
        self, request: web.Request, route: Route, principal: Principal, error: ProblemError
    ) -> None:
        if not self._refused.take(self._clock.now()):
            self._dropped += 1
            return
        if self._dropped:
            _log.warning("refused writes are not in the audit log", dropped=self._dropped)
            self._dropped = 0
        await self._access.audit.note(principal, route.action, "/".join(request.match_info.values()), error.kind.type)
