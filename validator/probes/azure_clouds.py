"""The national clouds of Azure: which hosts belong to which environment. Pure.

The one place where an asker learns a host name from. A location brings names of accounts and containers and the word
for the cloud, never a host: whoever can write locations must not be able to lure a token elsewhere. Source: go-autorest
`environments.go`; Microsoft's "Azure China developer guide".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from validator.locations import BLOB_SUFFIXES, Environment

STORAGE_SCOPE = "https://storage.azure.com/.default"
"""The same in every cloud."""


@dataclass(frozen=True, slots=True)
class AzureCloud:
    """The hosts of one cloud. Another table than `CLOUDS` is the asker's own setting: an emulator, say."""

    authority: str
    """Entra, which exchanges the pod's token."""
    blob_url: str
    """Of an account's blob service, with `{account}` in it."""
    management: str
    """Azure Resource Manager."""
    audience: str
    """What the projected token has to be for."""

    def account_url(self, account: str) -> str:
        """The blob service of one account."""
        return self.blob_url.replace("{account}", account)

    @property
    def management_scope(self) -> str:
        """For tokens for the Resource Manager."""
        return f"{self.management}/.default"


CLOUDS: Mapping[Environment, AzureCloud] = MappingProxyType(
    {
        Environment.PUBLIC: AzureCloud(
            authority="https://login.microsoftonline.com",
            blob_url=f"https://{{account}}.{BLOB_SUFFIXES[Environment.PUBLIC]}",
            management="https://management.azure.com",
            audience="api://AzureADTokenExchange",
        ),
        Environment.CHINA: AzureCloud(
            authority="https://login.chinacloudapi.cn",
            blob_url=f"https://{{account}}.{BLOB_SUFFIXES[Environment.CHINA]}",
            management="https://management.chinacloudapi.cn",
            audience="api://AzureADTokenExchangeChina",
        ),
    }
)
