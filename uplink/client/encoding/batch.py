"""A batch: what is kept, shown and sent, as the same bytes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from uuid import UUID

from uplink.client.consent.record import Given
from uplink.client.consent.streams import Stream
from uplink.wire.otlp import Signal


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose a batch is, and under which consent: its resource attributes."""

    organisation: str
    installation: UUID
    consent: UUID
    epoch: int
    service_version: str

    @classmethod
    def of(cls, given: Given, service_version: str) -> Identity:
        """That of a consent."""
        return cls(given.organisation, given.installation_id, given.consent_id, given.epoch, service_version)


PLACEHOLDER = Identity("your-organisation", UUID(int=0), UUID(int=0), 0, "0.0.0")
"""Of a preview while telemetry is off: nothing has been made that could tell an installation from another."""


@dataclass(frozen=True, slots=True)
class Batch:
    """One OTLP request."""

    id: UUID
    stream: Stream
    raw: bytes
    """Protobuf, before compression."""
    records: int
    """Points or log records."""
    consent: UUID
    epoch: int
    dictionary: str
    made_at: float
    """Hub clock, seconds since the epoch."""

    @property
    def signal(self) -> Signal:
        """As which it is posted."""
        return self.stream.signal

    @property
    def digest(self) -> str:
        """SHA-256 of `raw`, in hex: what a preview shows and `sent/` keeps."""
        return hashlib.sha256(self.raw).hexdigest()
