"""What the answers of Azure mean: storage, Entra and the Resource Manager. Pure tables.

Sources: Microsoft's "Troubleshoot 403 errors" of Azure Storage (blogs contradict it; it is preferred), "Common REST API
error codes", "Blob service error codes", "Microsoft Entra authentication and authorization error codes".
"""

from __future__ import annotations

import re

from validator.printable import printable
from validator.reasons import Reason
from validator.scrub import scrub

MAX_SAID_CHARS = 240
"""Of what a server says, in a message that has to hold more than that."""

_BY_CODE = {
    "AuthorizationPermissionMismatch": Reason.ROLE_MISSING,
    "AuthorizationFailure": Reason.NETWORK_BLOCKED,
    "AuthorizationSourceIPMismatch": Reason.NETWORK_BLOCKED,
    "AuthenticationFailed": Reason.IDENTITY_REJECTED,
    "InvalidAuthenticationInfo": Reason.IDENTITY_REJECTED,
    "NoAuthenticationInformation": Reason.IDENTITY_REJECTED,
    "KeyBasedAuthenticationNotPermitted": Reason.KEY_AUTH_REFUSED,
    "AccountIsDisabled": Reason.ACCOUNT_DISABLED,
    "InsufficientAccountPermissions": Reason.ACCOUNT_DISABLED,
    "ContainerNotFound": Reason.CONTAINER_NOT_FOUND,
    "ContainerBeingDeleted": Reason.CONTAINER_UNAVAILABLE,
    "ContainerDisabled": Reason.CONTAINER_UNAVAILABLE,
    "ResourceNotFound": Reason.ACCOUNT_NOT_FOUND,
    "InvalidResourceName": Reason.INVALID_LOCATION_NAME,
    "InvalidUri": Reason.INVALID_LOCATION_NAME,
    "BlobImmutableDueToPolicy": Reason.WRITE_PROBE_IMMUTABLE,
    "ServerBusy": Reason.STORAGE_THROTTLED,
    "AccountBeingCreated": Reason.STORAGE_UNAVAILABLE,
    "InternalError": Reason.STORAGE_UNAVAILABLE,
    "OperationTimedOut": Reason.STORAGE_UNAVAILABLE,
}

_BY_STATUS = {
    401: Reason.IDENTITY_REJECTED,
    408: Reason.STORAGE_UNAVAILABLE,
    429: Reason.STORAGE_THROTTLED,
    500: Reason.STORAGE_UNAVAILABLE,
    502: Reason.STORAGE_UNAVAILABLE,
    503: Reason.STORAGE_UNAVAILABLE,
    504: Reason.STORAGE_UNAVAILABLE,
}
"""For answers without a code of Azure, or with one that no row knows. A 403 or 404 without one is not Azure's."""


def storage_reason(status: int, code: str) -> Reason:
    """The one reason of an answer that is no success. `code` is `x-ms-error-code`, or empty."""
    return _BY_CODE.get(code) or _BY_STATUS.get(status, Reason.UNEXPECTED_STORAGE_ANSWER)


_BY_AADSTS = {
    "70021": Reason.FEDERATION_MISSING,
    "700211": Reason.FEDERATION_MISSING,
    "700213": Reason.FEDERATION_SUBJECT_MISMATCH,
    "7002138": Reason.FEDERATION_SUBJECT_MISMATCH,
    "7002131": Reason.FEDERATION_SUBJECT_MISMATCH,
    "700212": Reason.TOKEN_AUDIENCE_WRONG,
    "700016": Reason.IDENTITY_NOT_FOUND,
    "90002": Reason.TENANT_NOT_FOUND,
    "900023": Reason.TENANT_NOT_FOUND,
    "90038": Reason.WRONG_CLOUD,
    "900382": Reason.WRONG_CLOUD,
    "700024": Reason.ASSERTION_EXPIRED,
    "700027": Reason.ASSERTION_SIGNATURE_INVALID,
    "90061": Reason.ISSUER_UNREACHABLE,
    "700222": Reason.ASSERTION_NOT_FEDERATED,
}

_AADSTS = re.compile(r"AADSTS(\d{4,8})\b")


def aadsts_code(text: str) -> str:
    """The first code that Entra names, without its letters; empty if none."""
    found = _AADSTS.search(text)
    return found.group(1) if found else ""


def entra_reason(code: str) -> Reason:
    """The one reason of a refused token exchange."""
    return _BY_AADSTS.get(code, Reason.IDENTITY_UNAVAILABLE)


_ARM_SETTINGS = {"ResourceGroupNotFound", "ResourceNotFound", "SubscriptionNotFound", "InvalidSubscriptionId"}


def management_reason(status: int, code: str) -> Reason:
    """The one reason why a retention could not be read. The caller knows that the container itself answers."""
    if code in _ARM_SETTINGS or status == 404:
        return Reason.OBJECT_LOCK_SETTINGS_MISSING
    if status in {401, 403}:
        return Reason.OBJECT_LOCK_UNREADABLE
    return _BY_STATUS.get(status, Reason.UNEXPECTED_STORAGE_ANSWER)


_NOISE = re.compile(r"\b(Trace ID|Correlation ID|Timestamp|RequestId|Time|ErrorCode):", re.IGNORECASE)


def said(text: str) -> str:
    """What a server said, for a message: without secrets, ids and dumps, on one line, bounded."""
    head = _NOISE.split(scrub(text[:8_000]), maxsplit=1)[0]
    return printable(head, MAX_SAID_CHARS)
