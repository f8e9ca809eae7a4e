"""The S3 probe against moto's server, with IRSA and EKS Pod Identity, over real HTTP."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from tests.support.clouds import ROLE, Stub, always, aws_clients, bucket, irsa, projected
from validator.answer import Answer, Fact
from validator.locations import Location, Provider
from validator.model import Check, Outcome
from validator.probes.aws_clients import AwsClients
from validator.probes.s3 import S3Probe

boto3 = pytest.importorskip("boto3")
moto_server = pytest.importorskip("moto.server")

REGION = "eu-central-1"
ADMIN = {"region_name": REGION, "aws_access_key_id": "admin", "aws_secret_access_key": "admin"}


class Moto:
    """The server, and an administrator in it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.s3 = boto3.client("s3", endpoint_url=url, **ADMIN)
        self.iam = boto3.client("iam", endpoint_url=url, **ADMIN)

    def make(self, name: str, *, lock: bool = False, region: str = REGION) -> None:
        where = {"LocationConstraint": region}
        self.s3.create_bucket(Bucket=name, CreateBucketConfiguration=where, ObjectLockEnabledForBucket=lock)

    def role(self, *actions: str) -> None:
        self.iam.create_role(RoleName="Backup", Path="/team/", AssumeRolePolicyDocument="{}")
        if actions:
            allowed = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
            policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
            self.iam.put_role_policy(RoleName="Backup", PolicyName="p", PolicyDocument=policy)

    def enforce(self) -> None:
        """From now on rights are checked; not undone by `reset`."""
        self._post("/moto-api/reset-auth", b"0")

    def reset(self) -> None:
        self._post("/moto-api/reset-auth", b"inf")
        self._post("/moto-api/reset", b"")

    def _post(self, path: str, body: bytes) -> None:
        request = Request(self.url + path, data=body, headers={"Content-Type": "text/plain"}, method="POST")
        with urlopen(request, timeout=10) as answer:
            assert answer.status == 200


@pytest.fixture(scope="module")
def server() -> Iterator[Moto]:
    running = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield Moto(f"http://{host}:{port}")
    running.stop()


@pytest.fixture
def moto(server: Moto) -> Moto:
    server.reset()
    return server


@pytest.fixture
async def clients(moto: Moto, tmp_path: Path) -> AsyncIterator[AwsClients]:
    async with aws_clients(irsa(tmp_path), moto.url) as opened:
        yield opened


def probe(clients: AwsClients, location: Location) -> S3Probe:
    return S3Probe(location, clients=clients, asker="cluster-1", method="agent")


S3 = bucket(Provider.S3)


def fact(answer: Answer, check: Check = Check.LOCATION) -> Fact:
    (found,) = [one for one in answer.facts if one.check is check]
    return found


async def test_irsa_and_a_bucket_that_works(moto: Moto, clients: AwsClients) -> None:
    moto.make("backups")
    answer = await probe(clients, S3).ask()
    found = fact(answer)
    assert (found.outcome, answer.unanswered) == (Outcome.PASS, False)
    assert found.evidence["identity"] == "arn:aws:sts::123456789012:assumed-role/Backup/muster"
    assert {"method", "region", "bucket_region", "token_ms", "head_ms", "list_ms"} <= set(found.evidence)
    assert fact(answer, Check.OBJECT_LOCK).evidence == {"object_lock": False}


@asynccontextmanager
async def pod_identity(moto: Moto, tmp_path: Path, caller: str | None = None) -> AsyncIterator[AwsClients]:
    """The agent of EKS Pod Identity, with credentials that moto knows."""
    sts = boto3.client("sts", endpoint_url=moto.url, **ADMIN)
    given = sts.assume_role(RoleArn=ROLE, RoleSessionName=caller or "eks-session")["Credentials"]
    body = {
        "AccessKeyId": given["AccessKeyId"],
        "SecretAccessKey": given["SecretAccessKey"],
        "Token": given["SessionToken"],
        "AccountId": "123456789012",
        "Expiration": "2099-01-01T00:00:00Z",
    }
    file = tmp_path / "pod-token"
    file.write_text(projected(aud=["pods.eks.amazonaws.com"]))
    async with Stub(always(200, json.dumps(body))).running() as agent:
        environ = {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{agent.url}/v1/credentials",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(file),
        }
        async with aws_clients(environ, moto.url) as clients:
            yield clients
        assert agent.asked[0].headers["Authorization"] == file.read_text()


async def test_pod_identity_and_a_bucket_that_works(moto: Moto, tmp_path: Path) -> None:
    moto.make("backups")
    async with pod_identity(moto, tmp_path) as clients:
        found = fact(await probe(clients, S3).ask())
    assert found.outcome is Outcome.PASS
    assert found.evidence["identity"] == "arn:aws:sts::123456789012:assumed-role/Backup/eks-session"


async def test_the_nodes_role_is_a_wrong_identity(moto: Moto, tmp_path: Path) -> None:
    moto.make("backups")
    async with pod_identity(moto, tmp_path, caller="i-0123456789abcdef0") as clients:
        found = fact(await probe(clients, S3).ask())
    assert (found.reason, found.stage) == ("WrongIdentity", "identity")
    assert "i-0123456789abcdef0" in found.message


async def test_a_missing_bucket_is_told_by_the_list(moto: Moto, clients: AwsClients) -> None:
    found = fact(await probe(clients, replace(S3, container="missing")).ask())
    assert (found.reason, found.evidence["head_status"], found.evidence["error_code"]) == (
        "ContainerNotFound",
        404,
        "NoSuchBucket",
    )


async def test_a_missing_role_comes_with_the_statement_that_mends_it(moto: Moto, clients: AwsClients) -> None:
    moto.make("backups")
    moto.role()
    await clients.credentials(REGION)
    moto.enforce()
    found = fact(await probe(clients, S3).ask())
    assert (found.reason, found.stage, found.evidence["http_status"]) == ("RoleMissing", "storage", 403)
    fix = str(found.evidence["fix"])
    assert fix.startswith("aws iam put-role-policy --role-name Backup")
    assert "arn:aws:s3:::backups/*" in fix
    assert len(fix) <= 1000


async def test_a_role_that_may_only_read_fails_the_write_probe(moto: Moto, clients: AwsClients) -> None:
    moto.make("backups")
    moto.role("s3:ListBucket", "s3:GetBucketObjectLockConfiguration")
    await clients.credentials(REGION)
    moto.enforce()
    found = fact(await probe(clients, replace(S3, write_probe=True)).ask())
    assert (found.reason, found.evidence["refused"]) == ("WriteRefused", "s3:PutObject")


def lock(moto: Moto, **retention: Any) -> None:
    moto.make("backups", lock=True)
    if retention:
        rule = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": retention}}
        moto.s3.put_object_lock_configuration(Bucket="backups", ObjectLockConfiguration=rule)


async def test_a_locked_bucket_with_its_retention(moto: Moto, clients: AwsClients) -> None:
    lock(moto, Mode="COMPLIANCE", Days=30)
    found = fact(await probe(clients, S3).ask(), Check.OBJECT_LOCK)
    assert found.outcome is Outcome.PASS
    assert found.evidence == {"object_lock": True, "retention_days": 30, "retention_state": "COMPLIANCE"}


async def test_a_lock_without_default_retention_is_misconfigured(moto: Moto, clients: AwsClients) -> None:
    lock(moto)
    answer = await probe(clients, S3).ask()
    assert fact(answer, Check.OBJECT_LOCK).reason == "ObjectLockMisconfigured"
    assert fact(answer).outcome is Outcome.PASS


async def test_nothing_is_written_to_a_locked_bucket(moto: Moto, clients: AwsClients) -> None:
    lock(moto, Mode="COMPLIANCE", Days=30)
    found = fact(await probe(clients, replace(S3, write_probe=True)).ask())
    assert (found.outcome, found.reason) == (Outcome.FINDING, "WriteProbeImmutable")
    assert "Versions" not in moto.s3.list_object_versions(Bucket="backups")


@pytest.mark.parametrize("versioned", [False, True])
async def test_the_write_probe_leaves_nothing_behind(moto: Moto, clients: AwsClients, *, versioned: bool) -> None:
    moto.make("backups")
    if versioned:
        moto.s3.put_bucket_versioning(Bucket="backups", VersioningConfiguration={"Status": "Enabled"})
    asking = probe(clients, replace(S3, write_probe=True))
    for _ in range(2):
        found = fact(await asking.ask())
        assert found.outcome is Outcome.PASS
        assert "write_ms" in found.evidence
    left = moto.s3.list_object_versions(Bucket="backups")
    assert not left.get("Versions")
    assert not left.get("DeleteMarkers")


async def test_many_asks_share_one_client_and_one_exchange(moto: Moto, clients: AwsClients) -> None:
    moto.make("backups")
    await probe(clients, S3).ask()
    assert await clients.s3(REGION, moto.url, path_style=True) is await clients.s3(REGION, moto.url, path_style=True)
    first = await clients.credentials(REGION)
    await probe(clients, S3).ask()
    assert await clients.credentials(REGION) is first
