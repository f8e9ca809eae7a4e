"""API tokens: made, listed and revoked in the database, verified from memory.

Each instance keeps the hashes of all tokens that work in memory: `MAX_WORKING` of them, some 300 KB. They are read
again every `REFRESH_S`, so a token that is revoked works nowhere after 5 s, and no longer at all on the instance that
revoked it. A request therefore costs no statement, and people are let in while the database is away, which is
when they look. For as long as it is away nobody can revoke anything; what memory says is trusted for `STALE_S` then,
and refused with `StoreUnavailable` after that. A token that expires is refused from memory too, on time.
LISTEN/NOTIFY was rejected: a connection of its own an instance, to learn of a revocation two seconds earlier.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import NoReturn
from uuid import UUID, uuid4

import structlog

from muster.access.audit import Audit
from muster.access.principal import Principal
from muster.access.roles import Role
from muster.access.secret import SHOWN_CHARS, digest, new_token
from muster.access.store import AccessStore
from store.errors import StoreError, StoreUnavailable
from validator.clock import Clock

_log = structlog.get_logger(__name__)

REFRESH_S = 2.0
ASK_S = 1.0
"""For each of the two statements of a refresh: with the pause they take 4 s at most."""

STALE_S = 3600.0
"""How long memory is trusted without the database: an outage's first hour is when the picture is needed most."""

MAX_WORKING = 1000
"""Tokens that work at a time. A team has a dozen; a thousand are a script that has gone wrong."""

MAX_LISTED = 1000


class TokenExists(ValueError):  # noqa: N818 - what it is, not what it does
    """A token of this name works."""


class TooManyTokens(ValueError):  # noqa: N818 - the same
    """`MAX_WORKING` of them work."""


@dataclass(frozen=True, slots=True)
class Token:
    """All but the secret. Instants are seconds since the epoch."""

    id: UUID
    name: str
    prefix: str
    role: str
    created_at: float
    created_by: str
    expires_at: float | None
    last_used_at: float | None
    revoked_at: float | None


@dataclass(frozen=True, slots=True)
class Known:
    """What memory has of a token that works."""

    id: UUID
    name: str
    role: Role
    expires_at: float | None


class Tokens:
    """All of them. `run` is the owner's task; `find` works once `refresh` has succeeded."""

    def __init__(self, store: AccessStore, audit: Audit, clock: Clock) -> None:
        self._store = store
        self._audit = audit
        self._clock = clock
        self._known: Mapping[bytes, Known] = {}
        self._refreshed_at: float | None = None
        self._writes = 0
        self._used: dict[UUID, float] = {}
        self._noted: dict[UUID, float] = {}

    # -- from memory

    def find(self, secret: str) -> Known | None:
        """The token, if it works. Raises `StoreUnavailable` where memory can't say."""
        now = self._clock.now()
        if self._refreshed_at is None or now - self._refreshed_at > STALE_S:
            raise StoreUnavailable(
                "tokens can't be checked, since the database has not answered for long; only the local token works."
            )
        known = self._known.get(digest(secret))
        if known is None or (known.expires_at is not None and known.expires_at <= now):
            return None
        minute = now // 60 * 60
        if self._noted.get(known.id) != minute:
            self._noted[known.id] = self._used[known.id] = minute
        return known

    async def run(self) -> NoReturn:
        """Keep memory in step with the database, and tell it which tokens were used."""
        away = False
        while True:
            try:
                await self.refresh()
                await self.note_used()
            except StoreError as error:
                if not away:
                    _log.warning("tokens are checked from memory", error=error.message, for_s=STALE_S)
                away = True
            else:
                away = False
            await asyncio.sleep(REFRESH_S)

    async def refresh(self) -> None:
        """Read those that work. Raises `StoreError`; memory stays as it was then."""
        writes = -1
        while writes != self._writes:  # what was read before a write of ours would undo it in memory
            writes, now = self._writes, self._clock.now()
            rows = await self._store.db.fetch(
                self._store.sql["working_tokens"], now, list(Role), MAX_WORKING, timeout_s=ASK_S
            )
        self._known = {
            row["sha256"]: Known(row["id"], row["name"], Role(row["role"]), row["expires_at"]) for row in rows
        }
        self._refreshed_at = now
        working = {known.id for known in self._known.values()}
        self._noted = {token: minute for token, minute in self._noted.items() if token in working}

    async def note_used(self) -> None:
        """Write when tokens were used: one statement for all, at most once a minute for each. Raises `StoreError`."""
        if used := self._used:
            self._used = {}
            try:
                await self._store.db.execute(
                    self._store.sql["note_used"], list(used), list(used.values()), timeout_s=ASK_S
                )
            except StoreError:
                self._used = used | self._used
                raise

    # -- in the database; all raise `StoreError`

    async def list(self) -> list[Token]:
        """Newest first, at most `MAX_LISTED`; also those that work no more."""
        rows = await self._store.db.fetch(self._store.sql["list_tokens"], self._clock.now(), MAX_LISTED)
        return [Token(**row) for row in rows]

    async def create(self, by: Principal, name: str, role: Role, expires_in_s: float | None) -> tuple[Token, str]:
        """A new one with its secret, which is nowhere else. Raises `TokenExists`, `TooManyTokens`."""
        secret, now = new_token(), self._clock.now()
        token = Token(
            id=uuid4(),
            name=name,
            prefix=secret[:SHOWN_CHARS],
            role=role.value,
            created_at=now,
            created_by=by.name,
            expires_at=None if expires_in_s is None else now + expires_in_s,
            last_used_at=None,
            revoked_at=None,
        )
        sql = self._store.sql
        async with self._store.db.transaction() as tx:
            await tx.execute(sql["lock_tokens"])
            count = await tx.fetchrow(sql["count_tokens"], now, name)
            assert count is not None
            if count["of_this_name"]:
                raise TokenExists(name)
            if count["working"] >= MAX_WORKING:
                raise TooManyTokens
            await tx.execute(
                sql["create_token"],
                token.id,
                name,
                token.prefix,
                digest(secret),
                token.role,
                now,
                by.name,
                token.expires_at,
            )
            await self._audit.write(by, "token.create", str(token.id), None, _audited(token), within=tx)
        self._writes += 1
        self._known = {**self._known, digest(secret): Known(token.id, name, role, token.expires_at)}
        return token, secret

    async def revoke(self, by: Principal, token_id: UUID) -> Token | None:
        """End it; gives it as it is then, or None if there is none. A second time changes nothing."""
        now, sql = self._clock.now(), self._store.sql
        async with self._store.db.transaction() as tx:
            row = await tx.fetchrow(sql["find_token"], token_id)
            if row is None:
                return None
            token = Token(**row)
            if token.revoked_at is None:
                before, token = _audited(token), replace(token, revoked_at=now)
                await tx.execute(sql["revoke_token"], token_id, now)
                await self._audit.write(by, "token.revoke", str(token_id), before, _audited(token), within=tx)
        self._writes += 1
        self._known = {sha256: known for sha256, known in self._known.items() if known.id != token_id}
        return token

    async def forget(self, before: float) -> None:
        """Drop those that ended before this instant."""
        await self._store.db.execute(self._store.sql["forget_tokens"], before)


def _audited(token: Token) -> dict[str, object]:
    """What the audit log has of it."""
    return {
        "name": token.name,
        "role": token.role,
        "prefix": token.prefix,
        "expires_at": _date(token.expires_at),
        "revoked_at": _date(token.revoked_at),
    }


def _date(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
