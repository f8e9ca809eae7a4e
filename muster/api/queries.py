"""Query parameters: every one is known, bounded and named in its error."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, NoReturn, TypeVar, get_origin

from multidict import MultiMapping
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, WithJsonSchema

from muster.api.problems import Kind, ProblemError

MAX_LISTED = 12
"""Allowed values that an error lists; of more it tells the most alike."""

MAX_ERRORS = 10
"""Parameters in one answer."""

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII | re.IGNORECASE)

E = TypeVar("E", bound=StrEnum)
Q = TypeVar("Q", bound=BaseModel)


class Query(BaseModel):
    """Parameters of a path. One that is a `frozenset` takes several values, with commas or repeated."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class NoQuery(Query):
    """Paths without parameters."""


def read_query(kind: type[Q], given: MultiMapping[str]) -> Q:
    """The parameters as `kind` has them. Raises `ProblemError`, naming each that makes no sense."""
    fields = {field.alias or name: field for name, field in kind.model_fields.items()}
    errors: list[dict[str, str]] = []
    values: dict[str, Any] = {}
    for name in dict.fromkeys(given):
        texts = given.getall(name)
        if name not in fields:
            close = difflib.get_close_matches(name[:64], fields, n=1)
            hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(fields) or 'none here'}"
            errors.append({"parameter": name[:64], "message": f"unknown; {hint}"})
        elif get_origin(fields[name].annotation) is frozenset:
            values[name] = texts
        elif len(texts) > 1:
            errors.append({"parameter": name, "message": "given more than once"})
        else:
            values[name] = texts[0]
    try:
        query = kind(**values)
    except ValidationError as error:
        errors += [
            {"parameter": str(e["loc"][0]), "message": e["msg"].removeprefix("Value error, ")} for e in error.errors()
        ]
    if errors:
        refuse(errors)
    return query


def bad_query(parameter: str, message: str) -> NoReturn:
    """Refuse one parameter, for what only its handler can know."""
    refuse([{"parameter": parameter, "message": message}])


def refuse(errors: list[dict[str, str]]) -> NoReturn:
    """Raise the `ProblemError` that has each of them."""
    detail = "; ".join(f"{e['parameter']}: {e['message']}" for e in errors[:MAX_ERRORS])
    raise ProblemError(Kind.BAD_QUERY, f"{detail}.".replace("?.", "?"), errors=errors[:MAX_ERRORS])


# -- kinds of values, as annotations: how they are read, and what the OpenAPI document says of them


def some_of(kind: type[E]) -> tuple[BeforeValidator, WithJsonSchema]:
    """Annotations of a set of values of `kind`; case does not matter."""

    def read(texts: Iterable[str]) -> frozenset[E]:
        return frozenset(_one(kind, text.strip()) for given in texts for text in given.split(","))

    items = {"type": "string", "enum": [value.value for value in kind]}
    return BeforeValidator(read), WithJsonSchema({"type": "array", "items": items, "minItems": 1})


def one_of(kind: type[E]) -> tuple[BeforeValidator, WithJsonSchema]:
    """Annotations of one value of `kind`; case does not matter."""

    def read(text: str) -> E:
        return _one(kind, text)

    return BeforeValidator(read), WithJsonSchema({"type": "string", "enum": [value.value for value in kind]})


def _one(kind: type[E], text: str) -> E:
    by_folded = {value.value.casefold(): value for value in kind}
    if (value := by_folded.get(text.casefold())) is not None:
        return value
    close = difflib.get_close_matches(text.casefold()[:64], by_folded, n=1)
    hint = f"; did you mean {by_folded[close[0]]}?" if close else ""
    listed = f"is none of {', '.join(kind)}" if len(kind) <= MAX_LISTED else f"is no {kind.__name__.lower()}"
    raise ValueError(f"{text[:64]!r} {listed}{hint}")


def _instant(text: str) -> datetime:
    """RFC 3339. A unix timestamp, which pydantic would take, can't be told from a mistake."""
    try:
        if _RFC3339.fullmatch(text):
            return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    hint = "; write + as %2B" if re.search(r" \d\d:\d\d$", text) else ""
    raise ValueError(f"{text[:64]!r} is no moment like 2026-11-21T04:00:00Z{hint}")


Instant = Annotated[datetime, BeforeValidator(_instant), WithJsonSchema({"type": "string", "format": "date-time"})]
"""A moment with its zone."""
