"""A hub filled with made-up states, and the real API on it: no database, no cluster, nothing asked."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast
from uuid import UUID, uuid5

from collector.agents import Agents
from collector.availability import Availability, Report, Window, fold, total
from collector.cluster import Cluster
from collector.history import ALL, History, Only
from collector.inventory import Inventory
from collector.location import Assignment, BackupLocation
from collector.location_store import LocationStore
from collector.locations import Locations
from collector.pairs import Pairs
from collector.pauses import Beside, PauseConflict, Pauses
from collector.recorder import Recorder
from collector.requests import Requests
from collector.transition import Transition
from muster.access.access import Access
from muster.access.hosts import Hosts
from muster.access.local import LocalToken
from muster.access.roles import Role as AccessRole
from muster.access.tokens import Known, Tokens
from muster.api.server import ApiServer
from muster.hub import Hub, Leading, Role
from muster.telemetry import make_telemetry
from store.errors import StoreUnavailable
from store.pool import Database, Row
from tests.support.syncs import made_up_syncs
from tests.support.validating import made_up_validations
from validator.clock import HubClock
from validator.discovery.source import SourceProblem
from validator.engine import Engine
from validator.health import HealthSettings, step
from validator.locations import Location, Provider
from validator.model import NO_EVIDENCE, Check, Evidence, Lifecycle, Outcome, Pair, Verdict
from validator.reasons import REASONS, Health, Reason
from validator.schedule import Lane, ScheduleSettings

NAMESPACE = UUID("6d757374-6572-4000-8000-000000000000")

GOOD: Evidence = {
    "address": "127.64.0.1",
    "tls": "TLSv1.3",
    "certificate_expires": "2027-06-01T00:00:00Z",
    "dns_ms": 1.2,
    "connect_ms": 0.4,
    "tls_ms": 2.5,
    "http_ms": 3.1,
    "read_ms": 4.2,
    "path": "/readyz",
    "status": 200,
    "version": "v1.36.2",
}

NO_DATABASE = cast("Database", None)


class MadeUpHistory(History):
    """Pages of a list, or the error of a database that is away."""

    def __init__(self) -> None:
        super().__init__(NO_DATABASE, {})
        self.changes: list[Transition] = []
        self.away = False

    async def page(
        self, cluster_id: UUID | None, limit: int, before_id: int | None = None, only: Only = ALL
    ) -> list[Transition]:
        if self.away:
            raise StoreUnavailable("database 127.0.0.1/muster: connection refused. It is tried again.")
        newest_first = sorted(self.changes, key=lambda change: -change.id)
        return [
            change
            for change in newest_first
            if cluster_id in (None, change.cluster_id)
            and (before_id is None or change.id < before_id)
            and only.begin <= change.at < only.end
            and (not only.checks or change.check in only.checks)
            and (not only.to_health or change.to_health in only.to_health)
            and only.location_id in (None, change.location_id)
        ][:limit]

    async def oldest(self) -> float | None:
        return self.changes[0].at if self.changes else None

    async def after(self, last_id: int, limit: int) -> list[Transition]:
        if self.away:
            raise StoreUnavailable("database 127.0.0.1/muster: connection refused. It is tried again.")
        return sorted((change for change in self.changes if change.id > last_id), key=lambda change: change.id)[:limit]

    async def reaches_back_to(self, last_id: int) -> bool:
        return min((change.id for change in await self.after(0, 1)), default=last_id + 2) <= last_id + 1


class MadeUpPauses(Pauses):
    """Pauses in memory, with the rules of the statements; or the error of a database that is away."""

    def __init__(self, clock: HubClock) -> None:
        super().__init__(NO_DATABASE, {}, clock)
        self.away = False
        self._rows = 0

    async def settle(self, cluster_ids: Iterable[UUID] | None = None) -> None:
        pass

    async def _write(self, cluster_id: UUID, beside: Beside, query: str, *values: object) -> Row:
        await asyncio.sleep(0)
        if self.away:
            raise StoreUnavailable("database 127.0.0.1/muster: connection refused. It is tried again.")
        now, known = self._clock.now(), self.active(cluster_id, self._clock.now())
        if query == "begin_pause":
            if known is not None:
                raise PauseConflict(known)
            self._rows += 1
            _, reason, by, begins_at, until = values
            pause = {"id": self._rows, "begins_at": begins_at, "version": 1}
        else:
            if known is None or (known.id, known.version) != values[:2]:
                raise PauseConflict(known)
            reason, by, until = values[2:] if query == "change_pause" else (known.reason, known.by, now)
            pause = {"id": known.id, "begins_at": known.begins_at, "version": known.version + 1}
        await beside(NO_DATABASE)
        return cast("Row", pause | {"cluster_id": cluster_id, "reason": reason, "by_whom": by, "until": until})


class MadeUpAvailability(Availability):
    """Nothing is known of any cluster, in any window; remembers which were asked for."""

    def __init__(self) -> None:
        super().__init__(NO_DATABASE, {}, retention_days=lambda: 90)
        self.asked: list[tuple[Window, UUID | None]] = []

    async def report(self, window: Window, cluster_id: UUID | None) -> Report | None:
        self.asked.append((window, cluster_id))
        buckets = fold(window, ())
        return Report(window, total(window, buckets), buckets, 0, 0.0)


class MadeUpInventory(Inventory):
    """Problems as told."""

    def __init__(self, clock: HubClock) -> None:
        super().__init__(NO_DATABASE, {}, clock, ["static"])
        self.made_up_problems: list[tuple[str, SourceProblem]] = []

    @property
    def problems(self) -> tuple[tuple[str, SourceProblem], ...]:
        return tuple(self.made_up_problems)


class MadeUpHub(Hub):
    """A leading hub; `put` gives it clusters."""

    def __init__(self) -> None:
        super().__init__(HubClock(), "0.1.0")
        self.role = Role.LEADING
        self.events.begin(0)
        self.inventory = MadeUpInventory(self.clock)
        self.history = MadeUpHistory()
        self.recorder = Recorder(NO_DATABASE, {}, self.clock, HealthSettings(), names=str, publish=lambda _: None)
        self.pauses = MadeUpPauses(self.clock)
        self.availability = MadeUpAvailability()
        engine = Engine(ScheduleSettings(), self.recorder.record, self.clock)
        self.locations = Locations(LocationStore(NO_DATABASE, {}), self.clock)
        self.leading = Leading(
            inventory=self.inventory,
            recorder=self.recorder,
            engine=engine,
            history=self.history,
            pauses=self.pauses,
            availability=self.availability,
            locations=self.locations,
            pair_engine=Engine(ScheduleSettings(), self.recorder.record, self.clock),
            pairs=Pairs(self.inventory, self.locations, self.recorder, self.clock),
            validations=made_up_validations(self.locations, self.clock),
            syncs=made_up_syncs(self.locations, self.clock),
            agents=Agents(NO_DATABASE, {}, self.clock),
            requests=Requests(),
        )

    def stand_by(self, cause: str) -> None:
        """Lead no more."""
        self.role, self.waiting_for, self.leading = Role.STANDBY, cause, None
        self.events.end(cause)

    def put(
        self,
        name: str,
        *verdicts: Verdict,
        lifecycle: Lifecycle = Lifecycle.ACTIVE,
        source: str = "static",
        endpoint: str = "https://127.64.0.1:6443",
        labels: Mapping[str, str] | None = None,
        also_known_as: Sequence[str] = (),
    ) -> UUID:
        """A cluster of this name, with the states that these verdicts lead to."""
        cluster_id = uuid5(NAMESPACE, f"{source}/{name}")
        assert self.leading is not None
        self.inventory.clusters[cluster_id] = Cluster(
            id=cluster_id,
            name=name,
            source=source,
            endpoint=endpoint,
            external_uid=None,
            labels=labels or {},
            lifecycle=lifecycle,
            first_seen_at=self.clock.now() - 86_400,
            also_known_as=tuple(also_known_as),
        )
        states = self.recorder.states.setdefault(cluster_id, {})
        for verdict in verdicts:
            given = {field: getattr(verdict, field) for field in Verdict.__slots__} | {"cluster_id": cluster_id}
            states[verdict.check] = step(states.get(verdict.check), Verdict(**given), HealthSettings())
        return cluster_id

    def put_location(
        self, name: str, *clusters: UUID, owner: str = "ann", allow_shared: bool = False, **fields: Any
    ) -> BackupLocation:
        """A location of this name: an S3 bucket called like it, unless `fields` say otherwise."""
        fields = {"provider": Provider.S3, "container": name, **fields}
        where = Location(id=uuid5(NAMESPACE, f"location/{name}"), name=name, **fields)
        now = self.clock.now()
        assignments = {each: Assignment(each, now, "ann") for each in clusters}
        made = BackupLocation(where, owner, None, False, allow_shared, now, "ann", assignments)
        self.locations._remember(made)
        return made

    def put_pair(self, cluster_id: UUID, location: BackupLocation, *verdicts: Verdict) -> Pair:
        """What is known of a cluster and a location that is assigned to it: what these verdicts lead to."""
        pair = Pair(cluster_id, location.id)
        states = self.recorder.states.setdefault(pair, {})
        for verdict in verdicts:
            known = replace(verdict, cluster_id=cluster_id, location_id=location.id)
            states[verdict.check] = step(states.get(verdict.check), known, HealthSettings())
        return pair

    def answer(
        self,
        reason: Reason | None = None,
        *,
        ago_s: float = 5.0,
        check: Check = Check.APISERVER,
        message: str = "",
        evidence: Evidence = NO_EVIDENCE,
        lane: Lane = Lane.LIVE,
        allowance_s: float = 3600.0,
    ) -> Verdict:
        """A verdict that came in `ago_s` ago: a pass, or what the reason's row says."""
        info = None if reason is None else REASONS[reason]
        outcome = Outcome.PASS if info is None else Outcome.FINDING if info.health is Health.DEGRADED else Outcome.FAIL
        at = self.clock.now() - ago_s
        return Verdict(
            check=check,
            cluster_id=NAMESPACE,
            outcome=outcome,
            observed_at=at,
            received_at=at,
            duration_s=0.012,
            lateness_s=0.015,
            allowance_s=allowance_s,
            lane=lane,
            reason=reason,
            stage=None if info is None else info.stage,
            message=message,
            evidence=evidence,
        )

    def change(self, cluster_id: UUID, before: Health, now: Health, reason: Reason | None, ago_s: float = 60.0) -> None:
        """One line of history."""
        at = self.clock.now() - ago_s
        self.history.changes.append(
            Transition(
                id=len(self.history.changes) + 1,
                at=at,
                cluster_id=cluster_id,
                cluster_name=self.inventory.clusters[cluster_id].name if cluster_id in self.inventory.clusters else "?",
                check=Check.APISERVER,
                from_health=before,
                to_health=now,
                since=at - 60,
                reason=reason,
                stage=None if reason is None else REASONS[reason].stage,
                message="",
                evidence={},
                flapping=False,
                collapsed=0,
                changes=2,
            )
        )


async def no_metrics() -> bytes:
    """A scrape of nothing."""
    return b"muster_up 1\n"


LOCAL_TOKEN = "muster_" + "l" * 43
TOKENS = {role: f"muster_{role.value[0] * 43}" for role in AccessRole}
"""Secrets of tokens that the made-up access knows; its local token is the first."""


class MadeUpTokens(Tokens):
    """One token a role, and no database."""

    def find(self, secret: str) -> Known | None:
        for role, known in TOKENS.items():
            if secret == known:
                return Known(uuid5(NAMESPACE, role), f"the-{role}", role, None)
        return None


def made_up_access(hub: Hub, hosts: Sequence[str] = (), *, behind_proxy: bool = False) -> Access:
    """Access control without a database: nothing is audited, and what would have to be is refused."""
    names = Hosts(hosts, behind_proxy=behind_proxy)
    return Access(hub.clock, names, local=LocalToken(LOCAL_TOKEN), make_tokens=MadeUpTokens)


def api_server(
    hub: Hub,
    render_metrics: Callable[[], Awaitable[bytes]] = no_metrics,
    port: int = 0,
    access: Access | None = None,
) -> ApiServer:
    """The real API on a free port; start and stop are the caller's. Telemetry has no place for its files."""
    telemetry = make_telemetry(hub, dict, Path("/proc/nowhere"), {})
    return ApiServer(hub, render_metrics, "127.0.0.1", port, access=access or made_up_access(hub), telemetry=telemetry)


@contextmanager
def served(hub: Hub, port: int = 0) -> Iterator[str]:
    """The API's URL, served from a thread of its own, so that a test may wait for a subprocess."""
    with running(api_server(hub, port=port)) as url:
        yield url


@contextmanager
def running(server: ApiServer) -> Iterator[str]:
    """The same for a server that is made already."""
    up, down = threading.Event(), threading.Event()

    async def serve() -> None:
        await server.start()
        with LocalToken(LOCAL_TOKEN).left(*server.address):
            up.set()
            await asyncio.to_thread(down.wait)
            await server.stop()

    thread = threading.Thread(target=asyncio.run, args=(serve(),), name="api", daemon=True)
    thread.start()
    try:
        assert up.wait(10), "the API did not start"
        yield server.url
    finally:
        down.set()
        thread.join(10)
