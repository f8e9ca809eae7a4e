"""The identity in a Kubernetes Secret: the order of acts, whose Secret it is, and API servers good and bad."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import structlog
import yaml

from muster.demo.pki import Authority
from muster.settings import SettingsError, load_settings
from store.pool import Database
from tests.support.enrolling import TOKEN, bench
from tests.support.est_server import Vendor, vending
from tests.support.secret_server import BOTH, LABELS, NAME, SecretServer, rendered, secret_server
from tests.support.uplinking import Rig, ScriptedLine, consent, until
from uplink.client.enrolment.enrolment import Word
from uplink.client.enrolment.identity import MAX_IDENTITY_BYTES, read_identity
from uplink.client.enrolment.own_cluster import OwnCluster
from uplink.client.enrolment.secret_name import SecretName
from uplink.client.enrolment.secret_vault import SecretVault
from uplink.client.enrolment.vault import FILE, FileVault
from uplink.client.enrolment.vaults import make_vault
from uplink.client.spooling.off import Off
from uplink.wire.private_file import PrivateFileError

DEPLOY = Path(__file__).parents[2] / "deploy/kubernetes"
CANARY = b"-----BEGIN PRIVATE KEY-----canary"

Act = Callable[[], Awaitable[object]]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[SecretServer]:
    async with secret_server(tmp_path / "pod") as made:
        yield made


@pytest.fixture
def vault(server: SecretServer) -> SecretVault:
    return vault_at(server)


def vault_at(server: SecretServer, cluster: OwnCluster | None = None) -> SecretVault:
    """One of another instance, too."""
    return SecretVault(SecretName.parse(NAME), FILE, cluster or server.cluster, deadline_s=0.5)


async def refusal(act: Act) -> str:
    with pytest.raises(PrivateFileError) as caught:
        await act()
    assert NAME in str(caught.value)
    return str(caught.value)


# -- what it is for


async def test_a_document_is_kept_read_by_the_next_process_and_destroyed(
    server: SecretServer, vault: SecretVault
) -> None:
    assert await vault.read() is None
    await vault.write(b"one")
    await vault.write(b"two")
    assert await vault_at(server).read() == b"two"
    assert server.secrets[NAME]["type"] == "Opaque"
    assert server.secrets[NAME]["metadata"]["labels"] == LABELS
    await vault.destroy()
    assert server.document() is None
    assert await vault.read() is None
    assert NAME in vault.place


async def test_a_secret_that_was_made_beforehand_needs_no_right_to_create_or_delete(
    server: SecretServer, vault: SecretVault
) -> None:
    server.rules = BOTH
    server.put()
    uid = server.secrets[NAME]["metadata"]["uid"]
    await vault.write(b"one")
    await vault.destroy()
    await vault.write(b"two")
    assert server.document() == b"two"
    assert server.secrets[NAME]["metadata"]["uid"] == uid
    assert set(server.asked) == {"GET", "PUT"}


async def test_destroying_makes_nothing_where_there_is_nothing(server: SecretServer, vault: SecretVault) -> None:
    await vault.destroy()
    assert server.secrets == {}
    assert server.asked == ["GET"]


async def test_what_others_keep_in_it_stays(server: SecretServer, vault: SecretVault) -> None:
    server.put(other=b"theirs", identity=b"ours")["metadata"]["annotations"] = {"note": "theirs"}
    await vault.write(b"one")
    await vault.destroy()
    assert server.document("other.json") == b"theirs"
    assert server.document() is None
    assert server.secrets[NAME]["metadata"]["annotations"]["note"] == "theirs"


async def test_two_documents_in_one_secret_do_not_disturb_each_other(server: SecretServer, tmp_path: Path) -> None:
    identity = make_vault(tmp_path / "identity", NAME, server.cluster)
    export = make_vault(tmp_path / "export-key", NAME, server.cluster)
    await identity.write(b"one")
    await export.write(b"two")
    await export.destroy()
    await identity.write(b"three")
    assert server.secrets[NAME]["data"] == {"identity.json": base64.b64encode(b"three").decode()}


async def test_a_largest_document_fits_and_a_larger_one_is_not_sent(server: SecretServer, vault: SecretVault) -> None:
    await vault.write(b"x" * MAX_IDENTITY_BYTES)
    assert await vault.read() == b"x" * MAX_IDENTITY_BYTES
    asked = len(server.asked)
    assert "are more than" in await refusal(lambda: vault.write(b"x" * (MAX_IDENTITY_BYTES + 1)))
    assert len(server.asked) == asked


async def test_what_is_too_long_is_not_taken_for_an_identity(server: SecretServer, vault: SecretVault) -> None:
    server.put(identity=b"x" * (MAX_IDENTITY_BYTES + 1))
    assert "is longer than" in await refusal(vault.read)
    await vault.destroy()
    assert server.document() is None


async def test_a_renewed_token_and_ca_are_read_for_the_next_act(server: SecretServer, vault: SecretVault) -> None:
    await vault.write(b"one")
    server.token = "another"
    assert "401" in await refusal(vault.read)
    (server.pod / "token").write_text("another\n")
    assert await vault.read() == b"one"


async def test_no_connection_is_left_behind(server: SecretServer, vault: SecretVault) -> None:
    for _ in range(3):
        await vault.write(b"one")
    server.pranks = {"GET": hanging}
    await refusal(vault.read)
    await until(lambda: server.open == 0)
    assert server.connections == 4


def test_names_of_secrets() -> None:
    assert SecretName.parse("a/b.c") == SecretName("b.c", "a")
    assert str(SecretName.parse("muster/keys")) == "muster/keys"
    for bad in ("", "/a", "a/", "a/b/c", "A", "a_b", "..", "a..b", "a/../b", "a b", "a\r\nb", "x" * 254, "-a"):
        with pytest.raises(ValueError, match="NAME or NAMESPACE/NAME"):
            SecretName.parse(bad)


def test_a_setting_that_names_no_secret_is_refused_at_start() -> None:
    assert load_settings(telemetry_secret="muster/keys").telemetry_secret == "muster/keys"
    with pytest.raises(SettingsError, match="NAME or NAMESPACE/NAME"):
        load_settings(telemetry_secret="Keys")


# -- whose it is


@pytest.mark.parametrize("labels", [{}, {"muster/holds": "something"}, {"app": "billing"}])
async def test_somebody_elses_secret_is_neither_read_nor_written_nor_emptied(
    server: SecretServer, vault: SecretVault, labels: dict[str, str]
) -> None:
    before = server.put(labels, identity=b"theirs", password=b"hunter2")
    for act in (vault.read, lambda: vault.write(b"ours"), vault.destroy):
        assert "muster/holds=telemetry-keys" in await refusal(act)
    assert server.secrets[NAME] is before
    assert "PUT" not in server.asked


async def test_a_typo_that_names_a_secret_of_others_does_not_hold_up_off(
    server: SecretServer, vault: SecretVault
) -> None:
    before = server.put({}, password=b"hunter2")
    await vault.destroy()
    assert server.secrets[NAME] is before


# -- order


async def test_another_writer_in_between_is_a_conflict_that_is_read_again(
    server: SecretServer, vault: SecretVault
) -> None:
    server.put(identity=b"one")
    await vault.read()
    others = iter(range(2))

    def another(method: str) -> None:
        if method == "PUT" and next(others, None) is not None:
            server.put(identity=b"theirs")

    server.before = another
    await vault.write(b"two")
    assert server.document() == b"two"
    assert server.asked == ["GET", "GET", "PUT", "GET", "PUT", "GET", "PUT"]


async def test_who_never_gets_through_gives_up_and_says_so(server: SecretServer, vault: SecretVault) -> None:
    server.put()

    def another(method: str) -> None:
        if method == "PUT":
            server.put()

    server.before = another
    assert "changed it 5 times" in await refusal(lambda: vault.write(b"one"))


async def test_h18_what_another_replica_destroyed_is_not_written_again(
    server: SecretServer, vault: SecretVault
) -> None:
    await vault.write(b"one")
    await vault_at(server).destroy()
    assert "emptied or deleted by somebody else" in await refusal(lambda: vault.write(b"two"))
    assert server.document() is None
    assert await vault.read() is None  # a new beginning, with a consent that says so
    await vault.write(b"three")
    assert server.document() == b"three"


async def test_h18_not_even_between_the_reading_and_the_writing(server: SecretServer, vault: SecretVault) -> None:
    await vault.write(b"one")
    event = asyncio.Event()
    server.held_up["PUT"] = event
    writing = asyncio.create_task(vault.write(b"two"))
    await until(lambda: server.asked[-1] == "PUT" and not server.held_up)
    await vault_at(server).destroy()
    event.set()
    with pytest.raises(PrivateFileError, match="emptied or deleted"):
        await writing
    assert server.document() is None


async def test_a_secret_that_a_person_deleted_does_not_come_back(server: SecretServer, vault: SecretVault) -> None:
    await vault.write(b"one")
    server.secrets.clear()
    assert "deleted" in await refusal(lambda: vault.write(b"two"))
    assert server.secrets == {}


@pytest.mark.parametrize("ended", ["cancelled", "late"])
async def test_a_write_that_takes_effect_after_its_destruction_does_not(
    server: SecretServer, vault: SecretVault, ended: str
) -> None:
    server.put()
    await vault.destroy()  # of an earlier consent: it is marked already
    event = asyncio.Event()
    server.held_up["PUT"] = event
    writing = asyncio.create_task(vault.write(CANARY))
    await until(lambda: not server.held_up)
    if ended == "cancelled":
        writing.cancel()
    with suppress(PrivateFileError, asyncio.CancelledError):
        await writing
    await vault.destroy()
    assert server.document() is None
    event.set()
    await until(lambda: server.done[-1] == ("PUT", 409))
    assert server.document() is None


async def test_a_creation_that_takes_effect_after_the_destruction_makes_an_empty_one(
    server: SecretServer, vault: SecretVault
) -> None:
    event = asyncio.Event()
    server.held_up["POST"] = event
    writing = asyncio.create_task(vault.write(CANARY))
    await until(lambda: "POST" in server.asked and not server.held_up)
    writing.cancel()
    with suppress(asyncio.CancelledError):
        await writing
    await vault.destroy()
    event.set()
    await until(lambda: NAME in server.secrets)
    assert server.document() is None
    assert not any(base64.b64encode(CANARY) in body for body in server.bodies)
    await vault.write(b"one")  # it is ours
    assert server.document() == b"one"


async def test_acts_happen_in_the_order_in_which_they_are_called(server: SecretServer, vault: SecretVault) -> None:
    server.put()
    event = asyncio.Event()
    server.held_up["GET"] = event
    acts = [asyncio.create_task(act) for act in (vault.write(b"one"), vault.write(b"two"), vault.destroy())]
    await until(lambda: server.asked == ["GET"])
    event.set()
    await asyncio.gather(*acts)
    assert server.document() is None
    assert server.asked == ["GET", "PUT"] * 3


async def test_a_write_after_a_destruction_that_hangs_is_destroyed_by_the_next_one(
    server: SecretServer, vault: SecretVault
) -> None:
    server.put()
    event = asyncio.Event()
    server.held_up["GET"] = event
    assert "This goes on" in await refusal(vault.destroy)
    writing = asyncio.create_task(vault.write(b"one"))
    await asyncio.sleep(0)
    last = asyncio.create_task(vault.destroy())
    await asyncio.sleep(0)
    event.set()
    await asyncio.gather(writing, last)
    assert server.document() is None


# -- off


async def test_h18_destroying_keeps_nobody_waiting_and_goes_on(server: SecretServer, vault: SecretVault) -> None:
    await vault.write(CANARY)
    event = asyncio.Event()
    server.held_up["GET"] = event
    begun = time.monotonic()
    for _ in range(2):  # the second joins the first
        assert "This goes on" in await refusal(vault.destroy)
    assert time.monotonic() - begun < 0.49
    event.set()
    await until(lambda: server.document() is None)
    assert server.asked == ["GET", "POST", "PUT", "GET", "PUT"]


async def test_destroying_goes_on_where_the_one_who_asked_was_cancelled(
    server: SecretServer, vault: SecretVault
) -> None:
    await vault.write(CANARY)
    event = asyncio.Event()
    server.held_up["GET"] = event
    asking = asyncio.create_task(vault.destroy())
    await until(lambda: server.asked[-1] == "GET" and not server.held_up)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    event.set()
    await until(lambda: server.document() is None)


async def test_h18_off_is_off_without_an_api_server_and_the_key_goes_when_it_is_back(
    uplink_db: Database, server: SecretServer, vault: SecretVault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("uplink.client.spooling.off.AGAIN_S", 0.05)
    (tmp_path / "rig").mkdir()
    rig = Rig(uplink_db, tmp_path / "rig", ScriptedLine)
    off = Off(rig.epochs, rig.gate, vault.destroy)
    await vault.write(CANARY)
    await rig.begin(consent())
    server.pranks = {"GET": hanging}
    running = [asyncio.create_task(run()) for run in (rig.gate.run, off.run)]
    try:
        begun = time.monotonic()
        await off.ended()
        assert time.monotonic() - begun < 1
        assert rig.gate.given is None
        assert off.unfinished
        server.pranks = {"GET": closing}
        await asyncio.sleep(0.1)
        assert server.document() == CANARY
        server.pranks = {}
        await until(lambda: not off.unfinished)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    assert server.document() is None


async def test_what_a_process_that_died_has_left_is_destroyed_by_the_next(server: SecretServer) -> None:
    await vault_at(server).write(CANARY)
    server.pranks = {"PUT": closing}
    await refusal(vault_at(server).destroy)
    server.pranks = {}
    await vault_at(server).destroy()
    assert server.document() is None


async def test_keys_in_files_from_before_go_with_those_in_the_secret(server: SecretServer, tmp_path: Path) -> None:
    directory = tmp_path / "identity"
    await make_vault(directory).write(b"on disk")
    vault = make_vault(directory, NAME, server.cluster)
    assert await vault.read() is None
    await vault.write(b"in the Secret")
    assert (directory / FILE).read_bytes() == b"on disk"
    await vault.destroy()
    assert server.document() is None
    assert not (directory / FILE).exists()
    assert isinstance(make_vault(directory), FileVault)


# -- API servers that do otherwise


async def closing(_: asyncio.StreamWriter) -> None:
    """Without an answer."""


async def hanging(writer: asyncio.StreamWriter) -> None:
    """Until the other side gives up."""
    await writer.wait_closed()


async def slowly(writer: asyncio.StreamWriter) -> None:
    for byte in rendered(200, b"{}"):
        writer.write(bytes([byte]))
        await asyncio.sleep(0.1)


async def endless(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
        await writer.drain()


async def truncated(writer: asyncio.StreamWriter) -> None:
    writer.write(rendered(200, b'{"kind":"Secret"}')[:-5])
    await writer.drain()


async def garbage(writer: asyncio.StreamWriter) -> None:
    writer.write(b"SSH-2.0-OpenSSH_9.2p1\r\n" * 3)
    await writer.drain()


def saying(code: int, body: bytes | dict[str, Any], *headers: str) -> Callable[[asyncio.StreamWriter], Any]:
    async def prank(writer: asyncio.StreamWriter) -> None:
        writer.write(rendered(code, body if isinstance(body, bytes) else json.dumps(body).encode(), *headers))
        await writer.drain()
        await asyncio.sleep(0.01)

    return prank


def secret(**metadata: object) -> dict[str, Any]:
    full = {"name": NAME, "namespace": "muster", "resourceVersion": "7", "labels": LABELS, **metadata}
    return {"kind": "Secret", "apiVersion": "v1", "metadata": full, "data": {FILE: "%%%"}}


BAD = {
    "closes": (closing, "closed the connection"),
    "hangs": (hanging, "did not answer within 0.5 s"),
    "slow-loris": (slowly, "did not answer within 0.5 s"),
    "endless": (endless, "more than 1048576 bytes"),
    "truncated": (truncated, "in the middle of an answer"),
    "garbage": (garbage, "not HTTP"),
    "redirect": (saying(302, b"", "Location: https://127.0.0.1:1/"), "answers 302"),
    "no-json": (saying(200, b"<html>"), "no API server"),
    "deep": (saying(200, b"[" * 200_000), "no API server"),
    "list": (saying(200, b"[]"), "no API server"),
    "other-kind": (saying(200, {"kind": "ConfigMap"}), "no API server"),
    "other-name": (saying(200, secret(name="other")), "no API server"),
    "other-namespace": (saying(200, secret(namespace="other")), "no API server"),
    "no-version": (saying(200, secret(resourceVersion=7)), "no API server"),
    "not-its-404": (saying(404, b"404 page not found\n"), "answers 404"),
    "not-its-page": (saying(404, {"kind": "Status", "reason": "NotFound"}), "answers 404"),
    "unauthorized": (saying(401, {}), "401 to get. It does not accept the pod's token"),
    "busy": (saying(429, {}, "Retry-After: 1"), "429 to get. It is busy"),
    "etcd": (saying(500, {}), "500 to get. It is in trouble"),
}


@pytest.mark.parametrize("case", BAD)
async def test_a_bad_answer_is_an_error_with_its_reason_and_never_an_empty_vault(
    server: SecretServer, vault: SecretVault, case: str
) -> None:
    prank, text = BAD[case]
    server.put(identity=CANARY)
    server.pranks = {"GET": prank}
    assert text in await refusal(vault.read)
    if case not in ("hangs", "slow-loris"):  # those go on
        assert text in await refusal(vault.destroy)
    assert server.document() == CANARY


async def test_a_document_that_is_no_base64_is_an_error(server: SecretServer, vault: SecretVault) -> None:
    server.pranks = {"GET": saying(200, secret())}
    assert "no base64" in await refusal(vault.read)


@pytest.mark.parametrize("verb", ["get", "update", "create"])
async def test_a_right_that_is_missing_is_named(server: SecretServer, vault: SecretVault, verb: str) -> None:
    server.rules = [{**rule, "verbs": [each for each in rule["verbs"] if each != verb]} for rule in server.rules]
    if verb == "update":
        server.put()
    text = await refusal(lambda: vault.write(b"one"))
    if verb == "create":
        assert "the verb create on secrets in the namespace muster" in text
    else:
        assert f"forbids to {verb} it (403)" in text
        assert f"the verbs get and update on secrets with the resourceName {NAME} in the namespace muster" in text


async def test_an_immutable_secret_is_named_as_such(server: SecretServer, vault: SecretVault) -> None:
    server.put()["immutable"] = True
    assert "422 to update. Perhaps the Secret is immutable" in await refusal(lambda: vault.write(CANARY))


async def test_another_ca_is_not_believed_and_sees_no_token(server: SecretServer, vault: SecretVault) -> None:
    (server.pod / "ca.crt").write_text(Authority("other", datetime.now(UTC)).pem)
    assert "certificate" in await refusal(lambda: vault.write(CANARY))
    assert server.asked == []


@pytest.mark.parametrize("missing", ["token", "ca.crt"])
async def test_a_pod_without_its_service_account_is_told_what_to_mount(
    server: SecretServer, vault: SecretVault, missing: str
) -> None:
    (server.pod / missing).unlink()
    text = await refusal(vault.read)
    assert missing in text
    assert "automountServiceAccountToken" in text


async def test_outside_a_cluster_it_says_so(server: SecretServer) -> None:
    assert "this is no pod" in await refusal(vault_at(server, OwnCluster(server.pod, {})).destroy)


async def test_the_namespace_is_the_pods_unless_it_is_named(server: SecretServer) -> None:
    (server.pod / "namespace").write_text("../../other")
    assert "write NAMESPACE/NAME" in await refusal(vault_at(server).read)
    named = SecretVault(SecretName.parse(f"muster/{NAME}"), FILE, server.cluster)
    await named.write(b"one")
    assert server.document() == b"one"


async def test_an_api_server_with_a_name_is_looked_up(server: SecretServer) -> None:
    environ = {**server.environ, "KUBERNETES_SERVICE_HOST": "localhost"}
    asked: list[str] = []

    class Names:
        async def resolve(self, host: str, deadline_s: float) -> tuple[str, ...]:
            asked.append(host)
            return ("127.0.0.1",)

        async def close(self) -> None:
            asked.append("closed")

    text = await refusal(vault_at(server, OwnCluster(server.pod, environ, Names)).read)
    assert asked == ["localhost", "closed"]
    assert "hostname mismatch" in text.lower()  # the certificate is for the address, and for api.example


# -- all of it


@pytest.fixture
async def vendor() -> AsyncIterator[Vendor]:
    async with vending() as made:
        yield made


async def test_an_enrolment_with_no_disk_at_all_and_its_end(
    vendor: Vendor, server: SecretServer, vault: SecretVault, tmp_path: Path
) -> None:
    nowhere = tmp_path / "nowhere"
    async with bench(nowhere, vendor.url, vendor.anchors_pem, vault=vault) as client:
        await client.begin()
        kept = read_identity(server.document() or b"")
        assert kept.token == TOKEN
        async with client.running():
            await client.until(Word.ACTIVE)
        kept = read_identity(server.document() or b"")
        assert (kept.token, kept.active is not None) == (None, True)
        bond = client.bond
    async with bench(nowhere, vendor.url, vendor.anchors_pem, vault=vault_at(server), bound=bond) as restarted:
        assert await restarted.begin(token=None)
        assert restarted.enroller.state().word is Word.ACTIVE
        trust = restarted.enroller.trust()
        assert trust is not None
        assert kept.active is not None
        assert trust.key_pem == kept.active.key_pem
        await restarted.enroller.destroy()
        assert restarted.enroller.trust() is None
    assert server.document() is None
    assert not nowhere.exists()
    assert vendor.paths() == ["cacerts", "simpleenroll", "logs"]


async def test_enrolment_stands_still_and_says_why_where_the_right_to_write_was_taken_away(
    vendor: Vendor, server: SecretServer, vault: SecretVault, tmp_path: Path
) -> None:
    async with bench(tmp_path / "nowhere", vendor.url, vendor.anchors_pem, vault=vault) as client:
        await client.begin()
        server.rules = [{**BOTH[0], "verbs": ["get"]}]
        async with client.running():
            state = await client.until(*Word, detail="forbids to update it (403)")
        assert state.word is not Word.ACTIVE
        assert "simpleenroll" not in vendor.paths()


async def test_no_key_and_no_token_is_in_any_error_log_or_repr(
    vendor: Vendor,
    server: SecretServer,
    vault: SecretVault,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    said: list[str] = []

    async def echo(writer: asyncio.StreamWriter) -> None:
        """As real ones do: the request, or what they hold, is in the refusal."""
        seen = (server.bodies[-1] or json.dumps(server.secrets).encode()).decode()
        await saying(400, {"kind": "Status", "message": seen, "reason": seen, "code": 400})(writer)

    with structlog.testing.capture_logs() as logged:
        async with bench(tmp_path / "nowhere", vendor.url, vendor.anchors_pem, vault=vault) as client:
            await client.begin()
            async with client.running():
                await client.until(Word.ACTIVE)
            held = server.document() or b""
            write: Act = lambda: vault.write(held)  # noqa: E731 - named twice
            cases: dict[str, tuple[Act, ...]] = {
                "GET": (vault.read, write, vault.destroy),
                "PUT": (write, vault.destroy),
            }
            for method, acts in cases.items():
                server.pranks = {method: echo}
                for act in acts:
                    with pytest.raises(PrivateFileError) as caught:
                        await act()
                    error: BaseException | None = caught.value
                    while error is not None:
                        said += [str(error), repr(error)]
                        error = error.__cause__ or error.__context__
    kept = read_identity(held)
    assert kept.active is not None
    lines = kept.active.key_pem.splitlines()[1:-1]
    told = "\n".join([*said, repr(vault), vault.place, str(logged), caplog.text, *capsys.readouterr()])
    assert "answers 400 to get" in told
    assert "answers 400 to update" in told
    encoded = base64.b64encode(held).decode()
    for hidden in (*lines, TOKEN, server.token, encoded[200:240], encoded[-60:-20]):
        assert hidden not in told


# -- what is shipped


def manifest(name: str) -> dict[str, dict[str, Any]]:
    return {each["kind"]: each for each in yaml.safe_load_all((DEPLOY / name).read_text())}


@pytest.mark.parametrize("way", ["made beforehand", "created"])
async def test_the_shipped_rights_are_enough_and_no_more(server: SecretServer, vault: SecretVault, way: str) -> None:
    shipped = manifest("telemetry-secret.yaml")
    server.rules = list(shipped["Role"]["rules"])
    if way == "created":
        server.rules += manifest("telemetry-secret-create.yaml")["Role"]["rules"]
    else:
        made = shipped["Secret"]
        assert (made["metadata"]["name"], made["type"], "data" in made) == (NAME, "Opaque", False)
        server.put(made["metadata"]["labels"])
    await vault.read()
    await vault.write(b"one")
    await vault.destroy()
    assert server.document() is None
    verbs = {"GET": "get", "PUT": "update", "POST": "create"}
    assert {verbs[method] for method in server.asked} == {verb for rule in server.rules for verb in rule["verbs"]}
    for rule in server.rules:
        assert (rule["apiGroups"], rule["resources"]) == ([""], ["secrets"])
        assert rule.get("resourceNames") == (None if rule["verbs"] == ["create"] else [NAME])


@pytest.mark.parametrize("name", ["telemetry-secret.yaml", "telemetry-secret-create.yaml"])
def test_the_shipped_binding_binds_the_shipped_role(name: str) -> None:
    shipped = manifest(name)
    role, binding = shipped["Role"], shipped["RoleBinding"]
    assert binding["roleRef"] == {
        "apiGroup": "rbac.authorization.k8s.io",
        "kind": "Role",
        "name": role["metadata"]["name"],
    }
    assert {each["metadata"]["namespace"] for each in shipped.values()} == {"muster"}
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "muster", "namespace": "muster"}]
