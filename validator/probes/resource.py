"""The checks `velero` and `stork`: what the products in a cluster say of their backup locations.

`ResourceProbe` reads a cluster every few asks; `PairFromResources` is the check `location` of one of its pairs, made
from that read. So a cluster with five locations is read once and not five times, and no pair costs the cluster
anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from validator.answer import Answer, Fact
from validator.clock import Clock
from validator.cluster_api.reader import ClusterReader
from validator.credentials import Credential, CredentialSource
from validator.keeper import CredentialKeeper
from validator.locations import Location
from validator.model import Check, Endpoint
from validator.net.dialer import Dialer
from validator.net.failure import ProbeFailure
from validator.reasons import Reason
from validator.repeated import without_token
from validator.resources.fetch import read_cluster
from validator.resources.judging import DEFAULTS, JudgingSettings
from validator.resources.reading import PRODUCTS, ClusterReading, cluster_facts, location_fact, unread_facts
from validator.resources.stork import STATUS_PATHS


@dataclass(frozen=True, slots=True)
class ResourceSettings:
    """How resources are read."""

    timeout_s: float = 10.0
    """For the whole read, as for every other probe of a cluster."""
    read_every: int = 4
    """Every so many asks; after a failed read at the next one. 4 x 30 s: the products themselves look once a minute,
    and less often."""
    judging: JudgingSettings = DEFAULTS
    stork_status_paths: tuple[str, ...] = STATUS_PATHS
    """Checked ones (`stork.checked_paths`)."""


@dataclass(frozen=True, slots=True)
class LastRead:
    """What the last read of a cluster brought."""

    found: ClusterReading | ProbeFailure
    token: str | None = field(repr=False)
    """That was shown to the cluster: a hostile one repeats it wherever it likes."""

    def location_fact(self, location: Location, now: float, judging: JudgingSettings) -> tuple[Fact, ...]:
        """The check `location` of a pair of this cluster."""
        if isinstance(self.found, ProbeFailure):
            facts = unread_facts(self.found, [Check.LOCATION])
        else:
            facts = (location_fact(self.found, location, now, judging),)
        return without_token(facts, self.token)


class ResourceProbe:
    """Reads one cluster. Not shared between tasks: the engine asks one at a time.

    `wanted` tells which products some location of ours is to be asked about through. `hasten` asks the engine to ask
    again at once, when a credential has been fetched. Without a credential nothing is read: no cluster shows its
    resources to everybody.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        source: CredentialSource | None,
        *,
        dialer: Dialer,
        keeper: CredentialKeeper,
        clock: Clock,
        settings: ResourceSettings,
        wanted: Callable[[], frozenset[Check]],
        hasten: Callable[[], None],
    ) -> None:
        self._endpoint = endpoint
        self._source = source
        self._dialer = dialer
        self._keeper = keeper
        self._clock = clock
        self._settings = settings
        self._wanted = wanted
        self._hasten = hasten
        self._pause = 0
        self._told: frozenset[Check] = frozenset()
        self.last_read: LastRead | None = None

    async def ask(self) -> Answer:
        if self._pause > 0:
            self._pause -= 1
            return Answer(())
        expected = self._wanted() | self._told  # a product that was there and is gone is news
        credential = None if self._source is None else self._source.current(self._clock.now())
        token = None if credential is None else credential.token
        try:
            reading = await self._read(credential)
        except ProbeFailure as raised:
            failure = self._told_of_credential(raised, credential)
            self.last_read = LastRead(failure, token)
            told = unread_facts(failure, [check for check in PRODUCTS if check in expected])
            return Answer(without_token(told, token), failure.unanswered, failure.retry_after_s)
        self.last_read = LastRead(reading, token)
        self._pause = self._settings.read_every - 1
        facts = cluster_facts(reading, expected, self._settings.judging)
        self._told |= {fact.check for fact in facts}
        return Answer(without_token((replace(fact, every=self._settings.read_every) for fact in facts), token))

    def close(self) -> None:
        """Nothing is held between two asks."""

    async def _read(self, credential: Credential | None) -> ClusterReading:
        if credential is None:
            raise ProbeFailure(Reason.CREDENTIAL_UNAVAILABLE, "there is no credential to read with")
        settings = self._settings
        reader = ClusterReader(
            self._endpoint, credential, dialer=self._dialer, clock=self._clock, timeout_s=settings.timeout_s
        )
        try:
            return await read_cluster(reader, self._clock.now(), settings.stork_status_paths)
        finally:
            reader.close()

    def _told_of_credential(self, failure: ProbeFailure, credential: Credential | None) -> ProbeFailure:
        """Has another one fetched where the failure is for want of one; says why the last fetch failed, if it did."""
        source = self._source
        if source is None or failure.reason not in {Reason.CREDENTIAL_UNAVAILABLE, Reason.CREDENTIAL_REJECTED}:
            return failure
        if credential is not None:
            source.reject(credential)
        if source.current(self._clock.now()) is None:
            self._keeper.want(source, self._hasten)
        error = self._keeper.failure(source)
        return failure if error is None else ProbeFailure(error.reason, error.message)


class PairFromResources:
    """The check `location` of one pair, from what its cluster's `ResourceProbe` has read; asks nobody itself.

    Each read makes one fact at most. Where nothing new was read there is none, so that the cell gets old with the read.
    """

    def __init__(
        self,
        location: Location,
        last_read: Callable[[], LastRead | None],
        *,
        clock: Clock,
        settings: ResourceSettings,
    ) -> None:
        self._location = location
        self._last_read = last_read
        self._clock = clock
        self._settings = settings
        self._told: LastRead | None = None

    async def ask(self) -> Answer:
        last_read = self._last_read()
        if last_read is None or last_read is self._told:
            return Answer(())
        self._told = last_read
        return Answer(last_read.location_fact(self._location, self._clock.now(), self._settings.judging))

    def close(self) -> None:
        """Nothing is held."""
