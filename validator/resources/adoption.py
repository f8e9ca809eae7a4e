"""Which locations could be taken over from what the clusters' products have: the list behind an import. Pure.

One place that many clusters use is one row with many clusters; that is the point of importing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from validator.locations import FieldProblem, Location
from validator.resources.places import Place, place_of
from validator.resources.resource import LocationResource

_NO_NAMES = {"default", "backup", "backups", "velero"}
"""Names that every second installation has: they tell nobody which location is meant."""


@dataclass(frozen=True, slots=True)
class Offer:
    """One location that can be taken over, and who uses it."""

    location: Location
    """Under a name that no other offer has; its id follows from the place."""
    used_by: tuple[str, ...]
    """Names of clusters, sorted."""
    found_as: tuple[str, ...]
    """`CLUSTER: KIND NAMESPACE/NAME`, sorted; with the prefix, where Velero has one."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One resource that can't be taken over, and why."""

    found_as: str
    problems: tuple[FieldProblem, ...]


@dataclass(frozen=True, slots=True)
class Listing:
    """Everything that was found; the same whatever the order in which it was."""

    offers: tuple[Offer, ...]
    """By name."""
    refusals: tuple[Refusal, ...]


def listing(found: Mapping[str, Sequence[LocationResource]], taken: Iterable[str] = ()) -> Listing:
    """What can be taken over from `found`, by name of the cluster. `taken` are names that locations have already."""
    at: dict[Place, list[tuple[Location, str, str]]] = {}
    refusals = []
    for cluster, resources in found.items():
        for resource in resources:
            adoptable = resource.adoptable
            prefix = f" (prefix {resource.prefix})" if resource.prefix else ""
            found_as = f"{cluster}: {resource.kind} {resource.where}{prefix}"
            if isinstance(adoptable, tuple):
                refusals.append(Refusal(found_as, adoptable))
            else:
                at.setdefault(place_of(adoptable), []).append((adoptable, cluster, found_as))
    names = set(taken)
    offers = []
    for place in sorted(at):
        same = sorted(at[place], key=lambda each: (each[2], each[0].name))
        location = _fullest([each[0] for each in same])
        name = _unused(_telling(location), names)
        names.add(name)
        used_by, found_as_all = sorted({each[1] for each in same}), sorted({each[2] for each in same})
        offers.append(Offer(replace(location, name=name), tuple(used_by), tuple(found_as_all)))
    offers.sort(key=lambda offer: offer.location.name)
    return Listing(tuple(offers), tuple(sorted(refusals, key=lambda refusal: refusal.found_as)))


def _fullest(same: Sequence[Location]) -> Location:
    """The one that says most of the place: Velero and Stork don't write down the same."""
    return max(same, key=lambda location: (location.subscription_id is not None, location.region is not None))


def _telling(location: Location) -> str:
    if location.name not in _NO_NAMES:
        return location.name
    return f"{location.account}-{location.container}" if location.account else location.container.replace("_", "-")


def _unused(name: str, names: set[str]) -> str:
    number, free = 1, name
    while free in names:
        number += 1
        free = f"{name[:245]}-{number}"
    return free
