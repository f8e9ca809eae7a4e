"""The objects of one bucket, a page at a time: what an inventory needs of a provider."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

PAGE_OBJECTS = 500
"""Of one page. An answer may have 1 MiB (`validator.net.sdk_session`), and an entry of Azure's is 1 KB of XML."""


class Listed(NamedTuple):
    """One object. A tuple: there may be a million."""

    name: str
    size_bytes: int
    modified_at: float
    """By the provider's clock, seconds since the epoch."""


class Page(NamedTuple):
    """Some of them, in the provider's order."""

    objects: Sequence[Listed]
    folders: Sequence[str]
    """With their slash; none where folders were not asked for."""
    next: str | None
    """Where the next page begins; None: this was the last."""


class Objects(Protocol):
    """One bucket, with the identity of whoever asks.

    Every method raises `ProbeFailure`, and has no deadline of its own: the caller's is around each call.
    """

    async def page(self, prefix: str, after: str | None, *, folders: bool) -> Page:
        """Objects whose names begin with `prefix`; with `folders` only those directly in it, and the folders in it."""
        ...

    async def read(self, name: str, most_bytes: int) -> bytes:
        """The first bytes of one object."""
        ...
