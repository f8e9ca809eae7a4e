"""Generated policies and commands: what is pasted has to be right to the letter."""

from __future__ import annotations

import json
import shlex

import pytest

from validator.doctor import aws, gcp

ROLE = "arn:aws:iam::123456789012:role/team/Backup"


def test_the_trust_policy_names_this_service_account_of_this_cluster_and_nobody_else() -> None:
    policy = aws.trust_policy("https://oidc.example/id/A/", "backup", "agent", "123456789012")
    statement = policy["Statement"][0]
    assert statement["Principal"] == {"Federated": "arn:aws:iam::123456789012:oidc-provider/oidc.example/id/A/"}
    assert statement["Condition"]["StringEquals"] == {
        "oidc.example/id/A/:aud": "sts.amazonaws.com",
        "oidc.example/id/A/:sub": "system:serviceaccount:backup:agent",
    }


def test_china_has_arns_of_its_own() -> None:
    policy = aws.trust_policy("https://i", "n", "s", "1", partition=aws.partition_of("cn-north-1"))
    assert policy["Statement"][0]["Principal"]["Federated"].startswith("arn:aws-cn:iam::")
    assert aws.bucket_policy("b", "aws-cn")["Statement"][0]["Resource"] == "arn:aws-cn:s3:::b"
    assert aws.partition_of("us-gov-west-1") == "aws-us-gov"
    assert aws.partition_of("eu-central-1") == "aws"


def test_commands_survive_the_shell() -> None:
    policy = aws.trust_policy("https://i/it's", "n", "s", "1")
    words = shlex.split(aws.trust_command("Backup", policy))
    assert json.loads(words[-1]) == policy
    assert words[:5] == ["aws", "iam", "update-assume-role-policy", "--role-name", "Backup"]
    assert shlex.split(aws.create_provider_command("https://i x"))[4] == "https://i x"
    member = gcp.gke_member("proj", "backup", "agent")
    assert f"--member={member}" in shlex.split(gcp.bucket_command("b", member))
    assert "eks.amazonaws.com/role-arn=" + ROLE in shlex.split(aws.annotate_command("n", "s", ROLE))
    assert json.loads(shlex.split(aws.bucket_command("Backup", "b"))[-1]) == aws.bucket_policy("b")


@pytest.mark.parametrize(
    ("caller", "expected", "why"),
    [
        ("arn:aws:sts::123456789012:assumed-role/Backup/muster", ROLE, None),
        ("arn:aws:sts::123456789012:assumed-role/Backup/muster", None, None),
        ("arn:aws:sts::123456789012:assumed-role/Other/muster", ROLE, "Other"),
        ("arn:aws:sts::999999999999:assumed-role/Backup/muster", ROLE, "999999999999"),
        ("arn:aws:sts::123456789012:assumed-role/NodeRole/i-0123456789abcdef0", None, "of the node"),
        ("arn:aws:iam::123456789012:user/someone", None, "of no role"),
        ("None", ROLE, "of no role"),
    ],
)
def test_the_nodes_role_is_told_from_the_pods(caller: str, expected: str | None, why: str | None) -> None:
    found = aws.why_wrong(caller, expected)
    assert (found is None) if why is None else (found is not None and why in found)


def test_members_of_google() -> None:
    audience = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q"
    member = gcp.pool_member(audience, "system:serviceaccount:n:s")
    assert member == (
        "principal://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/subject/"
        "system:serviceaccount:n:s"
    )
    assert "roles/iam.workloadIdentityUser" in gcp.impersonation_command("a@b", member)
    assert "iam.gke.io/gcp-service-account=a@b" in gcp.annotate_command("n", "s", "a@b")
