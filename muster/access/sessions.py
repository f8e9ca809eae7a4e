"""Sessions of browsers: a one-time code becomes a cookie.

The code travels in a link's fragment, which browsers send to nobody; the page posts it. What a browser holds after
that is a cookie that no script can read. Sessions are in memory: whoever restarts the service logs everybody out, and
a database that is away locks nobody out. A second instance knows nothing of them.

Cookies do not tell ports apart: a page that another service of this machine serves on another port of the same name is
sent the cookie too. It can't change anything without the session's CSRF token, which only our own origin can read.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from muster.access.bucket import Bucket
from muster.access.roles import Role
from muster.access.secret import digest, new_secret
from validator.clock import Clock

CODE_S = 600.0
"""How long a code waits to be used."""

MAX_SESSIONS = 100
"""Beyond it the oldest ends. Each needed an admin's code, so nobody else can push one out."""

BURST, EVERY_S = 10, 6.0
"""Wrong codes that are listened to: at once, and one every so many seconds after that."""

COOKIE, SECURE_COOKIE = "muster-session", "__Host-muster"
"""Over plain HTTP and over TLS. Browsers let nobody but this very host set a `__Host-` cookie."""


class WrongCode(Exception):  # noqa: N818 - what it is
    """Not the code, or no longer."""


class TooManyAttempts(Exception):  # noqa: N818 - what it is
    """Wrong codes come faster than they are listened to."""


@dataclass(frozen=True, slots=True)
class Session:
    """One browser."""

    name: str
    role: Role
    expires_at: float
    csrf: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Code:
    """What a link carries."""

    text: str = field(repr=False)
    expires_at: float


@dataclass(frozen=True, slots=True)
class _Waiting:
    sha256: bytes
    name: str
    role: Role
    expires_at: float


class Sessions:
    """Those of this instance."""

    def __init__(self, clock: Clock, lifetime_s: float) -> None:
        self._clock = clock
        self.lifetime_s = lifetime_s
        self._sessions: dict[bytes, Session] = {}  # oldest first; by the cookie's hash, as tokens are
        self._waiting: _Waiting | None = None
        self._wrong = Bucket(BURST, EVERY_S)

    def new_code(self, name: str, role: Role = Role.ADMIN) -> Code:
        """A code for a session in this name. The one before works no more."""
        text, expires_at = new_secret(), self._clock.now() + CODE_S
        self._waiting = _Waiting(digest(text), name, role, expires_at)
        return Code(text, expires_at)

    def exchange(self, code: str) -> tuple[Session, str]:
        """A session and its cookie for the code, once. Raises `WrongCode`, `TooManyAttempts`.

        The right code is taken however many wrong ones came before: 256 bits need no protection from guessing, and a
        stranger must not be able to lock the operator out. The bound keeps guesses from being work and log lines.
        """
        now, waiting = self._clock.now(), self._waiting
        if waiting is None or digest(code) != waiting.sha256 or waiting.expires_at <= now:
            raise WrongCode if self._wrong.take(now) else TooManyAttempts
        self._waiting = None
        self._sessions = {key: session for key, session in self._sessions.items() if session.expires_at > now}
        if len(self._sessions) >= MAX_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        cookie = new_secret()
        session = Session(waiting.name, waiting.role, now + self.lifetime_s, new_secret())
        self._sessions[digest(cookie)] = session
        return session, cookie

    def find(self, cookie: str) -> Session | None:
        """The session of a cookie, if it has not expired."""
        session = self._sessions.get(digest(cookie))
        return session if session is not None and session.expires_at > self._clock.now() else None

    def end(self, cookie: str) -> None:
        """Log out."""
        self._sessions.pop(digest(cookie), None)
