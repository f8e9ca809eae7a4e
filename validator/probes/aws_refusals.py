"""From a refusal of AWS to a failure with its evidence and, where there is one, the exact text that mends it. Pure."""

from __future__ import annotations

from validator.doctor import aws
from validator.model import Evidence
from validator.net.failure import ProbeFailure
from validator.printable import printable
from validator.probes import aws_readings
from validator.probes.aws_asking import Refused
from validator.probes.projected import Claims
from validator.reasons import Reason, Stage
from validator.scrub import scrub

MAX_QUOTED_CHARS = 250
"""Of what AWS says: its longest useful message, an AccessDenied with user, action and resource, has about so many."""


def of_web_identity(refused: Refused, role_arn: str, claims: Claims) -> ProbeFailure:
    """STS refuses the pod's token."""
    reason = aws_readings.sts_reason(refused.status, refused.code, refused.message)
    evidence = {**_answer(refused), "expected_identity": role_arn, **claim_evidence(claims)}
    if reason is Reason.TRUST_POLICY_MISSING and (fix := _trust_fix(role_arn, claims, refused.message)):
        evidence["fix"] = fix
    return ProbeFailure(
        reason,
        f"STS refuses the token ({_code(refused)}): {quoted(refused.message)}",
        Stage.IDENTITY,
        evidence,
        retry_after_s=refused.retry_after_s,
    )


def of_pod_identity(status: int, text: str, claims: Claims) -> ProbeFailure:
    """The EKS Pod Identity agent refuses the pod's token."""
    reason = aws_readings.pod_identity_reason(status, text)
    evidence: dict[str, str | int | float | bool] = {"http_status": status, **claim_evidence(claims)}
    if reason is Reason.TRUST_POLICY_MISSING and claims.service_account:
        evidence["fix"] = aws.association_command("CLUSTER", *claims.service_account, "ROLE_ARN")
        evidence["trust_policy"] = aws.one_line(aws.pod_identity_trust_policy())
    message = f"the EKS Pod Identity agent answers {status}: {quoted(text)}"
    return ProbeFailure(reason, message, Stage.IDENTITY, evidence)


def of_caller(refused: Refused) -> ProbeFailure:
    """STS does not say whose the agent's credentials are: then they are not used."""
    reason = aws_readings.s3_reason(refused.status, refused.code, refused.message)
    return ProbeFailure(
        Reason.IDENTITY_REJECTED if reason is Reason.ROLE_MISSING else reason,
        f"STS does not say whose credentials the agent gave ({_code(refused)}): {quoted(refused.message)}",
        Stage.IDENTITY,
        _answer(refused),
        retry_after_s=refused.retry_after_s,
    )


def of_bucket(refused: Refused, asked_for: str, bucket: str, region: str, caller_arn: str) -> ProbeFailure:
    """S3 refuses to answer about the bucket. `asked_for` is the operation, as IAM and CloudTrail name it."""
    reason = aws_readings.s3_reason(refused.status, refused.code, refused.message)
    elsewhere = refused.region is not None and refused.region != region
    if elsewhere and reason in {Reason.UNEXPECTED_STORAGE_ANSWER, Reason.WRONG_REGION}:
        reason = Reason.WRONG_REGION  # HEAD with a signature of the wrong region is a bare 400
    evidence = {**_answer(refused), "operation": asked_for, "identity": caller_arn}
    if refused.region:
        evidence["bucket_region"] = refused.region
    if reason is Reason.WRONG_REGION:
        there = f"the bucket is in {refused.region}" if elsewhere else "the bucket is in another region"
        return ProbeFailure(reason, f"{there}, not in {region}", evidence=evidence | {"asked_region": region})
    if reason is Reason.ROLE_MISSING:
        evidence |= _role_fix(refused, bucket, caller_arn, region)
    return ProbeFailure(
        reason,
        f"S3 answers {refused.status} {printable(refused.code)} to {asked_for}: {quoted(refused.message)}",
        evidence=evidence,
        retry_after_s=refused.retry_after_s,
    )


def of_object_lock(refused: Refused, bucket: str, region: str, caller_arn: str) -> ProbeFailure:
    """S3 does not show the object lock: without the right a finding, since backups go on."""
    right = "s3:GetBucketObjectLockConfiguration"
    failure = of_bucket(refused, right, bucket, region, caller_arn)
    if failure.reason is Reason.ROLE_MISSING:
        failure.reason = Reason.OBJECT_LOCK_UNREADABLE
    return failure


def claim_evidence(claims: Claims) -> Evidence:
    """What the token says of itself; no secret: whoever may read pods knows it."""
    said = {"issuer": claims.issuer, "subject": claims.subject, "audience": ", ".join(claims.audiences)}
    return {name: value for name, value in said.items() if value}


def _role_fix(refused: Refused, bucket: str, caller_arn: str, region: str) -> dict[str, str]:
    if aws_readings.is_explicit_deny(refused.message):
        return {"note": "a Deny statement refuses; another Allow does not help against it"}
    role = aws.role_of(caller_arn)
    if role is None:
        return {"fix": aws.one_line(aws.bucket_policy(bucket, aws.partition_of(region)))}
    return {"fix": aws.bucket_command(role.name, bucket, role.partition)}


def _trust_fix(role_arn: str, claims: Claims, text: str) -> str | None:
    role = aws.role_of(role_arn)
    if role is None or claims.service_account is None or not claims.issuer:
        return None
    audience = claims.audiences[0] if claims.audiences else aws.STS_AUDIENCE
    if "openidconnect provider" in text.lower():
        return aws.create_provider_command(claims.issuer, audience)
    policy = aws.trust_policy(
        claims.issuer, *claims.service_account, role.account, audience=audience, partition=role.partition
    )
    # Not as a command: one that sets the trust policy would throw away the other statements of a shared role.
    return f"add to the trust policy of the role {role.name}: {aws.one_line(policy['Statement'][0])}"


def _answer(refused: Refused) -> dict[str, str | int | float | bool]:
    return {"http_status": refused.status, "error_code": printable(refused.code)}


def _code(refused: Refused) -> str:
    return printable(refused.code) or str(refused.status)


def quoted(text: str) -> str:
    """What AWS says, fit for a message."""
    return printable(scrub(text), MAX_QUOTED_CHARS) or "no more is said"
