"""What a value of each type must be like: the last gate before a value becomes bytes."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from types import MappingProxyType

from uplink.client.consent.dictionary import Field, Type
from uplink.client.encoding.items import Value
from uplink.wire.errors import WireError
from uplink.wire.identity import organisation_id
from validator.model import Check
from validator.reasons import Reason, Stage

MAX_NAME_CHARS = 253
"""As of a Kubernetes name; longer ones are cut."""

MAX_INT = 2**63 - 1

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_VERSION = re.compile(r"v?\d{1,6}(?:\.\d{1,6}){0,3}(?:[+-][A-Za-z0-9.+-]{1,40})?")


def fits(field: Field, value: Value) -> bool:
    """Whether the value is one of this field. Free text and names fit where they are bounded and printable."""
    return _FITS[field.type](field, value)


def _matches(pattern: re.Pattern[str]) -> Callable[[Field, Value], bool]:
    def check(_: Field, value: Value) -> bool:
        return isinstance(value, str) and pattern.fullmatch(value) is not None

    return check


def _one_of(words: type[StrEnum]) -> Callable[[Field, Value], bool]:
    known = frozenset(word.value for word in words)

    def check(_: Field, value: Value) -> bool:
        return isinstance(value, str) and value in known

    return check


def _organisation(_: Field, value: Value) -> bool:
    try:
        return isinstance(value, str) and organisation_id(value) == value
    except WireError:
        return False


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
        Type.CHECK: _one_of(Check),
        Type.REASON: _one_of(Reason),
        Type.STAGE: _one_of(Stage),
        Type.ORGANISATION: _organisation,
        Type.UUID: _matches(_UUID),
        Type.VERSION: _matches(_VERSION),
        Type.NAME: _text,
        Type.TEXT: _text,
        Type.INT: _int,
        Type.DOUBLE: _double,
        Type.BOOL: _bool,
    }
)
