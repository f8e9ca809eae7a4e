"""The Azure probe against Azurite over TLS, with a token exchanged at a pretended Entra."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
import trustme

from tests.support.azurite import Azurite
from tests.support.pretended_azure import CLIENT, SIGNATURE_CANARY, TOKEN_CANARY, PretendedAzure, location
from validator.answer import Answer, Fact
from validator.model import Check, Outcome
from validator.probes.azure_clouds import STORAGE_SCOPE
from validator.probes.location_ask import probe_object_name
from validator.reasons import Reason, Stage

pytestmark = pytest.mark.slow


@pytest.fixture
async def azure(azurite: Azurite, cloud_ca: trustme.CA, tmp_path: Path) -> AsyncIterator[PretendedAzure]:
    async with PretendedAzure(tmp_path, cloud_ca, blob_url=azurite.url).running() as running:
        yield running


@pytest.fixture
def container(azurite: Azurite) -> str:
    """A new one."""
    name = f"c-{uuid4().hex[:12]}"
    with azurite.service() as service:
        service.create_container(name)
    return name


def only(answer: Answer, check: Check = Check.LOCATION) -> Fact:
    (fact,) = [fact for fact in answer.facts if fact.check is check]
    return fact


async def test_a_container_that_answers_passes_with_its_identity_and_times(
    azure: PretendedAzure, container: str
) -> None:
    answer = await azure.probe(location(container)).ask()
    assert [(fact.check, fact.outcome) for fact in answer.facts] == [
        (Check.LOCATION, Outcome.PASS),
        (Check.OBJECT_LOCK, Outcome.PASS),
    ]
    evidence = only(answer).evidence
    assert (evidence["identity"], evidence["container"], evidence["method"]) == (CLIENT, container, "agent")
    assert {"token_ms", "properties_ms", "list_ms"} <= evidence.keys()
    assert only(answer, Check.OBJECT_LOCK).evidence["object_lock"] is False


async def test_the_token_is_exchanged_once_for_many_asks_and_containers(azure: PretendedAzure, container: str) -> None:
    for _ in range(3):
        await azure.probe(location(container)).ask()
    assert azure.entra.tokens == 1
    assert azure.entra.scopes == [STORAGE_SCOPE]


async def test_a_missing_container(azure: PretendedAzure) -> None:
    fact = only(await azure.probe(location("not-there")).ask())
    assert (fact.outcome, fact.reason, fact.stage) == (Outcome.FAIL, Reason.CONTAINER_NOT_FOUND, Stage.STORAGE)
    assert (fact.evidence["http_status"], fact.evidence["error_code"]) == (404, "ContainerNotFound")
    assert fact.evidence["fix"] == (
        "az storage container create --auth-mode login --account-name backups --name not-there"
    )


async def test_an_account_that_the_emulator_does_not_have(azure: PretendedAzure, container: str) -> None:
    fact = only(await azure.probe(location(container, account="nobody")).ask())
    assert fact.reason is Reason.ACCOUNT_NOT_FOUND


async def test_a_token_for_another_audience_is_rejected_and_not_kept(azure: PretendedAzure, container: str) -> None:
    azure.entra.audience = "https://graph.microsoft.com"
    fact = only(await azure.probe(location(container)).ask())
    assert (fact.outcome, fact.reason) == (Outcome.FAIL, Reason.IDENTITY_REJECTED)
    azure.entra.audience = ""
    assert only(await azure.probe(location(container)).ask()).outcome is Outcome.PASS
    assert azure.entra.tokens == 2


async def test_the_write_probe_leaves_nothing_behind(azure: PretendedAzure, container: str, azurite: Azurite) -> None:
    probe = azure.probe(location(container, write_probe=True))
    for _ in range(2):
        fact = only(await probe.ask())
        assert fact.outcome is Outcome.PASS, fact
        assert "write_ms" in fact.evidence
    with azurite.service() as service:
        assert list(service.get_container_client(container).list_blobs()) == []


async def test_without_the_write_probe_nothing_is_written(
    azure: PretendedAzure, container: str, azurite: Azurite
) -> None:
    with azurite.service() as service:
        service.get_container_client(container).upload_blob("backup", b"x")
        before = service.get_container_client(container).get_blob_client("backup").get_blob_properties().etag
        assert only(await azure.probe(location(container)).ask()).outcome is Outcome.PASS
        names = [blob.name for blob in service.get_container_client(container).list_blobs()]
        assert names == ["backup"]
        assert service.get_container_client(container).get_blob_client("backup").get_blob_properties().etag == before


async def test_what_a_crash_left_is_cleared_by_the_next_ask(
    azure: PretendedAzure, container: str, azurite: Azurite
) -> None:
    where = location(container, write_probe=True)
    with azurite.service() as service:
        client = service.get_container_client(container)
        client.upload_blob(probe_object_name("cluster-1", where.id), b"left by a crash")
        assert only(await azure.probe(where).ask()).outcome is Outcome.PASS
        assert list(client.list_blobs()) == []


async def test_no_secret_is_in_any_fact(azure: PretendedAzure, container: str) -> None:
    for where in (location(container, write_probe=True), location("not-there"), location(container, account="nobody")):
        text = json.dumps([[fact.message, dict(fact.evidence)] for fact in (await azure.probe(where).ask()).facts])
        assert azure.entra.assertions[0] not in text
        assert SIGNATURE_CANARY not in text
        assert TOKEN_CANARY not in text


async def test_flags_of_a_locked_container(azurite_main: str, cloud_ca: trustme.CA, tmp_path: Path) -> None:
    (tmp_path / "azurite").mkdir()
    server = Azurite(azurite_main, tmp_path / "azurite", cloud_ca)
    server.start()
    try:
        with server.service() as service:
            service.create_container("locked")
            service.create_container("held")
        server.stop()
        server.set_container("locked", hasImmutabilityPolicy=True)
        server.set_container("held", hasLegalHold=True)
        server.start()
        async with PretendedAzure(tmp_path, cloud_ca, blob_url=server.url).running() as azure:
            answer = await azure.probe(location("locked", write_probe=True)).ask()
            refused, lock = only(answer), only(answer, Check.OBJECT_LOCK)
            assert (refused.outcome, refused.reason) == (Outcome.FINDING, Reason.WRITE_PROBE_IMMUTABLE)
            assert (lock.outcome, lock.reason) == (Outcome.FAIL, Reason.OBJECT_LOCK_SETTINGS_MISSING)
            held = await azure.probe(location("held", write_probe=True)).ask()
            assert only(held).reason is Reason.WRITE_PROBE_IMMUTABLE
            assert only(held, Check.OBJECT_LOCK).outcome is Outcome.PASS
        with server.service() as service:
            assert list(service.get_container_client("locked").list_blobs()) == []
    finally:
        server.stop()
