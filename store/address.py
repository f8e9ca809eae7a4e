"""A database URL: checked before asyncpg sees it, and shown without its password.

asyncpg's own parser puts pieces of a malformed URL into its errors, and a password with a raw `@`, `/`, `#` or `?` is
exactly what makes one malformed. So what can't be read unambiguously is refused here, with no cause chained:
the cause would hold the password.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from store.errors import StoreRefused

MAX_URL_CHARS = 4096
"""Longer is not a URL but a file pasted into a variable."""

_REMEDY = (
    "Give postgresql://user:password@host:5432/database, with special characters of the password percent-encoded "
    "(@ is %40, / is %2F, # is %23)"
)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a database is. `url` holds the password and is for asyncpg only; `str()` is for people."""

    url: str = field(repr=False)
    shown: str
    """`host:port/database`, or the socket's directory; no user, no password."""

    def __str__(self) -> str:
        return self.shown


def parse_address(url: str) -> Address:
    """Check a URL. Raises `StoreRefused` that says what is wrong, and never quotes the URL."""
    problem = _problem(url)
    if problem:
        raise StoreRefused(f"MUSTER_DATABASE_URL {problem}. {_REMEDY}.")
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    hosts = query.get("host", [""])[-1] or unquote(parts.netloc.rpartition("@")[2]) or "localhost"
    database = query.get("dbname", query.get("database", [""]))[-1] or unquote(parts.path.lstrip("/"))
    return Address(url, f"{hosts}/{database}" if database else hosts)


def _problem(url: str) -> str | None:
    if len(url) > MAX_URL_CHARS:
        return f"is longer than {MAX_URL_CHARS} characters"
    if not url.isprintable() or " " in url:
        return "contains a space or a control character"
    try:
        parts = urlsplit(url)
    except ValueError:  # its text may quote the password
        return "is not a URL"
    if parts.scheme not in ("postgresql", "postgres"):
        return "does not start with postgresql://"
    if parts.fragment or "@" in parts.path or "@" in parts.query or parts.netloc.count("@") > 1:
        return "has a raw @, /, # or ? in its user or password"
    return _bad_query(parts) or _bad_port(parts)


def _bad_query(parts: SplitResult) -> str | None:
    try:
        if parts.query:
            parse_qs(parts.query, strict_parsing=True)
    except ValueError:
        return "has parameters after the ? that are not name=value"
    return None


def _bad_port(parts: SplitResult) -> str | None:
    """Several hosts with a port each are allowed, as in libpq; IPv6 literals stand in brackets."""
    for host in parts.netloc.rpartition("@")[2].split(","):
        port = host.rpartition("]")[2].rpartition(":")[2] if ":" in host.rpartition("]")[2] else ""
        if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            return "has a port that is not a number from 1 to 65535"
    return None
