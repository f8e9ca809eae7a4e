"""What no emulator of S3 and STS can give: their refusals, servers that mean harm, and what must never be told."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from tests.support.clouds import (
    SIGNATURE,
    Handler,
    Stub,
    always,
    aws_clients,
    aws_stub,
    bucket,
    drip,
    endless,
    garbage,
    hang,
    irsa,
    projected,
    raw_server,
    s3_error,
    sts_error,
)
from validator.answer import Answer, Fact
from validator.locations import Location, Provider
from validator.model import Check, Outcome
from validator.probes.aws_clients import AwsClients
from validator.probes.location_ask import AskSettings
from validator.probes.s3 import S3Probe

pytest.importorskip("aiobotocore")

S3 = bucket(Provider.S3)
SECRETS = ("sessiontokencanary", "secretkeycanary", "ASIACANARYKEY", SIGNATURE)
LIST = "<ListBucketResult><Name>backups</Name></ListBucketResult>"


def probe(clients: AwsClients, location: Location = S3, *, timeout_s: float = 5.0) -> S3Probe:
    return S3Probe(location, clients=clients, asker="c", method="agent", settings=AskSettings(timeout_s=timeout_s))


def fact(answer: Answer, check: Check = Check.LOCATION) -> Fact:
    (found,) = [one for one in answer.facts if one.check is check]
    return found


def no_secret(answer: Answer) -> None:
    assert not [secret for secret in SECRETS if secret in repr(answer)]


async def ask(s3: Handler, directory: Path, location: Location = S3) -> Answer:
    """One ask of an S3 that answers so."""
    async with aws_stub(s3).running() as stub, aws_clients(irsa(directory), stub.url) as clients:
        answer = await probe(clients, location).ask()
    no_secret(answer)
    return answer


def s3(lock: web.Response | None = None, *, refusals: dict[str, tuple[int, str]] | None = None) -> Handler:
    """A bucket that works, but for one question."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        if request.method in (refusals or {}):
            status, body = (refusals or {})[request.method]
            return web.Response(status=status, text=body)
        if "object-lock" in request.query_string:
            return lock or web.Response(status=404, text=s3_error("ObjectLockConfigurationNotFoundError"))
        return web.Response(text=LIST if request.method == "GET" else "")

    return answer


@pytest.mark.parametrize(
    ("status", "headers"), [(301, {"x-amz-bucket-region": "us-west-2"}), (400, {"x-amz-bucket-region": "us-west-2"})]
)
async def test_a_bucket_elsewhere_names_its_region_and_is_not_asked_there(
    tmp_path: Path, status: int, headers: dict[str, str]
) -> None:
    asked: list[str] = []

    async def elsewhere(request: web.BaseRequest) -> web.StreamResponse:
        asked.append(request.method)
        return web.Response(status=status, headers=headers)

    found = fact(await ask(elsewhere, tmp_path))
    assert (found.reason, found.evidence["bucket_region"]) == ("WrongRegion", "us-west-2")
    assert asked == ["HEAD"]


async def test_a_region_in_the_body_alone_is_found_by_the_list(tmp_path: Path) -> None:
    body = s3_error("AuthorizationHeaderMalformed", "the region is wrong", "<Region>ap-south-1</Region>")
    found = fact(await ask(always(400, body), tmp_path))
    assert (found.reason, found.evidence["bucket_region"]) == ("WrongRegion", "ap-south-1")


@pytest.mark.parametrize(("status", "code"), [(503, "SlowDown"), (429, "TooManyRequests"), (503, "")])
async def test_throttling_is_a_finding_and_is_not_retried(tmp_path: Path, status: int, code: str) -> None:
    asked: list[str] = []

    async def busy(request: web.BaseRequest) -> web.StreamResponse:
        asked.append(request.method)
        return web.Response(status=status, text=s3_error(code), headers={"Retry-After": "77"})

    answer = await ask(busy, tmp_path)
    assert (fact(answer).reason, fact(answer).outcome) == ("StorageThrottled", Outcome.FINDING)
    assert (answer.retry_after_s, answer.unanswered) == (77.0, False)
    assert asked == ["HEAD"]


async def test_the_right_to_read_object_lock_is_missing(tmp_path: Path) -> None:
    answer = await ask(s3(web.Response(status=403, text=s3_error("AccessDenied", "Access Denied"))), tmp_path)
    assert fact(answer).outcome is Outcome.PASS
    found = fact(answer, Check.OBJECT_LOCK)
    assert (found.outcome, found.reason) == (Outcome.FINDING, "ObjectLockUnreadable")
    assert "s3:GetBucketObjectLockConfiguration" in str(found.evidence["fix"])


async def test_a_lock_that_is_not_answered_leaves_the_location_passing(tmp_path: Path) -> None:
    answer = await ask(s3(web.Response(status=500, text=s3_error("InternalError"))), tmp_path)
    assert fact(answer).outcome is Outcome.PASS
    assert fact(answer, Check.OBJECT_LOCK).outcome is Outcome.UNKNOWN


async def test_the_write_probe_waits_for_knowledge_of_the_lock(tmp_path: Path) -> None:
    lock = web.Response(status=403, text=s3_error("AccessDenied"))
    asked: list[str] = []
    bucket_ = s3(lock)

    async def watched(request: web.BaseRequest) -> web.StreamResponse:
        asked.append(request.method)
        return await bucket_(request)

    found = fact(await ask(watched, tmp_path, replace(S3, write_probe=True)))
    assert found.outcome is Outcome.PASS
    assert "not known" in str(found.evidence["write_probe"])
    assert "PUT" not in asked


async def test_what_can_not_be_deleted_is_written_once_only(tmp_path: Path) -> None:
    written: list[str] = []
    content = b""

    async def keeps(request: web.BaseRequest) -> web.StreamResponse:
        nonlocal content
        if request.method == "PUT":
            content = await request.read()
            written.append(request.path)
            return web.Response(headers={"x-amz-version-id": "v1"})
        if request.method == "DELETE":
            assert "versionId=v1" in request.query_string
            return web.Response(status=403, text=s3_error("AccessDenied"))
        if "muster-write-probe" in request.path:
            return web.Response(body=content)
        return await s3()(request)

    async with aws_stub(keeps).running() as stub, aws_clients(irsa(tmp_path), stub.url) as clients:
        asking = probe(clients, replace(S3, write_probe=True))
        for _ in range(3):
            found = fact(await asking.ask())
            assert (found.reason, found.evidence["refused"]) == ("WriteRefused", "s3:DeleteObjectVersion")
    assert len(written) == 1


async def test_another_content_than_was_written(tmp_path: Path) -> None:
    deleted: list[str] = []

    async def cached(request: web.BaseRequest) -> web.StreamResponse:
        if request.method == "DELETE":
            deleted.append(request.path)
            return web.Response(status=204)
        if "muster-write-probe" in request.path and request.method == "GET":
            return web.Response(text="stale")
        return await s3()(request)

    assert fact(await ask(cached, tmp_path, replace(S3, write_probe=True))).reason == "ReadBackMismatch"
    assert len(deleted) == 1


async def test_withdrawn_credentials_are_fetched_anew_at_once(tmp_path: Path) -> None:
    refused: list[bool] = []

    async def once(request: web.BaseRequest) -> web.StreamResponse:
        if request.method == "GET" and "list-type" in request.query_string and not refused:
            refused.append(True)
            return web.Response(status=400, text=s3_error("ExpiredToken"))
        return await s3()(request)

    async with aws_stub(once).running() as stub, aws_clients(irsa(tmp_path), stub.url) as clients:
        assert fact(await probe(clients).ask()).outcome is Outcome.PASS
        assert len([one for one in stub.asked if one.method == "POST"]) == 2


@pytest.mark.parametrize(
    ("code", "message", "reason", "fix"),
    [
        (
            "AccessDenied",
            "Not authorized to perform sts:AssumeRoleWithWebIdentity",
            "TrustPolicyMissing",
            '"Federated"',
        ),
        (
            "InvalidIdentityToken",
            "No OpenIDConnect provider found in your account for x",
            "TrustPolicyMissing",
            "create-open-id",
        ),
        ("InvalidIdentityToken", "Incorrect token audience", "TokenAudienceWrong", None),
        ("ExpiredTokenException", "Token expired", "AssertionExpired", None),
    ],
)
async def test_sts_refuses_and_the_trust_policy_is_generated(
    tmp_path: Path, code: str, message: str, reason: str, fix: str | None
) -> None:
    stub = Stub(always(403, sts_error(code, message)))
    async with stub.running(), aws_clients(irsa(tmp_path), stub.url) as clients:
        answer = await probe(clients).ask()
    no_secret(answer)
    found = fact(answer)
    assert (found.reason, found.stage) == (reason, "identity")
    assert found.evidence["subject"] == "system:serviceaccount:backup:agent"
    assert (fix in str(found.evidence["fix"])) if fix else "fix" not in found.evidence
    if fix == '"Federated"':
        statement = json.loads(str(found.evidence["fix"]).partition(": ")[2])
        assert statement["Action"] == "sts:AssumeRoleWithWebIdentity"
        assert "system:serviceaccount:backup:agent" in str(statement["Condition"])


async def test_another_role_than_the_environment_says(tmp_path: Path) -> None:
    stub = aws_stub(s3(), arn="arn:aws:sts::123456789012:assumed-role/Other/muster")
    async with stub.running(), aws_clients(irsa(tmp_path), stub.url) as clients:
        found = fact(await probe(clients).ask())
    assert (found.reason, found.stage) == ("WrongIdentity", "identity")
    assert len(stub.asked) == 1


async def test_the_pod_identity_agent_refuses_and_the_association_is_generated(tmp_path: Path) -> None:
    file = tmp_path / "t"
    file.write_text(projected())
    text = f"[r]: (ResourceNotFoundException): no association for {projected()}, fault: client"
    async with Stub(always(404, text)).running() as agent:
        environ = {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": agent.url,
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(file),
        }
        async with aws_clients(environ, agent.url) as clients:
            answer = await probe(clients).ask()
    no_secret(answer)
    found = fact(answer)
    assert (found.reason, found.stage) == ("TrustPolicyMissing", "identity")
    assert "--namespace backup --service-account agent" in str(found.evidence["fix"])


async def test_keys_profiles_and_endpoints_of_the_environment_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIASTATICKEY0000000")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "static")
    monkeypatch.setenv("AWS_PROFILE", "no-such-profile")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_DEFAULTS_MODE", "auto")
    async with aws_stub(s3()).running() as stub, aws_clients(irsa(tmp_path), stub.url) as clients:
        assert fact(await probe(clients).ask()).outcome is Outcome.PASS
        amazon = await clients.s3("cn-north-1", None, path_style=False)
        assert amazon.meta.endpoint_url == "https://s3.cn-north-1.amazonaws.com.cn"
    assert not [one for one in stub.asked if "AKIASTATIC" in one.headers.get("Authorization", "")]
    async with aws_clients({"AWS_ACCESS_KEY_ID": "AKIASTATICKEY0000000"}, "http://127.0.0.1:1") as clients:
        found = fact(await probe(clients).ask())
    assert (found.reason, found.stage) == ("IdentityUnavailable", "identity")


@pytest.mark.parametrize("endpoint", ["https://evil.example", "https://ec2-1.compute.amazonaws.com"])
async def test_an_endpoint_that_the_asker_does_not_allow_is_shown_nothing(tmp_path: Path, endpoint: str) -> None:
    async with aws_stub(s3()).running() as stub, aws_clients(irsa(tmp_path), stub.url) as clients:
        found = fact(await probe(clients, replace(S3, endpoint=endpoint)).ask())
        assert clients.endpoint_of("https://s3.eu-central-1.amazonaws.com") == stub.url
    assert found.reason == "EndpointRefused"
    assert not stub.asked


async def test_an_unfit_name_is_not_sent(tmp_path: Path) -> None:
    async with aws_stub(s3()).running() as stub, aws_clients(irsa(tmp_path), stub.url) as clients:
        found = fact(await probe(clients, replace(S3, container="a/../b")).ask())
    assert found.reason == "InvalidLocationName"
    assert not stub.asked


async def test_loopback_is_refused_unless_the_asker_allows_it(tmp_path: Path) -> None:
    async with aws_stub(s3()).running() as stub, aws_clients(irsa(tmp_path), stub.url, loopback=False) as clients:
        found = fact(await probe(clients).ask())
    assert found.reason == "EndpointRefused"
    assert not stub.asked


async def test_a_redirect_takes_no_token_along(tmp_path: Path) -> None:
    async with Stub(always(200, LIST)).running() as thief:
        away = always(307, s3_error("TemporaryRedirect"), {"Location": f"{thief.url}/?X-Amz-Security-Token=canary"})
        found = fact(await ask(away, tmp_path))
    assert not thief.asked
    assert found.reason == "UnexpectedStorageAnswer"
    assert "canary" not in repr(found)


@pytest.mark.parametrize(
    ("talk", "reason"),
    [
        (hang, "StorageTimeout"),
        (drip, "StorageTimeout"),
        (endless, "UnexpectedStorageAnswer"),
        (garbage, "UnexpectedStorageAnswer"),
    ],
)
async def test_an_s3_that_means_harm_costs_one_deadline(
    tmp_path: Path,
    talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    reason: str,
) -> None:
    sts = aws_stub(s3())
    async with (
        sts.running(),
        raw_server(talk) as host,
        aws_clients(irsa(tmp_path), sts.url, endpoint=f"http://{host}") as clients,
        asyncio.timeout(5),
    ):
        await clients.credentials("eu-central-1")
        answer = await probe(clients, timeout_s=0.5).ask()
    no_secret(answer)
    assert (fact(answer).reason, fact(answer).stage) == (reason, "storage")
    assert answer.unanswered is (reason == "StorageTimeout")


async def test_garbage_for_tls(tmp_path: Path) -> None:
    sts = aws_stub(s3())
    async with (
        sts.running(),
        raw_server(garbage) as host,
        aws_clients(irsa(tmp_path), sts.url, endpoint=f"https://{host}") as clients,
    ):
        assert fact(await probe(clients).ask()).reason == "StorageTLSFailed"


@pytest.mark.parametrize("body", ["", "no xml", "<a>", "<a>" * 2000, LIST.replace("backups", "\x00")])
async def test_answers_that_are_not_of_s3(tmp_path: Path, body: str) -> None:
    answer = await ask(always(403, body), tmp_path)
    assert fact(answer).reason in {"RoleMissing", "UnexpectedStorageAnswer"}


@pytest.mark.parametrize(
    "body",
    ["", "no xml", "<html><body>log in</body></html>", LIST.replace("<Name>", "<MaxKeys>abc</MaxKeys><Name>"), "\xff"],
)
async def test_a_portal_that_says_200_is_no_bucket(tmp_path: Path, body: str) -> None:
    # S3 itself may say 200 and fail within the body, so the SDK takes what is no XML for an error of the server.
    assert fact(await ask(always(200, body), tmp_path)).reason in {"UnexpectedStorageAnswer", "StorageUnavailable"}


async def test_a_server_that_repeats_the_session_token_is_not_quoted(tmp_path: Path) -> None:
    async def parrot(request: web.BaseRequest) -> web.StreamResponse:
        shown = request.headers
        said = f"X-Amz-Security-Token: {shown['X-Amz-Security-Token']} signed {shown['Authorization']}"
        return web.Response(status=403, text=s3_error("AccessDenied", said))

    assert fact(await ask(parrot, tmp_path)).reason == "RoleMissing"


async def test_a_cancelled_ask_leaves_no_task_and_its_neighbours_go_on(tmp_path: Path) -> None:
    go = asyncio.Event()

    async def slow(request: web.BaseRequest) -> web.StreamResponse:
        await go.wait()
        return await s3()(request)

    async with aws_stub(slow).running() as stub, aws_clients(irsa(tmp_path), stub.url) as clients:
        asks = [asyncio.create_task(probe(clients).ask(), name=f"ask:{number}") for number in range(3)]
        await asyncio.sleep(0.5)
        asks[0].cancel()
        await asyncio.sleep(0.05)
        go.set()
        assert [fact(answer).outcome for answer in await asyncio.gather(*asks[1:])] == [Outcome.PASS] * 2
        with pytest.raises(asyncio.CancelledError):
            await asks[0]
    gc.collect()  # an answer that nobody let go of would warn here
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith(("renew:", "ask:"))]
