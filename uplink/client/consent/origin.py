"""Where the endpoints are. Imports nothing: the settings check theirs with it."""

from __future__ import annotations

from urllib.parse import urlsplit


def origin(url: str) -> str:
    """An endpoint as it is compared and kept: `https://host[:port]`, and a path.

    Raises ValueError that repeats nothing of it.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
        parts = urlsplit("")
    if parts.scheme != "https" or not host or parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("an endpoint is https://host[:port][/path], without a user, a query or a fragment")
    where = f"[{host}]" if ":" in host else host
    return f"https://{where}{'' if port in (None, 443) else f':{port}'}{parts.path.rstrip('/')}"
