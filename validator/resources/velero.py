"""Velero's `BackupStorageLocation`: the allowlist of its fields. Pure.

Source: `backupstoragelocation_types.go`, and the configuration pages of the plugins for AWS, Azure and GCP.
`spec.credential`, `spec.config.*Key*` and annotations (`last-applied-configuration` has it all) are never looked at.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from validator.locations import BLOB_SUFFIXES, Environment, FieldProblem, Location, Provider
from validator.model import Check
from validator.printable import printable
from validator.resources import document as read
from validator.resources.places import endpoint_of, found_at
from validator.resources.resource import LocationResource
from validator.resources.said import MAX_READ_CHARS, reason_in, said

_PROVIDERS = {"azure": Provider.AZURE, "aws": Provider.S3, "gcp": Provider.GCS}

_CHINA = ("chinacloudapi.cn", "partner.microsoftonline.cn")
"""Ends of host names that only the Chinese cloud of Azure has."""


def backup_storage_location(document: object) -> LocationResource:
    """What one document says; never raises for what it holds."""
    message = read.text(document, "status.message", MAX_READ_CHARS) or ""
    frequency = read.text(document, "spec.validationFrequency")
    name = read.text(document, "metadata.name") or ""
    return LocationResource(
        check=Check.VELERO,
        namespace=read.text(document, "metadata.namespace") or "",
        name=name,
        place=_place(document, name),
        created_at=read.moment(document, "metadata.creationTimestamp"),
        state=read.state(read.field(document, "status.phase")),
        message=said(message),
        said=reason_in(message),
        validated_at=read.moment(document, "status.lastValidationTime"),
        frequency_s=None if frequency is None else read.duration_s(frequency),
        read_only=read.text(document, "spec.accessMode") == "ReadOnly",
        workload_identity=read.flag(document, "spec.config.useAAD"),
        prefix=printable(read.text(document, "spec.objectStorage.prefix") or ""),
    )


def _place(document: object, name: str) -> Location | FieldProblem:
    written = read.text(document, "spec.provider") or ""
    provider = _PROVIDERS.get(written.removeprefix("velero.io/"))
    if provider is None:
        known = ", ".join(_PROVIDERS)
        return FieldProblem("spec.provider", f"{printable(written, 40) or 'nothing'} is none of {known}")
    bucket = read.text(document, "spec.objectStorage.bucket")
    if bucket is None:
        return FieldProblem("spec.objectStorage.bucket", "is missing")
    if provider is Provider.AZURE:
        return _azure(document, name, bucket)
    if provider is Provider.S3:
        return found_at(
            name,
            provider,
            bucket,
            region=read.text(document, "spec.config.region"),
            endpoint=endpoint_of(read.text(document, "spec.config.s3Url")),
            path_style=read.flag(document, "spec.config.s3ForcePathStyle"),
        )
    return found_at(name, provider, bucket)


def _azure(document: object, name: str, container: str) -> Location | FieldProblem:
    hosts = [
        _host(read.text(document, f"spec.config.{key}")) for key in ("storageAccountURI", "activeDirectoryAuthorityURI")
    ]
    environment = Environment.CHINA if any(host.endswith(_CHINA) for host in hosts) else Environment.PUBLIC
    own, _, suffix = hosts[0].partition(".")
    if suffix and suffix not in BLOB_SUFFIXES.values():
        where = "spec.config.storageAccountURI"
        return FieldProblem(where, f"{printable(hosts[0])} is no endpoint of Azure Global or Azure China")
    return found_at(
        name,
        Provider.AZURE,
        container,
        account=read.text(document, "spec.config.storageAccount") or own or None,
        environment=environment,
        resource_group=read.text(document, "spec.config.resourceGroup"),
        subscription_id=read.text(document, "spec.config.subscriptionId"),
    )


def _host(url: str | None) -> str:
    """Only the host: a URL may carry a signature."""
    try:
        return urlsplit(url or "").hostname or ""
    except ValueError:
        return ""
