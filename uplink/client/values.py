"""What a value of each type must be like: the last gate before a value becomes bytes."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

from uplink.client.dictionary import Field, Type
from uplink.client.items import Value

MAX_NAME_CHARS = 253
"""As of a Kubernetes name; longer ones are cut."""

MAX_INT = 2**63 - 1

_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_VERSION = re.compile(r"v?\d{1,6}(?:\.\d{1,6}){0,3}(?:[+-][A-Za-z0-9.+-]{1,40})?")


def fits(field: Field, value: Value) -> bool:
    """Whether the value is one of this field. Free text and names fit where they are bounded and printable."""
    return _FITS[field.type](field, value)


def _matches(pattern: re.Pattern[str]) -> Callable[[Field, Value], bool]:
    def check(_: Field, value: Value) -> bool:
        return isinstance(value, str) and pattern.fullmatch(value) is not None

    return check


def _choice(field: Field, value: Value) -> bool:
    return isinstance(value, str) and value in field.values


def _text(_: Field, value: Value) -> bool:
    return isinstance(value, str) and value.isprintable()


def _int(_: Field, value: Value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -MAX_INT <= value <= MAX_INT


def _double(_: Field, value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _bool(_: Field, value: Value) -> bool:
    return isinstance(value, bool)


_FITS: Mapping[Type, Callable[[Field, Value], bool]] = MappingProxyType(
    {
        Type.CHOICE: _choice,
        Type.WORD: _matches(_WORD),
        Type.UUID: _matches(_UUID),
        Type.VERSION: _matches(_VERSION),
        Type.NAME: _text,
        Type.TEXT: _text,
        Type.INT: _int,
        Type.DOUBLE: _double,
        Type.BOOL: _bool,
    }
)
