"""Makes what `pairing.py` has asked: looks at clusters, and the probes of their pairs, from the settings in effect."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from uuid import UUID

from collector.cluster import Cluster
from collector.location import BackupLocation
from muster.direct import Direct, DirectSettings
from muster.pairing import PairContext
from muster.settings import Settings
from validator.agent.clouds import CloudSettings
from validator.agent.probing import METHOD as AGENT
from validator.clock import Clock
from validator.health import CheckState
from validator.keeper import CredentialKeeper
from validator.locations import FieldProblem
from validator.model import Check, SubjectId
from validator.net.dialer import Dialer
from validator.probes.aws_clients import AwsSettings
from validator.probes.azure_clouds import CLOUDS
from validator.probes.cluster_look import ClusterLook
from validator.probes.hub_pair import HubPairProbe
from validator.probes.identity_check import TIMEOUT_S, IdentityCheck
from validator.probes.resource import LastRead, ResourceProbe, ResourceSettings
from validator.resources.judging import JudgingSettings
from validator.resources.places import Place, place_of
from validator.resources.reading import PRODUCTS, ClusterReading
from validator.resources.resource import LocationResource
from validator.schedule import ScheduleSettings

LOOK_FIRST_S = 45.0
"""Within this time a cluster is looked at first: before its pairs are due, which take what it said."""

READ_TIMEOUT_S = 10.0
"""Of one read of a cluster's resources, five GETs at most."""


def look_schedule(settings: Settings) -> ScheduleSettings:
    """Of the engine that looks at clusters."""
    return ScheduleSettings(
        interval_s=settings.resource_interval_s,
        timeout_s=READ_TIMEOUT_S + TIMEOUT_S,
        backoff_max_s=max(settings.resource_interval_s, settings.backoff_max_s),
        first_round_s=LOOK_FIRST_S,
    )


def direct_settings(settings: Settings) -> DirectSettings:
    """Of the hub's own questions."""
    aws = AwsSettings(allowed_endpoints=frozenset(settings.direct_endpoints))
    return DirectSettings(timeout_s=settings.pair_timeout_s, clouds=CloudSettings(azure=CLOUDS, aws=aws))


def resource_settings(settings: Settings) -> ResourceSettings:
    """How resources are read and judged. Each ask is a read: the engine has the rhythm."""
    judging = JudgingSettings(velero_period_s=settings.velero_period_s, stork_period_s=settings.stork_period_s)
    return ResourceSettings(
        timeout_s=READ_TIMEOUT_S, read_every=1, judging=judging, stork_status_paths=settings.stork_status_paths
    )


class PairProbes:
    """For one leader. `uses` gives a cluster's living locations, `states_of` what is kept of it."""

    def __init__(
        self,
        settings: Settings,
        direct: Direct,
        *,
        dialer: Dialer,
        keeper: CredentialKeeper,
        clock: Clock,
        uses: Callable[[UUID], list[BackupLocation]],
        states_of: Callable[[UUID], Mapping[Check, CheckState]],
        has_agent: Callable[[UUID], bool],
        hasten: Callable[[SubjectId], None],
    ) -> None:
        self._resource = resource_settings(settings)
        self._identity_every = max(1, math.ceil(settings.identity_interval_s / settings.resource_interval_s))
        self._ticks_per_read = settings.resource_interval_s / settings.pair_interval_s
        self._owners = frozenset(settings.direct_owners)
        self._direct = direct
        self._dialer = dialer
        self._keeper = keeper
        self._clock = clock
        self._uses = uses
        self._states_of = states_of
        self._has_agent = has_agent
        self._hasten = hasten

    def may_ask_directly(self, location: BackupLocation) -> bool:
        """Whether the hub's own identity may be used for it."""
        return location.owner in self._owners

    def look(self, cluster: Cluster, on_read: Callable[[], None]) -> ClusterLook:
        """At a cluster that a source has named."""
        assert cluster.sighting is not None
        endpoint, source = cluster.sighting.endpoint, cluster.sighting.credential
        resources = ResourceProbe(
            endpoint,
            source,
            dialer=self._dialer,
            keeper=self._keeper,
            clock=self._clock,
            settings=self._resource,
            wanted=lambda: self._wanted(cluster.id, resources.last_read),
            hasten=partial(self._hasten, cluster.id),
        )
        return ClusterLook(
            cluster.name,
            resources,
            IdentityCheck(cluster.name, endpoint, dialer=self._dialer, clock=self._clock),
            source,
            clock=self._clock,
            identity_every=self._identity_every,
            looks_at_identity=lambda: not self._agent_looks(cluster.id),
            on_read=on_read,
        )

    def pair(self, context: PairContext) -> HubPairProbe:
        """The probe of one pair."""
        direct = self._direct.probe(context.pair.cluster_id, context.where) if context.direct else None
        return HubPairProbe(
            context.where,
            last_read=context.last_read,
            direct=direct,
            clock=self._clock,
            settings=self._resource,
            before=context.before,
            ticks_per_read=self._ticks_per_read,
            on_told=context.on_told,
        )

    def _agent_looks(self, cluster_id: UUID) -> bool:
        """Whether the cluster's agent reports on the identity by itself: two who tell would contradict each other."""
        known = self._states_of(cluster_id).get(Check.WORKLOAD_IDENTITY)
        return self._has_agent(cluster_id) and known is not None and known.evidence.get("method") == AGENT

    def _wanted(self, cluster_id: UUID, last_read: LastRead | None) -> frozenset[Check]:
        """Products through which a location of ours is asked about, and those that are told of already.

        The latter from what is kept: that a product is gone must be told after a restart, too.
        """
        told = frozenset(PRODUCTS) & self._states_of(cluster_id).keys()
        if last_read is None or not isinstance(last_read.found, ClusterReading) or self._has_agent(cluster_id):
            return told
        places = {place_of(location.where) for location in self._uses(cluster_id)}
        return told | {each.check for each in last_read.found.resources if _place(each) in places}


def _place(resource: LocationResource) -> Place | None:
    return None if isinstance(resource.place, FieldProblem) else place_of(resource.place)
