"""What was found in a location, bounded: the result of a sync, as an agent sends it and the hub keeps it. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from validator.backups.layout import Product
from validator.clean import clean_text

MAX_GROUPS = 200
"""Stores and namespaces that are told apart: 40 KB."""

OTHERS = "*"
"""Prefix of all others together, one group a product."""

MAX_MISSING = 50
"""Missing objects that are named; the others are counted."""

MAX_NAME_CHARS = 300
"""Of a name that is shown. Objects may have 1,024."""

_MAX_COUNT = 2**53


@dataclass(frozen=True, slots=True)
class Group:
    """The backups that the layout tells apart: of one Velero store, or of one namespace in Stork's."""

    product: Product
    prefix: str
    """Of the store, "" at the top of the bucket; or the namespace."""
    backups: int
    newest_at: float | None
    """When the newest one ended that is whole and has not failed. None: there is none."""
    newest: str
    """Its name."""
    phase: str
    """What its metadata says of it; "" where that was not, or can't be, read."""


@dataclass(frozen=True, slots=True)
class Inventory:
    """One listing of a location."""

    objects: int
    """Listed. The repositories of Velero's volume data are not."""
    size_bytes: int
    backups: int
    groups: tuple[Group, ...]
    """The one with the newest backup first; at most `MAX_GROUPS`, and `OTHERS`."""
    missing: tuple[str, ...]
    """Objects that have to be there and are not; at most `MAX_MISSING`."""
    missing_total: int
    truncated: str
    """Why this is not all that there is; "" where it is."""

    @property
    def newest_at(self) -> float | None:
        """Of the newest backup of all."""
        return max((each.newest_at for each in self.groups if each.newest_at is not None), default=None)


class BadInventory(ValueError):  # noqa: N818 - reads as what it is
    """A document that is no inventory; the text names the field."""


def to_document(inventory: Inventory) -> dict[str, Any]:
    """As JSON has it; `from_document` reads it back."""
    return {
        "objects": inventory.objects,
        "size_bytes": inventory.size_bytes,
        "backups": inventory.backups,
        "groups": [
            {
                "product": each.product,
                "prefix": each.prefix,
                "backups": each.backups,
                "newest_at": each.newest_at,
                "newest": each.newest,
                "phase": each.phase,
            }
            for each in inventory.groups
        ],
        "missing": list(inventory.missing),
        "missing_total": inventory.missing_total,
        "truncated": inventory.truncated,
    }


def from_document(found: object) -> Inventory:
    """The inventory that a document is; whoever sent it is not trusted. Raises `BadInventory`, naming the field."""
    members = _mapping(found, "inventory")
    return Inventory(
        objects=_count(members, "objects"),
        size_bytes=_count(members, "size_bytes"),
        backups=_count(members, "backups"),
        groups=tuple(_group(each) for each in _listed(members, "groups", MAX_GROUPS + len(Product))),
        missing=tuple(_text({"missing": each}, "missing") for each in _listed(members, "missing", MAX_MISSING)),
        missing_total=_count(members, "missing_total"),
        truncated=_text(members, "truncated"),
    )


def _group(found: object) -> Group:
    members = _mapping(found, "groups")
    newest_at, product = members.get("newest_at"), members.get("product")
    if newest_at is not None and (
        isinstance(newest_at, bool) or not isinstance(newest_at, int | float) or not _is_instant(newest_at)
    ):
        raise BadInventory("groups.newest_at is neither null nor a time")
    if product not in list(Product):
        raise BadInventory("groups.product is neither velero nor stork")
    return Group(
        product=Product(product),
        prefix=_text(members, "prefix"),
        backups=_count(members, "backups"),
        newest_at=None if newest_at is None else float(newest_at),
        newest=_text(members, "newest"),
        phase=_text(members, "phase"),
    )


def _mapping(found: object, field: str) -> Mapping[str, Any]:
    if not isinstance(found, Mapping):
        raise BadInventory(f"{field} is no object")
    return found


def _listed(members: Mapping[str, Any], field: str, most: int) -> list[Any]:
    value = members.get(field)
    if not isinstance(value, list) or len(value) > most:
        raise BadInventory(f"{field} is no list of at most {most}")
    return value


def _count(members: Mapping[str, Any], field: str) -> int:
    value = members.get(field)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MAX_COUNT:
        raise BadInventory(f"{field} is no count")
    return value


def _text(members: Mapping[str, Any], field: str) -> str:
    value = members.get(field)
    if not isinstance(value, str) or len(value) > 4 * MAX_NAME_CHARS:
        raise BadInventory(f"{field} is no text of at most {4 * MAX_NAME_CHARS} characters")
    return clean_text(value, MAX_NAME_CHARS)


def _is_instant(value: float) -> bool:
    return math.isfinite(value) and 0 <= value < 253_402_300_800  # the year 10000, which no date can show
