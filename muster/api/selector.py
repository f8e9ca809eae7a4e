"""Label selectors, as `kubectl -l` takes them: `team=storage,env in (prod,stage),zone notin (a),!legacy,weight>5`.

The grammar is that of Kubernetes' `labels.Parse`, with its rules for characters and lengths. No reader of it in Python
is there to be taken over: the client for Kubernetes passes selectors on as they are.

Commas mean "and". What is not there matches `!=`, `notin` and `!`. A value may be empty, in a set as well: `a in (,b)`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

MAX_SELECTOR_CHARS = 2048
"""Longest selector; quoted it is three times as long at most, and fits into a URL."""

MAX_REQUIREMENTS = 100
"""Between commas; each is asked of every cluster."""

_NAME_CHARS = 63
_PREFIX_CHARS = 253
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_PREFIX = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_INTEGER = re.compile(r"[+-]?[0-9]+")
_INT64 = range(-(2**63), 2**63)
_TOKEN = re.compile(r"[ \t\r\n]*(?P<token>==|!=|[=!(),<>]|[^ \t\r\n=!(),<>]+|\Z)")
_SYMBOLS = {"==", "!=", "=", "!", "(", ")", ",", "<", ">", ""}


class SelectorError(ValueError):
    """The text is no selector; the message says where and what was expected."""

    def __init__(self, position: int, problem: str) -> None:
        super().__init__(f"at character {position + 1}: {problem}")
        self.position = position
        """Characters before it."""


class Operator(StrEnum):
    """How a label is compared."""

    EXISTS = ""
    ABSENT = "!"
    IN = "in"
    NOT_IN = "notin"
    GREATER = ">"
    LESS = "<"


_BINARY = {
    "=": Operator.IN,
    "==": Operator.IN,
    "in": Operator.IN,
    "!=": Operator.NOT_IN,
    "notin": Operator.NOT_IN,
    ">": Operator.GREATER,
    "<": Operator.LESS,
}
"""`a=b` is `a in (b)`, and `a!=b` is `a notin (b)`: they match the same labels in Kubernetes, too."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """What one label must be like."""

    key: str
    operator: Operator
    values: tuple[str, ...] = ()
    """Sorted, each once; exactly one integer for GREATER and LESS."""

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether labels are so."""
        value = labels.get(self.key)
        match self.operator:
            case Operator.EXISTS:
                return value is not None
            case Operator.ABSENT:
                return value is None
            case Operator.IN:
                return value is not None and value in self.values
            case Operator.NOT_IN:
                return value is None or value not in self.values
        number = None if value is None else _integer(value)
        if number is None:
            return False
        bound = int(self.values[0])
        return number > bound if self.operator is Operator.GREATER else number < bound

    def __str__(self) -> str:
        match self.operator:
            case Operator.EXISTS:
                return self.key
            case Operator.ABSENT:
                return f"!{self.key}"
            case Operator.GREATER | Operator.LESS:
                return f"{self.key}{self.operator}{self.values[0]}"
        return f"{self.key} {self.operator} ({','.join(self.values)})"


@dataclass(frozen=True, slots=True)
class Selector:
    """All of these; none = everything."""

    requirements: tuple[Requirement, ...] = ()
    """Sorted by key."""

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether labels meet every requirement."""
        return all(requirement.matches(labels) for requirement in self.requirements)

    def __str__(self) -> str:
        """The same for every way to write it (white space, order, `==`), and a selector itself."""
        return ",".join(map(str, self.requirements))


EVERYTHING = Selector()


def parse(text: str) -> Selector:
    """The selector that a text means; an empty one selects everything. Raises `SelectorError`."""
    if len(text) > MAX_SELECTOR_CHARS:
        raise SelectorError(MAX_SELECTOR_CHARS, f"too long; at most {MAX_SELECTOR_CHARS} characters")
    return _Parser(text).selector()


class _Parser:
    """One pass, one token ahead."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._token, self._begin, self._end = "", 0, 0
        self._advance()

    def selector(self) -> Selector:
        found: set[Requirement] = set()
        while self._token or found:
            if self._token in _SYMBOLS - {"!"}:
                raise self._expected("a label's key or '!'" + (" after ','" if found else ""))
            found.add(self._requirement())
            if len(found) > MAX_REQUIREMENTS:
                raise SelectorError(self._begin, f"too many requirements; at most {MAX_REQUIREMENTS}")
            if not self._token:
                break
            self._take(",", "',' or the end")
        return Selector(tuple(sorted(found, key=lambda each: (each.key, each.operator, each.values))))

    def _requirement(self) -> Requirement:
        if self._at("!"):
            self._advance()
            return Requirement(self._key(), Operator.ABSENT)
        key = self._key()
        if self._token in {"", ","}:
            return Requirement(key, Operator.EXISTS)
        operator = _BINARY.get(self._token)
        if operator is None:
            raise self._expected(f"',', the end, or one of {', '.join(_BINARY)}")
        in_set = self._token in {"in", "notin"}
        self._advance()
        if in_set:
            return Requirement(key, operator, self._set())
        if operator in {Operator.GREATER, Operator.LESS}:
            return Requirement(key, operator, (self._number(),))
        return Requirement(key, operator, (self._value(),))

    def _key(self) -> str:
        if self._token in _SYMBOLS:
            raise self._expected("a label's key")
        prefix, slash, name = self._token.rpartition("/")
        if slash and not (len(prefix) <= _PREFIX_CHARS and _PREFIX.fullmatch(prefix)):
            raise self._invalid(f"the part of a key before '/' is a DNS name of at most {_PREFIX_CHARS} characters")
        if not (len(name) <= _NAME_CHARS and _NAME.fullmatch(name)):
            raise self._invalid(
                f"a key has at most {_NAME_CHARS} letters, digits, '-', '_' and '.', and begins and ends with a letter "
                "or digit"
            )
        return self._advance()

    def _value(self) -> str:
        """A value, or none: then nothing is taken."""
        if self._token in {"", ",", ")"}:
            return ""
        if self._token in _SYMBOLS:
            raise self._expected("a value")
        if not (len(self._token) <= _NAME_CHARS and _NAME.fullmatch(self._token)):
            raise self._invalid(
                f"a value has at most {_NAME_CHARS} letters, digits, '-', '_' and '.', and begins and ends with a "
                "letter or digit"
            )
        return self._advance()

    def _set(self) -> tuple[str, ...]:
        self._take("(", "'('")
        values = {self._value()}
        while self._at(","):
            self._advance()
            values.add(self._value())
        self._take(")", "',' or ')'")
        return tuple(sorted(values))

    def _number(self) -> str:
        number = _integer(self._token)
        if number is None:
            raise self._expected("an integer")
        self._value()  # its characters are a value's
        return str(number)

    def _take(self, token: str, expected: str) -> None:
        if not self._at(token):
            raise self._expected(expected)
        self._advance()

    def _at(self, token: str) -> bool:
        return self._token == token

    def _advance(self) -> str:
        """The token, which is then done with."""
        done = self._token
        match = _TOKEN.match(self._text, self._end)
        assert match is not None  # whatever is left begins with a token, or is white space up to the end
        self._token, self._begin, self._end = match["token"], match.start("token"), match.end()
        return done

    def _expected(self, what: str) -> SelectorError:
        found = repr(self._token[:_NAME_CHARS]) if self._token else "the end"
        return SelectorError(self._begin, f"found {found}, expected {what}")

    def _invalid(self, rule: str) -> SelectorError:
        return SelectorError(self._begin, f"{self._token[:_NAME_CHARS]!r}: {rule}")


def _integer(text: str) -> int | None:
    """A 64-bit integer, as Go reads one; labels of other kinds are none."""
    if len(text) > _NAME_CHARS or not _INTEGER.fullmatch(text):
        return None
    number = int(text)
    return number if number in _INT64 else None
