"""What the uplink is told of the fleet: plain facts, since it reads neither the collector nor the database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import NamedTuple

from pydantic import SecretStr

from collector.cluster import Cluster
from collector.fleet import ClusterView
from collector.history import Only
from collector.location import BackupLocation
from collector.matrix import KnownPair, cell
from collector.transition import Transition
from muster.breath import breathe
from muster.hub import Hub, Leading
from muster.settings import Settings
from uplink.client.consent.commitments import commitments
from uplink.client.consent.consent import Offer
from uplink.client.consent.desk import Desk
from uplink.client.consent.dictionary import dictionary
from uplink.client.consent.record import Endpoints
from uplink.client.encoding.facts import ChangeFact, ClusterFact, Facts, FleetFact, LocationFact, VerdictKey
from uplink.client.enrolment.anchors import load_anchors
from uplink.client.enrolment.vaults import make_vault
from uplink.client.local import LocalTelemetry
from uplink.client.network.proxy import Proxies
from uplink.client.uplink import Setup, Uplink
from validator.model import Check, Outcome
from validator.reasons import Reason

READ_UID_S = 120.0
"""Two rounds of probes and more."""

PIECE = 100
"""Pairs that are looked at in one turn of the loop: 1 ms."""


class Aim(NamedTuple):
    """For whom a consent would be: from the settings, which may change."""

    organisation: str | None
    endpoints: Endpoints | None


NOWHERE = Aim(None, None)


def aim_of(settings: Settings) -> Aim:
    """Both URLs or neither: the settings have been checked."""
    register, ingest = settings.telemetry_register_url, settings.telemetry_ingest_url
    endpoints = None if register is None or ingest is None else Endpoints(register_url=register, ingest_url=ingest)
    return Aim(settings.telemetry_organisation, endpoints)


Verdicts = Mapping[tuple[Check, Outcome, Reason | None], int]


def make_telemetry(
    hub: Hub,
    verdicts: Callable[[], Verdicts],
    directory: Path,
    environ: Mapping[str, str],
    aim: Callable[[], Aim] = lambda: NOWHERE,
    *,
    ca_file: Path | None = None,
    proxy: SecretStr | None = None,
    secret: str | None = None,
    in_cluster: bool = False,
) -> LocalTelemetry:
    """Telemetry of this host, with its files in `directory`. Writes nothing yet. `aim` is asked each time."""

    def offer() -> Offer:
        return Offer(dictionary(), commitments(), *aim())

    setup = Setup(
        directory=directory,
        identity=make_vault(directory / "identity", secret),
        export_key=make_vault(directory / "export-key", secret),
        anchors=load_anchors(ca_file),
        proxies=Proxies(None if proxy is None else proxy.get_secret_value(), environ),
        host=OwnCluster(hub) if in_cluster and "KUBERNETES_SERVICE_HOST" in environ else lambda: "",
    )
    facts = HubFacts(hub, verdicts)
    uplink = Uplink(facts, hub.clock, hub.version, dictionary(), setup)
    return LocalTelemetry(Desk(directory, offer, environ), facts, uplink, hub.clock, hub.version)


class OwnCluster:
    """UID of the cluster that the hub runs in, as this process has read it: that of the database may be restored."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._asked_at: float | None = None

    def __call__(self) -> str | None:
        """None while it is being read; empty where that has not come about in `READ_UID_S`: it may be forbidden."""
        if self._hub.own_uid or self._hub.leading is None:
            return self._hub.own_uid or None
        now = monotonic()
        self._asked_at = now if self._asked_at is None else self._asked_at
        return None if now - self._asked_at < READ_UID_S else ""


class HubFacts:
    """Of one instance; there are none while it does not lead."""

    def __init__(self, hub: Hub, verdicts: Callable[[], Verdicts]) -> None:
        self._hub = hub
        self._verdicts = verdicts

    async def facts(self) -> Facts | None:
        picture, leading = await self._hub.fleet(), self._hub.leading
        if picture is None or leading is None:
            return None
        return Facts(
            at=picture.now,
            fleet=FleetFact(
                clusters={health.value: count for health, count in picture.counts.items()},
                pairs=await self._pairs(leading),
                flapping=picture.flapping,
            ),
            clusters=[_cluster(view) for view in picture.clusters.values()],
            locations=[_location(each) for each in leading.locations.known.values()],
            verdicts={
                VerdictKey(check.value, outcome.value, _value(reason)): count
                for (check, outcome, reason), count in self._verdicts().items()
            },
        )

    async def changes(self, since: float, after_id: int, limit: int) -> Sequence[ChangeFact]:
        if (leading := self._hub.leading) is None:
            return []
        if after_id:
            return self._changes(leading, await leading.history.after(after_id, limit))
        newest_first = await leading.history.page(None, limit, None, Only(begin=since))
        return self._changes(leading, reversed(newest_first))

    def _changes(self, leading: Leading, transitions: Iterable[Transition]) -> list[ChangeFact]:
        clusters, locations = leading.inventory.clusters, leading.locations.known
        return [
            _change(
                each,
                clusters.get(each.cluster_id),
                None if each.location_id is None else locations.get(each.location_id),
            )
            for each in transitions
        ]

    async def _pairs(self, leading: Leading) -> dict[str, int]:
        counts: Counter[str] = Counter()
        now = self._hub.clock.now()
        for number, (cluster, location, states) in enumerate(list(leading.pairs.all()), 1):
            paused = leading.pauses.active(cluster.id, now) is not None
            counts[cell(KnownPair(cluster, location.where, states, paused), now).health.value] += 1
            if number % PIECE == 0:
                await breathe()
        return dict(counts)


def _cluster(view: ClusterView) -> ClusterFact:
    known, rolled = view.cluster, view.rollup
    asked = next((each.state.evidence for each in view.checks if each.state.check is Check.APISERVER), {})
    version = asked.get("version")
    return ClusterFact(
        id=known.id,
        external_uid=known.external_uid,
        name=known.name,
        source=known.source.partition(":")[0],  # what follows is the name of a file
        lifecycle=known.lifecycle.value,
        health=rolled.health.value,
        reason=_value(rolled.reason),
        heard_at=view.heard_at,
        kubernetes_version=version if isinstance(version, str) else None,
    )


def _location(known: BackupLocation) -> LocationFact:
    where = known.where
    return LocationFact(
        id=known.id,
        name=known.name,
        provider=where.provider.value,
        account=where.account or None,
        container=where.container,
        environment=None if where.environment is None else where.environment.value,
        clusters=len(known.assignments),
    )


def _change(known: Transition, cluster: Cluster | None, location: BackupLocation | None) -> ChangeFact:
    return ChangeFact(
        id=known.id,
        at=known.at,
        cluster_id=known.cluster_id,
        external_uid=None if cluster is None else cluster.external_uid,
        cluster_name=known.cluster_name,
        check=known.check,
        from_health=known.from_health.value,
        to_health=known.to_health.value,
        reason=known.reason,
        stage=known.stage,
        flapping=known.flapping,
        collapsed=known.collapsed,
        location_id=known.location_id,
        location_name=known.location_name,
        message=known.message,
        names=_names(cluster, location),
    )


def _names(cluster: Cluster | None, location: BackupLocation | None) -> tuple[str, ...]:
    """What a message may hold of them, and no pattern would find: short hosts, accounts, containers."""
    found: list[str | None] = []
    if cluster is not None and cluster.sighting is not None:
        found += [cluster.sighting.endpoint.host, cluster.sighting.endpoint.server_name]
    if location is not None:
        where = location.where
        found += [where.account, where.container, where.resource_group, where.subscription_id, where.endpoint]
    return tuple(each for each in found if each)


def _value(reason: Reason | None) -> str | None:
    return None if reason is None else reason.value
