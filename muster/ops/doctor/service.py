"""What is known of the service itself, where one answers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class ServiceSeen:
    """Of a running Muster; what needs a token is None without one."""

    url: str
    date: datetime | None = None
    """Its clock, to the second."""
    version: str | None = None
    role: str | None = None
    clusters: int | None = None
