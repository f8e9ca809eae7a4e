"""Which clusters there are: identity by our UUID, kept in step with the sources, persisted before it is used.

Identity, in short (docs/decisions/0005-cluster-identity.md): a sighting is recognised by endpoint and CA; a
kube-system UID joins two keys only if both are signed by the same CA of their own, since any API server can claim any
UID; a cluster whose UID changes behind the same key has been rebuilt, and is a new cluster.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar
from uuid import UUID, uuid4

import structlog

from collector.cluster import SYSTEM_CA, Cluster, Key, key_of
from collector.reconcile import Wanted, keep_what_is_unreadable, may_be_gone, merge_sightings
from store.errors import StoreRefused
from store.pool import Database
from validator.clock import Clock
from validator.discovery.source import Reading, SourceProblem
from validator.model import Lifecycle

_log = structlog.get_logger(__name__)

REBUILT_AT_MOST_EVERY_S = 3600.0
"""A cluster that shows another UID sooner than this after it was first seen is in conflict, not rebuilt: a server that
invents a new UID at every read must not fill the inventory."""

PIECE = 200
"""Clusters that are worked off in one turn of the loop, some 2 ms: a fleet that arrives at once must not make probes
late. Nobody else changes the inventory meanwhile, and readers see it before or after, never in between."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Changes:
    """What a reading changed. Only what the engine must know: a new label is no change here."""

    added: tuple[Cluster, ...] = ()
    redirected: tuple[Cluster, ...] = ()
    """Another endpoint or credential: the same cluster, asked differently from now on."""
    removed: tuple[UUID, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.redirected or self.removed)


class Inventory:
    """The clusters in memory, backed by the database. One writer: the leader; writes are fenced by its epoch."""

    def __init__(self, db: Database, queries: Mapping[str, str], clock: Clock, sources: Sequence[str]) -> None:
        self._db = db
        self._sql = queries
        self._clock = clock
        self._sources = tuple(sources)
        self._epoch = 0
        self._readings: dict[str, Reading] = {}
        self._ids: dict[Key, UUID] = {}
        self._main_keys: dict[UUID, Key] = {}
        self.clusters: dict[UUID, Cluster] = {}
        """Every cluster that is not gone. Read-only for everybody else; another mapping whenever names change."""

    async def load(self, epoch: int) -> None:
        """Take over what the database knows, as the leader of `epoch`. Raises `StoreError`."""
        rows = await self._db.fetch(self._sql["load_clusters"])
        keys = await self._db.fetch(self._sql["load_endpoints"])
        self._epoch = epoch
        self.clusters = {row["id"]: _from_row(dict(row)) for row in rows}
        self._ids = {Key(row["endpoint"], row["ca_sha256"]): row["cluster_id"] for row in keys}
        self._main_keys = {}
        for key, cluster_id in self._ids.items():
            self._main_keys.setdefault(cluster_id, key)

    @property
    def problems(self) -> tuple[tuple[str, SourceProblem], ...]:
        """What can't be read at the moment, with the source's name."""
        return tuple((name, problem) for name, reading in self._readings.items() for problem in reading.problems)

    async def apply(self, source: str, reading: Reading) -> Changes:
        """Bring the inventory in step with a new reading.

        Raises `StoreError` and changes nothing when the database can't take it: the caller tries again with the same
        or a newer reading, and every cluster that is known goes on being probed meanwhile.
        """
        readings = {**self._readings, source: keep_what_is_unreadable(self._readings.get(source), reading)}
        in_order = [readings[name] for name in self._sources if name in readings]
        returned = await self._find_gone(_keys_of(in_order) - self._ids.keys())
        aliases = {key: self._main_keys[cluster_id] for key, cluster_id in self._ids.items()}
        wanted = merge_sightings(in_order, aliases | _first_keys(returned))
        after = dict(self.clusters)
        ids: dict[Key, UUID] = {}
        for some in _pieces(wanted.items()):
            for main, want in some:
                cluster = self._bring_up(main, want, returned)
                after[cluster.id] = cluster
                ids.update(dict.fromkeys((main, *want.keys), cluster.id))
            await asyncio.sleep(0)
        named = set(ids.values())
        removed = tuple(
            cluster.id
            for cluster in self.clusters.values()
            if cluster.id not in named and may_be_gone(cluster.name, cluster.source, readings, self._sources)
        )
        for cluster_id in removed:
            del after[cluster_id]
        changed: list[Cluster] = []
        for each in _pieces(after.values()):
            changed += [cluster for cluster in each if _stored(cluster) != _stored(self.clusters.get(cluster.id))]
            await asyncio.sleep(0)
        new_keys = {key: cluster_id for key, cluster_id in ids.items() if self._ids.get(key) != cluster_id}
        await self._save(changed, new_keys, removed)

        changes = Changes(
            added=tuple(cluster for cluster in after.values() if _starts(self.clusters.get(cluster.id), cluster)),
            redirected=tuple(
                cluster for cluster in after.values() if _redirects(self.clusters.get(cluster.id), cluster)
            ),
            removed=removed,
        )
        self._readings = readings
        self.clusters = after
        self._ids = {key: i for key, i in {**self._ids, **ids}.items() if i in after}
        for main in wanted:
            self._main_keys.setdefault(ids[main], main)
        self._main_keys = {i: key for i, key in self._main_keys.items() if i in after}
        return changes

    async def settle_uids(self, uids: Mapping[UUID, str]) -> set[UUID]:
        """Believe the first UIDs that clusters show, where nobody disputes them; all in one transaction.

        Gives those that are settled; the others are for `learn_uid`, one by one. Raises `StoreError`; then nothing
        changed.
        """
        taken = {c.external_uid for c in self.clusters.values()}
        settled: dict[UUID, Cluster] = {}
        for cluster_id, uid in uids.items():
            cluster = self.clusters.get(cluster_id)
            if cluster is not None and cluster.external_uid is None and uid not in taken:
                taken.add(uid)
                settled[cluster_id] = replace(cluster, external_uid=uid)
        await self._save(settled.values(), {}, ())
        self.clusters.update(settled)
        return set(settled)

    async def learn_uid(self, cluster_id: UUID, uid: str) -> Changes | str:
        """A cluster has shown its kube-system UID.

        Gives what that changes or, as text, why the claim is not believed. Raises `StoreError`; then nothing changed.
        """
        cluster = self.clusters.get(cluster_id)
        if cluster is None or cluster.external_uid == uid:
            return Changes()
        if cluster.sighting is not None and cluster.sighting.external_uid is not None:
            return Changes()  # its source vouches for another kind of UID
        other = next((c for c in self.clusters.values() if c.external_uid == uid and c.id != cluster_id), None)
        if other is not None:
            mine, theirs = self._main_keys[cluster_id], self._main_keys.get(other.id)
            if theirs is None or mine.ca_sha256 != theirs.ca_sha256 or mine.ca_sha256 == SYSTEM_CA:
                return f"{cluster.name} shows the kube-system UID of {other.name}, but they share no CA of their own"
            return await self._join(cluster, other)
        if cluster.external_uid is None:
            await self.settle_uids({cluster_id: uid})
            return Changes()
        if self._clock.now() - cluster.first_seen_at < REBUILT_AT_MOST_EVERY_S:
            return f"{cluster.name} showed the kube-system UID {cluster.external_uid} before and shows {uid} now"
        return await self._rebuild(cluster, uid)

    # -- decisions that touch the database

    async def _join(self, newcomer: Cluster, known: Cluster) -> Changes:
        """Two ways in, one cluster: the one that was known keeps its id and its history."""
        keys = {key: known.id for key, cluster_id in self._ids.items() if cluster_id == newcomer.id}
        await self._save([], keys, (newcomer.id,))
        self._ids.update(keys)
        self._main_keys.pop(newcomer.id, None)
        names = tuple(dict.fromkeys((*known.also_known_as, newcomer.name, *newcomer.also_known_as)))
        joined = replace(known, also_known_as=names, sighting=known.sighting or newcomer.sighting)
        self.clusters = {i: c for i, c in self.clusters.items() if i != newcomer.id} | {known.id: joined}
        _log.info("two contexts, one cluster", cluster=known.name, also=newcomer.name)
        return Changes(added=() if known.sighting else (joined,), removed=(newcomer.id,))

    async def _rebuild(self, old: Cluster, uid: str) -> Changes:
        """Same name, endpoint and CA, another UID: the old cluster is gone, and its history stays its own."""
        new = replace(old, id=uuid4(), external_uid=uid, first_seen_at=self._clock.now())
        keys = {key: new.id for key, cluster_id in self._ids.items() if cluster_id == old.id}
        await self._save([new], keys, (old.id,))
        self._ids.update(keys)
        self.clusters = {i: c for i, c in self.clusters.items() if i != old.id} | {new.id: new}
        self._main_keys[new.id] = self._main_keys.pop(old.id)
        _log.warning("cluster was rebuilt", cluster=new.name, old_uid=old.external_uid, new_uid=uid)
        return Changes(added=(new,), removed=(old.id,))

    def _bring_up(self, main: Key, want: Wanted, returned: Mapping[Key, Cluster]) -> Cluster:
        sighting = want.sighting
        known = self.clusters.get(self._ids[main]) if main in self._ids else returned.get(main)
        new_id = sighting.cluster_id or uuid4()
        base = known or Cluster(new_id, "", "", "", None, {}, Lifecycle.ACTIVE, self._clock.now())
        return replace(
            base,
            name=sighting.name,
            source=sighting.source,
            endpoint=sighting.endpoint.url,
            external_uid=sighting.external_uid or base.external_uid,
            labels=dict(sighting.labels),
            lifecycle=sighting.lifecycle,
            also_known_as=want.also_known_as,
            sighting=sighting,
        )

    async def _find_gone(self, keys: set[Key]) -> dict[Key, Cluster]:
        found: dict[Key, Cluster] = {}
        for some in _pieces(sorted(keys)):
            for row in await self._db.fetch(self._sql["find_gone"], [key._asdict() for key in some]):
                found[Key(row["endpoint"], row["ca_sha256"])] = Cluster(
                    row["id"], "", "", "", row["external_uid"], {}, Lifecycle.ACTIVE, row["first_seen_at"]
                )
        return found

    async def _save(self, clusters: Iterable[Cluster], keys: Mapping[Key, UUID], removed: Sequence[UUID]) -> None:
        saved = list(clusters)
        if not saved and not keys and not removed:
            return
        async with self._db.transaction() as tx:
            if await tx.fetchval(self._sql["fence"], self._epoch) is None:
                raise StoreRefused("another instance leads now; this one may not write")
            for some in _pieces(saved):
                await tx.execute(self._sql["save_clusters"], [_to_row(cluster) for cluster in some])
            for named in _pieces(keys.items()):
                endpoints = [{**key._asdict(), "cluster_id": str(i)} for key, i in named]
                await tx.execute(self._sql["save_endpoints"], endpoints)
            if removed:
                await tx.execute(self._sql["retire_clusters"], list(removed))


def _pieces(items: Iterable[T]) -> Iterator[list[T]]:
    everything = list(items)
    for begin in range(0, len(everything), PIECE):
        yield everything[begin : begin + PIECE]


def _keys_of(readings: Iterable[Reading]) -> set[Key]:
    return {key_of(sighting.endpoint) for reading in readings for sighting in reading.sightings}


def _first_keys(clusters: Mapping[Key, Cluster]) -> dict[Key, Key]:
    """For several keys of one cluster the first of them."""
    first: dict[UUID, Key] = {}
    return {key: first.setdefault(cluster.id, key) for key, cluster in clusters.items()}


def _starts(before: Cluster | None, after: Cluster) -> bool:
    return after.sighting is not None and (before is None or before.sighting is None)


def _redirects(before: Cluster | None, after: Cluster) -> bool:
    if before is None or before.sighting is None or after.sighting is None:
        return False
    old, new = before.sighting, after.sighting
    return old.endpoint != new.endpoint or old.credential is not new.credential


def _stored(cluster: Cluster | None) -> object:
    """The part of a cluster that the database keeps, for comparison."""
    return None if cluster is None else _to_row(cluster)


def _to_row(cluster: Cluster) -> dict[str, object]:
    return {
        "id": str(cluster.id),
        "name": cluster.name,
        "source": cluster.source,
        "endpoint": cluster.endpoint,
        "external_uid": cluster.external_uid,
        "labels": dict(cluster.labels),
        "lifecycle": cluster.lifecycle,
        "first_seen_at": cluster.first_seen_at,
    }


def _from_row(row: Mapping[str, Any]) -> Cluster:
    try:
        lifecycle = Lifecycle(row["lifecycle"])
    except ValueError:  # of a newer release; the source will say it again
        lifecycle = Lifecycle.ACTIVE
    return Cluster(
        id=row["id"],
        name=row["name"],
        source=row["source"],
        endpoint=row["endpoint"],
        external_uid=row["external_uid"],
        labels=row["labels"],
        lifecycle=lifecycle,
        first_seen_at=row["first_seen_at"],
    )
