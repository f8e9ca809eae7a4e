"""Telemetry on made-up facts: offers, consents, encoders, and a link that remembers what it was told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from uuid import UUID, uuid5

from uplink.client.consent.commitments import commitments
from uplink.client.consent.consent import Found, Impossible, Offer, Standing, Wanted, Who, give
from uplink.client.consent.desk import Desk
from uplink.client.consent.dictionary import dictionary
from uplink.client.consent.record import Endpoints, Given
from uplink.client.consent.streams import Stream
from uplink.client.encoding.batch import Batch, Identity
from uplink.client.encoding.encode import Encoder
from uplink.client.encoding.facts import ChangeFact, ClusterFact, Facts, FleetFact, LocationFact, VerdictKey
from uplink.client.encoding.gather import Told, events, gather
from uplink.client.encoding.items import Item
from uplink.client.encoding.pseudonyms import Pseudonyms
from uplink.client.local import LocalTelemetry
from uplink.client.telemetry import LinkState
from validator.clock import FakeClock

NOW = 1_800_000_000.0
NAMESPACE = UUID("6d757374-6572-4000-8000-000000000001")
ANN = Who("ann", "cli")
ENDPOINTS = Endpoints(register_url="https://register.example.com", ingest_url="https://ingest.example.com")
OFFER = Offer(dictionary(), commitments(), "acme", ENDPOINTS)
ALL = frozenset(Stream)


def wanted(*streams: Stream, plain: bool = False, text: bool = False) -> Wanted:
    """What somebody wants who has read everything; all streams without any."""
    chosen = frozenset(streams) or ALL
    return Wanted(
        chosen,
        OFFER.commitments.sha256,
        OFFER.dictionary.version,
        chosen if plain else frozenset(),
        chosen if text else frozenset(),
    )


def given(*streams: Stream, plain: bool = False, text: bool = False, at: float = NOW) -> Given:
    """A consent."""
    return give(wanted(*streams, plain=plain, text=text), OFFER, {}, ANN, 1, at)


def encoder(consent: Given, stream: Stream, *, limit: int = 1024 * 1024) -> Encoder:
    """Of a stream of a consent."""
    return Encoder(
        stream,
        Identity.of(consent, "0.1.0"),
        OFFER.dictionary,
        consent.scope[stream],
        Pseudonyms(bytes.fromhex(consent.pseudonym_key)),
        since=consent.decided_at,
        limit=limit,
    )


def cluster(number: int = 1, **fields: object) -> ClusterFact:
    """A healthy one."""
    made = ClusterFact(
        id=uuid5(NAMESPACE, f"cluster/{number}"),
        external_uid=str(uuid5(NAMESPACE, f"uid/{number}")),
        name=f"customer-prod-{number}",
        source="kubeconfig",
        lifecycle="Active",
        health="Healthy",
        reason=None,
        heard_at=NOW + 5,
        kubernetes_version="v1.36.2",
    )
    return replace(made, **fields)  # type: ignore[arg-type]  # tests name fields that there are


def location(**fields: object) -> LocationFact:
    """One in Azure."""
    made = LocationFact(
        id=uuid5(NAMESPACE, "location"),
        name="velero-backups",
        provider="azure",
        account="contosoprod",
        container="backups",
        environment="AzurePublicCloud",
        clusters=3,
    )
    return replace(made, **fields)  # type: ignore[arg-type]  # as above


def change(**fields: object) -> ChangeFact:
    """A cluster that went dark."""
    made = ChangeFact(
        id=1,
        at=NOW + 7,
        cluster_id=uuid5(NAMESPACE, "cluster/1"),
        external_uid=str(uuid5(NAMESPACE, "uid/1")),
        cluster_name="customer-prod-1",
        check="apiserver",
        from_health="Healthy",
        to_health="Unreachable",
        reason="ConnectTimeout",
        stage="connect",
        message="no answer",
    )
    return replace(made, **fields)  # type: ignore[arg-type]  # as above


def facts(clusters: int = 2, *, at: float = NOW + 10, verdicts: Mapping[VerdictKey, int] | None = None) -> Facts:
    """A small fleet."""
    return Facts(
        at=at,
        fleet=FleetFact({"Healthy": clusters, "Unreachable": 0}, {"Healthy": 3}, 1),
        clusters=[cluster(number) for number in range(clusters)],
        locations=[location()],
        verdicts={VerdictKey("apiserver", "pass", None): 100} if verdicts is None else verdicts,
    )


class MadeUpFacts:
    """As told; none, as on a standby, without."""

    def __init__(self, known: Facts | None = None, changes: Sequence[ChangeFact] = ()) -> None:
        self.known = known
        self.made_up_changes = changes

    async def facts(self) -> Facts | None:
        return self.known

    async def changes(self, since: float, after_id: int, limit: int) -> Sequence[ChangeFact]:
        return [each for each in self.made_up_changes if each.at >= since and each.id > after_id][:limit]


class RememberingLink:
    """A link without a network: gathers and keeps batches by the real encoder, and writes down what it was told."""

    def __init__(self, source: MadeUpFacts) -> None:
        self.told: list[str] = []
        self.tokens: list[str | None] = []
        self.kept: dict[Stream, Batch] = {}
        self.heeded: list[Standing] = []
        self.is_overtaken = False
        self.is_unfinished = False
        self.defects: list[Exception] = []
        self._source = source
        self._given: Given | None = None

    def state(self) -> LinkState:
        return LinkState("off" if self._given is None else "active", waiting_batches=len(self.kept))

    def open(self, db: object) -> None:
        self.told.append("open")

    async def run(self, found: Found) -> None:
        self.told.append("run")
        if self.defects:
            raise self.defects.pop()
        await asyncio.Event().wait()

    async def lead(self) -> None:
        self.told.append("lead")
        await asyncio.Event().wait()

    async def close(self) -> None:
        self.told.append("close")

    async def began(self, standing: Standing, activation_token: str | None) -> None:
        self.told.append("began")
        self.tokens.append(activation_token)
        self._given = standing.given

    async def heed(self, standing: Standing) -> None:
        self.heeded.append(standing)

    def overtaken(self) -> bool:
        said, self.is_overtaken = self.is_overtaken, False
        return said

    @property
    def unfinished(self) -> bool:
        return self.is_unfinished

    def silence(self) -> None:
        self.told.append("silence")

    async def ended(self) -> None:
        self.told.append("ended")
        self.kept.clear()
        self._given = None

    async def head(self, stream: Stream) -> Batch | None:
        assert self._given is not None
        if stream not in self.kept and (known := await self._source.facts()) is not None:
            items: list[Item] = events(await self._source.changes(self._given.decided_at, 0, 100), NOW)
            if stream is not Stream.LOGS:
                items, _ = gather(stream, known, Told(self._given.decided_at))
            for batch in encoder(self._given, stream).encode(items, known.at).batches[:1]:
                self.kept[stream] = batch
        return self.kept.get(stream)

    async def forget(self) -> None:
        if self._given is None:
            raise Impossible("nothing was ever sent from here")
        self.told.append("forget")

    async def export(self, standing: Standing) -> AsyncIterator[bytes]:
        for batch in self.kept.values():
            yield batch.raw

    async def known_epoch(self) -> int:
        return 0


class Bench:
    """A desk in a directory, a link that remembers, and telemetry on both."""

    def __init__(self, directory: Path, known: Facts | None = None, changes: Sequence[ChangeFact] = ()) -> None:
        self.offer = OFFER
        self.environ: dict[str, str] = {}
        self.clock = FakeClock(NOW)
        self.source = MadeUpFacts(known, changes)
        self.link = RememberingLink(self.source)
        self.desk = Desk(directory, lambda: self.offer, self.environ)
        self.telemetry = LocalTelemetry(
            self.desk, self.source, self.link, self.clock, "0.1.0", watch_s=0.01, again_s=0.01
        )
