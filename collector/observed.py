"""The table of the metrics that are read at collection: name, meaning, and how to read it from what was measured.

Names are Prometheus names, so that a metric is called the same at `/metrics` and by OTLP.

`muster_cluster_health` has one series a cluster, for the health that it has, with the value 1. An enum as the value
could not be read or summed; one series for each of the six healths, as kube-state-metrics has them, is six times the
series of the largest metric here. With the health as a label people write what they mean:

    muster_cluster_health{health="Unreachable"}                             is unreachable
    count by (health) (muster_cluster_health)                               the counts bar
    max by (cluster_id, cluster) (muster_cluster_health{health=~"Un.*"})    with `for:`, also while it goes from
                                                                            Unreachable to Unhealthy and back
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum

from collector.measured import ClusterRow, Fleet, LaneRow, Measured, PairRow

Row = tuple[float, Mapping[str, str]]
"""A value and its labels."""


class Kind(StrEnum):
    """What a value is."""

    GAUGE = "gauge"
    COUNTER = "counter"


@dataclass(frozen=True, slots=True)
class Observed:
    """One metric."""

    name: str
    kind: Kind
    text: str
    """What it says, for `# HELP`."""
    rows: Callable[[Measured], Iterable[Row]]


_NO_LABELS: Mapping[str, str] = {}


def _fleet(value: Callable[[Fleet], float]) -> Callable[[Measured], Iterator[Row]]:
    """One value of the fleet; no series where this instance does not lead."""

    def rows(measured: Measured) -> Iterator[Row]:
        if measured.fleet is not None:
            yield value(measured.fleet), _NO_LABELS

    return rows


def _lanes(value: Callable[[LaneRow], int]) -> Callable[[Measured], Iterator[Row]]:
    """One value a lane."""

    def rows(measured: Measured) -> Iterator[Row]:
        if measured.fleet is not None:
            yield from ((value(row), {"lane": row.lane}) for row in measured.fleet.lanes)

    return rows


def _clusters(row: Callable[[ClusterRow, dict[str, str]], Row | None]) -> Callable[[Measured], Iterator[Row]]:
    """At most one series a cluster; it is gone with its cluster."""

    def rows(measured: Measured) -> Iterator[Row]:
        for cluster in measured.fleet.clusters if measured.fleet is not None else ():
            found = row(cluster, {"cluster": _printable(cluster.name), "cluster_id": str(cluster.id)})
            if found is not None:
                yield found

    return rows


def _pairs(row: Callable[[PairRow, dict[str, str]], Row | None]) -> Callable[[Measured], Iterator[Row]]:
    """At most one series a pair; it is gone with its assignment."""

    def rows(measured: Measured) -> Iterator[Row]:
        for pair in measured.fleet.pairs if measured.fleet is not None else ():
            labels = {
                "cluster": _printable(pair.cluster),
                "cluster_id": str(pair.cluster_id),
                "location": pair.location,
                "location_id": str(pair.location_id),
                "provider": pair.provider,
            }
            if (found := row(pair, labels)) is not None:
                yield found

    return rows


def _pair_health(pair: PairRow, labels: dict[str, str]) -> Row:
    labels["health"] = pair.health
    return 1, labels


def _pair_success(pair: PairRow, labels: dict[str, str]) -> Row | None:
    return None if pair.last_success_at is None else (pair.last_success_at, labels)


def _pair_counts(measured: Measured) -> Iterator[Row]:
    if measured.fleet is not None:
        yield from ((count, {"health": health}) for health, count in measured.fleet.pair_counts.items())


def _printable(name: str) -> str:
    """A name that can be written as UTF-8: one lone surrogate from a YAML escape must not fail the whole page."""
    return name if name.isascii() else name.encode(errors="replace").decode()


def _health(cluster: ClusterRow, labels: dict[str, str]) -> Row:
    labels["source"] = cluster.source
    labels["health"] = cluster.health
    return 1, labels


def _last_success(cluster: ClusterRow, labels: dict[str, str]) -> Row | None:
    return None if cluster.last_success_at is None else (cluster.last_success_at, labels)


def _verdicts(measured: Measured) -> Iterator[Row]:
    for (check, outcome, reason), count in measured.totals.verdicts.items():
        yield count, {"check": check, "outcome": outcome, "reason": reason or ""}


def _counts(measured: Measured) -> Iterator[Row]:
    if measured.fleet is not None:
        yield from ((count, {"health": health}) for health, count in measured.fleet.counts.items())


HUB: tuple[Observed, ...] = (
    Observed(
        "muster_hub_info",
        Kind.GAUGE,
        "Always 1: the version of this instance, and whether it is starting, standby, leading or stopping.",
        lambda m: [(1, {"version": m.version, "role": m.role})],
    ),
    Observed(
        "muster_verdicts_total", Kind.COUNTER, "Verdicts by check, outcome and reason (docs/reasons.md).", _verdicts
    ),
    Observed(
        "muster_probe_skipped_ticks_total",
        Kind.COUNTER,
        "Ticks that passed while their target waited for a slot or was being asked.",
        lambda m: [(count, {"lane": lane}) for lane, count in m.totals.skipped_ticks.items()],
    ),
    Observed("muster_clusters", Kind.GAUGE, "Clusters by health.", _counts),
    Observed(
        "muster_pairs", Kind.GAUGE, "Pairs of a cluster and a backup location that it uses, by health.", _pair_counts
    ),
    Observed("muster_lane_slots", Kind.GAUGE, "Probes that may be under way at once.", _lanes(lambda row: row.slots)),
    Observed("muster_lane_busy", Kind.GAUGE, "Probes under way.", _lanes(lambda row: row.busy)),
    Observed("muster_lane_waiting", Kind.GAUGE, "Targets that wait for a slot.", _lanes(lambda row: row.waiting)),
    Observed("muster_store_flush_seconds", Kind.GAUGE, "Duration of the last flush.", _fleet(lambda f: f.flush_s)),
    Observed(
        "muster_store_degraded",
        Kind.GAUGE,
        "1 while the database does not take what is known and the service goes on from memory.",
        _fleet(lambda f: int(f.degraded)),
    ),
    Observed(
        "muster_transitions_committed_total",
        Kind.COUNTER,
        "Changes of health committed since this instance leads.",
        _fleet(lambda f: f.committed),
    ),
    Observed(
        "muster_transitions_collapsed_total",
        Kind.COUNTER,
        "Changes of health that were overtaken by another one before they could be committed.",
        _fleet(lambda f: f.collapsed),
    ),
    Observed(
        "muster_store_conflicts_total",
        Kind.COUNTER,
        "Check states that another writer had changed.",
        _fleet(lambda f: f.conflicts),
    ),
    Observed(
        "muster_guard_holding",
        Kind.GAUGE,
        "1 while alerts are held, because most of the fleet went dark at once.",
        _fleet(lambda f: int(f.holding)),
    ),
    Observed(
        "muster_source_problems",
        Kind.GAUGE,
        "Sources of clusters, and entries of them, that can't be read.",
        _fleet(lambda f: f.source_problems),
    ),
    Observed(
        "muster_agent_events_total",
        Kind.COUNTER,
        "What came from agents: reports (duplicates are among them), verdicts that were taken, refused, or dropped by "
        "the agents themselves; requests that were unauthenticated or too many (limited).",
        lambda m: [(count, {"event": event}) for event, count in asdict(m.totals.agents).items()],
    ),
    Observed(
        "muster_otlp_exports_total",
        Kind.COUNTER,
        "Exports by OTLP by result.",
        lambda m: [(count, {"result": result}) for result, count in m.totals.exports.items()],
    ),
)
"""Of the instance: some dozens of series."""

CLUSTERS: tuple[Observed, ...] = (
    Observed("muster_cluster_health", Kind.GAUGE, "Always 1, for the health that the cluster has.", _clusters(_health)),
    Observed(
        "muster_cluster_last_success_timestamp_seconds",
        Kind.GAUGE,
        "When the cluster last answered; no series for one that never did.",
        _clusters(_last_success),
    ),
)
"""One series a cluster each."""

PAIRS: tuple[Observed, ...] = (
    Observed(
        "muster_pair_health",
        Kind.GAUGE,
        "Always 1, for the health that a backup location has as seen from a cluster: the cell of the matrix.",
        _pairs(_pair_health),
    ),
    Observed(
        "muster_pair_last_success_timestamp_seconds",
        Kind.GAUGE,
        "When the location last worked from the cluster; no series for one that never did.",
        _pairs(_pair_success),
    ),
)
"""One series a pair each."""
