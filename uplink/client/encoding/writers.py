"""Values become bytes by the rules of their field: consent, type, names as hashes. What was written is remembered.

Most values come again and again: words, ids, names. To look one up takes 0.1 µs, to check and write it 1.5 to 3 µs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Protocol, TypeAlias, cast

from uplink.client.consent.dictionary import Field, Type
from uplink.client.encoding.items import Attributes, Value
from uplink.client.encoding.layout import any_value, attribute, number_value, text_value
from uplink.client.encoding.pseudonyms import Pseudonyms
from uplink.client.encoding.values import MAX_NAME_CHARS, fits

MAX_REMEMBERED = 10_000
"""Values of one field that are kept written: those of ten thousand clusters, 3 MB. More: it begins anew."""

Writer: TypeAlias = Callable[[Value], bytes]
"""Empty: refused, and counted."""


class Why(StrEnum):
    """Why something was not written."""

    NOT_IN_DICTIONARY = "not-in-dictionary"
    NOT_CONSENTED = "not-consented"
    WRONG_TYPE = "wrong-type"
    BEFORE_CONSENT = "before-consent"


class Refuse(Protocol):
    """Counts."""

    def __call__(self, why: Why, count: int = 1) -> None: ...


class Rules:
    """What a consent says about each field."""

    def __init__(self, granted: frozenset[str], refuse: Refuse, pseudonyms: Pseudonyms | None) -> None:
        """`granted` are ids of fields; without `pseudonyms` names stay as they are."""
        self._granted = granted
        self._pseudonyms = pseudonyms
        self.refuse = refuse

    def allow(self, field: Field) -> bool:
        """Whether it was consented to."""
        return field.id in self._granted

    def attribute(self, number: int, field: Field) -> Writer:
        """Of an attribute, as field `number` of the message that has it."""
        return self._writer(field, lambda value: attribute(number, field.name, self._value(field, value)))

    def number(self, field: Field) -> Writer:
        """Of what a data point says."""
        return self._writer(field, lambda value: number_value(field, value))

    def _writer(self, field: Field, make: Writer) -> Writer:
        def refused(_: Value) -> bytes:
            self.refuse(Why.NOT_CONSENTED)
            return b""

        def checked(value: Value) -> bytes:
            if fits(field, value):
                return make(value)
            self.refuse(Why.WRONG_TYPE)
            return b""

        return _remembering(field.type, checked) if self.allow(field) else refused

    def _value(self, field: Field, value: Value) -> bytes:
        if field.type is not Type.NAME:
            return any_value(field, value)
        name = cast("str", value)  # it fits
        return text_value(
            name[:MAX_NAME_CHARS] if self._pseudonyms is None else self._pseudonyms.name(field.kind, name)
        )


class Pairs:
    """The attributes of one kind of record."""

    def __init__(self, number: int, fields: Mapping[str, Field], rules: Rules) -> None:
        self._writers = tuple((name, rules.attribute(number, field)) for name, field in fields.items())
        self._names = frozenset(fields)
        self._refuse = rules.refuse

    def write(self, values: Attributes) -> list[bytes]:
        """Each, in the dictionary's order, whatever order they came in."""
        get = values.get
        written = [write(value) for name, write in self._writers if (value := get(name)) is not None]
        if not self._names.issuperset(values):
            self._refuse(Why.NOT_IN_DICTIONARY, len(values.keys() - self._names))
        return written


class _Written(dict[Value, bytes]):
    """Makes what it has not yet. Only what was allowed is kept, so a hit needs no further check."""

    def __init__(self, make: Writer) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, value: Value) -> bytes:
        made = self._make(value)
        if made and (not isinstance(value, str) or len(value) <= MAX_NAME_CHARS):
            if len(self) >= MAX_REMEMBERED:
                self.clear()
            self[value] = made
        return made


def _remembering(kind: Type, make: Writer) -> Writer:
    """Looked up by equality: so numbers only by numbers of their own type (1 == True == 1.0), and 0.0 == -0.0 never."""
    if kind is Type.DOUBLE:
        return make
    known = _Written(make)
    if kind in (Type.INT, Type.BOOL):
        exact = int if kind is Type.INT else bool
        return lambda value: known[value] if type(value) is exact else make(value)
    return known.__getitem__
