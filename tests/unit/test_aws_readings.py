"""What S3, STS and the Pod Identity agent say, and the reason that it becomes."""

from __future__ import annotations

import pytest

from validator.probes.aws_readings import NOT_LOCKED, lock_evidence, pod_identity_reason, s3_reason, sts_reason
from validator.reasons import Reason

DENIED = (
    "User: arn:aws:sts::123456789012:assumed-role/Backup/muster is not authorized to perform: s3:ListBucket on "
    'resource: "arn:aws:s3:::backups" because '
)


@pytest.mark.parametrize(
    ("status", "code", "message", "reason"),
    [
        (404, "NoSuchBucket", "The specified bucket does not exist", Reason.CONTAINER_NOT_FOUND),
        (404, "404", "Not Found", Reason.CONTAINER_NOT_FOUND),
        (403, "403", "Forbidden", Reason.ROLE_MISSING),
        (403, "AccessDenied", "Access Denied", Reason.ROLE_MISSING),
        (403, "AccessDenied", f"{DENIED}no identity-based policy allows the s3:ListBucket action", Reason.ROLE_MISSING),
        (
            403,
            "AccessDenied",
            f"{DENIED}no VPC endpoint policy allows the s3:ListBucket action",
            Reason.NETWORK_BLOCKED,
        ),
        (403, "AllAccessDisabled", "", Reason.ACCOUNT_DISABLED),
        (403, "AccountProblem", "", Reason.ACCOUNT_DISABLED),
        (400, "InvalidBucketName", "", Reason.INVALID_LOCATION_NAME),
        (301, "PermanentRedirect", "", Reason.WRONG_REGION),
        (301, "301", "Moved Permanently", Reason.WRONG_REGION),
        (400, "AuthorizationHeaderMalformed", "the region 'us-east-1' is wrong", Reason.WRONG_REGION),
        (400, "IllegalLocationConstraintException", "", Reason.WRONG_REGION),
        (400, "400", "Bad Request", Reason.UNEXPECTED_STORAGE_ANSWER),
        (400, "ExpiredToken", "The provided token has expired.", Reason.IDENTITY_REJECTED),
        (403, "InvalidAccessKeyId", "", Reason.IDENTITY_REJECTED),
        (403, "SignatureDoesNotMatch", "", Reason.IDENTITY_REJECTED),
        (403, "RequestTimeTooSkewed", "", Reason.IDENTITY_REJECTED),
        (503, "SlowDown", "Please reduce your request rate.", Reason.STORAGE_THROTTLED),
        (503, "503", "Service Unavailable", Reason.STORAGE_THROTTLED),
        (503, "ServiceUnavailable", "", Reason.STORAGE_THROTTLED),
        (429, "TooManyRequests", "", Reason.STORAGE_THROTTLED),
        (500, "InternalError", "", Reason.STORAGE_UNAVAILABLE),
        (502, "502", "", Reason.STORAGE_UNAVAILABLE),
        (418, "Teapot", "", Reason.UNEXPECTED_STORAGE_ANSWER),
        (200, "", "", Reason.UNEXPECTED_STORAGE_ANSWER),
    ],
)
def test_each_answer_of_s3_has_one_reason(status: int, code: str, message: str, reason: Reason) -> None:
    assert s3_reason(status, code, message) is reason


@pytest.mark.parametrize(
    ("status", "code", "message", "reason"),
    [
        (
            400,
            "InvalidIdentityToken",
            "No OpenIDConnect provider found in your account for https://x",
            "TrustPolicyMissing",
        ),
        (400, "InvalidIdentityToken", "Incorrect token audience", "TokenAudienceWrong"),
        (
            400,
            "InvalidIdentityToken",
            "Couldn't retrieve verification key from your identity provider",
            "IssuerUnreachable",
        ),
        (
            400,
            "InvalidIdentityToken",
            "OpenIDConnect provider's HTTPS certificate doesn't match configured thumbprint",
            "TrustPolicyMissing",
        ),
        (400, "InvalidIdentityToken", "The ID Token provided is not a valid JWT.", "IdentityRejected"),
        (403, "AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity", "TrustPolicyMissing"),
        (400, "ExpiredTokenException", "Token expired: current date/time", "AssertionExpired"),
        (400, "IDPCommunicationError", "", "IssuerUnreachable"),
        (400, "ValidationError", "Request ARN is invalid", "IdentityNotFound"),
        (400, "Throttling", "Rate exceeded", "StorageThrottled"),
        (429, "", "", "StorageThrottled"),
        (500, "InternalFailure", "", "StorageUnavailable"),
        (403, "RegionDisabledException", "", "IdentityRejected"),
    ],
)
def test_each_answer_of_sts_has_one_reason(status: int, code: str, message: str, reason: str) -> None:
    assert sts_reason(status, code, message) == reason


@pytest.mark.parametrize(
    ("status", "text", "reason"),
    [
        (404, "[r1]: (ResourceNotFoundException): no association, fault: client", "TrustPolicyMissing"),
        (400, "[r1]: (AccessDeniedException): not authorized to perform sts:TagSession", "TrustPolicyMissing"),
        (403, "Access Denied. pod is not on this node", "TrustPolicyMissing"),
        (400, "[r1]: (ExpiredTokenException): Token is expired", "AssertionExpired"),
        (400, "Service account token has invalid audience", "TokenAudienceWrong"),
        (400, "[r1]: (InvalidTokenException): bad", "IdentityRejected"),
        (429, "Too Many Requests. slow down", "StorageThrottled"),
        (500, "panic", "IdentityUnavailable"),
    ],
)
def test_each_answer_of_the_pod_identity_agent_has_one_reason(status: int, text: str, reason: str) -> None:
    assert pod_identity_reason(status, text) == reason


@pytest.mark.parametrize(
    ("configuration", "evidence"),
    [
        (None, {"object_lock": False}),
        ("odd", {"object_lock": False}),
        ({"ObjectLockEnabled": "Enabled"}, {"object_lock": True}),
        (
            {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 30}}},
            {"object_lock": True, "retention_days": 30, "retention_state": "COMPLIANCE"},
        ),
        (
            {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Years": 2}}},
            {"object_lock": True, "retention_days": 730, "retention_state": "GOVERNANCE"},
        ),
    ],
)
def test_object_lock_as_evidence(configuration: object, evidence: dict[str, object]) -> None:
    assert lock_evidence(configuration) == evidence


def test_stores_that_know_no_object_lock_are_not_locked() -> None:
    assert {"ObjectLockConfigurationNotFoundError", "NotImplemented"} <= NOT_LOCKED
