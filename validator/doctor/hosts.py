"""The host of a URL that a cluster or a pod has written. Pure."""

from __future__ import annotations

from urllib.parse import urlsplit


def host_of(url: str | None) -> str:
    """In lower case and without brackets; empty where there is none, or it is no URL (`https://[x`)."""
    try:
        return urlsplit(url or "").hostname or ""
    except ValueError:
        return ""
