"""The clients of the clouds, one set each for the whole process. A cloud's SDK is imported with its first use.

In a thread of its own, since an import takes a second on a cold disk: neither the loop nor the thread that reads token
files, for which probes wait two seconds at most, may be held up by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from validator.backups.gcs import GcsObjects
from validator.backups.runner import Open
from validator.backups.s3 import S3Objects
from validator.clock import Clock
from validator.file_thread import FileThread
from validator.locations import Environment, Provider
from validator.net.failure import ProbeFailure
from validator.probes.aws_clients import IMPORT_DEADLINE_S, AwsClients, AwsSettings
from validator.probes.azure_clouds import CLOUDS, AzureCloud
from validator.probes.gcs_clients import GcpSettings, GcsClients
from validator.reasons import Reason

if TYPE_CHECKING:
    from validator.net.sdk_session import SdkSessions
    from validator.probes.azure_clients import AzureClients


@dataclass(frozen=True, slots=True)
class CloudSettings:
    """What this agent's own settings say of the clouds; nothing of it ever comes from the hub."""

    azure: Mapping[Environment, AzureCloud] = field(
        default_factory=lambda: MappingProxyType({Environment.PUBLIC: CLOUDS[Environment.PUBLIC]})
    )
    """The clouds of Azure that may be shown this pod's token."""
    aws: AwsSettings = field(default_factory=AwsSettings)
    gcp: GcpSettings = field(default_factory=GcpSettings)


class Clouds:
    """Gives clients. `close` it after the engine; the sessions are their owner's."""

    def __init__(
        self,
        settings: CloudSettings,
        *,
        environ: Mapping[str, str],
        sessions: SdkSessions,
        clock: Clock,
        files: FileThread,
    ) -> None:
        self._settings = settings
        self.environ = environ
        self._sessions = sessions
        self._clock = clock
        self._files = files
        self._imports = FileThread("sdk-import")
        self._azure: AzureClients | None = None
        self.aws = AwsClients(environ, sessions, settings.aws, clock=clock, files=files)
        self.gcs = GcsClients(environ, sessions, settings.gcp, clock=clock, files=files)

    async def azure(self) -> AzureClients:
        """Raises `ProbeFailure` where the SDK is not installed, or its import hangs."""
        if self._azure is None:
            await self._import_azure()
            from validator.probes.azure_clients import AzureClients  # noqa: PLC0415 - imported by now

            if self._azure is None:  # somebody else may have been quicker
                self._azure = AzureClients(
                    sessions=self._sessions, clock=self._clock, files=self._files, clouds=self._settings.azure
                )
        return self._azure

    async def opener(self, provider: Provider) -> Open:
        """What opens a location of this provider for a listing. Raises as `azure`."""
        match provider:
            case Provider.AZURE:
                azure = await self.azure()
                from validator.backups.azure import AzureObjects  # noqa: PLC0415 - imported by now

                return lambda location: AzureObjects(location, clients=azure, environ=self.environ)
            case Provider.S3:
                return lambda location: S3Objects(location, clients=self.aws)
            case Provider.GCS:
                return lambda location: GcsObjects(location, clients=self.gcs)

    async def close(self) -> None:
        """End fetches that are under way."""
        if self._azure is not None:
            self._azure.close()
        await self.aws.close()
        await self.gcs.close()

    async def _import_azure(self) -> None:
        try:
            await self._imports.run(_azure, IMPORT_DEADLINE_S)
        except ImportError as error:
            text = "the Azure SDK is not installed: `pip install 'muster[azure]'`"
            raise ProbeFailure(Reason.IDENTITY_UNAVAILABLE, text) from error
        except TimeoutError:
            text = f"importing the Azure SDK took longer than {IMPORT_DEADLINE_S:.0f} s"
            raise ProbeFailure(Reason.IDENTITY_UNAVAILABLE, text) from None


def _azure() -> None:
    from validator.backups import azure  # noqa: F401, PLC0415 - all that there is of Azure, for later
    from validator.probes import azure_blob  # noqa: F401, PLC0415 - the same
