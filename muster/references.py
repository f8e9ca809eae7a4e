"""What in the clusters refers to a location that somebody wants to delete: asked then, before the transaction.

Not as a `Holding` of the location store: those are asked inside the transaction, and no transaction waits for a
tenant's API server. What is made in a cluster after it was asked is not seen; a transaction could not lock it either.

Asked are the clusters in which the location is known to have been used: those whose last look has shown a resource for
the place, and those that are in its history. A cluster that is assigned keeps the location by itself, and nobody is
asked then. A cluster that can't be read, or not in time, is told as a holder of a kind of its own: whoever knows better
deletes with `force`, which passes over these and nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from uuid import UUID

from collector.cluster import Cluster
from collector.inventory import Inventory
from collector.location import BackupLocation
from collector.location_store import Holder, HolderKind
from store.pool import Database
from validator.clock import Clock
from validator.cluster_api.reader import ClusterReader, Refused
from validator.discovery.source import AgentEndpoint
from validator.keeper import CredentialKeeper
from validator.locations import FieldProblem
from validator.net.dialer import Dialer
from validator.net.failure import ProbeFailure
from validator.probes.resource import LastRead
from validator.repeated import LEFT_OUT, holds_token
from validator.resources.places import Place, place_of
from validator.resources.reading import ClusterReading
from validator.resources.referring import NotWhole, Reference, ReferenceKind, references

MAX_CLUSTERS = 200
"""That are asked, the latest users first; more are told as not read."""
AT_ONCE = 16
TIMEOUT_S = 8.0
"""For one cluster."""
DEADLINE_S = 10.0
"""For all together: somebody waits for the answer."""

_KINDS = {
    ReferenceKind.BACKUP: HolderKind.BACKUP,
    ReferenceKind.SCHEDULE: HolderKind.SCHEDULE,
    ReferenceKind.RESTORE: HolderKind.RESTORE,
}


class References:
    """For one leader. `last_read` gives what the last look at a cluster brought."""

    def __init__(
        self,
        db: Database,
        queries: Mapping[str, str],
        inventory: Inventory,
        last_read: Callable[[UUID], LastRead | None],
        *,
        dialer: Dialer,
        keeper: CredentialKeeper,
        clock: Clock,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        self._db = db
        self._sql = queries
        self._inventory = inventory
        self._last_read = last_read
        self._dialer = dialer
        self._keeper = keeper
        self._clock = clock
        self._deadline_s = deadline_s

    async def holders(self, location: BackupLocation) -> list[Holder]:
        """What refers to it, and what could not be asked; nothing while clusters are assigned. Raises `StoreError`."""
        if any(cluster_id in self._inventory.clusters for cluster_id in location.assignments):
            return []
        place = place_of(location.where)
        clusters = await self._users(location.id, place)
        found: dict[UUID, list[Holder]] = {cluster.id: [_unread(cluster, "not asked in time")] for cluster in clusters}
        slots = asyncio.Semaphore(AT_ONCE)

        async def ask(cluster: Cluster) -> None:
            async with slots:
                found[cluster.id] = await self._ask(cluster, place)

        try:
            async with asyncio.timeout(self._deadline_s), asyncio.TaskGroup() as tasks:
                for cluster in clusters[:MAX_CLUSTERS]:
                    tasks.create_task(ask(cluster), name=f"references:{cluster.name}")
        except TimeoutError:
            pass  # each that has not answered is told
        return [holder for cluster in clusters for holder in found[cluster.id]]

    async def _users(self, location_id: UUID, place: Place) -> list[Cluster]:
        """Clusters of the fleet that use or have used it. One that has left the fleet can't be asked."""
        clusters = self._inventory.clusters
        rows = await self._db.fetch(self._sql["former_users"], location_id, MAX_CLUSTERS * 2)
        now = (each for each in clusters if _shows(self._last_read(each), place))
        once = (row["cluster_id"] for row in rows)
        return [clusters[each] for each in dict.fromkeys((*now, *once)) if each in clusters]

    async def _ask(self, cluster: Cluster, place: Place) -> list[Holder]:
        sighting = cluster.sighting
        if sighting is None or sighting.credential is None or isinstance(sighting.endpoint, AgentEndpoint):
            return [_unread(cluster, "the hub has no way in")]
        credential = sighting.credential.current(self._clock.now())
        if credential is None:
            self._keeper.want(sighting.credential, _nothing)
            return [_unread(cluster, "no credential is in hand")]
        reader = ClusterReader(
            sighting.endpoint, credential, dialer=self._dialer, clock=self._clock, timeout_s=TIMEOUT_S
        )
        try:
            found = await references(reader, place)
        except Refused as refused:
            why = refused.message
        except ProbeFailure as failure:
            why = f"{failure.reason}: {failure.message}"
        except NotWhole as error:
            why = str(error)
        else:
            return [_holder(cluster, each) for each in found]
        finally:
            reader.close()
        return [_unread(cluster, LEFT_OUT if holds_token(why, credential.token) else why)]


def _holder(cluster: Cluster, each: Reference) -> Holder:
    return Holder(_KINDS[each.kind], f"{cluster.name}/{each.namespace}/{each.name}", str(cluster.id))


def _unread(cluster: Cluster, why: str) -> Holder:
    return Holder(HolderKind.UNREAD, f"{cluster.name}: {why}"[:300], str(cluster.id))


def _shows(last_read: LastRead | None, place: Place) -> bool:
    if last_read is None or not isinstance(last_read.found, ClusterReading):
        return False
    return any(
        not isinstance(each.place, FieldProblem) and place_of(each.place) == place for each in last_read.found.resources
    )


def _nothing() -> None:
    """Whoever asks again finds the credential."""
