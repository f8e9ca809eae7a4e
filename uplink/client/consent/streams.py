"""The three things that a person can switch on apart from each other."""

from __future__ import annotations

from enum import StrEnum

from uplink.wire.otlp import Signal


class Stream(StrEnum):
    """What is consented to, by name."""

    METRICS = "metrics"
    """Numbers about the fleet, and each cluster's health."""
    LOGS = "logs"
    """Changes of health, as typed events."""
    INVENTORY = "inventory"
    """Which clusters and backup locations there are."""

    @property
    def signal(self) -> Signal:
        """How it travels. OTLP knows no inventory: a gauge of 1 with attributes is how others do it."""
        return Signal.LOGS if self is Stream.LOGS else Signal.METRICS
