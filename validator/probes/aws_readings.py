"""What S3, STS and the EKS Pod Identity agent mean by their answers. Pure functions of (status, code, message).

Sources: the S3 API reference, "Error responses"; the S3 guide, "Troubleshoot access denied errors"; the STS API
reference, "AssumeRoleWithWebIdentity"; eks-pod-identity-agent, pkg/errors (HTTP status and `(Code): message`).
"""

from __future__ import annotations

import re

from validator.printable import printable
from validator.reasons import Reason

NOT_LOCKED = frozenset({"ObjectLockConfigurationNotFoundError", "NotImplemented", "MethodNotAllowed"})
"""Codes that say: this bucket has no object lock. The last two are of S3-compatible stores that do not know it."""

THROTTLED = frozenset(
    {
        "SlowDown",
        "ServiceUnavailable",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "RequestLimitExceeded",
    }
)

_S3_CODES = {
    "NoSuchBucket": Reason.CONTAINER_NOT_FOUND,
    "InvalidBucketName": Reason.INVALID_LOCATION_NAME,
    "AllAccessDisabled": Reason.ACCOUNT_DISABLED,
    "AccountProblem": Reason.ACCOUNT_DISABLED,
    "NotSignedUp": Reason.ACCOUNT_DISABLED,
    "AccessDenied": Reason.ROLE_MISSING,
    "AccessDeniedException": Reason.ROLE_MISSING,
    "OperationAborted": Reason.CONTAINER_UNAVAILABLE,
    "PermanentRedirect": Reason.WRONG_REGION,
    "AuthorizationHeaderMalformed": Reason.WRONG_REGION,
    "IllegalLocationConstraintException": Reason.WRONG_REGION,
    "IncorrectEndpoint": Reason.WRONG_REGION,
}

STALE_CREDENTIALS = frozenset(
    {
        *("ExpiredToken", "ExpiredTokenException", "InvalidAccessKeyId", "InvalidClientTokenId", "InvalidSecurity"),
        *("InvalidToken", "RequestExpired", "RequestTimeTooSkewed", "SignatureDoesNotMatch", "TokenRefreshRequired"),
    }
)
"""The credentials that were sent are worth nothing (any more): they are fetched anew before the next question."""

_BY_STATUS = {
    301: Reason.WRONG_REGION,
    403: Reason.ROLE_MISSING,
    404: Reason.CONTAINER_NOT_FOUND,
    429: Reason.STORAGE_THROTTLED,
    503: Reason.STORAGE_THROTTLED,
}
"""Answers to HEAD have no body and so no code. S3 sheds load with 503; 429 is of compatible stores."""


def s3_reason(status: int, code: str, message: str) -> Reason:
    """Why S3 refused. `code` is the `<Code>` of the body, or the bare status where there is none (HEAD)."""
    if code in THROTTLED:
        return Reason.STORAGE_THROTTLED
    if code in STALE_CREDENTIALS:
        return Reason.IDENTITY_REJECTED
    reason = _S3_CODES.get(code) or _BY_STATUS.get(status)
    if reason is Reason.ROLE_MISSING and "vpc endpoint policy" in message.lower():
        return Reason.NETWORK_BLOCKED
    if reason is not None:
        return reason
    return Reason.STORAGE_UNAVAILABLE if status >= 500 else Reason.UNEXPECTED_STORAGE_ANSWER


def is_explicit_deny(message: str) -> bool:
    """Whether a Deny statement refused: no further Allow helps against it."""
    return "explicit deny" in message.lower()


def sts_reason(status: int, code: str, message: str) -> Reason:
    """Why STS gave no credentials for the web identity token."""
    text = message.lower()
    if code in THROTTLED or status == 429:
        return Reason.STORAGE_THROTTLED
    if code == "InvalidIdentityToken":
        if "no openidconnect provider" in text or "thumbprint" in text:
            return Reason.TRUST_POLICY_MISSING
        if "audience" in text:
            return Reason.TOKEN_AUDIENCE_WRONG
        if "verification key" in text:
            return Reason.ISSUER_UNREACHABLE
        return Reason.ASSERTION_SIGNATURE_INVALID if "signature" in text else Reason.IDENTITY_REJECTED
    if code in {"AccessDenied", "AccessDeniedException"}:
        return Reason.TRUST_POLICY_MISSING  # also where the role does not exist: STS does not tell the two apart
    if code in {"ExpiredToken", "ExpiredTokenException"}:
        return Reason.ASSERTION_EXPIRED
    if code == "IDPCommunicationError":
        return Reason.ISSUER_UNREACHABLE
    if code == "ValidationError":
        return Reason.IDENTITY_NOT_FOUND  # "Request ARN is invalid"
    return Reason.STORAGE_UNAVAILABLE if status >= 500 else Reason.IDENTITY_REJECTED


_AGENT_CODE = re.compile(r"\((\w+Exception)\)")


def pod_identity_reason(status: int, text: str) -> Reason:
    """Why the EKS Pod Identity agent gave no credentials. Its answers are plain text with the code in parentheses."""
    found = _AGENT_CODE.search(text[:1000])
    code = found[1] if found else ""
    if status == 429 or code == "ThrottlingException":
        return Reason.STORAGE_THROTTLED
    if status == 404 or code == "ResourceNotFoundException":
        return Reason.TRUST_POLICY_MISSING  # no association of the service account with a role
    if code == "ExpiredTokenException":
        return Reason.ASSERTION_EXPIRED
    if "audience" in text[:1000].lower():
        return Reason.TOKEN_AUDIENCE_WRONG
    if status == 403 or code == "AccessDeniedException":
        return Reason.TRUST_POLICY_MISSING
    return Reason.IDENTITY_UNAVAILABLE if status >= 500 else Reason.IDENTITY_REJECTED


def lock_evidence(configuration: object) -> dict[str, str | int | bool]:
    """The bucket's object lock as evidence; `retention_days` is absent where it has no default retention."""
    found = configuration if isinstance(configuration, dict) else {}
    if found.get("ObjectLockEnabled") != "Enabled":
        return {"object_lock": False}
    retention = (found.get("Rule") or {}).get("DefaultRetention") or {}
    days = retention.get("Days") or (retention.get("Years") or 0) * 365
    if not days or not retention.get("Mode"):
        return {"object_lock": True}
    return {"object_lock": True, "retention_days": int(days), "retention_state": printable(str(retention["Mode"]))}
