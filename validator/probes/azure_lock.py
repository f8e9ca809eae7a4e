"""Object lock of an Azure container: what the data plane shows, what the Resource Manager adds, what both mean.

Container properties say *whether* a container is immutable, and the role for the data covers them. *How long* is only
known to the Resource Manager, which wants resource group, subscription and a right that Storage Blob Data Contributor
does not contain. A container-level policy counts as locked; products that want version-level immutability see in the
evidence which of the two it is.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import aiohttp

from validator.answer import Fact
from validator.locations import Location
from validator.model import Check, Evidence, Outcome
from validator.net.failure import ProbeFailure
from validator.net.sdk_session import ERRORS, transport_failure
from validator.printable import printable
from validator.probes.azure_readings import management_reason, said
from validator.probes.retry_after import retry_after_s
from validator.reasons import Reason, Stage

API_VERSION = "2024-01-01"
"""Of Microsoft.Storage; the oldest that says everything that is read here."""


@dataclass(frozen=True, slots=True)
class LockFlags:
    """What the container's properties say."""

    policy: bool
    """A time-based retention policy on the container."""
    legal_hold: bool
    versions: bool
    """Immutability of single versions is possible here (`immutable_storage_with_versioning_enabled`)."""

    @property
    def locked(self) -> bool:
        """What is written may be kept by force."""
        return self.policy or self.legal_hold or self.versions

    @property
    def evidence(self) -> dict[str, bool]:
        """All three, as they are."""
        return {
            "immutability_policy": self.policy,
            "legal_hold": self.legal_hold,
            "version_immutability": self.versions,
        }


@dataclass(frozen=True, slots=True)
class Retention:
    """What the Resource Manager says of the time."""

    days: int
    """0 where there is no policy."""
    state: str = ""
    """`Locked` or `Unlocked`."""


def without_arm(flags: LockFlags, location: Location) -> Fact | None:
    """The fact where the Resource Manager need not, or cannot, be asked; None where it has to be."""
    if not flags.policy and not flags.versions:
        return Fact(Check.OBJECT_LOCK, Outcome.PASS, evidence={"object_lock": flags.legal_hold} | flags.evidence)
    if location.subscription_id is not None and location.resource_group is not None:
        return None
    return Fact(
        Check.OBJECT_LOCK,
        Outcome.FAIL,
        Reason.OBJECT_LOCK_SETTINGS_MISSING,
        Stage.STORAGE,
        f"{location.container} is immutable; its retention is unknown without resource_group and subscription_id",
        {"object_lock": True} | flags.evidence,
    )


def with_retention(flags: LockFlags, retention: Retention, account_days: int, location: Location) -> Fact:
    """The fact once the Resource Manager has answered. `account_days`: the account's default for new containers."""
    days = retention.days or account_days
    evidence: Evidence = {"object_lock": True, "retention_days": days, **flags.evidence}
    if days > 0:
        state = {"retention_state": retention.state} if retention.state else {}
        return Fact(Check.OBJECT_LOCK, Outcome.PASS, evidence={**evidence, **state})
    return Fact(
        Check.OBJECT_LOCK,
        Outcome.FAIL,
        Reason.OBJECT_LOCK_MISCONFIGURED,
        Stage.STORAGE,
        f"{location.container} allows immutable versions, but neither it nor its account has a default retention: "
        "backups can be deleted",
        evidence,
    )


def settings_wrong(failure: ProbeFailure) -> Fact:
    """The fact where the Resource Manager knows no such account under the location's group and subscription."""
    return Fact(Check.OBJECT_LOCK, Outcome.FAIL, failure.reason, failure.stage, failure.message, failure.evidence)


async def read_retention(
    session: aiohttp.ClientSession, management: str, token: str, location: Location
) -> tuple[Retention, int]:
    """The container's policy; where it has none, also the account's default in days. Raises `ProbeFailure`.

    Resource groups may hold letters that a path can't: yarl quotes them.
    """
    account = (
        f"{management}/subscriptions/{location.subscription_id}/resourceGroups/{location.resource_group}"
        f"/providers/Microsoft.Storage/storageAccounts/{location.account}"
    )
    policy = f"{account}/blobServices/default/containers/{location.container}/immutabilityPolicies/default"
    found = await _get(session, policy, token, none_is_empty=True)
    days = _days(found, "immutabilityPeriodSinceCreationInDays")
    if days > 0:
        return Retention(days, printable(str(found.get("state", "")), 40)), 0
    properties = await _get(session, account, token)
    versioning = _mapping(properties.get("immutableStorageWithVersioning"))
    default = _mapping(versioning.get("immutabilityPolicy"))
    return Retention(0), _days(default, "immutabilityPeriodSinceCreationInDays")


async def _get(session: aiohttp.ClientSession, url: str, token: str, *, none_is_empty: bool = False) -> dict[str, Any]:
    """`properties` of a resource. `none_is_empty`: the Resource Manager says 404 for a policy that was never made."""
    host = url.partition("://")[2].partition("/")[0]
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
    try:
        async with session.get(
            url, params={"api-version": API_VERSION}, headers=headers, allow_redirects=False
        ) as response:
            body = _mapping(_parsed(await response.read()))
    except TimeoutError:
        raise
    except ERRORS as error:
        raise transport_failure(error, host) from error
    if response.status == 200:
        return _mapping(body.get("properties"))
    error_body = _mapping(body.get("error"))
    code = printable(str(error_body.get("code", "")))
    if none_is_empty and response.status == 404 and code in {"ImmutabilityPolicyNotFound", "ContainerNotFound", ""}:
        return {}
    text = said(str(error_body.get("message", ""))) if code else ""
    raise ProbeFailure(
        management_reason(response.status, code),
        f"{host}: the retention is answered with {response.status} {code}".rstrip() + (f": {text}" if text else ""),
        evidence={"http_status": response.status} | ({"error_code": code} if code else {}),
        retry_after_s=retry_after_s(response.headers.get("Retry-After")),
    )


def _parsed(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _days(properties: dict[str, Any], key: str) -> int:
    days = properties.get(key)
    return days if isinstance(days, int) and not isinstance(days, bool) and 0 < days < 1_000_000 else 0
