"""Enrolment at the receiver: what a token gives, once, and what hostile CSRs get."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from structlog.testing import capture_logs

from tests.support.receiving import Desk, Identity, basic, make_csr, new_key, receiving
from uplink.client.enrolment.issued import learn
from uplink.receiver.audit import By
from uplink.receiver.enrolment import MAX_CERTIFICATES
from uplink.receiver.founding import roll_over
from uplink.receiver.revoking import revoke
from uplink.wire import est, names
from uplink.wire.identity import installation_of, organisation_of
from uplink.wire.otlp import CONTENT_TYPE


@pytest.fixture
async def desk(receiver_url: str, tmp_path: Path) -> AsyncIterator[Desk]:
    async with receiving(receiver_url, tmp_path / "receiver") as desk:
        yield desk


async def test_cacerts_gives_the_ca_in_one_line_with_a_length(desk: Desk) -> None:
    answer = await desk.ask("GET", est.CACERTS)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == est.CERTIFICATES_TYPE
    assert int(answer.headers["Content-Length"]) == len(answer.body)
    assert b"\n" not in answer.body
    assert est.decode_certificates(answer.body) == list(desk.authority.bundle)


async def test_a_token_gives_a_certificate_whose_names_are_ours_to_say(desk: Desk) -> None:
    identity = await desk.enrol("acme")
    leaf = identity.certificate
    assert organisation_of(leaf) == "acme"
    assert installation_of(leaf) == identity.installation
    assert leaf.public_key() == identity.key.public_key()
    leaf.verify_directly_issued_by(desk.authority.issuer)
    extensions = leaf.extensions
    assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    usage = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc == timedelta(days=7)
    assert leaf.not_valid_before_utc.timestamp() <= desk.clock.now() - 3500, "clocks that are behind take it too"


async def test_a_token_works_once_and_the_same_request_again_gets_the_same_answer(desk: Desk) -> None:
    token, key, installation = await desk.token(), new_key(), uuid4()
    csr = make_csr(key, installation)
    first, again = await desk.enrol_raw(csr, token), await desk.enrol_raw(csr, token)
    assert (first.status, again.status) == (200, 200)
    assert first.body == again.body
    other = await desk.enrol_raw(make_csr(new_key(), uuid4()), token)
    assert other.status == 401
    assert other.headers["WWW-Authenticate"].startswith("Basic ")
    desk.clock.advance(25 * 3600)
    assert (await desk.enrol_raw(csr, token)).status == 401


async def test_of_two_installations_with_one_token_one_gets_in(desk: Desk) -> None:
    token = await desk.token()
    answers = await asyncio.gather(*(desk.enrol_raw(make_csr(new_key(), uuid4()), token) for _ in range(4)))
    assert sorted(answer.status for answer in answers) == [200, 401, 401, 401]


async def test_tokens_that_are_unknown_expired_revoked_or_of_others_get_one_and_the_same_refusal(desk: Desk) -> None:
    csr = make_csr(new_key(), uuid4())
    expired = await desk.token()
    desk.clock.advance(3601)
    made, revoked = await desk.activations.create("acme", desk.clock.now(), 3600)
    assert await desk.activations.revoke(made.id, desk.clock.now())
    others = await desk.token("umbrella")
    texts = set()
    for token in (expired, revoked, others, "activate_" + "A" * 43, "x", ""):
        answer = await desk.enrol_raw(csr, token)
        assert answer.status == 401, token
        texts.add(answer.body)
    assert len(texts) == 1
    assert await desk.store.db.fetchval("SELECT count(*) FROM receiver_certificates") == 0
    assert (await desk.enrol_raw(csr, others, "umbrella")).status == 200, "a refusal has not used it up"


async def test_the_database_holds_no_token_and_no_key(desk: Desk) -> None:
    token = await desk.token()
    await desk.enrol_raw(make_csr(new_key(), uuid4()), token)
    for table in ("receiver_activations", "receiver_certificates", "receiver_orgs"):
        for row in await desk.store.db.fetch(f"SELECT to_jsonb(t)::text AS t FROM {table} t"):
            assert token not in row["t"]
            assert "PRIVATE" not in row["t"]


def _wrong_signature() -> bytes:
    der = bytearray(make_csr(new_key(), uuid4()).public_bytes(Encoding.DER))
    der[60] ^= 0x01  # in the CN, which the signature covers
    return bytes(der)


HOSTILE: dict[str, tuple[object, int]] = {
    "CA:true": (make_csr(new_key(), uuid4(), extensions=(x509.BasicConstraints(ca=True, path_length=None),)), 400),
    "server": (
        make_csr(new_key(), uuid4(), extensions=(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]),)),
        400,
    ),
    "other organisation": (make_csr(new_key(), uuid4(), organisation="umbrella"), 403),
    "P-384": (make_csr(ec.generate_private_key(ec.SECP384R1()), uuid4()), 400),
    "RSA 1024": (make_csr(rsa.generate_private_key(65537, 1024), uuid4()), 400),
    "RSA with e=3": (make_csr(rsa.generate_private_key(3, 2048), uuid4()), 400),
    "wrong signature": (_wrong_signature(), 400),
    "huge": (b"M" * 20_000, 413),
    "not base64": (b"\xff\x00" * 50, 400),
    "base64 of nothing": (b"AAAA", 400),
    "empty": (b"", 400),
    "a certificate's name": (make_csr(new_key(), uuid4(), san=False).public_bytes(Encoding.PEM), 400),
}


@pytest.mark.filterwarnings("ignore::UserWarning")  # of cryptography, about the exponent 3
async def test_hostile_csrs_get_no_certificate_and_use_up_no_token(desk: Desk) -> None:
    token = await desk.token()
    for what, (csr, status) in HOSTILE.items():
        assert isinstance(csr, bytes | x509.CertificateSigningRequest)
        answer = await desk.enrol_raw(csr, token)
        assert answer.status == status, (what, answer.body)
        assert answer.headers["Content-Type"].startswith("text/plain")
    assert await desk.store.db.fetchval("SELECT count(*) FROM receiver_certificates") == 0
    assert (await desk.enrol_raw(make_csr(new_key(), uuid4()), token)).status == 200


async def test_names_in_a_csr_that_are_not_an_installations_are_refused(desk: Desk) -> None:
    token, installation = await desk.token(), uuid4()
    builder = x509.CertificateSigningRequestBuilder()
    cn = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, str(installation))])
    dns = builder.subject_name(cn).add_extension(
        x509.SubjectAlternativeName([x509.DNSName("register.vendor.example")]), critical=False
    )
    other = builder.subject_name(cn).add_extension(
        x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"urn:uuid:{uuid4()}")]), critical=False
    )
    no_uuid = builder.subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "admin")]))
    two = builder.subject_name(x509.Name([*cn, *cn]))
    for csr in (dns, other, no_uuid, two, builder.subject_name(x509.Name([]))):
        answer = await desk.enrol_raw(csr.sign(new_key(), SHA256()), token)
        assert answer.status == 400, answer.body


async def test_ed25519_is_refused_and_rsa_2048_is_not(desk: Desk) -> None:
    installation = uuid4()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, str(installation))])
    odd = x509.CertificateSigningRequestBuilder().subject_name(name).sign(ed25519.Ed25519PrivateKey.generate(), None)
    token = await desk.token()
    assert (await desk.enrol_raw(odd, token)).status == 400
    assert (await desk.enrol_raw(make_csr(rsa.generate_private_key(65537, 2048), installation), token)).status == 200


async def test_an_installation_of_another_organisation_cant_be_taken_over(desk: Desk) -> None:
    theirs = await desk.enrol("umbrella")
    token = await desk.token("acme")
    answer = await desk.enrol_raw(make_csr(new_key(), theirs.installation), token)
    assert answer.status == 403
    assert (await desk.enrol_raw(make_csr(new_key(), uuid4()), token)).status == 200


async def test_a_token_for_one_installation_is_for_no_other(desk: Desk) -> None:
    installation = uuid4()
    token = await desk.token(installation=installation)
    assert (await desk.enrol_raw(make_csr(new_key(), uuid4()), token)).status == 403
    assert (await desk.enrol_raw(make_csr(new_key(), installation), token)).status == 200


async def test_with_manual_approval_it_waits_and_is_told_for_how_long(desk: Desk) -> None:
    made, token = await desk.activations.create("acme", desk.clock.now(), 3600, needs_approval=True)
    csr = make_csr(new_key(), uuid4())
    waiting = await desk.enrol_raw(csr, token)
    assert waiting.status == 202
    assert waiting.headers["Retry-After"] == "60"
    assert (await desk.enrol_raw(make_csr(new_key(), uuid4()), token)).status == 401, "it is bound to the first CSR"
    desk.clock.advance(4000)  # beyond the token's own end
    assert (await desk.enrol_raw(csr, token)).status == 202
    assert [each.state(desk.clock.now()) for each in await desk.activations.list("acme")] == ["waits for approval"]
    assert await desk.activations.approve(made.id, desk.clock.now())
    assert not await desk.activations.approve(made.id, desk.clock.now())
    answer = await desk.enrol_raw(csr, token)
    assert answer.status == 200
    assert len(est.decode_certificates(answer.body)) == 1


async def test_a_refused_approval_gives_nothing(desk: Desk) -> None:
    made, token = await desk.activations.create("acme", desk.clock.now(), 3600, needs_approval=True)
    csr = make_csr(new_key(), uuid4())
    assert (await desk.enrol_raw(csr, token)).status == 202
    await desk.activations.revoke(made.id, desk.clock.now())
    assert not await desk.activations.approve(made.id, desk.clock.now())
    assert (await desk.enrol_raw(csr, token)).status == 401


def _renewal(identity: Identity, key: ec.EllipticCurvePrivateKey) -> x509.CertificateSigningRequest:
    san = identity.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    builder = x509.CertificateSigningRequestBuilder().subject_name(identity.certificate.subject)
    return builder.add_extension(san, critical=False).sign(key, SHA256())


async def test_renewal_is_for_who_holds_a_certificate_and_stays_who_it_is(desk: Desk) -> None:
    identity, key = await desk.enrol(), new_key()
    csr = _renewal(identity, key)
    assert (await desk.post_csr(est.REENROLL, csr)).status == 401
    answer = await desk.post_csr(est.REENROLL, csr, identity)
    assert answer.status == 200, answer.body
    (leaf,) = est.decode_certificates(answer.body)
    assert leaf.subject == identity.certificate.subject
    assert leaf.public_key() == key.public_key()
    assert (await desk.post_csr(est.REENROLL, csr, identity)).body == answer.body, "a lost answer can be had again"
    renewed = Identity("acme", identity.installation, key, leaf)
    assert (await desk.send(renewed, b"")).status == 200
    assert (await desk.send(identity, b"")).status == 200, "the old one stays good until it ends"
    stranger = await desk.enrol("umbrella")
    assert (await desk.post_csr(est.REENROLL, csr, stranger)).status == 403
    sibling = await desk.enrol("acme")
    assert (await desk.post_csr(est.REENROLL, csr, sibling)).status == 400


async def test_renewals_of_one_installation_are_bounded(desk: Desk) -> None:
    identity = await desk.enrol()
    statuses = [
        (await desk.post_csr(est.REENROLL, _renewal(identity, new_key()), identity)).status
        for _ in range(MAX_CERTIFICATES)
    ]
    assert statuses == [200] * (MAX_CERTIFICATES - 1) + [429]


async def test_no_renewal_with_a_certificate_that_was_revoked_or_has_ended(desk: Desk) -> None:
    identity, other = await desk.enrol(), await desk.enrol()
    assert await revoke(desk.store, str(identity.installation), desk.clock.now()) == 1
    assert (await desk.post_csr(est.REENROLL, _renewal(identity, new_key()), identity)).status == 403
    desk.clock.advance(8 * 86_400)
    assert (await desk.post_csr(est.REENROLL, _renewal(other, new_key()), other)).status == 401


async def test_enrolments_of_one_address_are_bounded(desk: Desk) -> None:
    csr = make_csr(new_key(), uuid4())
    async with desk.session() as session:
        statuses = []
        for _ in range(25):
            headers = {"Authorization": basic("acme", "x"), "Content-Type": est.CSR_TYPE}
            async with session.post(est.ENROLL, data=est.encode_csr(csr), headers=headers) as response:
                statuses.append(response.status)
                again = response.headers.get("Retry-After")
    assert statuses == [401] * 20 + [429] * 5
    assert again is not None
    assert re.fullmatch(r"\d+", again)


async def test_a_roll_over_is_taken_up_and_old_clients_go_on_and_learn_the_new_root(desk: Desk, tmp_path: Path) -> None:
    """`desk.authority` stays the old one, and with it all that its clients believe."""
    identity, directory = await desk.enrol(), tmp_path / "receiver/authority"
    async with desk.session(identity) as standing:
        assert (await standing.get("/healthz")).status == 200
        rolled = await roll_over(desk.store, directory, desk.clock.now(), By.command())
        await desk.receiver.generations.look()
        assert (await standing.post("/v1/logs", data=b"", headers={"Content-Type": CONTENT_TYPE})).status == 200
    assert (await desk.send(identity, b"")).status == 200, "a new handshake, with the old certificate and the old root"
    told = est.decode_certificates((await desk.ask("GET", est.CACERTS, identity)).body)
    assert learn([desk.authority.issuer], told, desk.clock.now()) == (rolled.issuer,)
    renewed = await desk.post_csr(est.REENROLL, _renewal(identity, key := new_key()), identity)
    (leaf,) = est.decode_certificates(renewed.body)
    leaf.verify_directly_issued_by(rolled.issuer)
    assert (await desk.send(Identity("acme", identity.installation, key, leaf), b"")).status == 200
    desk.authority = rolled
    assert (await desk.send(await desk.enrol(), b"")).status == 200, "who comes now needs the new root only"
    await desk.receiver.generations.look()
    assert desk.receiver.generations.now.issuer == rolled.issuer


async def test_a_ca_that_cant_be_read_leaves_the_one_before_in_place(desk: Desk, tmp_path: Path) -> None:
    key = tmp_path / "receiver/authority/ca.key"
    key.chmod(0o644)
    with capture_logs() as logs:
        for _ in range(3):
            await desk.receiver.generations.look()
    assert len(logs) == 1
    assert "0644" in logs[0]["error"]
    assert (await desk.send(await desk.enrol(), b"")).status == 200


@pytest.mark.parametrize("why", ["revoked", "forgotten"])
async def test_a_used_token_doesnt_bring_back_what_was_revoked_or_forgotten(desk: Desk, why: str) -> None:
    token, key, installation = await desk.token(), new_key(), uuid4()
    csr = make_csr(key, installation)
    answer = await desk.enrol_raw(csr, token)
    identity = Identity("acme", installation, key, est.decode_certificates(answer.body)[0])
    if why == "revoked":
        await revoke(desk.store, str(installation), desk.clock.now())
    else:
        assert (await desk.ask("DELETE", names.FORGET_PATH, identity)).status == 204
    assert (await desk.enrol_raw(csr, token)).status == 403
    assert (await desk.enrol_raw(make_csr(new_key(), installation), token)).status == 401
