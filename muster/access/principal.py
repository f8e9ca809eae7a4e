"""Somebody who asks, once they have proved who they are."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from aiohttp import web

from muster.access.roles import Role


class PrincipalKind(StrEnum):
    """How somebody proved who they are."""

    TOKEN = "token"  # noqa: S105 - not a password
    SESSION = "session"
    LOCAL = "local"
    """The file that `muster run` leaves for its own user."""


@dataclass(frozen=True, slots=True)
class Principal:
    """The same for a token, a browser's session and the local file."""

    name: str
    role: Role
    kind: PrincipalKind
    source: str
    """Address from which the request came."""
    expires_at: float | None = None
    """Of the token or the session, seconds since the epoch; None = never."""


class StillMay(Protocol):
    """Whether whoever asked would still be let in."""

    def __call__(self) -> bool: ...


PRINCIPAL: Final = web.RequestKey("principal", Principal)
"""Where the access middleware leaves it; absent on routes that need no token."""

STILL_MAY: Final = web.RequestKey("still_may", StillMay)
"""Beside it. An answer that goes on for long asks now and then, so that a revoked token ends it."""
