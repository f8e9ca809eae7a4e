"""What the hub asks about pairs, on a real database and real engines: clusters are TLS doubles, time is short."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from collector.inventory import Inventory
from collector.location import BackupLocation
from collector.location_store import LocationStore, Reassignment
from collector.locations import Locations
from collector.pairs import Pairs
from collector.recorder import Recorder
from muster.direct import Direct, DirectSettings
from muster.hub_asking import HubAsking, make_hub_asking
from muster.pair_probes import direct_settings
from muster.settings import Settings
from store.pool import Database
from tests.support.api_server import TOKEN
from tests.support.collecting import QUERIES
from tests.support.locations import LOCATION_QUERIES
from validator.clock import HubClock
from validator.credentials import Credential, StaticCredential
from validator.discovery.source import Reading, Sighting
from validator.engine import Engine
from validator.health import CheckState, HealthSettings
from validator.keeper import CredentialKeeper
from validator.model import Check, Endpoint, Pair
from validator.net.dialer import Dialer, StageDeadlines
from validator.net.tls import TlsContexts
from validator.schedule import ScheduleSettings
from validator.testing import Collected, ScriptedResolver

VELERO = "/apis/velero.io/v1/backupstoragelocations"
STORK = "/apis/stork.libopenstorage.org/v1alpha1/backuplocations"
OF_VELERO = "/apis/velero.io/v1/namespaces/velero"

QUICK: Mapping[str, Any] = {"pair_interval_s": 30.0, "pair_timeout_s": 3.0, "resource_interval_s": 0.5 * 2}


def bsl(bucket: str = "acme", phase: str = "Available", **spec: Any) -> dict[str, Any]:
    """A BackupStorageLocation that Velero has just looked at."""
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    return {
        "metadata": {"name": "default", "namespace": "velero", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"provider": "aws", "objectStorage": {"bucket": bucket}, "config": {"region": "eu-central-1"}, **spec},
        "status": {"phase": phase, "lastValidationTime": now},
    }


def sighting(name: str, endpoint: Endpoint, *, token: str | None = TOKEN) -> Sighting:
    """As a source names it."""
    credential = None if token is None else StaticCredential(Credential(token))
    return Sighting(name, "one", endpoint, credential=credential)


class PairHouse:
    """One leader, as far as it has to do with pairs."""

    def __init__(
        self,
        db: Database,
        epoch: int,
        direct: DirectSettings | None = None,
        environ: Mapping[str, str] | None = None,
        resolver: ScriptedResolver | None = None,
        has_agent: Callable[[UUID], bool] = lambda _: False,
        **settings: Any,
    ) -> None:
        self.db = db
        self.epoch = epoch
        self.clock = HubClock()
        self.inventory = Inventory(db, QUERIES, self.clock, ["one"])
        at_once = HealthSettings(fail_after=1, pass_after=1)
        self.recorder = Recorder(db, QUERIES, self.clock, at_once, names=str, publish=lambda _: None)
        self.locations = Locations(LocationStore(db, LOCATION_QUERIES), self.clock)
        self.pairs = Pairs(self.inventory, self.locations, self.recorder, self.clock)
        self.seen = Collected()
        self.keeper = CredentialKeeper(self.clock)
        self.resolver = resolver or ScriptedResolver({})
        self.settings = Settings(**{**QUICK, **settings})
        schedule = ScheduleSettings(
            self.settings.pair_interval_s, self.settings.pair_timeout_s, backoff_max_s=60.0, first_round_s=0.1
        )
        self.engine = Engine(schedule, self._sink, self.clock)
        self.direct = Direct(environ or {}, self.resolver, self.clock, direct or direct_settings(self.settings))
        self.asking: HubAsking = make_hub_asking(
            db,
            epoch,
            self.settings,
            self.clock,
            self.inventory,
            self.pairs,
            self.recorder,
            pair_engine=self.engine,
            sink=self._sink,
            dialer=Dialer(
                self.resolver, TlsContexts(), StageDeadlines(dns_s=0.5, connect_s=0.5, tls_s=1.0, http_s=1.0)
            ),
            keeper=self.keeper,
            direct=self.direct,
            has_agent=has_agent,
        )
        self.locations.listen(self.asking.pairing.note)

    def _sink(self, verdicts: Any) -> None:
        self.recorder.record(verdicts)
        self.seen(verdicts)

    async def name(self, **clusters: Endpoint) -> list[UUID]:
        """A source names exactly these; gives their ids."""
        await self.inventory.apply("one", Reading(tuple(sighting(n, e) for n, e in clusters.items())))
        self.asking.pairing.note()
        ids = {cluster.name: cluster.id for cluster in self.inventory.clusters.values()}
        return [ids[name] for name in clusters]

    async def assign(self, location: BackupLocation, *add: UUID, remove: tuple[UUID, ...] = ()) -> BackupLocation:
        return await self.locations.reassign(Reassignment(location.id, add, remove, "ann", self.clock.now()))

    def state(self, subject: UUID | Pair, check: Check = Check.LOCATION) -> CheckState | None:
        return self.recorder.states.get(subject, {}).get(check)

    async def until(self, condition: Callable[[], Any], within_s: float = 8.0) -> None:
        """Memory has no event."""
        async with asyncio.timeout(within_s):
            while not condition():  # noqa: ASYNC110 - see above
                await asyncio.sleep(0.01)

    async def looked_again(self, cluster_id: UUID) -> None:
        """A whole look that begins now has ended."""
        assert await self.asking.looks.ask_now(cluster_id) is not None


@asynccontextmanager
async def pair_house(db: Database, **options: Any) -> AsyncIterator[PairHouse]:
    """Leads until the end of the block. `direct` and `environ` are the seams of the hub's own questions."""
    epoch: int = await db.fetchval("UPDATE leadership SET epoch = epoch + 1 RETURNING epoch")
    house = PairHouse(db, epoch, **options)
    await house.inventory.load(epoch)
    await house.recorder.load(epoch, 60.0)
    await house.locations.load(epoch)
    tasks = [
        asyncio.create_task(each, name=name)
        for name, each in {
            "pair-engine": house.engine.run(),
            "look-engine": house.asking.looks.run(),
            "pairing": house.asking.pairing.run(),
            "keeper": house.keeper.run(),
            "locations": house.locations.run(),
        }.items()
    ]
    try:
        yield house
        failed = [task for task in tasks if task.done()]
        assert not failed, failed
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await house.recorder.flush()
        await house.direct.close()
