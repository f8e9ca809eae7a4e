"""Who may do what, and who did."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AwareDatetime, ConfigDict, Field, field_validator

from muster.access.roles import Role
from muster.access.secret import is_token
from muster.api.schemas.document import Document


class Body(Document):
    """What is sent to us: every field is known, else it is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class TokenCreate(Body):
    """A new API token."""

    name: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    """Unique among the tokens that still work; shown in the audit log."""
    role: Role
    """What it may do."""
    expires_in_s: Annotated[int, Field(ge=60, le=10 * 366 * 86400)] | None = 90 * 86400
    """null = never."""

    @field_validator("name")
    @classmethod
    def _no_secret(cls, name: str) -> str:
        if is_token(name):
            raise ValueError("this is a token itself, and names are shown to everybody; say who uses it")
        return name


class Token(Document):
    """An API token, without its secret."""

    id: str
    name: str
    prefix: str
    """Its first characters, to find it again where it is used."""
    role: str
    """`viewer`, `operator` or `admin`."""
    created_at: AwareDatetime
    created_by: str
    """Name of the token or session that made it."""
    expires_at: AwareDatetime | None
    """null = never."""
    last_used_at: AwareDatetime | None
    """To the minute."""
    revoked_at: AwareDatetime | None
    """null = it was not."""


class TokenCreated(Token):
    """The only answer that has the secret."""

    secret: str
    """`muster_` and 43 characters. Only its hash is kept."""


class TokenPage(Document):
    """All tokens, newest first; at most 1,000."""

    tokens: tuple[Token, ...]


class SessionCreate(Body):
    """What a browser has from the operator link."""

    code: Annotated[str, Field(min_length=1, max_length=128)]
    """From the part of the link after `#code=`."""


class SessionCode(Document):
    """What an operator link carries: `<service>/login#code=<code>`."""

    code: str
    """Works once, and only the newest one does."""
    expires_at: AwareDatetime


class Session(Document):
    """Who asks, and what they may do."""

    name: str
    role: str
    kind: str
    """`token`, `session` or `local`."""
    expires_at: AwareDatetime | None
    """null = never."""
    csrf: str | None
    """For sessions: every request that changes something must repeat it as `X-Muster-CSRF`."""


class AuditEntry(Document):
    """One write, also one that was refused."""

    id: int
    at: AwareDatetime
    who: str
    """Name of the token or session."""
    kind: str
    """`token`, `session` or `local`."""
    role: str
    """That it had then."""
    source: str
    """Address from which it came."""
    action: str
    """E.g. `cluster.pause`, `token.create`."""
    subject: str
    """What it was done to: an id or a name."""
    before: dict[str, Any] | None
    """What was there; null = nothing."""
    after: dict[str, Any] | None
    """What was asked for; null = nothing, or an end."""
    outcome: str
    """`done`, or the problem's type."""


class AuditPage(Document):
    """Writes, newest first."""

    next: int | None
    """Give it as `before` for the next page; null = this was the last."""
    entries: tuple[AuditEntry, ...]
