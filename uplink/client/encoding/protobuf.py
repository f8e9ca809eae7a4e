"""Protobuf's wire format, as much of it as OTLP needs: numbers, and byte strings behind their length.

Messages of `opentelemetry-proto` were rejected for writing: to build and write one of twelve attributes takes 15 µs,
and to join bytes takes 3, since what all records have in common (names, words, ids) is made once. Field numbers are
taken from there all the same, and tests hold every byte against it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

VARINT: Final = 0
FIXED64: Final = 1
LENGTH: Final = 2

unsigned: Final = struct.Struct("<Q").pack
signed: Final = struct.Struct("<q").pack
double: Final = struct.Struct("<d").pack

_BITS = 64


@lru_cache(maxsize=4096)
def varint(number: int) -> bytes:
    """Seven bits a byte, the low ones first. Negative numbers are the two's complement of 64 bits: ten bytes."""
    number &= (1 << _BITS) - 1
    made = bytearray()
    while number > 0x7F:
        made.append(number & 0x7F | 0x80)
        number >>= 7
    made.append(number)
    return bytes(made)


def tag(number: int, wire: int) -> bytes:
    """What stands before a field's value."""
    return varint(number << 3 | wire)


def delimited(number: int, body: bytes) -> bytes:
    """A string or message as a field."""
    return tag(number, LENGTH) + varint(len(body)) + body


def enclosed(number: int, pieces: Sequence[bytes]) -> list[bytes]:
    """The same of a message in pieces, which are joined once: large bytes are dear to copy."""
    return [tag(number, LENGTH) + varint(sum(map(len, pieces))), *pieces]
