"""What Azurite can't do: refusals of the real Azure, of Entra and of the Resource Manager, and hostile servers."""

from __future__ import annotations

import asyncio
import json
import re
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import web

from tests.support.pretended_azure import (
    CLIENT,
    SIGNATURE_CANARY,
    SUBJECT,
    TOKEN_CANARY,
    Entra,
    Handler,
    PretendedAzure,
    PretendedServer,
    assertion,
    healthy,
    listing,
    location,
    properties,
    storage_error,
)
from validator.answer import Answer, Fact
from validator.model import Check, Outcome
from validator.net.failure import ProbeFailure
from validator.net.policy import ConnectPolicy
from validator.reasons import Reason, Stage
from validator.testing import ScriptedResolver

SUBSCRIPTION = "12345678-1234-1234-1234-123456789abc"

Start = Callable[..., Any]


@pytest.fixture
async def start(tmp_path: Path, cloud_ca: trustme.CA) -> AsyncIterator[Start]:
    """`await start(handler)`: a storage that answers with it, Entra, and what a probe needs; until the test's end."""
    async with AsyncExitStack() as stack:

        async def begin(handler: Handler = healthy, **options: Any) -> tuple[PretendedAzure, PretendedServer]:
            storage = await stack.enter_async_context(PretendedServer(cloud_ca, handler).running())
            options.setdefault("blob_url", storage.url)
            azure = PretendedAzure(tmp_path, cloud_ca, **options)
            return await stack.enter_async_context(azure.running()), storage

        yield begin


def always(answer: Callable[[], web.StreamResponse]) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        return answer()

    return handler


def only(answer: Answer, check: Check = Check.LOCATION) -> Fact:
    (fact,) = [fact for fact in answer.facts if fact.check is check]
    return fact


REFUSALS = [
    (403, "AuthorizationPermissionMismatch", Reason.ROLE_MISSING),
    (403, "AuthorizationFailure", Reason.NETWORK_BLOCKED),
    (403, "AuthenticationFailed", Reason.IDENTITY_REJECTED),
    (401, "InvalidAuthenticationInfo", Reason.IDENTITY_REJECTED),
    (401, "NoAuthenticationInformation", Reason.IDENTITY_REJECTED),
    (403, "KeyBasedAuthenticationNotPermitted", Reason.KEY_AUTH_REFUSED),
    (403, "AccountIsDisabled", Reason.ACCOUNT_DISABLED),
    (409, "ContainerBeingDeleted", Reason.CONTAINER_UNAVAILABLE),
    (409, "ContainerDisabled", Reason.CONTAINER_UNAVAILABLE),
    (400, "InvalidResourceName", Reason.INVALID_LOCATION_NAME),
    (409, "AccountBeingCreated", Reason.STORAGE_UNAVAILABLE),
    (500, "InternalError", Reason.STORAGE_UNAVAILABLE),
    (503, "ServerBusy", Reason.STORAGE_THROTTLED),
    (403, "", Reason.UNEXPECTED_STORAGE_ANSWER),
    (403, "NeverHeardOf", Reason.UNEXPECTED_STORAGE_ANSWER),
    (302, "", Reason.UNEXPECTED_STORAGE_ANSWER),
]


@pytest.mark.parametrize(("status", "code", "reason"), REFUSALS)
async def test_a_refusal_has_one_reason(start: Start, status: int, code: str, reason: Reason) -> None:
    azure, _ = await start(always(lambda: storage_error(status, code, Location="https://elsewhere.example/")))
    answer = await azure.probe(location("c-1")).ask()
    fact = only(answer)
    assert (fact.reason, fact.stage) == (reason, Stage.STORAGE)
    assert fact.outcome is (Outcome.FINDING if reason is Reason.STORAGE_THROTTLED else Outcome.FAIL)
    assert status == 302 or fact.evidence["http_status"] == status  # the session itself refuses to be sent elsewhere
    assert not answer.unanswered
    assert len(answer.facts) == 1


async def test_a_missing_role_comes_with_its_command(start: Start) -> None:
    async def no_data(request: web.Request) -> web.StreamResponse:
        if request.query.get("comp") == "list":
            return storage_error(403, "AuthorizationPermissionMismatch", "This request is not authorized.")
        return properties()

    azure, _ = await start(no_data)
    where = location("c-1", resource_group="rg", subscription_id=SUBSCRIPTION)
    fact = only(await azure.probe(where).ask())
    assert fact.reason is Reason.ROLE_MISSING
    assert "listing" in fact.message
    assert fact.evidence["fix"] == (
        f'az role assignment create --role "Storage Blob Data Contributor" --assignee {CLIENT} --scope "/subscriptions/'
        f"{SUBSCRIPTION}/resourceGroups/rg/providers/Microsoft.Storage/storageAccounts/backups"
        '/blobServices/default/containers/c-1"'
    )


async def test_a_busy_server_is_asked_again_when_it_says(start: Start) -> None:
    headers = {"Retry-After": "17"}
    azure, storage = await start(always(lambda: storage_error(503, "ServerBusy", **headers)))
    answer = await azure.probe(location("c-1")).ask()
    assert answer.retry_after_s == 17
    assert len(storage.asked) == 1  # the SDK retries nothing


async def test_a_redirect_is_not_followed(start: Start, cloud_ca: trustme.CA) -> None:
    async with PretendedServer(cloud_ca, healthy).running() as other:
        azure, _ = await start(always(lambda: storage_error(307, "", Location=f"{other.url}/c-1")))
        assert only(await azure.probe(location("c-1")).ask()).reason is Reason.UNEXPECTED_STORAGE_ANSWER
        assert other.asked == []


async def test_a_challenge_can_not_choose_the_token(start: Start) -> None:
    challenge = "Bearer authorization_uri=https://login.example/aaaa-tenant/oauth2/authorize resource_id=https://vault.azure.net"
    headers = {"WWW-Authenticate": challenge}
    azure, _ = await start(always(lambda: storage_error(401, "InvalidAuthenticationInfo", **headers)))
    assert only(await azure.probe(location("c-1")).ask()).reason is Reason.IDENTITY_REJECTED
    assert {scope.split()[0] for scope in azure.entra.scopes} == {"https://storage.azure.com/.default"}


async def test_a_portal_that_answers_200_is_not_storage(start: Start) -> None:
    azure, _ = await start(always(lambda: web.Response(text="<html>Please log in</html>")))
    assert only(await azure.probe(location("c-1")).ask()).reason is Reason.UNEXPECTED_STORAGE_ANSWER


async def test_a_listing_that_is_no_xml(start: Start) -> None:
    async def garbage(request: web.Request) -> web.StreamResponse:
        if request.query.get("comp") == "list":
            return web.Response(body=b"<<<\xff", headers={"Content-Type": "application/xml"})
        return properties()

    azure, _ = await start(garbage)
    assert only(await azure.probe(location("c-1")).ask()).reason is Reason.UNEXPECTED_STORAGE_ANSWER


ENTRA = [
    ("70021", Reason.FEDERATION_MISSING),
    ("700211", Reason.FEDERATION_MISSING),
    ("700213", Reason.FEDERATION_SUBJECT_MISMATCH),
    ("7002138", Reason.FEDERATION_SUBJECT_MISMATCH),
    ("7002131", Reason.FEDERATION_SUBJECT_MISMATCH),
    ("700016", Reason.IDENTITY_NOT_FOUND),
    ("90002", Reason.TENANT_NOT_FOUND),
    ("90038", Reason.WRONG_CLOUD),
    ("900382", Reason.WRONG_CLOUD),
    ("700024", Reason.ASSERTION_EXPIRED),
    ("700027", Reason.ASSERTION_SIGNATURE_INVALID),
    ("90061", Reason.ISSUER_UNREACHABLE),
    ("700222", Reason.ASSERTION_NOT_FEDERATED),
    ("999999", Reason.IDENTITY_UNAVAILABLE),
]


@pytest.mark.parametrize(("code", "reason"), ENTRA)
async def test_a_refusal_of_entra_has_one_reason(start: Start, code: str, reason: Reason) -> None:
    azure, storage = await start(entra=Entra(error=code))
    fact = only(await azure.probe(location("c-1")).ask())
    assert (fact.outcome, fact.reason, fact.stage) == (Outcome.FAIL, reason, Stage.IDENTITY)
    assert (fact.evidence["aadsts"], fact.evidence["subject"]) == (f"AADSTS{code}", SUBJECT)
    assert storage.asked == []
    assert SIGNATURE_CANARY not in json.dumps([fact.message, dict(fact.evidence)])
    assert ("fix" in fact.evidence) == reason.startswith("Federation")


async def test_the_token_file_is_read_anew_after_a_refusal(start: Start, tmp_path: Path) -> None:
    azure, _ = await start(entra=Entra(error="700024"))
    probe = azure.probe(location("c-1"))
    await probe.ask()
    azure.entra.error = ""
    renewed = assertion(jti="renewed")
    (tmp_path / "token").write_text(renewed)
    assert only(await probe.ask()).outcome is Outcome.PASS
    assert azure.entra.assertions[-1] == renewed


async def test_a_throttling_entra_says_when(start: Start) -> None:
    azure, _ = await start(entra=Entra(error="90055", status=429, headers={"Retry-After": "30"}))
    answer = await azure.probe(location("c-1")).ask()
    assert (only(answer).reason, answer.retry_after_s) == (Reason.IDENTITY_UNAVAILABLE, 30)


async def test_without_an_injected_identity_nothing_is_asked(start: Start, tmp_path: Path) -> None:
    azure, storage = await start()
    nothing = only(await azure.probe(location("c-1"), environ={"AZURE_CLIENT_ID": CLIENT}).ask())
    assert (nothing.reason, nothing.stage) == (Reason.IDENTITY_UNAVAILABLE, Stage.IDENTITY)
    assert "AZURE_TENANT_ID, AZURE_FEDERATED_TOKEN_FILE" in nothing.message
    absent = azure.environ | {"AZURE_FEDERATED_TOKEN_FILE": str(tmp_path / "absent")}
    fact = only(await azure.probe(location("c-1"), environ=absent).ask())
    assert (fact.reason, "absent" in fact.message) == (Reason.IDENTITY_UNAVAILABLE, True)
    assert storage.asked == []
    assert azure.entra.assertions == []


async def test_an_invalid_location_is_not_asked_about(start: Start) -> None:
    azure, storage = await start()
    fact = only(await azure.probe(location("a/b")).ask())
    assert (fact.reason, "no slash" in fact.message) == (Reason.INVALID_LOCATION_NAME, True)
    assert storage.asked == []


# -- the Resource Manager


def locked(**flags: str) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        return listing() if request.query.get("comp") == "list" else properties(**flags)

    return handler


POLICY = {"x-ms-has-immutability-policy": "true"}
VERSIONS = {"x-ms-immutable-storage-with-versioning-enabled": "true"}
IN_GROUP = location("c-1", resource_group="rg", subscription_id=SUBSCRIPTION)


@asynccontextmanager
async def management(ca: trustme.CA, policy: Any, account: Any = None) -> AsyncIterator[PretendedServer]:
    async def handler(request: web.Request) -> web.StreamResponse:
        answer = policy if "immutabilityPolicies" in request.path else account
        return answer() if callable(answer) else web.json_response({"properties": answer})

    async with PretendedServer(ca, handler).running() as server:
        yield server


async def test_the_retention_of_a_locked_container(start: Start, cloud_ca: trustme.CA) -> None:
    found = {"immutabilityPeriodSinceCreationInDays": 30, "state": "Locked"}
    async with management(cloud_ca, found) as manager:
        azure, _ = await start(locked(**POLICY), management=manager.url)
        answer = await azure.probe(IN_GROUP).ask()
    lock = only(answer, Check.OBJECT_LOCK)
    assert (lock.outcome, lock.evidence["retention_days"], lock.evidence["retention_state"]) == (
        Outcome.PASS,
        30,
        "Locked",
    )
    (asked,) = manager.asked
    assert asked.path_qs == (
        f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg/providers/Microsoft.Storage/storageAccounts/backups"
        "/blobServices/default/containers/c-1/immutabilityPolicies/default?api-version=2024-01-01"
    )
    assert azure.entra.scopes[-1].startswith(f"{manager.url}/.default")


@pytest.mark.parametrize(("days", "outcome"), [(7, Outcome.PASS), (0, Outcome.FAIL)])
async def test_the_default_of_the_account_counts(
    start: Start, cloud_ca: trustme.CA, days: int, outcome: Outcome
) -> None:
    default = {"immutabilityPeriodSinceCreationInDays": days}
    account = {"immutableStorageWithVersioning": {"immutabilityPolicy": default}}
    async with management(cloud_ca, {"immutabilityPeriodSinceCreationInDays": 0}, account) as manager:
        azure, _ = await start(locked(**VERSIONS), management=manager.url)
        lock = only(await azure.probe(IN_GROUP).ask(), Check.OBJECT_LOCK)
    assert (lock.outcome, lock.evidence["retention_days"]) == (outcome, days)
    assert lock.reason is (None if days else Reason.OBJECT_LOCK_MISCONFIGURED)


def arm_error(status: int, code: str) -> Callable[[], web.Response]:
    return lambda: web.json_response({"error": {"code": code, "message": "No."}}, status=status)


MANAGEMENT = [
    (arm_error(403, "AuthorizationFailed"), Outcome.FINDING, Reason.OBJECT_LOCK_UNREADABLE),
    (arm_error(401, "InvalidAuthenticationToken"), Outcome.FINDING, Reason.OBJECT_LOCK_UNREADABLE),
    (arm_error(404, "ResourceGroupNotFound"), Outcome.FAIL, Reason.OBJECT_LOCK_SETTINGS_MISSING),
    (arm_error(404, "SubscriptionNotFound"), Outcome.FAIL, Reason.OBJECT_LOCK_SETTINGS_MISSING),
    (arm_error(429, "TooManyRequests"), Outcome.UNKNOWN, Reason.STORAGE_THROTTLED),
    (arm_error(503, "ServiceUnavailable"), Outcome.UNKNOWN, Reason.STORAGE_UNAVAILABLE),
    (lambda: web.Response(text="<html>", status=418), Outcome.UNKNOWN, Reason.UNEXPECTED_STORAGE_ANSWER),
]


@pytest.mark.parametrize(("answer", "outcome", "reason"), MANAGEMENT)
async def test_an_unreadable_retention_leaves_the_location_green(
    start: Start, cloud_ca: trustme.CA, answer: Any, outcome: Outcome, reason: Reason
) -> None:
    async with management(cloud_ca, answer) as manager:
        azure, _ = await start(locked(**POLICY), management=manager.url)
        found = await azure.probe(IN_GROUP).ask()
    assert only(found).outcome is Outcome.PASS
    lock = only(found, Check.OBJECT_LOCK)
    assert (lock.outcome, lock.reason) == (outcome, reason)
    assert ("fix" in lock.evidence) == (reason is Reason.OBJECT_LOCK_UNREADABLE)


async def test_a_resource_manager_that_hangs_leaves_the_location_green(start: Start, cloud_ca: trustme.CA) -> None:
    async def hang(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(30)
        return web.Response()

    async with PretendedServer(cloud_ca, hang).running() as manager:
        azure, _ = await start(locked(**POLICY), management=manager.url)
        answer = await azure.probe(IN_GROUP, timeout_s=0.5).ask()
    lock = only(answer, Check.OBJECT_LOCK)
    assert (only(answer).outcome, lock.outcome, lock.reason) == (Outcome.PASS, Outcome.UNKNOWN, Reason.STORAGE_TIMEOUT)
    assert not answer.unanswered


# -- the write probe


async def test_a_refused_write_is_told_from_a_refused_read(start: Start) -> None:
    async def read_only(request: web.Request) -> web.StreamResponse:
        if request.method == "PUT":
            return storage_error(403, "AuthorizationPermissionMismatch")
        return await healthy(request)

    azure, _ = await start(read_only)
    fact = only(await azure.probe(location("c-1", write_probe=True)).ask())
    assert (fact.outcome, fact.reason, fact.evidence["refused"]) == (Outcome.FAIL, Reason.WRITE_REFUSED, "writing")


def store(read: bytes | None, deleted: list[str]) -> Handler:
    """Takes a blob, gives `read` back, and has versions."""
    kept = b""

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal kept
        if request.method == "PUT":
            kept = await request.read()
            return web.Response(status=201, headers={"x-ms-version-id": "2026-07-01T00:00:00.0Z", "ETag": '"1"'})
        if request.method == "DELETE":
            deleted.append(request.query.get("versionid", "blob"))
            return web.Response(status=202)
        if "muster-write-probe" in request.path:
            return web.Response(body=kept if read is None else read)
        return await healthy(request)

    return handler


async def test_a_version_that_deleting_leaves_is_deleted_too(start: Start) -> None:
    deleted: list[str] = []
    azure, _ = await start(store(None, deleted))
    assert only(await azure.probe(location("c-1", write_probe=True)).ask()).outcome is Outcome.PASS
    assert deleted == ["blob", "2026-07-01T00:00:00.0Z"]


@pytest.mark.parametrize("read", [b"something else", b"x" * 5_000_000])
async def test_another_content_than_written(start: Start, read: bytes) -> None:
    deleted: list[str] = []
    azure, _ = await start(store(read, deleted))
    fact = only(await azure.probe(location("c-1", write_probe=True)).ask())
    assert fact.reason is Reason.READ_BACK_MISMATCH
    assert deleted[0] == "blob"


async def test_a_policy_that_came_after_the_properties_is_no_failure(start: Start) -> None:
    async def late(request: web.Request) -> web.StreamResponse:
        return storage_error(409, "BlobImmutableDueToPolicy") if request.method == "PUT" else await healthy(request)

    azure, _ = await start(late)
    fact = only(await azure.probe(location("c-1", write_probe=True)).ask())
    assert (fact.outcome, fact.reason) == (Outcome.FINDING, Reason.WRITE_PROBE_IMMUTABLE)


# -- hostile and broken servers


async def test_a_storage_that_hangs_ends_at_the_deadline(start: Start) -> None:
    async def hang(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(30)
        return web.Response()

    azure, _ = await start(hang)
    started = asyncio.get_running_loop().time()
    answer = await azure.probe(location("c-1"), timeout_s=0.5).ask()
    assert asyncio.get_running_loop().time() - started < 2
    assert (only(answer).reason, only(answer).stage) == (Reason.STORAGE_TIMEOUT, Stage.STORAGE)
    assert answer.unanswered


async def test_an_entra_that_hangs_ends_at_the_deadline(start: Start) -> None:
    azure, storage = await start(entra=Entra(hold=asyncio.Event()))
    answer = await azure.probe(location("c-1"), timeout_s=0.3).ask()
    assert (only(answer).reason, only(answer).stage) == (Reason.STORAGE_TIMEOUT, Stage.IDENTITY)
    assert answer.unanswered
    assert storage.asked == []


async def test_a_slow_loris_ends_at_the_deadline(start: Start) -> None:
    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/xml"})
        await response.prepare(request)
        while True:
            await response.write(b"<")
            await asyncio.sleep(0.02)

    azure, _ = await start(drip)
    answer = await azure.probe(location("c-1"), timeout_s=0.4).ask()
    assert (only(answer).reason, answer.unanswered) == (Reason.STORAGE_TIMEOUT, True)


@pytest.mark.parametrize("compressed", [False, True])
async def test_an_endless_body_takes_no_memory(start: Start, *, compressed: bool) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        if request.query.get("comp") != "list":
            return properties()
        response = web.StreamResponse(headers={"Content-Type": "application/xml"})
        if compressed:
            response.enable_compression(web.ContentCoding.gzip)
        await response.prepare(request)
        while True:
            await response.write(b" " * 65_536)
            await asyncio.sleep(0)

    azure, _ = await start(endless)
    tracemalloc.start()
    try:
        answer = await azure.probe(location("c-1")).ask()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert only(answer).reason is Reason.UNEXPECTED_STORAGE_ANSWER
    assert "bytes" in only(answer).message
    assert peak < 24_000_000


@asynccontextmanager
async def raw(said: bytes) -> AsyncIterator[str]:
    """A port that says this to whoever connects."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        yield f"https://localhost:{server.sockets[0].getsockname()[1]}"


async def test_what_speaks_no_tls(start: Start) -> None:
    async with raw(b"SSH-2.0-OpenSSH_9.2\r\n") as url:
        azure, _ = await start(blob_url=url)
        assert only(await azure.probe(location("c-1")).ask()).reason is Reason.STORAGE_TLS_FAILED


async def test_a_certificate_of_somebody_else(start: Start) -> None:
    async with PretendedServer(trustme.CA(), healthy).running() as other:
        azure, _ = await start(blob_url=other.url)
        fact = only(await azure.probe(location("c-1")).ask())
        assert fact.reason is Reason.STORAGE_TLS_FAILED
        assert other.asked == []


async def test_a_refused_connection(start: Start) -> None:
    async with raw(b"") as url:
        pass
    azure, _ = await start(blob_url=url)
    answer = await azure.probe(location("c-1")).ask()
    assert (only(answer).reason, answer.unanswered) == (Reason.STORAGE_UNREACHABLE, True)


async def test_an_unreachable_entra_is_no_statement_about_storage(start: Start) -> None:
    async with raw(b"") as url:
        pass
    azure, storage = await start(authority=url)
    fact = only(await azure.probe(location("c-1")).ask())
    assert (fact.reason, fact.stage) == (Reason.IDENTITY_UNAVAILABLE, Stage.IDENTITY)
    assert storage.asked == []


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'"text"', b"{}", b'{"access_token": 7}', b"\xff\xfe{"])
async def test_an_authority_that_is_not_entra(start: Start, cloud_ca: trustme.CA, body: bytes) -> None:
    answer = always(lambda: web.Response(body=body, headers={"Content-Type": "application/json"}))
    async with PretendedServer(cloud_ca, answer).running() as portal:
        azure, _ = await start(authority=portal.url)
        fact = only(await azure.probe(location("c-1")).ask())
    assert (fact.reason, fact.stage) == (Reason.IDENTITY_UNAVAILABLE, Stage.IDENTITY)


async def test_an_account_that_does_not_exist_in_dns(start: Start) -> None:
    resolver = ScriptedResolver({"localhost": ("127.0.0.1",)})
    azure, _ = await start(blob_url="https://{account}.blob.example", resolver=resolver)
    answer = await azure.probe(location("c-1")).ask()
    assert (only(answer).reason, answer.unanswered) == (Reason.ACCOUNT_NOT_FOUND, False)


async def test_a_name_server_that_does_not_answer_says_nothing_of_the_account(start: Start) -> None:
    late = ProbeFailure(Reason.DNS_TIMEOUT, "no name server answered", unanswered=True)
    resolver = ScriptedResolver({"localhost": ("127.0.0.1",), "backups.blob.example": late})
    azure, _ = await start(blob_url="https://{account}.blob.example", resolver=resolver)
    answer = await azure.probe(location("c-1")).ask()
    assert (only(answer).reason, answer.unanswered) == (Reason.STORAGE_UNREACHABLE, True)


@pytest.mark.parametrize("address", ["169.254.169.254", "fe80::1", "::ffff:169.254.169.254", "168.63.129.16"])
async def test_a_name_that_leads_to_a_metadata_service_gets_no_token(start: Start, address: str) -> None:
    resolver = ScriptedResolver({"localhost": ("127.0.0.1",), "backups.blob.example": (address,)})
    azure, _ = await start(blob_url="https://{account}.blob.example", resolver=resolver)
    fact = only(await azure.probe(location("c-1")).ask())
    assert (fact.outcome, fact.reason) == (Outcome.FAIL, Reason.ENDPOINT_REFUSED)


async def test_loopback_is_refused_unless_it_is_allowed(start: Start) -> None:
    azure, storage = await start(policy=ConnectPolicy())
    fact = only(await azure.probe(location("c-1")).ask())
    assert fact.reason is Reason.ENDPOINT_REFUSED
    assert azure.entra.assertions == []
    assert storage.asked == []


async def test_a_literal_address_is_judged_too(start: Start) -> None:
    azure, _ = await start(blob_url="https://169.254.169.254")
    assert only(await azure.probe(location("c-1")).ask()).reason is Reason.ENDPOINT_REFUSED


async def test_a_cancelled_ask_ends_at_once_and_the_next_one_works(start: Start) -> None:
    hold = asyncio.Event()

    async def held(request: web.Request) -> web.StreamResponse:
        await hold.wait()
        return await healthy(request)

    azure, _ = await start(held)
    probe = azure.probe(location("c-1"))
    task = asyncio.create_task(probe.ask())
    await asyncio.sleep(0.2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    hold.set()
    assert only(await probe.ask()).outcome is Outcome.PASS


async def test_a_cancelled_waiter_does_not_take_the_token_from_the_others(start: Start) -> None:
    azure, _ = await start(entra=Entra(hold=asyncio.Event()))
    first, second = (asyncio.create_task(azure.probe(location(name)).ask()) for name in ("c-1", "c-2"))
    await asyncio.sleep(0.2)
    first.cancel()
    assert azure.entra.hold is not None
    azure.entra.hold.set()
    assert only(await second).outcome is Outcome.PASS
    assert azure.entra.tokens == 1


async def test_secrets_that_a_server_repeats_are_taken_out(start: Start) -> None:
    signature = "c2lnbmF0dXJlLWNhbmFyeQ%3D%3D"

    async def repeat(request: web.Request) -> web.StreamResponse:
        said = f"{request.headers['Authorization']} https://x/?sv=2021&se=2026-01-01&sp=rl&sig={signature}"
        return storage_error(403, "AuthenticationFailed", said)

    azure, storage = await start(repeat)
    fact = only(await azure.probe(location("c-1")).ask())
    token = storage.asked[0].headers["Authorization"].split()[1]
    text = json.dumps([fact.message, dict(fact.evidence)])
    for secret in (signature, token, token.split(".")[1], SIGNATURE_CANARY, TOKEN_CANARY):
        assert secret not in text
    assert not re.search(r"\x1b|\\u001b", text)


async def test_asks_of_one_probe_and_many_do_not_mix(start: Start) -> None:
    async def by_name(request: web.Request) -> web.StreamResponse:
        return storage_error(404, "ContainerNotFound") if "odd" in request.path else await healthy(request)

    azure, _ = await start(by_name)
    names = [f"{'odd' if n % 2 else 'even'}-{n}" for n in range(20)]
    answers = await asyncio.gather(*(azure.probe(replace(location("x-x"), container=name)).ask() for name in names))
    for name, answer in zip(names, answers, strict=True):
        assert (only(answer).reason is Reason.CONTAINER_NOT_FOUND) == name.startswith("odd")
        assert only(answer).evidence["container"] == name
    assert azure.entra.tokens == 1
