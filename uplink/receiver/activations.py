"""Activation tokens: what lets an installation have its first certificate, once.

The token says whose the installation is; nothing that the installation says does. `muster_` before a secret is the
service's; these are for another door and begin with `activate_`.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from uuid import UUID, uuid4

from uplink.receiver.audit import Action, By, note
from uplink.receiver.storing import Store
from uplink.wire.identity import organisation_id

PREFIX = "activate_"
SHOWN_CHARS = 14
"""Of the secret, so that it can be found again: 30 of its 256 bits."""

MAX_USABLE = 1000
"""Of one organisation at a time; more are a script that has gone wrong."""
MAX_LISTED = 1000

_TOKEN = re.compile(r"activate_[A-Za-z0-9_-]{43}")


class TooManyTokens(ValueError):  # noqa: N818 - what it is
    """`MAX_USABLE` can be used."""


@dataclass(frozen=True, slots=True)
class Activation:
    """All but the secret. Instants are seconds since the epoch."""

    id: UUID
    org_id: str
    prefix: str
    created_at: float
    expires_at: float
    needs_approval: bool
    revoked_at: float | None
    used_at: float | None
    installation_id: UUID | None
    approved_at: float | None

    def state(self, now: float) -> str:
        """In a word."""
        if self.revoked_at is not None:
            return "revoked"
        if self.used_at is not None:
            return "waits for approval" if self.needs_approval and self.approved_at is None else "used"
        return "expired" if self.expires_at <= now else "usable"


class Activations:
    """All of them. Every method raises `StoreError`."""

    def __init__(self, store: Store, by: By | None = None) -> None:
        """`by`: who acts; else the user of this process."""
        self._store = store
        self._by = by or By.command()

    async def create(
        self,
        organisation: str,
        now: float,
        lifetime_s: float,
        *,
        needs_approval: bool = False,
        installation: UUID | None = None,
    ) -> tuple[Activation, str]:
        """A new one with its secret, which is nowhere else; makes the organisation where there is none.

        Raises `WireError` for an id that can't be one, `TooManyTokens`.
        """
        organisation_id(organisation)
        secret = PREFIX + secrets.token_urlsafe(32)
        made = Activation(
            id=uuid4(),
            org_id=organisation,
            prefix=secret[:SHOWN_CHARS],
            created_at=now,
            expires_at=now + lifetime_s,
            needs_approval=needs_approval,
            revoked_at=None,
            used_at=None,
            installation_id=installation,
            approved_at=None,
        )
        sql = self._store.sql
        async with self._store.db.transaction() as tx:
            await tx.execute(sql["make_org"], organisation, now)
            if await tx.fetchval(sql["count_activations"], organisation, now) >= MAX_USABLE:
                raise TooManyTokens(organisation)
            await tx.execute(
                sql["create_activation"],
                made.id,
                organisation,
                made.prefix,
                digest(secret),
                now,
                made.expires_at,
                needs_approval,
                installation,
            )
            await note(
                self._store,
                tx,
                self._by,
                Action.CREATE_TOKEN,
                now,
                organisation,
                installation,
                token=str(made.id),
                lifetime_s=lifetime_s,
                needs_approval=needs_approval,
            )
        return made, secret

    async def list(self, organisation: str | None = None) -> list[Activation]:
        """Newest first, at most `MAX_LISTED`."""
        rows = await self._store.db.fetch(self._store.sql["list_activations"], organisation, MAX_LISTED)
        return [Activation(**row) for row in rows]

    async def approve(self, activation: UUID, now: float) -> bool:
        """Let the CSR that waits have its certificate, the next time it asks. False if nothing waits under this id."""
        return await self._decide("approve_activation", Action.APPROVE, activation, now)

    async def revoke(self, activation: UUID, now: float) -> bool:
        """It works no more, and what waits gets nothing; False if there is none. Certificates are not its matter."""
        return await self._decide("revoke_activation", Action.REVOKE_TOKEN, activation, now)

    async def _decide(self, name: str, action: Action, activation: UUID, now: float) -> bool:
        async with self._store.db.transaction() as tx:
            row = await tx.fetchrow(self._store.sql[name], activation, now)
            if row is None:
                return False
            await note(
                self._store, tx, self._by, action, now, row["org_id"], row["installation_id"], token=str(activation)
            )
        return True


def is_token(text: str) -> bool:
    """Whether it looks like one: what doesn't needs no looking up."""
    return _TOKEN.fullmatch(text) is not None


def digest(secret: str) -> bytes:
    """What is kept. 256 random bits need no slow hash."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
