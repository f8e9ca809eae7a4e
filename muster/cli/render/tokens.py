"""API tokens as a table."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from rich.text import Text

from muster.api import schemas
from muster.cli.render.table import DIM, Column, table
from muster.cli.render.text import ago, local, span
from muster.escape import escaped

SOON = timedelta(days=14)
"""An expiry that is nearer is marked: as for certificates."""


def works(token: schemas.Token, now: datetime) -> bool:
    """Whether it is neither revoked nor expired."""
    return token.revoked_at is None and (token.expires_at is None or token.expires_at > now)


def tokens_table(tokens: Sequence[schemas.Token], now: datetime, *, wide: bool) -> list[Text]:
    """One line a token."""
    columns = [Column("NAME"), Column("ROLE"), Column("PREFIX"), Column("EXPIRES"), Column("LAST USED"), Column("MADE")]
    if wide:
        columns += [Column("BY"), Column("AT"), Column("ID")]
    rows: list[list[Text | str]] = [
        [
            escaped(token.name),
            escaped(token.role),
            Text(escaped(token.prefix), DIM),
            _expiry(token, now),
            ago(now, token.last_used_at),
            ago(now, token.created_at),
            *((escaped(token.created_by), local(token.created_at), escaped(token.id)) if wide else ()),
        ]
        for token in tokens
    ]
    return table(columns, rows)


def _expiry(token: schemas.Token, now: datetime) -> Text:
    if token.revoked_at is not None:
        return Text(f"revoked {ago(now, token.revoked_at)}", "red")
    if token.expires_at is None:
        return Text("never", DIM)
    left = token.expires_at - now
    if left.total_seconds() <= 0:
        return Text(f"expired {ago(now, token.expires_at)}", "red")
    return Text(f"in {span(left.total_seconds())}", "yellow" if left < SOON else "")
