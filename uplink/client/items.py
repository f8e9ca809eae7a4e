"""What is to be encoded: points and events, by names that the dictionary has to know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

Value: TypeAlias = str | int | float | bool

Attributes: TypeAlias = Mapping[str, Value | None]
"""None = not known: left out, and not counted as dropped."""


@dataclass(frozen=True, slots=True)
class Point:
    """One number of one metric."""

    name: str
    at: float
    value: int | float
    attributes: Attributes = field(default_factory=dict)
    since: float | None = None
    """Of a sum: when it began to count."""


@dataclass(frozen=True, slots=True)
class Event:
    """One log record of a known kind."""

    name: str
    at: float
    severity: int
    """As OpenTelemetry numbers them: 9 = INFO, 13 = WARN, 17 = ERROR."""
    attributes: Attributes = field(default_factory=dict)
    text: str = ""
    """Free text."""


Item: TypeAlias = Point | Event
