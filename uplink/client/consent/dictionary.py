"""The data dictionary, read from `dictionary.toml`: every field that can leave, and what its values must be like.

A field is where a value can stand: a resource's attribute, a metric, an attribute of that metric, an event, its
attributes and its body. An attribute that is described once and used by two metrics is two fields.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from uplink.client.consent.streams import Stream


class Type(StrEnum):
    """What a value must be."""

    CHOICE = "choice"
    CHECK = "check"
    REASON = "reason"
    STAGE = "stage"
    ORGANISATION = "organisation"
    UUID = "uuid"
    VERSION = "version"
    NAME = "name"
    TEXT = "text"
    INT = "int"
    DOUBLE = "double"
    BOOL = "bool"


class Classification(StrEnum):
    """How careful one has to be."""

    OPERATIONAL = "operational"
    IDENTIFIER = "identifier"
    CUSTOMER = "customer"


class Shape(StrEnum):
    """Of a metric."""

    GAUGE = "gauge"
    DELTA = "delta"
    """A sum of what came since the point before."""


class DictionaryError(ValueError):
    """The file is not what it should be; the text names the field. A mistake of ours: tests read the file."""


@dataclass(frozen=True, slots=True)
class Field:
    """One place where a value can stand."""

    id: str
    """`metric:uplink.cluster.health:reason`; the same for ever."""
    name: str
    type: Type
    purpose: str
    classification: Classification
    retention: str
    example: str
    values: tuple[str, ...] = ()
    kind: str = ""
    """Of a name: what its pseudonym begins with."""
    unit: str = ""

    @property
    def digest(self) -> str:
        """Of all that somebody consents to: not of the example."""
        said = [self.id, self.type, self.values, self.purpose, self.classification, self.retention, self.unit]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Kind:
    """A metric or an event."""

    name: str
    stream: Stream
    field: Field
    attributes: Mapping[str, Field]
    """In the order of the file, which is the order on the wire."""
    shape: Shape | None = None
    """Of a metric; None: it is an event."""
    body: Field | None = None

    def fields(self) -> Iterator[Field]:
        """Itself, its attributes, its body."""
        yield self.field
        yield from self.attributes.values()
        if self.body is not None:
            yield self.body


@dataclass(frozen=True, slots=True)
class Dictionary:
    """All of it. What is not in here can't be sent."""

    version: str
    resource: Mapping[str, Field]
    kinds: Mapping[str, Kind] = field(default_factory=dict)
    """Metrics and events, by name."""

    def of(self, stream: Stream) -> Iterator[Field]:
        """Fields that leave when a stream does: the resource's with each."""
        yield from self.resource.values()
        for kind in self.kinds.values():
            if kind.stream is stream:
                yield from kind.fields()

    def digests(self, stream: Stream) -> dict[str, str]:
        """By id: what a consent to the stream consents to."""
        return {each.id: each.digest for each in self.of(stream)}


@cache
def dictionary() -> Dictionary:
    """The one of this release."""
    return read_dictionary(files("uplink.client.consent").joinpath("dictionary.toml").read_text(encoding="utf-8"))


def read_dictionary(text: str) -> Dictionary:
    """Raises `DictionaryError`, and tomllib's own."""
    document = tomllib.loads(text)
    kept = document["defaults"]["retention"]
    resource = {name: _field(f"resource:{name}", name, row, kept) for name, row in document["resource"].items()}
    kinds: dict[str, Kind] = {}
    for family in ("metric", "event"):
        for name, row in document[family].items():
            if name in kinds:
                raise DictionaryError(f"{name} is there twice")
            kinds[name] = _kind(family, name, row, document["attribute"], kept)
    return Dictionary(document["version"], MappingProxyType(resource), MappingProxyType(kinds))


def _kind(family: str, name: str, row: Mapping[str, Any], described: Mapping[str, Any], kept: str) -> Kind:
    kept, own = row.get("retention", kept), f"{family}:{name}"
    attributes = {each: _field(f"{own}:{each}", each, _row(described, each), kept) for each in row["attributes"]}
    body = _field(f"{own}:body", "body", row["body"], kept) if "body" in row else None
    event = family == "event"
    itself = _field(own, name, {**row, **({"type": "choice", "values": [name]} if event else {})}, kept)
    shape = None if event else Shape(row["shape"])
    return Kind(name, Stream(row["stream"]), itself, MappingProxyType(attributes), shape, body)


def _row(described: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    if name not in described:
        raise DictionaryError(f"attribute {name} is used and not described")
    row: Mapping[str, Any] = described[name]
    return row


def _field(own: str, name: str, row: Mapping[str, Any], kept: str) -> Field:
    try:
        made = Field(
            id=own,
            name=name,
            type=Type(row["type"]),
            purpose=row["purpose"],
            classification=Classification(row["classification"]),
            retention=row.get("retention", kept),
            example=row["example"],
            values=tuple(row.get("values", ())),
            kind=row.get("kind", ""),
            unit=row.get("unit", ""),
        )
    except (KeyError, ValueError) as error:
        raise DictionaryError(f"{own}: {error}") from error
    if (made.type is Type.CHOICE) != bool(made.values) or (made.type is Type.NAME) != bool(made.kind):
        raise DictionaryError(f"{own}: `values` goes with choice, and `kind` with name")
    return made
