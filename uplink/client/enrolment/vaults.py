"""Which vault: a directory, or a Secret where one is named in the settings."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from uplink.client.enrolment.own_cluster import OwnCluster
from uplink.client.enrolment.secret_name import SecretName
from uplink.client.enrolment.secret_vault import SecretVault
from uplink.client.enrolment.vault import FileVault, Vault

SUFFIX: Final = ".json"


def make_vault(directory: Path, secret: str | None = None, cluster: OwnCluster | None = None) -> Vault:
    """Keeps one document in `directory`, or in `secret` under the directory's name: `identity` -> `identity.json`.

    Makes and asks nothing yet. Raises ValueError for what is no name of a Secret; the settings have checked theirs.
    """
    files = FileVault(directory)
    if secret is None:
        return files
    kept = SecretVault(SecretName.parse(secret), directory.name + SUFFIX, cluster or OwnCluster())
    return _Moved(kept, files)


class _Moved:
    """In a Secret, after it may have been in files: those count no more, and are destroyed with it.

    Off would leave a key on the disk otherwise, if `telemetry_secret` was set under a consent.
    """

    def __init__(self, now: Vault, before: Vault) -> None:
        self._now = now
        self._before = before

    @property
    def place(self) -> str:
        return self._now.place

    async def read(self) -> bytes | None:
        return await self._now.read()

    async def write(self, document: bytes) -> None:
        await self._now.write(document)

    async def destroy(self) -> None:
        try:
            await self._before.destroy()
        finally:
            await self._now.destroy()
