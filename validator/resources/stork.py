"""Stork's `BackupLocation`: the allowlist of its fields. Pure.

The resource has neither `spec` nor `status` up to 24.x, and holds keys in plain text beside the fields that are read
here. Where 26.x keeps the result of its check is not published, so the path is a setting; a path that could lead to
anything but a state is refused.

Source: `pkg/apis/stork/v1alpha1/backuplocation.go` (24.3), px-backup-api `api.proto` (`useWorkloadIdentity`, states).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from validator.locations import FieldProblem, Location, Provider
from validator.model import Check
from validator.printable import printable
from validator.resources import document as read
from validator.resources.places import endpoint_of, environment_of, found_at
from validator.resources.resource import LocationResource
from validator.resources.said import MAX_READ_CHARS, reason_in, said

STATUS_PATHS = ("status.validationStatus.status", "status.statusInfo.status", "status.status", "status.phase")
"""Where the state may be, in this order; reason and time are looked for beside it."""

_TYPES = {"azure": Provider.AZURE, "s3": Provider.S3, "google": Provider.GCS}
_MESSAGES = ("reason", "message")
_TIMES = ("lastValidationTime", "lastUpdateTimestamp", "lastUpdateTime", "lastTransitionTime")


def checked_paths(paths: Sequence[str]) -> tuple[str, ...]:
    """Paths from settings. Raises ValueError, naming the path: only what is below `status` may be shown."""
    for path in paths:
        keys = path.split(".")
        if keys[0] != "status" or len(keys) < 2 or not all(keys) or len(path) > 200:
            raise ValueError(f"{printable(path)}: a status path begins with `status.`, such as status.phase")
    if not 1 <= len(paths) <= 10:
        raise ValueError(f"{len(paths)} status paths; 1 to 10 are tried")
    return tuple(paths)


def backup_location(document: object, status_paths: Sequence[str] = STATUS_PATHS) -> LocationResource:
    """What one document says; never raises for what it holds. `status_paths` are checked ones."""
    beside, state = _state(document, status_paths)
    message = next((m for key in _MESSAGES if (m := read.text(beside, key, MAX_READ_CHARS))), "")
    name = read.text(document, "metadata.name") or ""
    return LocationResource(
        check=Check.STORK,
        namespace=read.text(document, "metadata.namespace") or "",
        name=name,
        place=_place(document, name),
        created_at=read.moment(document, "metadata.creationTimestamp"),
        state=state,
        message=said(message),
        said=reason_in(message),
        validated_at=next((at for key in _TIMES if (at := read.moment(beside, key)) is not None), None),
        workload_identity=any(
            read.flag(document, f"location.{config}.useWorkloadIdentity")
            for config in ("azureConfig", "s3Config", "googleConfig")
        ),
    )


def _state(document: object, paths: Sequence[str]) -> tuple[Mapping[str, object], str]:
    """The state at the first path that leads to one, and the mapping in which it stands."""
    for path in paths:
        parent = read.field(document, path.rpartition(".")[0])
        if isinstance(parent, Mapping) and (state := read.state(parent.get(path.rpartition(".")[2]))):
            return parent, state
    return {}, ""


def _place(document: object, name: str) -> Location | FieldProblem:
    written = read.text(document, "location.type") or ""
    provider = _TYPES.get(written)
    if provider is None:
        known = ", ".join(_TYPES)
        return FieldProblem("location.type", f"{printable(written, 40) or 'nothing'} is none of {known}")
    container = read.text(document, "location.path")
    if container is None:
        return FieldProblem("location.path", "is missing")
    if provider is Provider.AZURE:
        return _azure(document, name, container)
    if provider is Provider.S3:
        tls = not read.flag(document, "location.s3Config.disableSSL")
        endpoint = endpoint_of(read.text(document, "location.s3Config.endpoint"), tls=tls)
        return found_at(
            name,
            provider,
            container,
            region=read.text(document, "location.s3Config.region"),
            endpoint=endpoint,
            path_style=endpoint is not None,  # Stork always asks so; only Amazon's own endpoint does without
        )
    return found_at(name, provider, container)


def _azure(document: object, name: str, container: str) -> Location | FieldProblem:
    where = "location.azureConfig.environment"
    environment = environment_of(where, read.text(document, where))
    if isinstance(environment, FieldProblem):
        return environment
    return found_at(
        name,
        Provider.AZURE,
        container,
        account=read.text(document, "location.azureConfig.storageAccountName"),
        environment=environment,
        resource_group=read.text(document, "location.azureConfig.resourceGroupName"),
        subscription_id=read.text(document, "location.azureConfig.subscriptionID"),
    )
