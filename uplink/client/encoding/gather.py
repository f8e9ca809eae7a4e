"""Facts become items: pure. What was told before is an argument, and what is told now a result.

Whoever keeps batches keeps the new `Told` only once they are kept, so that nothing is lost where that fails.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import chain
from types import MappingProxyType
from typing import NamedTuple, TypeVar
from uuid import UUID

from uplink.client.consent.streams import Stream
from uplink.client.encoding.facts import ChangeFact, Facts, VerdictKey
from uplink.client.encoding.items import Attributes, Event, Item, Point
from uplink.wire.names import CLUSTER_HEALTH, CLUSTER_ID, CLUSTER_INFO, CLUSTER_UID, HEALTH

AGAIN_S = 86_400.0
"""The inventory is told when it changes, and once a day, for a receiver that has forgotten."""

_K = TypeVar("_K")

INFO, WARN, ERROR = 9, 13, 17
"""Severities, as OpenTelemetry numbers them."""

_SEVERITY: Mapping[str, int] = MappingProxyType({"Degraded": WARN, "Unhealthy": ERROR, "Unreachable": ERROR})


class Mentioned(NamedTuple):
    """A thing of the inventory, as it was told last."""

    said: Attributes
    """As it is, and no digest of it: to compare costs a tenth of it."""
    at: float


@dataclass(frozen=True, slots=True)
class Told:
    """What was told already, under this consent."""

    since: float
    """When the consent was given."""
    verdicts: Mapping[VerdictKey, int] | None = None
    """Counters as they were then; None: none has been seen yet, and what they count is from before."""
    dropped: Mapping[str, int] | None = None
    counted_at: float = 0.0
    inventory: Mapping[str, Mentioned] = field(default_factory=dict)
    """By the thing's id."""


def gather(stream: Stream, facts: Facts, told: Told) -> tuple[list[Item], Told]:
    """What is to be said of a stream now. Events are gathered by `events`: they come from history."""
    if stream is Stream.METRICS:
        deltas = [*_verdicts(facts, told), *_dropped(facts, told)]
        after = replace(told, verdicts=dict(facts.verdicts), dropped=dict(facts.dropped), counted_at=facts.at)
        return [*_fleet(facts), *_health(facts, told.since), *deltas], after
    if stream is Stream.INVENTORY:
        due, mentioned = _inventory(facts, told.inventory)
        return due, replace(told, inventory=mentioned)
    return [], told


def events(changes: Iterable[ChangeFact], since: float) -> list[Item]:
    """Transitions as log events; those from before the consent are passed over."""
    return [_event(change) for change in changes if change.at >= since]


# -- metrics


def _fleet(facts: Facts) -> Iterator[Point]:
    for health, count in facts.fleet.clusters.items():
        yield Point("muster.fleet.clusters", facts.at, count, {HEALTH: health})
    for health, count in facts.fleet.pairs.items():
        yield Point("muster.fleet.pairs", facts.at, count, {HEALTH: health})
    yield Point("muster.fleet.flapping", facts.at, facts.fleet.flapping)


def _health(facts: Facts, since: float) -> Iterator[Point]:
    """Not of clusters whose health is a fact from before the consent: it is asked about again within its period."""
    for cluster in facts.clusters:
        if cluster.heard_at is None or cluster.heard_at >= since:
            said: Attributes = {
                CLUSTER_UID: cluster.external_uid,
                CLUSTER_ID: _text(cluster.id),
                HEALTH: cluster.health,
                "reason": cluster.reason,
            }
            yield Point(CLUSTER_HEALTH, facts.at, 1, said)


def _verdicts(facts: Facts, told: Told) -> Iterator[Point]:
    for key, more in _more(facts.verdicts, told.verdicts):
        said: Attributes = {"check": key.check, "outcome": key.outcome, "reason": key.reason}
        yield Point("muster.verdicts", facts.at, more, said, since=told.counted_at)


def _dropped(facts: Facts, told: Told) -> Iterator[Point]:
    for why, more in _more(facts.dropped, told.dropped):
        yield Point("uplink.dropped", facts.at, more, {"why": why}, since=told.counted_at)


def _more(now: Mapping[_K, int], before: Mapping[_K, int] | None) -> Iterator[tuple[_K, int]]:
    """Differences. Nothing at first: what counters hold then is from before the consent."""
    if before is None:
        return
    for key, count in now.items():
        if (more := count - before.get(key, 0)) > 0:
            yield key, more


# -- inventory


def _inventory(facts: Facts, before: Mapping[str, Mentioned]) -> tuple[list[Item], dict[str, Mentioned]]:
    """What is due, and what was mentioned by then."""
    due: list[Item] = []
    mentioned: dict[str, Mentioned] = {}
    for own, name, said in chain(_clusters(facts), _locations(facts)):
        last = before.get(own)
        if last is None or last.said != said or facts.at - last.at >= AGAIN_S:
            due.append(Point(name, facts.at, 1, said))
            last = Mentioned(said, facts.at)
        mentioned[own] = last
    return due, mentioned


def _clusters(facts: Facts) -> Iterator[tuple[str, str, Attributes]]:
    """Id, metric and what it says of each."""
    for cluster in facts.clusters:
        own = _text(cluster.id)
        said: Attributes = {
            CLUSTER_UID: cluster.external_uid,
            CLUSTER_ID: own,
            "muster.cluster.name": cluster.name,
            "muster.cluster.source": cluster.source,
            "muster.cluster.lifecycle": cluster.lifecycle,
            "k8s.cluster.version": cluster.kubernetes_version,
        }
        yield own, CLUSTER_INFO, said


def _locations(facts: Facts) -> Iterator[tuple[str, str, Attributes]]:
    for location in facts.locations:
        own = _text(location.id)
        said: Attributes = {
            "muster.location.id": own,
            "muster.location.name": location.name,
            "muster.location.provider": location.provider,
            "muster.location.environment": location.environment,
            "muster.location.account": location.account,
            "muster.location.container": location.container,
            "muster.location.clusters": location.clusters,
        }
        yield own, "muster.location.info", said


# -- logs


def _event(change: ChangeFact) -> Event:
    said: Attributes = {
        CLUSTER_UID: change.external_uid,
        CLUSTER_ID: _text(change.cluster_id),
        "muster.cluster.name": change.cluster_name,
        "muster.location.id": None if change.location_id is None else _text(change.location_id),
        "muster.location.name": change.location_name,
        "check": change.check,
        "from": change.from_health,
        "to": change.to_health,
        "reason": change.reason,
        "stage": change.stage,
        "flapping": change.flapping,
        "collapsed": change.collapsed,
    }
    return Event(
        "muster.transition", change.at, _SEVERITY.get(change.to_health, INFO), said, change.message, change.names
    )


@lru_cache(maxsize=20_000)
def _text(own: UUID) -> str:
    """The same string each time: to make one takes 0.6 µs, and whoever looks it up compares no characters."""
    return str(own)
