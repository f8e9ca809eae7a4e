"""What the sources say against what is known: pure decisions about which cluster is which, and which is gone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from collector.cluster import Key, key_of
from validator.discovery.source import Reading, Sighting


@dataclass(frozen=True, slots=True)
class Wanted:
    """One cluster as the sources name it now."""

    sighting: Sighting
    also_known_as: tuple[str, ...]
    keys: tuple[Key, ...]
    """Its own key first, then those of the other sightings that lead to the same cluster."""


def keep_what_is_unreadable(previous: Reading | None, new: Reading) -> Reading:
    """The new reading, with the former sightings in place of what it could not read.

    A half-written file must not empty the fleet, and a broken entry must not lose its cluster.
    """
    if previous is None:
        return new
    broken = {problem.entry for problem in new.problems if problem.entry is not None}
    named = {sighting.name for sighting in new.sightings}
    kept = tuple(
        sighting
        for sighting in previous.sightings
        if sighting.name not in named and (not new.complete or sighting.name in broken)
    )
    return Reading(new.sightings + kept, new.problems, new.complete)


def merge_sightings(readings: Sequence[Reading], aliases: Mapping[Key, Key]) -> dict[Key, Wanted]:
    """One `Wanted` a cluster, from all sources in their order; the first sighting gives name and credential.

    `aliases` maps a key to the key of the cluster that it was found to lead to (by its kube-system UID).
    """
    found: dict[Key, list[tuple[Key, Sighting]]] = {}
    for reading in readings:
        for sighting in reading.sightings:
            key = key_of(sighting.endpoint)
            found.setdefault(aliases.get(key, key), []).append((key, sighting))
    wanted: dict[Key, Wanted] = {}
    for main, named in found.items():
        # The cluster's own key is asked, where it is still named: probing must not hop between two ways in.
        sightings = [s for s in named if s[0] == main] + [s for s in named if s[0] != main]
        first = sightings[0][1]
        names = dict.fromkeys(sighting.name for _, sighting in sightings[1:] if sighting.name != first.name)
        wanted[main] = Wanted(first, tuple(names), tuple(dict.fromkeys(key for key, _ in sightings)))
    return wanted


def may_be_gone(name: str, source: str, readings: Mapping[str, Reading], configured: Sequence[str]) -> bool:
    """Whether a cluster that no source names any more has left, or a source just can't be read at the moment.

    Nothing leaves before every source has been read once: after a restart it may have moved from one to another. A
    cluster of a source that is configured no more may have moved to any of the others.
    """
    if any(other not in readings for other in configured):
        return False
    if source not in configured:
        return all(readings[other].complete for other in configured)
    reading = readings[source]
    return reading.complete and all(problem.entry != name for problem in reading.problems)
