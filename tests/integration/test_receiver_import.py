"""Files from behind an air gap, signed with a certificate of our CA; and the listener's own certificate."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest
from cryptography import x509

from tests.support.receiving import Desk, Identity, logs, metrics, new_key, receiving
from uplink.receiver.authority import Authority
from uplink.receiver.batches import Batches, Stored
from uplink.receiver.importing import Trusted, import_file
from uplink.receiver.revoking import revoke
from uplink.receiver.view import show_org
from uplink.wire import export
from uplink.wire.errors import WireError
from uplink.wire.otlp import Signal


@pytest.fixture
async def desk(receiver_url: str, tmp_path: Path) -> AsyncIterator[Desk]:
    async with receiving(receiver_url, tmp_path / "receiver") as desk:
        yield desk


def write(
    path: Path,
    identity: Identity,
    *,
    at: float,
    organisation: str = "acme",
    installation: UUID | None = None,
    batch: UUID | None = None,
) -> Path:
    head = export.Head(organisation, installation or identity.installation, uuid4(), "1", int(at))
    batches = [
        export.Batch(batch or uuid4(), Signal.LOGS, logs("carried").SerializeToString()),
        export.Batch(uuid4(), Signal.METRICS, metrics({"uid-1": "Healthy"}).SerializeToString()),
    ]
    with path.open("wb") as file:
        export.write_export(file, head, batches, identity.key, [identity.certificate])
    return path


async def take(desk: Desk, path: Path, trusted: Trusted | None = None) -> dict[Stored, int]:
    batches = Batches(desk.store)
    done = await import_file(desk.store, batches, desk.authority.bundle, path, desk.clock.now(), trusted)
    return dict(done.batches)


async def test_a_signers_certificate_says_whose_it_is_also_after_its_end(desk: Desk, tmp_path: Path) -> None:
    identity, written_at, batch = await desk.enrol(), desk.clock.now(), uuid4()
    sent = await desk.send(identity, logs("carried").SerializeToString(), Signal.LOGS, uuid4())
    assert sent.status == 200
    file = write(tmp_path / "file", identity, at=written_at, batch=batch)
    desk.clock.advance(20 * 86_400)  # it lay in a drawer
    assert await take(desk, file) == {Stored.NEW: 2}
    assert await take(desk, file) == {Stored.REPEATED: 2}
    view = await show_org(desk.store, "acme", desk.clock.now())
    assert view is not None
    assert [each.uid for each in view.clusters] == ["uid-1"]
    assert len(view.logs) == 2


async def test_whoever_is_not_the_certificates_owner_imports_nothing(desk: Desk, tmp_path: Path) -> None:
    now = desk.clock.now()
    identity, revoked, other = await desk.enrol(), await desk.enrol(), await desk.enrol("umbrella")
    await revoke(desk.store, str(revoked.installation), now)
    key = new_key()
    strangers = Authority.new("Test receiver", now)
    stranger = strangers.sign_client(key.public_key(), "acme", identity.installation, now, 7)
    unbooked = desk.authority.sign_client(key.public_key(), "acme", identity.installation, now, 7)
    cases: dict[str, tuple[Identity, dict[str, Any]]] = {
        "not of our CA": (Identity("acme", identity.installation, key, stranger), {}),
        "not in our books": (Identity("acme", identity.installation, key, unbooked), {}),
        "revoked": (revoked, {}),
        "another organisation": (other, {"organisation": "acme"}),
        "another installation": (identity, {"installation": uuid4()}),
        "not valid when": (identity, {"at": now - 30 * 86_400}),
    }
    for says, (signer, changes) in cases.items():
        file = write(tmp_path / "file", signer, **{"at": now, **changes})
        with pytest.raises(WireError, match=says):
            await take(desk, file)
    assert await desk.store.db.fetchval("SELECT count(*) FROM receiver_batches") == 0


async def test_a_known_key_cant_write_into_another_organisations_installation(desk: Desk, tmp_path: Path) -> None:
    theirs, key = await desk.enrol("umbrella"), new_key()
    head = export.Head("acme", theirs.installation, uuid4(), "1", int(desk.clock.now()))
    file = tmp_path / "file"
    with file.open("wb") as out:
        export.write_export(out, head, [], key)
    with pytest.raises(WireError, match="another organisation's"):
        await take(desk, file, Trusted("acme", export.fingerprint(key.public_key())))


async def test_the_listener_takes_a_certificate_of_another_ca_and_renews_its_own(
    receiver_url: str, tmp_path: Path
) -> None:
    async with receiving(receiver_url, tmp_path / "receiver") as desk:
        seen = {(await served(desk)).serial_number}
        desk.receiver.front.renew()
        seen.add((await served(desk)).serial_number)
        assert len(seen) == 2
    public = Authority.new("Public CA", desk.clock.now())
    pem = public.sign_server(["localhost", "127.0.0.1"], desk.clock.now())
    (tmp_path / "both.pem").write_bytes(pem)
    files: dict[str, Any] = {"tls_certificate": tmp_path / "both.pem", "tls_key": tmp_path / "both.pem"}
    async with receiving(receiver_url, tmp_path / "receiver", **files) as desk:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await desk.ask("GET", "/healthz")
        identity = signed(desk)
        desk.authority = Authority(desk.authority.key, desk.authority.issuer, (*desk.authority.bundle, public.issuer))
        assert (await desk.send(identity, b"")).status == 401, "the handshake is good; the books don't have it"


async def served(desk: Desk) -> x509.Certificate:
    _, writer = await asyncio.open_connection("127.0.0.1", desk.port, ssl=desk.trust(), server_hostname="localhost")
    der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    await writer.wait_closed()
    return x509.load_der_x509_certificate(der)


def signed(desk: Desk) -> Identity:
    key, installation = new_key(), uuid4()
    leaf = desk.authority.sign_client(key.public_key(), "acme", installation, desk.clock.now(), 7)
    return Identity("acme", installation, key, leaf)
