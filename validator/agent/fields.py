"""Typed, bounded access to one object of a JSON document from elsewhere. Pure; errors name the field."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, TypeVar
from uuid import UUID

from validator.printable import printable

E = TypeVar("E", bound=StrEnum)


class WireError(Exception):
    """A document can't be used. Begins with the field's name, and never quotes more than a word of its value."""


def parsed(body: bytes, what: str) -> Fields:
    """The object that `body` is. Raises `WireError`."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise WireError(f"{what} is no JSON") from None
    return Fields.of(found, what)


class Fields:
    """One object. Fields that nobody asks for are ignored: a newer hub may send more."""

    def __init__(self, body: Mapping[str, Any], place: str) -> None:
        self._body = body
        self.place = place
        """Before every field's name in messages; empty at the top."""

    @classmethod
    def of(cls, value: object, what: str, place: str = "") -> Fields:
        """The fields of `value`. Raises `WireError` where it is no object."""
        if not isinstance(value, dict):
            raise WireError(f"{what} is no object")
        return cls(value, place)

    def has(self, key: str) -> bool:
        """Whether there is anything under this name."""
        value = self._body.get(key)
        return value is not None and value != ""

    def text(self, key: str, limit: int) -> str:
        """One line."""
        value = self._body.get(key)
        if not isinstance(value, str) or not value:
            raise self.error(key, "is no text")
        if len(value) > limit:
            raise self.error(key, f"is longer than {limit} characters")
        if not value.isprintable():
            raise self.error(key, "holds control characters")
        return value

    def text_or_none(self, key: str, limit: int) -> str | None:
        """One line; None where it is absent, null or empty."""
        return self.text(key, limit) if self.has(key) else None

    def uuid(self, key: str) -> UUID:
        """An id."""
        try:
            return UUID(self.text(key, 36))
        except ValueError:
            raise self.error(key, "is no UUID") from None

    def number(self, key: str, low: float, high: float) -> float:
        """A finite number within bounds."""
        value = self._body.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self.error(key, "is no number")
        if not low <= value <= high:
            raise self.error(key, f"is not between {low:g} and {high:g}")
        return float(value)

    def flag(self, key: str) -> bool:
        """A boolean; absent is false."""
        value = self._body.get(key)
        if value is None or isinstance(value, bool):
            return bool(value)
        raise self.error(key, "is neither true nor false")

    def choice(self, key: str, kind: type[E]) -> E:
        """One of a few words."""
        word = self.text(key, 64)
        try:
            return kind(word)
        except ValueError:
            raise self.error(key, f"{printable(word)} is none of {', '.join(kind)}") from None

    def items(self, key: str, limit: int) -> Sequence[Any]:
        """A list; absent is empty."""
        value = self._body.get(key)
        if value is None:
            return ()
        if not isinstance(value, list):
            raise self.error(key, "is no list")
        if len(value) > limit:
            raise self.error(key, f"has {len(value)} entries; {limit} are the most")
        return value

    def inner(self, key: str) -> Fields:
        """An object within."""
        return Fields.of(self._body.get(key), f"{self.place}{key}", f"{self.place}{key}.")

    def error(self, key: str, problem: str) -> WireError:
        """What is wrong with a field."""
        return WireError(f"{self.place}{key} {problem}")
