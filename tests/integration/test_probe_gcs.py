"""The Cloud Storage probe against an emulator, and against answers that it can't give."""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from aiohttp import web

from tests.support.clouds import (
    SIGNATURE,
    Handler,
    Stub,
    always,
    bucket,
    drip,
    endless,
    garbage,
    gcs_clients,
    hang,
    metadata,
    projected,
    raw_server,
)
from validator.answer import Answer, Fact
from validator.locations import Location, Provider
from validator.model import Check, Outcome
from validator.probes.gcs import GcsProbe
from validator.probes.gcs_clients import GcsClients
from validator.probes.location_ask import AskSettings

pytest.importorskip("gcloud.aio.storage")
emulator = pytest.importorskip("gcp_storage_emulator.server")

GCS = bucket(Provider.GCS)
POOL = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q"
EMPTY = {"kind": "storage#objects"}
ACT_AS = "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist)."


@pytest.fixture(scope="module")
def storage() -> Iterator[str]:
    """URL of the emulator, with a bucket."""
    server = emulator.create_server("127.0.0.1", 0, in_memory=True, default_bucket="backups")
    server.start()
    port = server._api._httpd.server_address[1]
    yield f"http://127.0.0.1:{port}"
    server.stop()


def probe(clients: GcsClients, location: Location = GCS, *, timeout_s: float = 5.0) -> GcsProbe:
    return GcsProbe(location, clients=clients, asker="c", method="agent", settings=AskSettings(timeout_s=timeout_s))


def fact(answer: Answer, check: Check = Check.LOCATION) -> Fact:
    assert "token-canary" not in repr(answer)
    assert SIGNATURE not in repr(answer)
    (found,) = [one for one in answer.facts if one.check is check]
    return found


def google(code: int, reason: str, message: str = "") -> str:
    return json.dumps({"error": {"code": code, "message": message, "errors": [{"reason": reason}]}})


async def ask(answers: Handler, location: Location = GCS) -> Answer:
    """One ask of a Cloud Storage that answers so."""
    async with metadata(answers).running() as stub, gcs_clients({}, stub.url, metadata_host=stub.host) as clients:
        return await probe(clients, location).ask()


async def test_a_bucket_that_works_and_a_write_probe_that_leaves_nothing(storage: str) -> None:
    async with metadata().running() as node, gcs_clients({}, storage, metadata_host=node.host) as clients:
        asking = probe(clients, replace(GCS, write_probe=True))
        for _ in range(2):
            answer = await asking.ask()
            assert fact(answer).outcome is Outcome.PASS
            assert fact(answer).evidence["identity"] == "backup@proj.iam.gserviceaccount.com"
            assert "write_ms" in fact(answer).evidence
            assert fact(answer, Check.OBJECT_LOCK).evidence == {"object_lock": False}
        assert not (await (await clients.storage()).list_objects("backups")).get("items")
        assert fact(await probe(clients, replace(GCS, container="missing")).ask()).reason == "ContainerNotFound"
    assert len([one for one in node.asked if one.path.endswith("/token")]) == 1


@pytest.mark.parametrize(
    ("status", "code", "message", "reason"),
    [
        (401, "authError", "Invalid Credentials", "IdentityRejected"),
        (403, "forbidden", "no storage.objects.list access", "RoleMissing"),
        (403, "forbidden", "prohibited by organization's policy, vpc service controls", "NetworkBlocked"),
        (403, "accountDisabled", "", "AccountDisabled"),
        (404, "notFound", "The specified bucket does not exist.", "ContainerNotFound"),
        (429, "rateLimitExceeded", "", "StorageThrottled"),
        (503, "backendError", "", "StorageUnavailable"),
    ],
)
async def test_each_refusal_has_its_reason(status: int, code: str, message: str, reason: str) -> None:
    answer = await ask(always(status, google(status, code, message), {"Retry-After": "9"}))
    found = fact(answer)
    assert (found.reason, found.stage, found.evidence["http_status"]) == (reason, "storage", status)
    assert answer.retry_after_s == 9.0
    if reason == "RoleMissing":
        assert found.evidence["fix"] == (
            "gcloud storage buckets add-iam-policy-binding gs://backups "
            "--member=serviceAccount:backup@proj.iam.gserviceaccount.com --role=roles/storage.objectUser"
        )


def a_bucket(found: dict[str, object] | None) -> Handler:
    """A list that works, and the bucket as given; None = its properties may not be read."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        if request.path.endswith("/o"):
            return web.json_response(EMPTY)
        if found is None:
            return web.Response(status=403, text=google(403, "forbidden", "no storage.buckets.get access"))
        return web.json_response(found)

    return answer


async def test_retention_of_a_locked_bucket_and_no_write_into_it() -> None:
    locked = a_bucket({"retentionPolicy": {"retentionPeriod": "604800", "isLocked": True}})
    answer = await ask(locked, replace(GCS, write_probe=True))
    assert fact(answer, Check.OBJECT_LOCK).evidence["retention_days"] == 7
    assert (fact(answer).outcome, fact(answer).reason) == (Outcome.FINDING, "WriteProbeImmutable")


async def test_without_the_right_to_read_the_bucket_its_lock_is_a_finding() -> None:
    answer = await ask(a_bucket(None), replace(GCS, write_probe=True))
    assert fact(answer).outcome is Outcome.PASS
    assert "not known" in str(fact(answer).evidence["write_probe"])
    found = fact(answer, Check.OBJECT_LOCK)
    assert (found.outcome, found.reason) == (Outcome.FINDING, "ObjectLockUnreadable")
    assert "--role=roles/storage.bucketViewer" in str(found.evidence["fix"])


async def test_a_withdrawn_token_is_fetched_anew_at_once() -> None:
    asked: list[str] = []

    async def once(request: web.BaseRequest) -> web.StreamResponse:
        asked.append(request.path)
        return web.Response(status=401) if len(asked) == 1 else web.json_response(EMPTY)

    assert fact(await ask(once)).outcome is Outcome.PASS


# -- identity


async def test_the_nodes_own_account_is_a_wrong_identity() -> None:
    stub = metadata(always(200, json.dumps(EMPTY)), email="123-compute@developer.gserviceaccount.com")
    async with stub.running(), gcs_clients({}, stub.url, metadata_host=stub.host) as clients:
        found = fact(await probe(clients).ask())
    assert (found.reason, found.stage) == ("WrongIdentity", "identity")
    assert not [one for one in stub.asked if one.path.endswith("/token")]


async def test_a_metadata_server_that_is_not_ready_at_first_is_asked_again() -> None:
    tries: list[int] = []

    async def late(request: web.BaseRequest) -> web.StreamResponse:
        tries.append(1)
        if len(tries) < 3:
            return web.Response(status=503, text="not ready")
        return web.json_response(
            {"access_token": "ya29.token-canary", "expires_in": 3599}, headers={"Metadata-Flavor": "Google"}
        )

    stub = metadata(always(200, json.dumps(EMPTY)), token=late)
    async with stub.running(), gcs_clients({}, stub.url, metadata_host=stub.host, metadata_pause_s=0.02) as clients:
        assert fact(await probe(clients).ask()).outcome is Outcome.PASS


async def test_no_metadata_server_at_all_is_told_within_the_deadline() -> None:
    async with raw_server(hang) as host:
        pass
    async with gcs_clients({}, "http://127.0.0.1:1", metadata_host=host, metadata_pause_s=0.02) as clients:
        answer = await probe(clients, timeout_s=8).ask()
    found = fact(answer)
    assert (found.reason, found.stage, found.evidence["transient"]) == ("IdentityUnavailable", "identity", True)
    assert answer.unanswered


async def test_iam_refuses_through_the_metadata_server_and_the_binding_is_generated() -> None:
    stub = metadata(token=always(403, f"Unable to generate access token; IAM returned 403 Forbidden: {ACT_AS}"))
    async with stub.running(), gcs_clients({}, stub.url, metadata_host=stub.host) as clients:
        found = fact(await probe(clients).ask())
    assert (found.reason, found.stage) == ("TrustPolicyMissing", "identity")
    assert "add-iam-policy-binding backup@proj.iam.gserviceaccount.com" in str(found.evidence["fix"])


async def test_a_server_without_googles_flavor_is_not_believed() -> None:
    portal = Stub(always(200, "a portal"))
    async with portal.running(), gcs_clients({}, portal.url, metadata_host=portal.host) as clients:
        assert fact(await probe(clients).ask()).reason == "UnexpectedStorageAnswer"


def external(directory: Path, url: str) -> dict[str, str]:
    """The environment and the file of workload identity federation, with STS and IAM at `url`."""
    (directory / "token").write_text(projected())
    file = {
        "type": "external_account",
        "audience": POOL,
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": f"{url}/v1/token",
        "credential_source": {"file": str(directory / "token")},
        "service_account_impersonation_url": f"{url}/v1/projects/-/serviceAccounts/b@p.iam:generateAccessToken",
    }
    (directory / "adc.json").write_text(json.dumps(file))
    return {"GOOGLE_APPLICATION_CREDENTIALS": str(directory / "adc.json")}


async def test_federation_exchanges_twice_and_names_whom_it_acts_as(tmp_path: Path) -> None:
    async def services(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/v1/token":
            form = parse_qs((await request.read()).decode())
            assert form["subject_token"] == [(tmp_path / "token").read_text()]
            return web.json_response({"access_token": "federated", "expires_in": 3600})
        if request.path.endswith(":generateAccessToken"):
            assert request.headers["Authorization"] == "Bearer federated"
            return web.json_response({"accessToken": "ya29.token-canary", "expireTime": "2099-01-01T00:00:00Z"})
        assert request.headers["Authorization"] == "Bearer ya29.token-canary"
        return web.json_response(EMPTY)

    async with Stub(services).running() as stub, gcs_clients(external(tmp_path, stub.url), stub.url) as clients:
        found = fact(await probe(clients).ask())
    assert (found.outcome, found.evidence["identity"]) == (Outcome.PASS, "b@p.iam")


@pytest.mark.parametrize(
    ("path", "status", "body", "reason"),
    [
        ("/v1/token", 400, '{"error":"invalid_target","error_description":"pool"}', "TrustPolicyMissing"),
        (
            "/v1/token",
            400,
            '{"error":"invalid_grant","error_description":"The audience in ID Token"}',
            "TokenAudienceWrong",
        ),
        (":generateAccessToken", 403, google(403, "forbidden", ACT_AS), "TrustPolicyMissing"),
        ("/v1/token", 200, '{"odd":1}', "UnexpectedStorageAnswer"),
        (":generateAccessToken", 200, '{"accessToken":""}', "UnexpectedStorageAnswer"),
        ("/v1/token", 200, "no json", "UnexpectedStorageAnswer"),
    ],
)
async def test_google_gives_no_token(tmp_path: Path, path: str, status: int, body: str, reason: str) -> None:
    async def services(request: web.BaseRequest) -> web.StreamResponse:
        if request.path.endswith(path):
            return web.Response(status=status, text=body, content_type="application/json")
        return web.json_response({"access_token": "federated", "expires_in": 3600})

    async with Stub(services).running() as stub, gcs_clients(external(tmp_path, stub.url), stub.url) as clients:
        found = fact(await probe(clients).ask())
    assert (found.reason, found.stage) == (reason, "identity")
    if reason == "TrustPolicyMissing" and path.startswith(":"):
        assert "principal://iam.googleapis.com/projects/1" in str(found.evidence["fix"])


async def test_a_redirect_of_the_token_service_takes_no_token_along(tmp_path: Path) -> None:
    async with Stub(always(200, json.dumps(EMPTY))).running() as thief:
        stub = Stub(always(307, headers={"Location": thief.url}))
        async with stub.running(), gcs_clients(external(tmp_path, stub.url), stub.url) as clients:
            assert fact(await probe(clients).ask()).reason == "UnexpectedStorageAnswer"
        assert not thief.asked


# -- servers that mean harm


@pytest.mark.parametrize(
    ("talk", "reason"),
    [
        (hang, "StorageTimeout"),
        (drip, "StorageTimeout"),
        (endless, "UnexpectedStorageAnswer"),
        (garbage, "UnexpectedStorageAnswer"),
    ],
)
async def test_a_storage_that_means_harm_costs_one_deadline(
    talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]], reason: str
) -> None:
    node = metadata()
    async with (
        node.running(),
        raw_server(talk) as host,
        gcs_clients({}, f"http://{host}", metadata_host=node.host) as clients,
        asyncio.timeout(5),
    ):
        await clients.token()
        answer = await probe(clients, timeout_s=0.5).ask()
    assert (fact(answer).reason, fact(answer).stage) == (reason, "storage")
    assert answer.unanswered is (reason == "StorageTimeout")


@pytest.mark.parametrize("body", ["", "[]", "{}", "no json", "[" * 100_000, '"x"', "7"])
async def test_answers_that_are_not_of_cloud_storage(body: str) -> None:
    assert fact(await ask(always(200, body))).reason == "UnexpectedStorageAnswer"


async def test_a_cancelled_ask_leaves_its_neighbours_their_token() -> None:
    go = asyncio.Event()

    async def slow(request: web.BaseRequest) -> web.StreamResponse:
        await go.wait()
        return web.json_response(
            {"access_token": "ya29.token-canary", "expires_in": 3599}, headers={"Metadata-Flavor": "Google"}
        )

    stub = metadata(a_bucket({}), token=slow)
    async with stub.running(), gcs_clients({}, stub.url, metadata_host=stub.host) as clients:
        asks = [asyncio.create_task(probe(clients).ask(), name=f"ask:{number}") for number in range(3)]
        await asyncio.sleep(0.3)
        asks[0].cancel()
        await asyncio.sleep(0.05)
        go.set()
        assert [fact(answer).outcome for answer in await asyncio.gather(*asks[1:])] == [Outcome.PASS] * 2
    gc.collect()
    assert len([one for one in stub.asked if one.path.endswith("/token")]) == 1


def test_importing_the_probes_imports_no_sdk() -> None:
    code = (
        "import sys, validator.probes.s3, validator.probes.gcs, validator.probes.aws_clients\n"
        "found = [m for m in ('aiobotocore', 'botocore', 'gcloud.aio', 'aiohttp') if m in sys.modules]\n"
        "sys.exit(', '.join(found) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr.strip()) == (0, "")
