"""A backup location: where it is, and whether what a person typed can be one. Pure.

Nothing secret is part of it: who asks about a location shows an identity of its own. The names' rules are the
providers' (`location_names.py`); what belongs together is checked here.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit
from uuid import UUID

from validator import location_names as names
from validator.printable import printable

NAME_RULE = (
    "location names are 1 to 253 characters: lower-case letters, digits, dashes and periods, with a letter or digit "
    "first and last (as Kubernetes wants them: Velero and Stork keep the location under this name)"
)
_NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
_REGION = re.compile(r"[a-z0-9-]{1,64}")

MAX_TYPED_CHARS = 500
"""Of any field: longer than every name that a provider allows, and than any sane endpoint."""


class Provider(StrEnum):
    """Whose storage it is."""

    AZURE = "azure"
    S3 = "s3"
    GCS = "gcs"


class Environment(StrEnum):
    """Which national cloud of Azure."""

    PUBLIC = "AzurePublicCloud"
    CHINA = "AzureChinaCloud"


BLOB_SUFFIXES = {Environment.PUBLIC: "blob.core.windows.net", Environment.CHINA: "blob.core.chinacloudapi.cn"}
"""Source: go-autorest `environments.go`; Microsoft's "Azure China developer guide"."""

_ENVIRONMENT_NAMES = {
    "azurepubliccloud": Environment.PUBLIC,
    "azurecloud": Environment.PUBLIC,
    "azure-public": Environment.PUBLIC,
    "azure_global": Environment.PUBLIC,
    "azurechinacloud": Environment.CHINA,
    "azure-china": Environment.CHINA,
    "azure_china": Environment.CHINA,
}


def environment_from(text: str) -> Environment | None:
    """The environment that a product's spelling means (Stork's code and its comments differ); None if none."""
    return _ENVIRONMENT_NAMES.get(text.strip().lower())


@dataclass(frozen=True, slots=True)
class Location:
    """One place for backups, as its probes need it. Made freely; `location_problems` says whether it can be."""

    id: UUID
    name: str
    provider: Provider
    container: str
    """The container's or bucket's name alone."""
    account: str | None = None
    """Azure: the storage account. S3 and GCS have none."""
    environment: Environment | None = None
    """Azure only."""
    resource_group: str | None = None
    """Azure: with `subscription_id` what ARM needs for the retention of an immutable container."""
    subscription_id: str | None = None
    region: str | None = None
    """S3: of the bucket; None where the asker's own region is right."""
    endpoint: str | None = None
    """S3: of a compatible store; None = Amazon's. Azure: only ever the account's own, from the environment's table."""
    path_style: bool = False
    """S3: the bucket in the path instead of the host name."""
    write_probe: bool = False
    """Also write, read back and delete a small object. Off by default: read-only."""

    @property
    def url(self) -> str:
        """For people and for messages; carries no secret."""
        if self.provider is Provider.AZURE:
            return f"https://{self.account}.{BLOB_SUFFIXES[self.environment or Environment.PUBLIC]}/{self.container}"
        if self.provider is Provider.S3:
            return f"{self.endpoint.rstrip('/')}/{self.container}" if self.endpoint else f"s3://{self.container}"
        return f"gs://{self.container}"


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """What is wrong with one field, and what to write instead."""

    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


def location_problems(location: Location) -> tuple[FieldProblem, ...]:
    """Everything that is wrong with it, in the order of the fields; empty if it can be asked about."""
    too_long = tuple(
        FieldProblem(field, f"is longer than {MAX_TYPED_CHARS} characters")
        for field in ("name", "container", "account", "resource_group", "subscription_id", "region", "endpoint")
        if len(getattr(location, field) or "") > MAX_TYPED_CHARS
    )
    if too_long:
        return too_long
    of_provider = {Provider.AZURE: _azure, Provider.S3: _s3, Provider.GCS: _gcs}[location.provider]
    return (*_problem("name", None if _NAME.fullmatch(location.name) else NAME_RULE), *of_provider(location))


def _azure(location: Location) -> Iterator[FieldProblem]:
    if location.account is None:
        yield FieldProblem("account", f"is needed for azure: the storage account. {names.ACCOUNT_RULE}")
    else:
        yield from _problem("account", names.account_problem(location.account))
    yield from _problem("container", names.container_problem(location.container))
    if location.environment is None:
        yield FieldProblem("environment", "is needed for azure: AzurePublicCloud or AzureChinaCloud")
    yield from _resource_group_and_subscription(location)
    yield from _azure_endpoint(location)
    yield from _absent(location, "region", "an Azure account knows its own; leave it out")
    yield from _absent(location, "path_style", "is of S3; leave it out")


def _resource_group_and_subscription(location: Location) -> Iterator[FieldProblem]:
    group, subscription = location.resource_group, location.subscription_id
    if (group is None) != (subscription is None):
        missing = "subscription_id" if subscription is None else "resource_group"
        yield FieldProblem(
            missing,
            "resource_group and subscription_id go together: give both, so that object lock can be read, or neither",
        )
    if group is not None:
        yield from _problem("resource_group", names.resource_group_problem(group))
    if subscription is not None:
        yield from _problem("subscription_id", names.subscription_problem(subscription))


def _azure_endpoint(location: Location) -> Iterator[FieldProblem]:
    if location.endpoint is None or location.environment is None:
        return
    suffix = BLOB_SUFFIXES[location.environment]
    wanted = f"https://{location.account}.{suffix}"
    if location.endpoint.rstrip("/") == wanted:
        return
    host = _host(location.endpoint) or ""
    for environment, other in BLOB_SUFFIXES.items():
        if environment is not location.environment and (host == other or host.endswith(f".{other}")):
            yield FieldProblem(
                "endpoint",
                f"{printable(host)} is of {environment}, but the environment is {location.environment}, whose "
                f"endpoints end in {suffix}. Correct the environment, or leave the endpoint out",
            )
            return
    yield FieldProblem(
        "endpoint", f"follows from account and environment ({printable(wanted)}); leave it out, or give exactly this"
    )


def _s3(location: Location) -> Iterator[FieldProblem]:
    yield from _problem("container", names.s3_problem(location.container))
    if location.region is not None and not _REGION.fullmatch(location.region):
        yield FieldProblem("region", "is a name such as eu-central-1: lower-case letters, digits and dashes")
    if location.endpoint is not None:
        yield from _problem("endpoint", endpoint_problem(location.endpoint))
    yield from _azure_only(location)


def _gcs(location: Location) -> Iterator[FieldProblem]:
    yield from _problem("container", names.gcs_problem(location.container))
    for field in ("region", "endpoint", "path_style"):
        yield from _absent(location, field, "is of S3; Cloud Storage needs the bucket's name alone")
    yield from _azure_only(location)


def _azure_only(location: Location) -> Iterator[FieldProblem]:
    for field in ("account", "environment", "resource_group", "subscription_id"):
        yield from _absent(location, field, f"is of azure; a location of {location.provider} has none")


def endpoint_problem(url: str) -> str | None:
    """What is wrong with the URL of an S3-compatible store."""
    rule = "an endpoint is https://HOST or https://HOST:PORT, without user, path or query"
    if not url.isascii() or not url.isprintable() or " " in url:
        return rule
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return rule
    host = parts.hostname
    if parts.username is not None or parts.password is not None:
        return f"{rule}; a credential never belongs into it"
    if not host or port == 0 or parts.path not in {"", "/"} or "?" in url or "#" in url or "\\" in url:
        return rule
    if parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host)):
        return None
    return f"{rule}; http:// is for emulators on a loopback address only, since tokens would be readable on the way"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _host(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _problem(field: str, message: str | None) -> Iterator[FieldProblem]:
    if message is not None:
        yield FieldProblem(field, message)


def _absent(location: Location, field: str, message: str) -> Iterator[FieldProblem]:
    if getattr(location, field):
        yield FieldProblem(field, message)
