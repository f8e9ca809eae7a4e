"""Who asks: the one place that knows tokens, sessions and the local file."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple
from urllib.parse import urlsplit

from aiohttp import web

from muster.access.audit import Audit
from muster.access.hosts import Hosts
from muster.access.local import LocalToken, reached_at
from muster.access.principal import Principal, PrincipalKind, StillMay
from muster.access.roles import Role
from muster.access.secret import is_token
from muster.access.sessions import COOKIE, SECURE_COOKIE, Session, Sessions
from muster.access.store import AccessStore
from muster.access.tokens import Tokens
from store.errors import StoreUnavailable
from validator.clock import Clock

LOCAL_NAME = "local"
"""Who somebody with the local token is, in the audit log."""

OPERATOR_NAME = "operator"
"""The same for the link that `muster run` shows."""

DAY_S = 86_400.0


class Asking(NamedTuple):
    """Somebody who asks, and whether they would still be let in."""

    principal: Principal
    still_may: StillMay
    session: Session | None = None


class Unauthenticated(Exception):  # noqa: N818 - what they are
    """Nobody we know. The text says what to do; it repeats nothing of what was shown."""


class Access:
    """All of access control of one instance. `tokens` need `store.open` and the task `tokens.run`."""

    def __init__(
        self,
        clock: Clock,
        hosts: Hosts,
        *,
        session_s: float = 8 * 3600.0,
        local: LocalToken | None = None,
        make_tokens: Callable[[AccessStore, Audit, Clock], Tokens] = Tokens,
    ) -> None:
        """`local` and `make_tokens` are seams: tests know the one and need no database for the other."""
        self.hosts = hosts
        self.store = AccessStore()
        self.audit = Audit(self.store, clock)
        self.tokens = make_tokens(self.store, self.audit, clock)
        self.sessions = Sessions(clock, session_s)
        self.local = local or LocalToken()

    def who(self, request: web.Request) -> Asking:
        """Whoever asks. Where a browser sends a token besides its cookie, the token counts.

        Raises `Unauthenticated`, and `StoreUnavailable` where tokens can't be checked.
        """
        source = self.hosts.source(request)
        shown = request.headers.getall("Authorization", [])
        if shown:
            return self._by_token(_bearer(shown), source)
        cookie = request.cookies.get(self.cookie_name(request))
        session = None if cookie is None else self.sessions.find(cookie)
        if cookie is None or session is None:
            what = "The session has ended: log in again" if cookie else "Nothing shows who asks"
            raise Unauthenticated(
                f"{what}. Send `Authorization: Bearer muster_…` with a token of `muster token create`."
            )
        principal = Principal(session.name, session.role, PrincipalKind.SESSION, source, session.expires_at)
        return Asking(principal, lambda: self.sessions.find(cookie) is not None, session)

    def cookie_name(self, request: web.Request) -> str:
        """The session cookie's, for this request's transport."""
        return SECURE_COOKIE if self.hosts.is_secure(request) else COOKIE

    def operator_link(self, url: str) -> str:
        """A link that makes an admin's session, once. The fragment is never sent to a server, nor logged by one."""
        scheme, host, port = (parts := urlsplit(url)).scheme, reached_at(parts.hostname or ""), parts.port
        where = f"[{host}]" if ":" in host else host
        return f"{scheme}://{where}:{port}/login#code={self.sessions.new_code(OPERATOR_NAME).text}"

    async def keep_house(self, now: float, retention_days: int) -> None:
        """Drop what is older than history is. Raises `StoreError`."""
        oldest = now - retention_days * DAY_S
        await self.audit.forget(oldest)
        await self.tokens.forget(oldest)

    def _by_token(self, secret: str, source: str) -> Asking:
        if self.local.is_(secret):
            return Asking(Principal(LOCAL_NAME, Role.ADMIN, PrincipalKind.LOCAL, source), lambda: True)
        known = self.tokens.find(secret)
        if known is None:
            raise Unauthenticated(
                "This token is unknown, expired or revoked. `muster token list` shows those there are; the local "
                "token of `muster run` is new at each start."
            )
        principal = Principal(known.name, known.role, PrincipalKind.TOKEN, source, known.expires_at)
        return Asking(principal, partial(self._still_works, secret))

    def _still_works(self, secret: str) -> bool:
        try:
            return self.tokens.find(secret) is not None
        except StoreUnavailable:
            return False


def _bearer(shown: list[str]) -> str:
    scheme, _, secret = shown[0].partition(" ")
    if len(shown) > 1 or scheme.lower() != "bearer":
        raise Unauthenticated("Send one Authorization header, `Bearer muster_…`; nothing else is known here.")
    secret = secret.strip()
    if not is_token(secret):
        raise Unauthenticated("This is no token of Muster: they are `muster_` and 43 characters.")
    return secret
