"""The registered agents: in memory for the leader, the database first; and what was heard of them.

Decisions, and what was decided against:

- A registration is the cluster's: it says whose tokens are believed for it. A cluster that the hub can't reach is made
  by its registration, and is named to the inventory by `AgentSource` (`muster/agents/source.py`), under the id that the
  registration has; what the agent's chart was given stays true.
- Which reports were taken (start and sequence number) is written once a second for all agents in one statement. A
  report that came in the last second before a crash may be taken once more then, by whoever has a token of that
  agent: it is taken for what it is, the newest facts, that nobody had kept. One statement a report was rejected: a
  thousand agents would cost as much as the fleet.
- Writes are fenced by the leader's epoch. Registrations whose answer was lost are read again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import TypeVar
from uuid import UUID, uuid4

import structlog

from collector.agent import Agent, Heard, agent_from, heard_from, heard_row
from collector.pauses import Beside, nothing_beside
from store.errors import StoreError, StoreRefused, StoreUnavailable
from store.pool import Database, Statements
from validator.clock import Clock

_log = structlog.get_logger(__name__)

WRITE_EVERY_S = 1.0
MAX_AGENTS = 10_000
"""A cluster has one at most."""

T = TypeVar("T")


class AgentExists(Exception):  # noqa: N818 - an answer, not an error
    """The cluster, or another one of this name, has an agent."""

    def __init__(self, current: Agent) -> None:
        super().__init__(current.name or str(current.cluster_id))
        self.current = current


class TooManyAgents(Exception):  # noqa: N818 - the same
    """There are `MAX_AGENTS`."""


class Agents:
    """Those of one leader. All methods are to be called on the loop's thread."""

    def __init__(self, db: Database, queries: Mapping[str, str], clock: Clock) -> None:
        self._db = db
        self._sql = queries
        self._clock = clock
        self._epoch = 0
        self._known: dict[UUID, Agent] = {}
        self._heard: dict[UUID, Heard] = {}
        self._dirty: set[UUID] = set()
        self._in_doubt = False
        self._changed = asyncio.Event()
        self._listeners: list[Callable[[], None]] = []
        self.hub_id = UUID(int=0)
        """Who this hub is, once it is loaded; made once for a database."""
        self.since = clock.now()
        """Hub clock: since when this instance could have heard anything."""

    async def load(self, epoch: int) -> None:
        """Take over what the database knows, as the leader of `epoch`. Raises `StoreError`."""
        await self._db.execute(self._sql["make_hub_id"], uuid4())
        self.hub_id = await self._db.fetchval(self._sql["hub_id"])
        await self._db.execute(self._sql["forget_orphans"], epoch)
        rows = [dict(row) for row in await self._db.fetch(self._sql["read_agents"])]
        self._epoch = epoch
        self._known = {row["cluster_id"]: agent_from(row) for row in rows}
        self._heard = {row["cluster_id"]: heard_from(row) for row in rows}
        self._dirty.clear()
        self._in_doubt = False
        self.since = self._clock.now()
        self._tell()

    @property
    def known(self) -> Mapping[UUID, Agent]:
        """Every registration, by cluster."""
        return MappingProxyType(self._known)

    @property
    def audience(self) -> str:
        """`aud` of the agents' tokens."""
        return f"muster:{self.hub_id}"

    def heard(self, cluster_id: UUID) -> Heard:
        """What its agent has told; empty where it never has. Read-only for everybody else."""
        return self._heard.get(cluster_id) or Heard()

    def speaks(self, cluster_id: UUID) -> bool:
        """Whether it has ever reported: a registration alone asks nobody anything."""
        return cluster_id in self._known and self.heard(cluster_id).last_report_at is not None

    async def changed(self) -> None:
        """Wait until a registration has come or gone since the last call. For one waiter: the source."""
        await self._changed.wait()
        self._changed.clear()

    def listen(self, on_change: Callable[[], None]) -> None:
        """Have `on_change` called after a registration has come or gone, or its first report has come."""
        self._listeners.append(on_change)

    def _tell(self) -> None:
        self._changed.set()
        for on_change in self._listeners:
            on_change()

    # -- registrations

    async def register(self, new: Agent, beside: Beside = nothing_beside) -> Agent:
        """Add one. Asked for once more, it is the one that there is.

        Raises `AgentExists`, `TooManyAgents`, `StoreError`.
        """
        await self.settle()
        if (known := self._made_before(new)) is not None:
            return known
        if len(self._known) >= MAX_AGENTS:
            raise TooManyAgents

        async def insert(tx: Statements) -> UUID | None:
            made: UUID | None = await tx.fetchval(
                self._sql["insert_agent"],
                self._epoch,
                new.cluster_id,
                new.name,
                new.namespace,
                new.service_account,
                new.jwks,
                new.issuer,
                new.registered_at,
                new.registered_by,
            )
            if made is not None:
                await beside(tx)
            return made

        if await self._write(insert) is None:
            await self._read_again()
            if (known := self._made_before(new)) is not None:
                return known
            raise StoreUnavailable("the name has just become free; ask again")
        self._known[new.cluster_id] = new
        self._heard[new.cluster_id] = Heard()
        self._tell()
        return new

    async def remove(self, cluster_id: UUID, beside: Beside = nothing_beside) -> Agent | None:
        """Take its agent from a cluster; gives what was there, None if nothing. Raises `StoreError`."""
        await self.settle()
        known = self._known.get(cluster_id)
        if known is None:
            return None

        async def delete(tx: Statements) -> UUID | None:
            removed: UUID | None = await tx.fetchval(self._sql["remove_agent"], self._epoch, cluster_id)
            if removed is not None:
                await beside(tx)
            return removed

        if await self._write(delete) is None:
            await self._read_again()
            return None
        self._forget(cluster_id)
        self._tell()
        return known

    async def settle(self) -> None:
        """Read again where the answer to a write was lost. Raises `StoreError`."""
        if self._in_doubt:
            await self._read_again()

    # -- what they report

    def note(self, cluster_id: UUID, boot: UUID, sequence: int, dropped: int, version: str, skew_s: float) -> int:
        """A report was taken; gives how many verdicts its agent had to drop since the one before."""
        heard = self._heard.setdefault(cluster_id, Heard())
        is_first = heard.last_report_at is None
        heard.version, heard.last_report_at, heard.skew_s = version, self._clock.now(), skew_s
        self._dirty.add(cluster_id)
        if is_first:
            self._tell()
        return heard.note(boot, sequence, dropped)

    def shift(self, step_s: float) -> None:
        """The hub clock was moved: every age stays what it was."""
        self.since += step_s
        for cluster_id, heard in self._heard.items():
            if heard.last_report_at is not None:
                heard.last_report_at += step_s
                self._dirty.add(cluster_id)

    async def run(self) -> None:
        """Write what was heard, once a second, until cancelled."""
        while True:
            await asyncio.sleep(WRITE_EVERY_S)
            try:
                await self.settle()
                await self.flush()
            except StoreError as error:
                _log.debug("what was heard of agents waits for the database", error=error.message)

    async def flush(self) -> None:
        """Write it now. Raises `StoreError`; then it is written the next time."""
        dirty, self._dirty = self._dirty, set()
        rows = [heard_row(each, heard) for each in dirty if (heard := self._heard.get(each)) is not None]
        if not rows:
            return
        try:
            await self._db.execute(self._sql["note_heard"], self._epoch, rows)
        except BaseException:
            self._dirty |= dirty
            raise

    # -- how

    def _made_before(self, new: Agent) -> Agent | None:
        """The same registration, made before. Raises `AgentExists` where it is another."""
        for known in self._known.values():
            if known.cluster_id == new.cluster_id or (known.name is not None and known.name == new.name):
                if known.cluster_id == new.cluster_id and known.is_made_as(new):
                    return known
                raise AgentExists(known)
        return None

    async def _write(self, act: Callable[[Statements], Awaitable[T]]) -> T:
        try:
            async with self._db.transaction() as tx:
                return await act(tx)
        except BaseException:
            self._in_doubt = True  # it may have been done
            raise

    async def _read_again(self) -> None:
        async with self._db.transaction() as tx:
            if await tx.fetchval(self._sql["fence_off"], self._epoch) is None:
                raise StoreRefused("another instance leads now; this one may not write")
            rows = {row["cluster_id"]: dict(row) for row in await tx.fetch(self._sql["read_agents"])}
        for cluster_id in self._known.keys() - rows.keys():
            self._forget(cluster_id)
        for cluster_id, row in rows.items():
            if (read := agent_from(row)) != self._known.get(cluster_id):
                self._known[cluster_id] = read
            self._heard.setdefault(cluster_id, heard_from(row))
        self._in_doubt = False
        self._tell()

    def _forget(self, cluster_id: UUID) -> None:
        self._known.pop(cluster_id, None)
        self._heard.pop(cluster_id, None)
        self._dirty.discard(cluster_id)
