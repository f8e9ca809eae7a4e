"""What Google's services say, and the reason that it becomes."""

from __future__ import annotations

import json

import pytest

from validator.probes.gcs_readings import (
    error_of,
    gcs_reason,
    is_passing,
    lock_evidence,
    metadata_reason,
    node_account,
    token_reason,
)

ACT_AS = "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist)."


@pytest.mark.parametrize(
    ("status", "code", "message", "reason"),
    [
        (401, "authError", "Invalid Credentials", "IdentityRejected"),
        (403, "forbidden", "x does not have storage.objects.list access to the bucket.", "RoleMissing"),
        (
            403,
            "forbidden",
            "Request is prohibited by organization's policy. vpcServiceControlsUniqueIdentifier: x",
            "NetworkBlocked",
        ),
        (403, "accountDisabled", "The account is disabled", "AccountDisabled"),
        (403, "forbidden", "The billing account for the owning project is disabled in state absent", "AccountDisabled"),
        (403, "rateLimitExceeded", "", "StorageThrottled"),
        (404, "notFound", "The specified bucket does not exist.", "ContainerNotFound"),
        (400, "invalid", "Invalid bucket name: 'a..b'", "InvalidLocationName"),
        (400, "required", "", "UnexpectedStorageAnswer"),
        (429, "", "", "StorageThrottled"),
        (408, "", "", "StorageUnavailable"),
        (503, "backendError", "", "StorageUnavailable"),
        (500, "", "", "StorageUnavailable"),
        (418, "", "", "UnexpectedStorageAnswer"),
    ],
)
def test_each_answer_of_cloud_storage_has_one_reason(status: int, code: str, message: str, reason: str) -> None:
    assert gcs_reason(status, code, message) == reason


@pytest.mark.parametrize(
    ("status", "code", "message", "reason"),
    [
        (403, "PERMISSION_DENIED", ACT_AS, "TrustPolicyMissing"),
        (
            400,
            "invalid_target",
            'The target service indicated by the "audience" parameters is invalid.',
            "TrustPolicyMissing",
        ),
        (
            400,
            "invalid_grant",
            "The audience in ID Token [x] does not match the expected audience.",
            "TokenAudienceWrong",
        ),
        (
            400,
            "invalid_grant",
            "The issuer in ID Token https://x does not match the expected ones.",
            "FederationMissing",
        ),
        (400, "invalid_grant", "Error connecting to the given credential's issuer.", "IssuerUnreachable"),
        (400, "invalid_grant", "ID Token issued at 1 is stale to sign-in.", "AssertionExpired"),
        (400, "invalid_grant", "Invalid ID token signature", "AssertionSignatureInvalid"),
        (
            401,
            "unauthorized_client",
            "The given credential is rejected by the attribute condition.",
            "FederationSubjectMismatch",
        ),
        (404, "NOT_FOUND", "Not found; Gaia id not found for email a@b", "IdentityNotFound"),
        (429, "", "", "StorageThrottled"),
        (503, "", "", "StorageUnavailable"),
        (400, "invalid_request", "", "IdentityRejected"),
    ],
)
def test_each_answer_of_the_token_services_has_one_reason(status: int, code: str, message: str, reason: str) -> None:
    assert token_reason(status, code, message) == reason


@pytest.mark.parametrize(
    ("status", "message", "reason", "passing"),
    [
        (403, f"Unable to generate access token; IAM returned 403 Forbidden: {ACT_AS}", "TrustPolicyMissing", False),
        (500, f"Unable to generate access token: {ACT_AS}", "TrustPolicyMissing", False),
        (404, "Not Found", "IdentityUnavailable", True),
        (503, "metadata server is not ready", "IdentityUnavailable", True),
        (403, "Forbidden", "IdentityUnavailable", False),
        (429, "", "StorageThrottled", False),
    ],
)
def test_each_answer_of_the_metadata_server_has_one_reason(
    status: int, message: str, reason: str, passing: object
) -> None:
    assert metadata_reason(status, message) == reason
    assert is_passing(status, message) is passing


def test_errors_in_any_form_of_googles() -> None:
    storage = {"error": {"code": 403, "message": "no", "errors": [{"reason": "forbidden", "domain": "global"}]}}
    assert error_of(json.dumps(storage)) == ("forbidden", "no")
    assert error_of('{"error":"invalid_grant","error_description":"why"}') == ("invalid_grant", "why")
    assert error_of('{"error":{"code":403,"message":"m","status":"PERMISSION_DENIED"}}') == ("PERMISSION_DENIED", "m")
    assert error_of("<html>Service Unavailable</html>") == ("", "<html>Service Unavailable</html>")
    assert error_of("[" * 100_000) == ("", ("[" * 100_000)[:500])
    assert error_of("[]") == error_of('{"error":[]}') == ("", "")


def test_the_nodes_default_account_is_known_by_its_name() -> None:
    assert node_account("123-compute@developer.gserviceaccount.com")
    assert not node_account("backup@proj.iam.gserviceaccount.com")


@pytest.mark.parametrize(
    ("found", "evidence"),
    [
        ({}, {"object_lock": False}),
        (
            {"retentionPolicy": {"retentionPeriod": "2592000", "isLocked": True}},
            {"object_lock": True, "retention_days": 30, "retention_state": "Locked"},
        ),
        (
            {"retentionPolicy": {"retentionPeriod": "86400"}},
            {"object_lock": True, "retention_days": 1, "retention_state": "Unlocked"},
        ),
        ({"retentionPolicy": {"retentionPeriod": "NaN"}}, {"object_lock": False}),
        ({"retentionPolicy": "odd"}, {"object_lock": False}),
        ({"defaultEventBasedHold": True}, {"object_lock": True, "event_based_hold": True}),
        ({"objectRetention": {"mode": "Enabled"}}, {"object_lock": False, "object_retention": "Enabled"}),
    ],
)
def test_what_keeps_objects_as_evidence(found: dict[str, object], evidence: dict[str, object]) -> None:
    assert lock_evidence(found) == evidence
