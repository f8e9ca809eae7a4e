"""What has to stand in AWS for a pod's identity to work, as text that can be pasted. Pure: no AWS is asked.

Generated, not described: most broken IRSA set-ups are a trust policy with a slip in issuer, audience or subject.
Sources: the IAM guide, "Creating OpenID Connect identity providers"; the EKS guide, "IAM roles for service accounts"
and "Pod Identity"; the S3 guide, "Actions, resources, and condition keys".
"""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from typing import Any

STS_AUDIENCE = "sts.amazonaws.com"
"""Default audience of amazon-eks-pod-identity-webhook, in all partitions."""

POD_IDENTITY_SERVICE = "pods.eks.amazonaws.com"
"""The principal, and the token's audience, of EKS Pod Identity."""

_ROLE = re.compile(
    r"arn:(?P<partition>aws[a-z-]*):iam::(?P<account>\d{12}):role/(?P<path>[\w+=,.@/-]*/)?(?P<name>[\w+=,.@-]+)"
)
_CALLER = re.compile(
    r"arn:(?P<partition>aws[a-z-]*):sts::(?P<account>\d{12}):assumed-role/(?P<name>[\w+=,.@-]+)/(?P<session>[\w+=,.@-]+)"
)
_INSTANCE = re.compile(r"i-[0-9a-f]{8,17}")
"""EC2 names the session of an instance profile after the instance."""


def partition_of(region: str) -> str:
    """The ARN partition that a region belongs to: `aws`, `aws-cn` or `aws-us-gov`."""
    if region.startswith("cn-"):
        return "aws-cn"
    return "aws-us-gov" if region.startswith("us-gov-") else "aws"


@dataclass(frozen=True, slots=True)
class Role:
    """What an ARN says of a role; the path is left out."""

    partition: str
    account: str
    name: str


def role_of(arn: str) -> Role | None:
    """The role of a role's ARN, or of the ARN of a caller that has assumed it; None where it is neither."""
    found = _ROLE.fullmatch(arn) or _CALLER.fullmatch(arn)
    return Role(found["partition"], found["account"], found["name"]) if found else None


def trust_policy(
    issuer: str,
    namespace: str,
    service_account: str,
    account: str,
    *,
    audience: str = STS_AUDIENCE,
    partition: str = "aws",
) -> dict[str, Any]:
    """The trust policy for IRSA: this service account of this cluster, and nobody else.

    `issuer` is the `iss` of the cluster's tokens; IAM keys conditions and providers by it without `https://`. A slash
    at its end stays: AWS compares it as it is.
    """
    provider = issuer.removeprefix("https://")
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Federated": f"arn:{partition}:iam::{account}:oidc-provider/{provider}"},
                "Action": "sts:AssumeRoleWithWebIdentity",
                "Condition": {
                    "StringEquals": {
                        f"{provider}:aud": audience,
                        f"{provider}:sub": f"system:serviceaccount:{namespace}:{service_account}",
                    }
                },
            }
        ],
    }


def pod_identity_trust_policy() -> dict[str, Any]:
    """The trust policy for EKS Pod Identity; which pod may is said by the association, not here."""
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": POD_IDENTITY_SERVICE},
                "Action": ["sts:AssumeRole", "sts:TagSession"],
            }
        ],
    }


def bucket_policy(bucket: str, partition: str = "aws") -> dict[str, Any]:
    """What a role needs in a bucket to write, read, list and delete backups, and to read the object lock."""
    arn = f"arn:{partition}:s3:::{bucket}"
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": ["s3:ListBucket", "s3:GetBucketLocation", "s3:GetBucketObjectLockConfiguration"],
                "Resource": arn,
            },
            {
                "Effect": "Allow",
                "Action": [
                    "s3:GetObject",
                    "s3:PutObject",
                    "s3:DeleteObject",
                    "s3:AbortMultipartUpload",
                    "s3:ListMultipartUploadParts",
                ],
                "Resource": f"{arn}/*",
            },
        ],
    }


def one_line(policy: dict[str, Any]) -> str:
    """A policy as JSON for evidence and commands."""
    return json.dumps(policy, separators=(",", ":"))


def create_provider_command(issuer: str, audience: str = STS_AUDIENCE) -> str:
    """Makes the account know the cluster's issuer; once per cluster and account."""
    return shlex.join(["aws", "iam", "create-open-id-connect-provider", "--url", issuer, "--client-id-list", audience])


def trust_command(role: str, policy: dict[str, Any]) -> str:
    """Sets the role's trust policy. It replaces the old one, so other statements have to be merged in."""
    return shlex.join(
        ["aws", "iam", "update-assume-role-policy", "--role-name", role, "--policy-document", one_line(policy)]
    )


def bucket_command(role: str, bucket: str, partition: str = "aws") -> str:
    """Gives the role its rights in the bucket, as an inline policy of a name of its own."""
    return shlex.join(
        [
            *("aws", "iam", "put-role-policy", "--role-name", role, "--policy-name", f"backup-{bucket}"),
            *("--policy-document", one_line(bucket_policy(bucket, partition))),
        ]
    )


def association_command(cluster: str, namespace: str, service_account: str, role_arn: str) -> str:
    """Ties a service account to a role with EKS Pod Identity; the pods have to be restarted after it."""
    return shlex.join(
        [
            *("aws", "eks", "create-pod-identity-association", "--cluster-name", cluster, "--namespace", namespace),
            *("--service-account", service_account, "--role-arn", role_arn),
        ]
    )


def annotate_command(namespace: str, service_account: str, role_arn: str) -> str:
    """Ties a service account to a role with IRSA; the pods have to be restarted after it."""
    return shlex.join(
        [
            *("kubectl", "annotate", "serviceaccount", service_account, "--namespace", namespace, "--overwrite"),
            f"eks.amazonaws.com/role-arn={role_arn}",
        ]
    )


def why_wrong(caller_arn: str, expected_role_arn: str | None) -> str | None:
    """Why the caller that `sts get-caller-identity` names is not who should ask; None where it may be.

    Without an expected role only the node's own is known to be wrong. Paths are left out of the comparison, because the
    caller's ARN has none.
    """
    caller = _CALLER.fullmatch(caller_arn)
    if caller is None:
        return "of no role"
    if _INSTANCE.fullmatch(caller["session"]):
        return f"of the node {caller['session']} (role {caller['name']})"
    expected = role_of(expected_role_arn or "")
    if expected and expected != role_of(caller_arn):
        return f"of the role {caller['name']} of account {caller['account']}"
    return None
