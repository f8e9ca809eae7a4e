"""What Cloud Storage, Google's token services and the metadata server mean by their answers. Pure.

Sources: "HTTP status and error codes for JSON" (Cloud Storage), RFC 8693 with "Workload Identity Federation:
troubleshooting" (sts.googleapis.com), "Troubleshoot Workload Identity Federation for GKE" (metadata server).
"""

from __future__ import annotations

import json

from validator.printable import printable
from validator.reasons import Reason

DAY_S = 86_400

_THROTTLED = {"rateLimitExceeded", "userRateLimitExceeded", "dailyLimitExceeded", "quotaExceeded", "usageLimits"}
_DISABLED = {
    "accountDisabled",
    "billingDisabled",
    "projectDisabled",
    "accessNotConfigured",
    "UserProjectAccountProblem",
}
_BY_STATUS = {
    401: Reason.IDENTITY_REJECTED,
    403: Reason.ROLE_MISSING,
    404: Reason.CONTAINER_NOT_FOUND,
    408: Reason.STORAGE_UNAVAILABLE,
    429: Reason.STORAGE_THROTTLED,
}

NOT_ALLOWED_TO_ACT_AS = "iam.serviceaccounts.getaccesstoken"


def gcs_reason(status: int, code: str, message: str) -> Reason:
    """Why Cloud Storage refused. `code` is the first `reason` of the error, or empty."""
    text = message.lower()
    if code in _THROTTLED:
        return Reason.STORAGE_THROTTLED
    if code in _DISABLED or "billing account" in text:
        return Reason.ACCOUNT_DISABLED
    if status == 403 and (
        "vpc service controls" in text or "organization's policy" in text or code == "vpcServiceControls"
    ):
        return Reason.NETWORK_BLOCKED
    if status == 400 and "bucket name" in text:
        return Reason.INVALID_LOCATION_NAME
    if reason := _BY_STATUS.get(status):
        return reason
    return Reason.STORAGE_UNAVAILABLE if status >= 500 else Reason.UNEXPECTED_STORAGE_ANSWER


def token_reason(status: int, code: str, message: str) -> Reason:
    """Why sts.googleapis.com or iamcredentials.googleapis.com gave no token. `code` is OAuth's `error`, or empty."""
    text = message.lower()
    if NOT_ALLOWED_TO_ACT_AS in text or code == "invalid_target":
        return Reason.TRUST_POLICY_MISSING  # no workloadIdentityUser; no such pool or provider
    if status == 429:
        return Reason.STORAGE_THROTTLED
    if status >= 500:
        return Reason.STORAGE_UNAVAILABLE
    if code == "unauthorized_client" or "attribute condition" in text:
        return Reason.FEDERATION_SUBJECT_MISMATCH
    if "audience" in text:
        return Reason.TOKEN_AUDIENCE_WRONG
    if "connecting to" in text and "issuer" in text:
        return Reason.ISSUER_UNREACHABLE
    if "issuer" in text:
        return Reason.FEDERATION_MISSING
    if "expired" in text or "stale" in text:
        return Reason.ASSERTION_EXPIRED
    if "signature" in text or "verif" in text:
        return Reason.ASSERTION_SIGNATURE_INVALID
    if status == 404 or "gaia id not found" in text:
        return Reason.IDENTITY_NOT_FOUND
    return Reason.TRUST_POLICY_MISSING if status == 403 else Reason.IDENTITY_REJECTED


def metadata_reason(status: int, message: str) -> Reason:
    """Why the metadata server gave no token. It passes on what IAM says, with a status of its own."""
    text = message.lower()
    if NOT_ALLOWED_TO_ACT_AS in text or (status == 403 and "iam" in text):
        return Reason.TRUST_POLICY_MISSING
    if "gaia id not found" in text:
        return Reason.IDENTITY_NOT_FOUND
    return Reason.STORAGE_THROTTLED if status == 429 else Reason.IDENTITY_UNAVAILABLE


def is_passing(status: int, message: str) -> bool:
    """Whether the metadata server may only be not ready: it is not in the first seconds of a pod."""
    return metadata_reason(status, message) is Reason.IDENTITY_UNAVAILABLE and (status >= 500 or status == 404)


def node_account(email: str) -> bool:
    """Whether this is the default service account of Compute Engine, which nodes have and pods should not use."""
    return email.endswith("-compute@developer.gserviceaccount.com")


def error_of(body: str) -> tuple[str, str]:
    """Code and message of an error in any of Google's forms; of something else, no code and its beginning."""
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return "", body[:500]
    if not isinstance(parsed, dict):
        return "", ""
    error = parsed.get("error")
    if isinstance(error, str):  # OAuth
        return error[:100], str(parsed.get("error_description") or "")[:1000]
    if not isinstance(error, dict):
        return "", ""
    errors = error.get("errors")
    first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}
    return str(first.get("reason") or error.get("status") or "")[:100], str(error.get("message") or "")[:1000]


def lock_evidence(bucket: dict[str, object]) -> dict[str, str | int | float | bool]:
    """What keeps objects in this bucket. A retention policy that is not locked can still be taken away."""
    retention = bucket.get("retentionPolicy")
    objects = bucket.get("objectRetention")
    evidence: dict[str, str | int | float | bool] = {"object_lock": False}
    if isinstance(retention, dict) and (period := _seconds(retention.get("retentionPeriod"))):
        evidence["object_lock"] = True
        evidence["retention_days"] = round(period / DAY_S, 2)
        evidence["retention_state"] = "Locked" if retention.get("isLocked") is True else "Unlocked"
    if bucket.get("defaultEventBasedHold") is True:
        evidence["object_lock"] = evidence["event_based_hold"] = True
    if isinstance(objects, dict) and objects.get("mode"):
        evidence["object_retention"] = printable(str(objects["mode"]))
    return evidence


def _seconds(value: object) -> int:
    text = str(value)
    return int(text) if text.isdecimal() and text.isascii() and len(text) < 12 else 0
