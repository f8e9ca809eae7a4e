"""Where a page ended, as text that a client hands back unread.

A cursor grants nothing: whoever may ask for a page may ask for every page. So it is not signed. A key of the process
would make every cursor end with it, at a restart or when the standby takes over; a key in the database would be one
more secret. A checksum finds accidental damage, and what is read from a cursor is checked as if there were none.

It knows its query, because a position in one list is none in another: going on with other filters or another sort would
skip clusters silently.
"""

from __future__ import annotations

import base64
import binascii
import json
from hashlib import blake2s
from math import isfinite
from typing import NamedTuple

VERSION = 1
"""Of the layout: this byte, the query's digest, the position, a checksum of all. First and last stay for ever."""

MAX_CURSOR_CHARS = 4096
"""The longest honest one, of a name of 512 characters of four bytes each, is some 2,900."""

_DIGEST_BYTES = 8
_AGAIN = "leave it out to begin again"


class CursorError(ValueError):
    """The text is no cursor of this query."""


class Position(NamedTuple):
    """Where a cluster stands in a list: what the list is sorted by, down to the id, which settles every tie.

    A page goes on where the last one ended, whatever has changed before it. An offset was rejected: it would show one
    cluster twice and another one never.
    """

    rank: int
    number: float
    name: str
    id: str


def encode(position: Position, query: str) -> str:
    """The cursor of the page after `position`; `query` is the query in one canonical form."""
    body = bytes([VERSION]) + _digest(query.encode()) + json.dumps(position, ensure_ascii=False).encode()
    return base64.urlsafe_b64encode(body + _digest(body)).decode().rstrip("=")


def decode(cursor: str, query: str) -> Position:
    """The position. Raises `CursorError`, which tells the damaged from those of another version or another query."""
    raw = _bytes(cursor)
    body, checksum = raw[:-_DIGEST_BYTES], raw[-_DIGEST_BYTES:]
    if not body or _digest(body) != checksum:
        raise CursorError(f"damaged, or not a `next` of this service; {_AGAIN}")
    if body[0] != VERSION:
        raise CursorError(
            f"of another version of the service: it has {body[0]}, and this one reads {VERSION}; {_AGAIN}"
        )
    if body[1 : 1 + _DIGEST_BYTES] != _digest(query.encode()):
        raise CursorError(f"from another query: filters and sort must stay those of the first page; {_AGAIN}")
    return _position(body[1 + _DIGEST_BYTES :])


def _bytes(cursor: str) -> bytes:
    """Empty for what is not base64 in its one canonical spelling."""
    if len(cursor) > MAX_CURSOR_CHARS:
        return b""
    try:
        raw = base64.b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), b"-_", validate=True)
    except (binascii.Error, ValueError):
        return b""
    return raw if base64.urlsafe_b64encode(raw).decode().rstrip("=") == cursor else b""


def _position(text: bytes) -> Position:
    try:
        match json.loads(text):
            case [int(rank), float(number), str(name), str(cluster_id)] if isfinite(number) and not isinstance(
                rank, bool
            ):
                return Position(rank, number, name, cluster_id)
    except (ValueError, RecursionError):
        pass
    raise CursorError(f"made up; {_AGAIN}")


def _digest(data: bytes) -> bytes:
    return blake2s(data, digest_size=_DIGEST_BYTES).digest()
