"""What is to be encoded: points and events, by names that the dictionary has to know."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

Value: TypeAlias = str | int | float | bool

Attributes: TypeAlias = Mapping[str, Value | None]
"""None = not known: left out, and not counted as dropped."""

_NONE: Attributes = MappingProxyType({})


class Point(NamedTuple):
    """One number of one metric. A tuple, as an event is: thousands are made at a time."""

    name: str
    at: float
    value: int | float
    attributes: Attributes = _NONE
    since: float | None = None
    """Of a sum: when it began to count."""


class Event(NamedTuple):
    """One log record of a known kind."""

    name: str
    at: float
    severity: int
    """As OpenTelemetry numbers them: 9 = INFO, 13 = WARN, 17 = ERROR."""
    attributes: Attributes = _NONE
    text: str = ""
    """Free text."""
    names: tuple[str, ...] = ()
    """That may stand in it, besides those of the attributes."""


Item: TypeAlias = Point | Event
