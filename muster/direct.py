"""Asks about a provider's own locations with the hub's own workload identity: method `direct`.

The identity is what the platform injects into the hub's process (Azure's workload identity, IRSA or Pod Identity,
Google's); nothing is configured, and nothing is kept but tokens in memory. Every connection goes through the policy of
`validator/net/policy.py`, at the moment of connecting. The SDKs are extras and are imported with the first question, in
a thread.

That the hub has no identity, or no SDK, says nothing about a location: such a fact is unknown, never a failure.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from uuid import UUID

from validator.agent.clouds import Clouds, CloudSettings
from validator.agent.probing import LocationProbes
from validator.answer import Answer, Fact, Probe
from validator.clock import Clock
from validator.file_thread import FileThread
from validator.locations import Location
from validator.model import Check, Outcome
from validator.net.policy import ConnectPolicy
from validator.net.resolver import Resolver
from validator.net.sdk_session import SdkSessions
from validator.probes.azure_clouds import CLOUDS
from validator.reasons import Reason, Stage

METHOD = "direct"

ROOTS_DEADLINE_S = 30.0
"""To read the system's roots, some 140 certificates."""


@dataclass(frozen=True, slots=True)
class DirectSettings:
    """How the hub asks by itself. `policy` and `roots` are seams for emulators."""

    timeout_s: float = 30.0
    """For one question, the token included."""
    clouds: CloudSettings = field(default_factory=lambda: CloudSettings(azure=CLOUDS))
    policy: ConnectPolicy = field(default_factory=ConnectPolicy)
    roots: Callable[[], ssl.SSLContext] = ssl.create_default_context


class Direct:
    """Makes probes, and holds what they share. `close` it after the engine has ended."""

    def __init__(
        self, environ: Mapping[str, str], resolver: Resolver, clock: Clock, settings: DirectSettings | None = None
    ) -> None:
        self._environ = environ
        self._resolver = resolver
        self._clock = clock
        self._settings = settings or DirectSettings()
        self._files = FileThread("direct-files")
        self._sessions: SdkSessions | None = None
        self._clouds: Clouds | None = None

    def probe(self, cluster_id: UUID, location: Location) -> Probe:
        """The probe of one pair. What differs between the clusters of a location is only the write probe's object."""
        return _DirectProbe(self, str(cluster_id), location, self._settings.timeout_s)

    async def clouds(self) -> Clouds:
        """The hub's clients, made with the first question. Raises TimeoutError where the disk hangs."""
        if self._clouds is None:
            roots = await self._files.run(self._settings.roots, ROOTS_DEADLINE_S)
            self._sessions = self._sessions or SdkSessions(self._settings.policy, self._resolver, roots)
            self._clouds = self._clouds or Clouds(
                self._settings.clouds,
                environ=self._environ,
                sessions=self._sessions,
                clock=self._clock,
                files=self._files,
            )
        return self._clouds

    async def close(self) -> None:
        """Let go of everything."""
        if self._clouds is not None:
            await self._clouds.close()
        if self._sessions is not None:
            await self._sessions.close()


class _DirectProbe:
    """One pair; the provider's probe is made with the first question."""

    def __init__(self, direct: Direct, asker: str, location: Location, timeout_s: float) -> None:
        self._direct = direct
        self._asker = asker
        self._location = location
        self._timeout_s = timeout_s
        self._probe: Probe | None = None

    async def ask(self) -> Answer:
        if self._probe is None:
            try:
                clouds = await self._direct.clouds()
            except TimeoutError:
                return Answer((_hanging(),))
            self._probe = LocationProbes(self._asker, clouds, METHOD).of(self._location, self._timeout_s)
        answer = await self._probe.ask()
        return replace(answer, facts=tuple(map(_about_the_location, answer.facts)))

    def close(self) -> None:
        if self._probe is not None:
            self._probe.close()


def _hanging() -> Fact:
    text = "reading the hub's root certificates hangs"
    return Fact(Check.LOCATION, Outcome.UNKNOWN, Reason.IDENTITY_UNAVAILABLE, Stage.HUB, text, {"method": METHOD})


def _about_the_location(fact: Fact) -> Fact:
    return replace(fact, outcome=Outcome.UNKNOWN) if fact.reason is Reason.IDENTITY_UNAVAILABLE else fact
