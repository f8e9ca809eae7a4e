"""The fleet that the benchmark of the uplink tells of: facts as the service would have them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from uuid import NAMESPACE_OID, uuid5

from uplink.client.encoding.facts import ChangeFact, ClusterFact, Facts, FleetFact


class MadeFleet:
    """Of a number of clusters."""

    def __init__(self, clusters: int, changes: int, *, restless: bool = True) -> None:
        """`changes` transitions a round. `restless`: all clusters change in each, so all of the inventory is told."""
        self._ids = [uuid5(NAMESPACE_OID, f"cluster/{number}") for number in range(clusters)]
        self._uids = [str(uuid5(NAMESPACE_OID, f"uid/{number}")) for number in range(clusters)]
        self._changes = changes
        self._restless = restless
        self._round = 0
        self.now: tuple[Facts, Sequence[ChangeFact]] = (Facts(0.0, FleetFact({})), ())

    @property
    def records(self) -> int:
        """Of one round: each cluster's health, each cluster, each transition."""
        return 2 * len(self._ids) + self._changes

    def go_on(self, at: float | None = None) -> None:
        """The next round, at a moment; now without one."""
        at = time.time() if at is None else at
        clusters = [self._cluster(number, at) for number in range(len(self._ids))]
        changes = [self._change(number, at) for number in range(self._changes)]
        self._round += 1
        self.now = Facts(at, FleetFact({"Healthy": len(clusters)}, {}, 0), clusters), changes

    async def facts(self) -> Facts:
        return self.now[0]

    async def changes(self, since: float, after_id: int, limit: int) -> Sequence[ChangeFact]:
        return [change for change in self.now[1] if change.id > after_id and change.at >= since][:limit]

    def _cluster(self, number: int, at: float) -> ClusterFact:
        return ClusterFact(
            id=self._ids[number],
            external_uid=self._uids[number],
            name=f"customer-prod-{number}",
            source="kubeconfig",
            lifecycle="Active",
            health="Healthy" if number % 7 else "Unreachable",
            reason=None if number % 7 else "ConnectTimeout",
            heard_at=at,
            kubernetes_version=f"v1.{self._round % 100 if self._restless else 36}.{number % 9}",
        )

    def _change(self, number: int, at: float) -> ChangeFact:
        which = number % len(self._ids)
        return ChangeFact(
            id=self._round * self._changes + number + 1,
            at=at - number / 1e5,
            cluster_id=self._ids[which],
            external_uid=self._uids[which],
            cluster_name=f"customer-prod-{which}",
            check="apiserver",
            from_health="Healthy",
            to_health="Unreachable",
            reason="ConnectTimeout",
            stage="connect",
        )
