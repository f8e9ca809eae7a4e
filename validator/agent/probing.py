"""The probe of a location, by its provider. Nothing is sent, and no SDK imported, before it is first asked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from validator.agent.clouds import Clouds
from validator.agent.wire import Refused
from validator.answer import Answer, Probe
from validator.locations import Location, Provider
from validator.net.failure import ProbeFailure
from validator.probes.gcs import GcsProbe
from validator.probes.location_ask import AskSettings, LocationAsk
from validator.probes.s3 import S3Probe

METHOD = "agent"


class LocationProbes:
    """Makes probes. `asker` is the cluster's id: two clusters' write probes don't meet; `method` is who asks."""

    def __init__(self, asker: str, clouds: Clouds, method: str = METHOD) -> None:
        self._asker = asker
        self._clouds = clouds
        self._method = method

    def of(self, location: Location | Refused, timeout_s: float) -> Probe:
        """The probe of one location."""
        if isinstance(location, Refused):
            return RefusedProbe(location.why, self._method)
        asker, clouds, method, settings = self._asker, self._clouds, self._method, AskSettings(timeout_s)
        match location.provider:
            case Provider.AZURE:
                return LateProbe(lambda: self._azure(location, settings), method)
            case Provider.S3:
                return S3Probe(location, clients=clouds.aws, asker=asker, method=method, settings=settings)
            case Provider.GCS:
                return GcsProbe(location, clients=clouds.gcs, asker=asker, method=method, settings=settings)

    async def _azure(self, location: Location, settings: AskSettings) -> Probe:
        clients, environ = await self._clouds.azure(), self._clouds.environ
        from validator.probes.azure_blob import AzureBlobProbe  # noqa: PLC0415 - imported by now

        return AzureBlobProbe(
            location, clients=clients, environ=environ, asker=self._asker, method=self._method, settings=settings
        )


class RefusedProbe:
    """Answers without asking anybody."""

    def __init__(self, why: ProbeFailure, method: str = METHOD) -> None:
        self._why = why
        self._method = method

    async def ask(self) -> Answer:
        return await LocationAsk({"method": self._method}).answer(self._refuse(), 1.0)

    def close(self) -> None:
        """Nothing is held."""

    async def _refuse(self) -> None:
        raise replace(self._why)  # a traceback that is shared grows with every raise


class LateProbe:
    """A probe that is made when it is first asked."""

    def __init__(self, make: Callable[[], Awaitable[Probe]], method: str = METHOD) -> None:
        self._make = make
        self._method = method
        self._made: Probe | None = None

    async def ask(self) -> Answer:
        if self._made is None:
            try:
                self._made = await self._make()
            except ProbeFailure as failure:
                return await RefusedProbe(failure, self._method).ask()
        return await self._made.ask()

    def close(self) -> None:
        if self._made is not None:
            self._made.close()
