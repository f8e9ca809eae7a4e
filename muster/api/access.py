"""Tokens, sessions and the audit log."""

from __future__ import annotations

from typing import Annotated

import structlog
from aiohttp import web
from pydantic import Field, TypeAdapter

from muster.access.access import Access
from muster.access.audit import MAX_PAGE, Entry
from muster.access.principal import PRINCIPAL, Principal, PrincipalKind
from muster.access.roles import Role
from muster.access.sessions import TooManyAttempts, WrongCode
from muster.access.tokens import MAX_WORKING, Token, TokenExists, TooManyTokens
from muster.api import schemas
from muster.api.answers import json_answer, json_list
from muster.api.bodies import read_body
from muster.api.names import as_uuid
from muster.api.present import instant, maybe_instant
from muster.api.problems import Kind, ProblemError
from muster.api.queries import Instant, NoQuery, Query, bad_query, read_query
from muster.api.table import Route

_log = structlog.get_logger(__name__)

TOKENS = "/api/v1/tokens"
SESSION = "/api/v1/session"

Text = Annotated[str, Field(min_length=1, max_length=256)]


class AuditQuery(Query):
    """Which part of the audit log."""

    limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = 100
    """Entries on a page."""
    before: Annotated[int, Field(ge=1, lt=2**63)] | None = None
    """The `next` of the page before."""
    who: Text | None = None
    """Only what this token or session did."""
    action: Text | None = None
    """Only this, e.g. `cluster.pause`."""
    subject: Text | None = None
    """Only what was done to this."""
    since: Instant | None = None
    """Only what was done at this moment or later."""
    until: Instant | None = None
    """Only what was done before this moment."""


class AccessRoutes:
    """Handlers on one instance's access control."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def routes(self) -> list[Route]:
        """Its rows of the route table."""
        away = (Kind.STORE_UNAVAILABLE,)
        body = (Kind.BAD_BODY, Kind.UNSUPPORTED_MEDIA_TYPE, Kind.SLOW_REQUEST, Kind.TOO_LARGE)
        return [
            Route("GET", TOKENS, self.tokens, Role.ADMIN, "API tokens", schemas.TokenPage, problems=away),
            Route(
                "POST",
                TOKENS,
                self.create_token,
                Role.ADMIN,
                "Make an API token",
                schemas.TokenCreated,
                body=schemas.TokenCreate,
                status=201,
                problems=(*away, *body, Kind.ALREADY_EXISTS, Kind.TOO_MANY_TOKENS),
                changes=True,
                action="token.create",
            ),
            Route(
                "DELETE",
                TOKENS + "/{token}",
                self.revoke_token,
                Role.ADMIN,
                "Revoke an API token",
                schemas.Token,
                problems=(*away, Kind.TOKEN_NOT_FOUND),
                changes=True,
                action="token.revoke",
            ),
            Route("GET", SESSION, self.session, Role.VIEWER, "Who asks, and what they may do", schemas.Session),
            Route(
                "POST",
                SESSION,
                self.log_in,
                None,
                "A one-time code becomes a session",
                schemas.Session,
                body=schemas.SessionCreate,
                status=201,
                problems=(*body, Kind.UNAUTHENTICATED, Kind.CSRF, Kind.TOO_MANY_ATTEMPTS),
                changes=True,
                action="session.create",
            ),
            Route(
                "DELETE",
                SESSION,
                self.log_out,
                Role.VIEWER,
                "Log out",
                status=204,
                changes=True,
                action="session.end",
            ),
            Route(
                "POST",
                SESSION + "/code",
                self.make_code,
                Role.ADMIN,
                "A one-time code for a session",
                schemas.SessionCode,
                status=201,
                changes=True,
                action="session.code",
            ),
            Route(
                "GET",
                "/api/v1/audit",
                self.audit,
                Role.ADMIN,
                "Who did what, newest first",
                schemas.AuditPage,
                AuditQuery,
                problems=away,
            ),
        ]

    # -- tokens

    async def tokens(self, request: web.Request) -> web.Response:
        """Newest first, those too that work no more. Secrets are stored nowhere."""
        read_query(NoQuery, request.query)
        tokens = await self._access.tokens.list()
        return await json_list(schemas.TokenPage(tokens=()), tokens, _token, _TOKENS)

    async def create_token(self, request: web.Request) -> web.Response:
        """Make a token; this answer alone has its secret.

        There is no `Idempotency-Key` here: the answer would have to be kept, and the secret with it. Where an answer
        was lost, the token is there, and nobody knows its secret: revoke it and make another one.
        """
        wanted = await read_body(request, schemas.TokenCreate)
        try:
            token, secret = await self._access.tokens.create(
                request[PRINCIPAL], wanted.name, wanted.role, wanted.expires_in_s
            )
        except TokenExists:
            detail = f"A token {wanted.name} works already. Revoke it first, or choose another name."
            raise ProblemError(Kind.ALREADY_EXISTS, detail) from None
        except TooManyTokens:
            detail = f"{MAX_WORKING} tokens work, and more are not kept. Revoke those that nobody needs."
            raise ProblemError(Kind.TOO_MANY_TOKENS, detail) from None
        return json_answer(schemas.TokenCreated(**_token(token).model_dump(), secret=secret), status=201)

    async def revoke_token(self, request: web.Request) -> web.Response:
        """It works no more: here at once, on other instances within five seconds. Once more does no harm."""
        token_id = as_uuid(request.match_info["token"])
        token = None if token_id is None else await self._access.tokens.revoke(request[PRINCIPAL], token_id)
        if token is None:
            raise ProblemError(Kind.TOKEN_NOT_FOUND, "GET /api/v1/tokens has the ids of those there are.")
        return json_answer(_token(token))

    # -- sessions

    async def session(self, request: web.Request) -> web.Response:
        """Who asks. For a session also what it has to send with every change."""
        read_query(NoQuery, request.query)
        asking = self._access.who(request)
        return json_answer(_session(asking.principal, asking.session.csrf if asking.session else None))

    async def log_in(self, request: web.Request) -> web.Response:
        """Exchange the one-time code of an operator link for a session cookie."""
        wanted = await read_body(request, schemas.SessionCreate)
        source = self._access.hosts.source(request)
        try:
            session, cookie = self._access.sessions.exchange(wanted.code)
        except WrongCode:
            _log.warning("wrong code for a session", source=source)
            detail = "The code is wrong, was used, or is older than ten minutes. `muster login` makes another one."
            raise ProblemError(Kind.UNAUTHENTICATED, detail) from None
        except TooManyAttempts:
            raise ProblemError(Kind.TOO_MANY_ATTEMPTS, "Wait, or make a new code with `muster login`.") from None
        principal = Principal(session.name, session.role, PrincipalKind.SESSION, source, session.expires_at)
        await self._access.audit.note(principal, "session.create", principal.name)
        response = json_answer(_session(principal, session.csrf), status=201)
        response.set_cookie(
            self._access.cookie_name(request),
            cookie,
            max_age=int(self._access.sessions.lifetime_s),
            path="/",
            httponly=True,
            samesite="Strict",
            secure=self._access.hosts.is_secure(request),
        )
        return response

    async def log_out(self, request: web.Request) -> web.Response:
        """End the session. With a token there is nothing to end."""
        name = self._access.cookie_name(request)
        principal, cookie = request[PRINCIPAL], request.cookies.get(name)
        response = web.Response(status=204)
        if principal.kind is PrincipalKind.SESSION and cookie is not None:
            self._access.sessions.end(cookie)
            await self._access.audit.note(principal, "session.end", principal.name)
            secure = self._access.hosts.is_secure(request)
            response.del_cookie(name, path="/", httponly=True, samesite="Strict", secure=secure)
        return response

    async def make_code(self, request: web.Request) -> web.Response:
        """A code for a session as admin, in the name of whoever asks. The one before works no more."""
        principal = request[PRINCIPAL]
        code = self._access.sessions.new_code(principal.name)
        await self._access.audit.note(principal, "session.code", principal.name)
        document = schemas.SessionCode(code=code.text, expires_at=instant(code.expires_at))
        return json_answer(document, status=201)

    # -- audit

    async def audit(self, request: web.Request) -> web.Response:
        """Every write, those too that were refused, newest first."""
        query = read_query(AuditQuery, request.query)
        if query.since is not None and query.until is not None and query.since >= query.until:
            bad_query("since", "not before `until`; swap them")
        entries = await self._access.audit.page(**query.model_dump())
        head = schemas.AuditPage(next=entries[-1].id if len(entries) == query.limit else None, entries=())
        return await json_list(head, entries, _entry, _ENTRIES)


def _token(token: Token) -> schemas.Token:
    return schemas.Token(
        id=str(token.id),
        name=token.name,
        prefix=token.prefix,
        role=token.role,
        created_at=instant(token.created_at),
        created_by=token.created_by,
        expires_at=maybe_instant(token.expires_at),
        last_used_at=maybe_instant(token.last_used_at),
        revoked_at=maybe_instant(token.revoked_at),
    )


def _session(principal: Principal, csrf: str | None) -> schemas.Session:
    return schemas.Session(
        name=principal.name,
        role=principal.role,
        kind=principal.kind,
        expires_at=maybe_instant(principal.expires_at),
        csrf=csrf,
    )


def _entry(entry: Entry) -> schemas.AuditEntry:
    return schemas.AuditEntry(
        id=entry.id,
        at=instant(entry.at),
        who=entry.who,
        kind=entry.kind,
        role=entry.role,
        source=entry.source,
        action=entry.action,
        subject=entry.subject,
        before=None if entry.before is None else dict(entry.before),
        after=None if entry.after is None else dict(entry.after),
        outcome=entry.outcome,
    )


_TOKENS = TypeAdapter(list[schemas.Token])
_ENTRIES = TypeAdapter(list[schemas.AuditEntry])
