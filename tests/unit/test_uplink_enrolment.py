"""Enrolment at vendors, good and bad: the cases of H that are its own, each named after what it shows."""

from __future__ import annotations

import asyncio
import base64
import os
import time
from collections.abc import AsyncIterator, Callable
from email.utils import formatdate
from pathlib import Path
from uuid import uuid4

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.support.enrolling import TOKEN, Bench, bench, eventually
from tests.support.est_server import Made, Vendor, leaf, vending
from uplink.client.enrolment.enrolment import Word
from uplink.client.enrolment.issued import BadCertificate, learn
from uplink.client.enrolment.keys import new_key, public_bytes, read_key
from uplink.receiver.authority import Authority
from uplink.wire import est
from uplink.wire.identity import installation_of, uris, urn
from uplink.wire.otlp import CONTENT_TYPE
from uplink.wire.private_file import PrivateFileError

DAY = 86_400.0


@pytest.fixture
async def vendor() -> AsyncIterator[Vendor]:
    async with vending() as made:
        yield made


@pytest.fixture
async def client(vendor: Vendor, tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(tmp_path / "identity", vendor.url, vendor.anchors_pem) as made:
        yield made


def cert(client: Bench) -> x509.Certificate:
    trust = client.enroller.trust()
    assert trust is not None
    return x509.load_pem_x509_certificates(trust.chain_pem.encode())[0]


async def enrolled(client: Bench) -> x509.Certificate:
    await client.begin()
    async with client.running():
        await client.until(Word.ACTIVE)
    return cert(client)


async def generation(client: Bench, number: int) -> None:
    await eventually(lambda: client.enroller.state().generation == number)


async def test_the_whole_way_from_nothing_to_a_probed_certificate(client: Bench, vendor: Vendor) -> None:
    assert client.files() == []
    got = await enrolled(client)
    assert vendor.paths() == ["cacerts", "simpleenroll", "logs"]
    assert [each.peer for each in vendor.asked] == [None, None, got]
    csr = est.decode_csr(vendor.asked[1].body)
    assert csr.subject == x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, str(client.bond.installation_id))])
    assert uris(csr) == [urn(client.bond.installation_id)]
    assert isinstance(csr.public_key(), ec.EllipticCurvePublicKey)
    assert base64.b64decode(vendor.asked[1].authorization[6:]).decode() == f"acme:{TOKEN}"
    assert b"\n" not in vendor.asked[1].body
    assert client.promotions == [client.clock.now()]
    assert client.enroller.state().generation == 1


async def test_the_token_is_gone_from_disk_and_memory_after_success(client: Bench) -> None:
    await client.begin()
    file = client.directory / "identity.json"
    assert TOKEN in file.read_text()
    old = os.open(file, os.O_RDONLY)
    async with client.running():
        await client.until(Word.ACTIVE)
    assert TOKEN.encode() not in b"".join(path.read_bytes() for path in client.files())
    assert TOKEN.encode() not in os.pread(old, 1 << 20, 0), "what was replaced is written over"
    os.close(old)
    assert client.kept().token is None
    assert TOKEN not in repr(client.enroller._session)
    assert "PRIVATE KEY" not in repr(client.enroller._session)
    assert "PRIVATE KEY" not in repr(client.enroller.trust())


async def test_h28_key_and_certificate_are_for_nobody_else(client: Bench) -> None:
    os.umask(0)
    try:
        await enrolled(client)
    finally:
        os.umask(0o022)
    assert [path.stat().st_mode & 0o777 for path in (client.directory, *client.files())] == [0o700, 0o600]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
async def test_h28_a_key_that_others_may_read_is_refused_with_the_remedy(client: Bench, mode: int) -> None:
    await enrolled(client)
    (client.directory / "identity.json").chmod(mode)
    await client.begin(None)
    state = client.enroller.state()
    assert (state.word, "chmod 600" in state.detail) == (Word.HELD, True)
    assert client.enroller.trust() is None


async def test_a_restart_goes_on_with_the_same_certificate_and_asks_nobody(client: Bench, vendor: Vendor) -> None:
    got = await enrolled(client)
    async with bench(client.directory, client.url, client.anchors_pem, bound=client.bond) as again:
        assert await again.begin(None)
        assert cert(again) == got
        async with again.running():
            await asyncio.sleep(0.05)
    assert len(vendor.asked) == 3


async def test_before_permission_nothing_is_asked_and_with_it_enrolment_goes_on(client: Bench, vendor: Vendor) -> None:
    client.allowed = False
    await client.begin()
    async with client.running():
        await asyncio.sleep(0.1)
        assert vendor.asked == []
        client.allowed = True
        await client.until(Word.ACTIVE)


# -- 202


@pytest.mark.parametrize(
    ("header", "wait_s"),
    [("120", 120), (None, 60), ("0", 1), ("-5", 1), ("9999999999", DAY), ("soon", 60), ("a date", 300)],
)
async def test_h11_202_is_waited_for_whatever_its_retry_after(
    client: Bench, vendor: Vendor, header: str | None, wait_s: float
) -> None:
    if header == "a date":
        header = formatdate(client.clock.now() + 300, usegmt=True)
    vendor.sign = lambda _: web.Response(status=202, headers={} if header is None else {"Retry-After": header})
    await client.begin()
    async with client.running():
        state = await client.until(Word.ENROLLING, detail="approve")
    assert state.next_attempt_at == pytest.approx(client.clock.now() + wait_s, abs=1)


async def test_h11_202_survives_a_restart_and_the_same_request_is_repeated(client: Bench, vendor: Vendor) -> None:
    sign = vendor.sign
    vendor.sign = lambda _: web.Response(status=202, headers={"Retry-After": "300"})
    await client.begin()
    async with client.running():
        await client.until(Word.ENROLLING, detail="approve")
    async with bench(client.directory, client.url, client.anchors_pem, bound=client.bond) as again:
        await again.begin(None)
        async with again.running():
            await asyncio.sleep(0.05)
            assert vendor.paths() == ["cacerts", "simpleenroll"], "not earlier than it was told"
            vendor.sign = sign
            again.clock.advance(301)
            again.enroller._woken.set()
            await again.until(Word.ACTIVE)
    assert vendor.paths() == ["cacerts", "simpleenroll", "simpleenroll", "logs"]
    assert vendor.asked[1].body == vendor.asked[2].body
    assert vendor.asked[1].authorization == vendor.asked[2].authorization


# -- refusals and answers that are none


@pytest.mark.parametrize("status", [401, 403])
async def test_h13_a_refused_token_is_never_shown_again(client: Bench, vendor: Vendor, status: int) -> None:
    vendor.sign = lambda _: web.Response(status=status, text=f"token {TOKEN} is used\n")
    await client.begin()
    async with client.running():
        state = await client.until(Word.HELD)
        client.clock.advance(DAY)
        client.enroller._woken.set()
        await asyncio.sleep(0.05)
    assert vendor.paths() == ["cacerts", "simpleenroll"]
    assert str(status) in state.detail
    assert "new activation token" in state.detail
    assert TOKEN not in state.detail
    assert TOKEN.encode() not in (client.directory / "identity.json").read_bytes()
    await client.begin(None)
    assert client.enroller.state().word is Word.HELD, "after a restart, too"
    vendor.sign = lambda csr: [leaf(vendor.authority, csr.public_key())(csr)]
    await client.begin("another-token")
    async with client.running():
        await client.until(Word.ACTIVE)


def _empty_bag() -> bytes:
    return base64.b64encode(bytes.fromhex("302306092a864886f70d010702a01630140201013100300b06092a864886f70d0107013100"))


GARBAGE: dict[str, Callable[[], Made]] = {
    "no PKCS#7": lambda: base64.b64encode(b"nonsense" * 20),
    "no base64": lambda: b"\x00\xff\x00",
    "an empty bag": _empty_bag,
    "a certificate in PEM": lambda: Authority.new("Vendor", time.time()).issuer.public_bytes(Encoding.PEM),
    "nothing": lambda: b"",
    "64 KiB and more": lambda: b"A" * 70_000,
    "a portal's page": lambda: web.Response(text="<html>log in", content_type="text/html"),
    "a redirect": lambda: web.Response(status=307, headers={"Location": "https://elsewhere.example.com"}),
    "404": lambda: web.Response(status=404),
    "500": lambda: web.Response(status=500),
}


@pytest.mark.parametrize("what", GARBAGE)
@pytest.mark.parametrize("where", ["cacerts", "simpleenroll"])
async def test_h12_an_answer_that_is_none_is_tried_again_later_with_the_same_key(
    client: Bench, vendor: Vendor, what: str, where: str
) -> None:
    sign, cacerts = vendor.sign, vendor.cacerts
    if where == "cacerts":
        vendor.cacerts = GARBAGE[what]
    else:
        vendor.sign = lambda _: GARBAGE[what]()
    await client.begin()
    async with client.running():
        state = await client.until(Word.ENROLLING, detail="localhost")
        assert state.next_attempt_at == pytest.approx(client.clock.now() + 2.5, abs=0.1)
        vendor.sign, vendor.cacerts = sign, cacerts
        client.clock.advance(3)
        client.enroller._woken.set()
        await client.until(Word.ACTIVE)
    bodies = {each.body for each in vendor.asked if each.path.endswith("simpleenroll")}
    assert len(bodies) == 1
    assert all("elsewhere" not in each.path for each in vendor.asked)


async def test_503_is_waited_for_as_it_asks_and_failures_back_off(client: Bench, vendor: Vendor) -> None:
    vendor.sign = lambda _: web.Response(status=503, headers={"Retry-After": "100"})
    await client.begin()
    async with client.running():
        state = await client.until(Word.ENROLLING, detail="503")
        assert state.next_attempt_at == pytest.approx(client.clock.now() + 100)
        vendor.sign = lambda _: web.Response(status=500)
        waits: list[float] = []
        for _ in range(4):
            client.clock.advance(5000)
            client.enroller._woken.set()
            failures = len(waits) + 2
            await eventually(lambda: client.kept().failures == failures)  # noqa: B023 - awaited in the loop
            waits.append(client.kept().not_before - client.clock.now())
    assert waits == pytest.approx([5, 10, 20, 40], abs=0.1)


async def test_h12_wrapped_base64_pem_armour_and_extra_certificates_are_fine(client: Bench, vendor: Vendor) -> None:
    def sign(csr: x509.CertificateSigningRequest) -> Made:
        others = [leaf(vendor.authority, new_key().public_key())(csr) for _ in range(2)]
        body = est.encode_certificates(
            [*others, leaf(vendor.authority, csr.public_key())(csr), vendor.authority.issuer]
        )
        wrapped = b"\r\n".join(body[at : at + 76] for at in range(0, len(body), 76))
        return web.Response(
            body=b"-----BEGIN PKCS7-----\n" + wrapped + b"\n-----END PKCS7-----\n",
            headers={"Content-Type": "application/pkcs7-mime", est.TRANSFER_ENCODING: "8bit"},
        )

    vendor.sign = sign
    got = await enrolled(client)
    assert public_bytes(got) == public_bytes(read_key(client.kept().active.key_pem))  # type: ignore[union-attr]  # enrolled


BAD: dict[str, tuple[dict[str, object], str]] = {
    "another key": ({"key": new_key().public_key()}, "for the key that we made"),
    "another installation": ({"installation": uuid4()}, "SAN is not our"),
    "a DNS name beside": (
        {"san": x509.SubjectAlternativeName([x509.DNSName("localhost")])},
        "something other than URIs",
    ),
    "a CA": ({"ca": True}, "one of a CA"),
    "ended": ({"begins": -8 * DAY}, "ended"),
    "not begun": ({"begins": 3600}, "s from now: see the clocks"),
    "ten years": ({"days": 3650}, "lives for 3650 days"),
    "31 days and a half": ({"days": 31.5}, "lives for 32 days"),
    "no clientAuth": ({"usages": ()}, "not for clientAuth"),
    "serverAuth": ({"usages": (ExtendedKeyUsageOID.SERVER_AUTH,)}, "not for clientAuth"),
    "another CA's": ({"signer": new_key()}, "does not lead to a trust anchor"),
    "the right to sign": (
        {"extensions": [x509.KeyUsage(True, False, False, False, False, True, False, False, False)]},
        "key usage",
    ),
}


@pytest.mark.parametrize("what", BAD)
async def test_h12_a_certificate_that_is_not_what_was_asked_for_is_not_used(
    client: Bench, vendor: Vendor, what: str
) -> None:
    wrong, why = BAD[what]
    vendor.sign = lambda csr: [leaf(vendor.authority, **{"key": csr.public_key(), **wrong})(csr)]  # type: ignore[arg-type]  # a table
    await client.begin()
    async with client.running():
        await client.until(Word.ENROLLING, detail=why)
    assert client.enroller.trust() is None
    assert client.kept().candidate is None
    assert client.kept().token == TOKEN
    assert vendor.paths() == ["cacerts", "simpleenroll"], "nothing was probed"


async def test_h16_a_certificate_that_begins_a_little_later_is_taken(client: Bench, vendor: Vendor) -> None:
    vendor.sign = lambda csr: [leaf(vendor.authority, csr.public_key(), begins=200)(csr)]
    vendor.ingest = lambda _: web.Response(status=503)
    await client.begin()
    async with client.running():
        await eventually(lambda: client.kept().candidate)


async def test_a_ca_that_the_anchors_do_not_know_is_told_so(tmp_path: Path, vendor: Vendor) -> None:
    stranger = Authority.new("Stranger", time.time())
    vendor.cacerts = lambda: stranger.bundle
    async with bench(tmp_path / "identity", vendor.url, vendor.anchors_pem) as client:
        await client.begin()
        async with client.running():
            await client.until(Word.ENROLLING, detail="none of the trust anchors")
    pem = stranger.issuer.public_bytes(Encoding.PEM).decode()
    async with bench(tmp_path / "other", vendor.url, pem) as client:
        await client.begin()
        async with client.running():
            await client.until(Word.ENROLLING, detail="not vouched for by the trust anchors")
    assert "simpleenroll" not in vendor.paths(), "the token is for nobody whom the anchors don't vouch for"


# -- probe


async def test_a_candidate_is_not_used_before_the_ingest_has_accepted_it(client: Bench, vendor: Vendor) -> None:
    portal = web.Response(text="<html>", content_type="text/html")
    answers = [web.Response(status=503), portal, web.Response(status=401), web.Response(content_type=CONTENT_TYPE)]
    vendor.ingest = lambda _: answers.pop(0)
    await client.begin()
    async with client.running():
        for _ in range(3):
            await client.until(Word.ENROLLING, detail="answers")
            assert client.enroller.trust() is None
            before = len(vendor.asked)
            client.clock.advance(3600)
            client.enroller._woken.set()
            await eventually(lambda: len(vendor.asked) > before)  # noqa: B023 - awaited in the loop
        await client.until(Word.ACTIVE)
    assert vendor.paths().count("simpleenroll") == 1


async def test_a_candidate_that_the_ingest_never_accepts_is_given_up(client: Bench, vendor: Vendor) -> None:
    vendor.ingest = lambda _: web.Response(status=403)
    await client.begin()
    async with client.running():
        async with asyncio.timeout(5):
            while client.enroller.state().word is not Word.HELD:
                client.clock.advance(600)
                client.enroller._woken.set()
                await asyncio.sleep(0.01)
    assert vendor.paths().count("logs") == 5
    assert "new activation token" in client.enroller.state().detail


# -- renewal


async def test_h15_renewal_at_two_thirds_with_the_subject_and_san_that_the_ca_has_written(
    client: Bench, vendor: Vendor
) -> None:
    """The RA writes another subject, with string types of its own; servers may compare the bytes."""
    rewritten = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Acme GmbH", _ASN1Type.PrintableString),
            x509.NameAttribute(NameOID.COMMON_NAME, "device 4711", _ASN1Type.PrintableString),
        ]
    )
    begins = iter([5 - 7 * DAY * 2 / 3, -3600.0])
    vendor.sign = lambda csr: [leaf(vendor.authority, csr.public_key(), subject=rewritten, begins=next(begins))(csr)]
    first = await enrolled(client)
    old = client.enroller.trust()
    async with client.running():
        await asyncio.sleep(0.02)
        assert len(vendor.asked) == 3
        client.clock.advance(6)
        client.enroller._woken.set()
        await generation(client, 2)
    assert vendor.paths()[3:] == ["cacerts", "simplereenroll", "logs"]
    renewal = vendor.asked[4]
    assert (renewal.peer, renewal.authorization) == (first, "")
    csr = est.decode_csr(renewal.body)
    assert csr.subject.public_bytes() == first.subject.public_bytes()
    san = [each.extensions.get_extension_for_class(x509.SubjectAlternativeName).value for each in (csr, first)]
    assert san[0].public_bytes() == san[1].public_bytes()
    assert public_bytes(cert(client)) != public_bytes(first), "a new key"
    assert vendor.asked[5].peer == cert(client)
    assert len(client.promotions) == 2
    assert old not in client.transport._lines, "connections with the old certificate are gone"


async def test_h16_a_renewal_that_fails_keeps_the_certificate_and_says_so(client: Bench, vendor: Vendor) -> None:
    first = await enrolled(client)
    vendor.sign = lambda _: web.Response(status=403, text="revoked\n")
    client.clock.advance(5 * DAY)
    async with client.running():
        state = await client.until(Word.DEGRADED)
        assert "403: revoked" in state.detail
        assert cert(client) == first
        assert client.kept().not_before == pytest.approx(client.clock.now() + 6 * 3600)
        client.clock.advance(3 * DAY)
        client.enroller._woken.set()
        state = await client.until(Word.HELD)
    assert "has ended" in state.detail
    assert client.enroller.trust() is None


async def test_h16_a_clock_that_was_ahead_and_is_set_back_ends_nothing(client: Bench) -> None:
    first = await enrolled(client)
    client.clock.advance(400 * DAY)
    assert client.enroller.trust() is None
    client.clock.advance(-400 * DAY)
    assert cert(client) == first
    assert client.enroller.state().word is Word.ACTIVE


async def test_h13_what_the_ingest_does_not_accept_is_renewed_once_a_day(client: Bench, vendor: Vendor) -> None:
    await enrolled(client)
    async with client.running():
        client.enroller.not_accepted(7)
        client.enroller.not_accepted(1)
        await generation(client, 2)
        client.enroller.not_accepted(2)
        await asyncio.sleep(0.05)
    assert vendor.paths().count("simplereenroll") == 1


async def test_h14_ca_roll_over_is_followed_where_the_old_root_vouches_for_the_new(tmp_path: Path) -> None:
    old = Authority.new("Vendor", time.time())
    anchors = old.issuer.public_bytes(Encoding.PEM).decode()
    new = old.rolled(time.time())
    directory = tmp_path / "identity"
    async with vending(new) as vendor, bench(directory, vendor.url, anchors) as client:
        got = await enrolled(client)
        got.verify_directly_issued_by(new.issuer)
        assert len(client.kept().learned) == 1
        async with bench(directory, vendor.url, anchors, bound=client.bond) as again:
            await again.begin(None)
            assert cert(again) == got


def test_h14_roots_follow_each_other_and_a_stranger_stays_one() -> None:
    now = time.time()
    first = Authority.new("Vendor", now)
    second = first.rolled(now)
    third = second.rolled(now)
    assert learn([first.issuer], second.bundle, now) == (second.issuer,)
    assert learn([first.issuer, second.issuer], third.bundle, now) == (third.issuer,)
    assert learn([first.issuer], first.bundle, now) == ()
    with pytest.raises(BadCertificate):
        learn([first.issuer], third.bundle, now)
    with pytest.raises(BadCertificate):
        learn([first.issuer], [Authority.new("Vendor", now).issuer], now)
    assert learn([first.issuer], second.bundle, now + 11 * 365 * DAY) == (), "what has ended vouches for nobody"


async def test_h14_a_root_that_nobody_vouches_for_is_not_learned(client: Bench, vendor: Vendor) -> None:
    stranger = Authority.new("Vendor", time.time())
    vendor.cacerts = lambda: [vendor.authority.issuer, stranger.issuer]
    await enrolled(client)
    assert client.kept().learned == ()


# -- whose it is


@pytest.mark.parametrize("what", ["organisation", "host", "consent_id", "installation_id", "register_url"])
async def test_h8_another_bond_never_gets_the_identity_of_the_one_before(client: Bench, what: str) -> None:
    """Organisation changed, cluster recycled, consent anew, endpoint edited: destroyed, and enrolled again."""
    client.bond = client.bond.model_copy(update={"host": "one"})
    await enrolled(client)
    value = uuid4() if what.endswith("_id") else "other"
    other = client.bond.model_copy(update={what: value})
    assert not await client.begin(None, other)
    assert client.files() == []
    assert client.enroller.trust() is None
    assert client.enroller.state().word is Word.HELD
    assert await client.begin("another-token", other.model_copy(update={"register_url": client.url}))
    async with client.running():
        await client.until(Word.ACTIVE)
    assert installation_of(cert(client)) == client.bond.installation_id


async def test_h8_the_uid_of_our_cluster_that_is_known_only_later_is_kept_then(client: Bench) -> None:
    """Else an identity from a start in which nobody could read it would serve every cluster for ever."""
    await enrolled(client)
    assert client.bond.host == ""
    for host in ("", "one", ""):
        assert await client.begin(None, client.bond.model_copy(update={"host": host}))
        assert client.enroller.state().word is Word.ACTIVE
    assert client.kept().bond.host == "one"
    assert not await client.begin(None, client.bond.model_copy(update={"host": "recycled"}))
    assert client.files() == []


async def test_h18_a_damaged_identity_does_not_count_and_a_new_token_mends_it(client: Bench) -> None:
    await enrolled(client)
    file = client.directory / "identity.json"
    file.write_bytes(file.read_bytes().replace(b"BEGIN EC", b"BEGIN XX").replace(b"BEGIN PRIVATE", b"BEGIN PIRATE"))
    await client.begin(None)
    state = client.enroller.state()
    assert (state.word, "damaged" in state.detail) == (Word.HELD, True)
    await client.begin("another-token")
    async with client.running():
        await client.until(Word.ACTIVE)


# -- off


async def test_destroy_leaves_nothing_on_disk_or_in_memory(client: Bench) -> None:
    await enrolled(client)
    (client.directory / ".identity.json.0bad").write_bytes(b"left by a crash")
    key = client.kept().active.key_pem.encode()  # type: ignore[union-attr]  # enrolled
    still = os.open(client.directory / "identity.json", os.O_RDONLY)
    assert key[40:80] in os.pread(still, 1 << 20, 0)
    await client.enroller.destroy()
    assert key[40:80] not in os.pread(still, 1 << 20, 0)
    os.close(still)
    assert client.files() == []
    assert client.enroller.trust() is None
    assert client.enroller.state().word is Word.OFF
    await client.enroller.destroy()


async def test_destroy_with_nothing_there_makes_nothing(client: Bench) -> None:
    await client.enroller.destroy()
    assert not client.directory.exists()


async def test_what_cant_be_destroyed_is_an_error_that_names_it(client: Bench) -> None:
    await enrolled(client)
    (client.directory / "odd").mkdir()
    with pytest.raises(PrivateFileError, match="odd Is a directory"):
        await client.enroller.destroy()
    assert client.enroller.trust() is None


async def test_h3_off_while_an_answer_is_on_its_way_brings_nothing_back(client: Bench, vendor: Vendor) -> None:
    sign = vendor.sign

    def off_then_sign(csr: x509.CertificateSigningRequest) -> Made:
        off.append(asyncio.create_task(client.enroller.destroy()))
        return sign(csr)

    off: list[asyncio.Task[None]] = []
    vendor.sign = off_then_sign
    await client.begin()
    async with client.running():
        await eventually(lambda: off)
        await off[0]
        await asyncio.sleep(0.1)
    assert client.files() == []
    assert client.enroller.trust() is None
    assert vendor.paths() == ["cacerts", "simpleenroll"]


async def test_cancelled_at_each_await_it_goes_on_where_it_was(client: Bench, vendor: Vendor) -> None:
    """Cancels the task after 1, 2, 3, ... turns of the loop, and starts it again each time, until it is done."""
    await client.begin()
    turns = 0
    async with asyncio.timeout(20):
        while client.enroller.state().word is not Word.ACTIVE:
            turns += 1
            async with client.running():
                for _ in range(turns):
                    await asyncio.sleep(0)
                    if turns > 12:
                        await asyncio.sleep(0.0005)
    assert turns > 5
    assert len({each.body for each in vendor.asked if each.path.endswith("simpleenroll")}) == 1
    assert client.kept().generation == 1
    assert client.kept().token is None


async def test_h18_no_space_for_the_identity_stands_still_and_says_so(vendor: Vendor, tmp_path: Path) -> None:
    class Full:
        place = "full"
        full = False

        async def read(self) -> bytes | None:
            return None

        async def write(self, document: bytes) -> None:
            if self.full:
                raise PrivateFileError(0, "full: No space left on device")

        async def destroy(self) -> None:
            pass

    vault = Full()
    async with bench(tmp_path, vendor.url, vendor.anchors_pem, vault=vault) as client:
        await client.begin()
        vault.full = True
        async with client.running():
            await client.until(Word.ENROLLING, detail="No space left")
    assert vendor.paths() == ["cacerts"], "no CSR goes out whose key is not kept"
