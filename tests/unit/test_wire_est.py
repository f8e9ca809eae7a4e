"""EST's bodies: what we send is strict, what we read is tolerant, and nothing is unbounded."""

from __future__ import annotations

import base64
import textwrap
from uuid import uuid4

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from hypothesis import given
from hypothesis import strategies as st

from tests.support.receiving import make_csr, new_key
from uplink.receiver.authority import Authority
from uplink.wire import est
from uplink.wire.bounds import MAX_CSR_BYTES, MAX_EST_BYTES
from uplink.wire.errors import TooLarge, WireError
from uplink.wire.identity import organisation_id, uris, urn, uuid_of, uuid_of_urn
from uplink.wire.retry import retry_after_header, retry_after_s


@pytest.fixture(scope="module")
def certificate() -> x509.Certificate:
    return Authority.new("Test", 1_800_000_000).issuer


def test_certificates_travel_in_one_line(certificate: x509.Certificate) -> None:
    body = est.encode_certificates([certificate])
    assert b"\n" not in body
    assert est.decode_certificates(body) == [certificate]


def test_wrapped_lines_pem_and_plain_der_are_read_too(certificate: x509.Certificate) -> None:
    der = pkcs7.serialize_certificates([certificate], Encoding.DER)
    wrapped = "\r\n".join(textwrap.wrap(base64.b64encode(der).decode(), 76)).encode() + b"\r\n"
    for body in (wrapped, b"  " + wrapped, der, pkcs7.serialize_certificates([certificate], Encoding.PEM)):
        assert est.decode_certificates(body) == [certificate]


def test_a_bag_whose_certificates_are_in_any_order_is_read_without_a_warning(certificate: x509.Certificate) -> None:
    """DER sorts a SET; openssl's `crl2pkcs7` does not."""
    both = [certificate, Authority.new("Other", 1_800_000_000).issuer]
    ders = [each.public_bytes(Encoding.DER) for each in both]
    der = pkcs7.serialize_certificates(both, Encoding.DER)
    sorted_, unsorted = b"".join(sorted(ders)), b"".join(sorted(ders, reverse=True))
    assert sorted_ in der
    assert len(est.decode_certificates(base64.b64encode(der.replace(sorted_, unsorted)))) == 2


def test_what_is_no_bag_of_certificates_is_refused(certificate: x509.Certificate) -> None:
    empty = bytes.fromhex(
        "302306092a864886f70d010702a0163014020101310030 0b06092a864886f70d0107013100".replace(" ", "")
    )
    for body in (
        b"",
        b"<html>please log in</html>",
        base64.b64encode(b"\x30\x03\x02\x01\x01"),
        base64.b64encode(empty),
        certificate.public_bytes(Encoding.PEM),
        base64.b64encode(certificate.public_bytes(Encoding.DER)),
        est.encode_certificates([certificate] * 17),
    ):
        with pytest.raises(WireError):
            est.decode_certificates(body)
    with pytest.raises(TooLarge):
        est.decode_certificates(b"M" * (MAX_EST_BYTES + 1))


def test_a_csr_survives_the_way() -> None:
    csr = make_csr(new_key(), uuid4())
    assert est.decode_csr(est.encode_csr(csr)) == csr
    with pytest.raises(TooLarge):
        est.decode_csr(b"M" * (MAX_CSR_BYTES + 1))


@given(st.binary(max_size=300))
def test_any_bytes_are_a_csr_or_a_wire_error(body: bytes) -> None:
    for decode in (est.decode_csr, est.decode_certificates):
        for each in (body, base64.b64encode(body)):
            with pytest.raises(WireError):
                decode(each)


NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, 60),
        ("", 60),
        ("soon", 60),
        ("30", 30),
        (" 30 ", 30),
        ("0", 1),
        ("-5", 1),
        ("99999999999999999999", 86_400),
        ("1" * 5000, 86_400),
        ("Fri, 15 Jan 2027 08:01:40 GMT", 100),
        ("Fri, 15 Jan 2027 07:00:00 GMT", 1),
        ("Fri, 15 Jan 2099 08:00:00 GMT", 86_400),
        ("Fri, 99 Jan 2027 08:00:00 GMT", 60),
        ("1e3", 60),
        ("nan", 60),
        ("٣٠", 60),
    ],
)
def test_retry_after_is_always_a_wait_within_bounds(header: str | None, seconds: float) -> None:
    assert retry_after_s(header, NOW) == seconds


def test_retry_after_is_sent_in_whole_seconds() -> None:
    assert [retry_after_header(seconds) for seconds in (0, 0.2, 59.1, 1e9)] == ["1", "1", "60", "86400"]


def test_ids_are_ids_and_nothing_else() -> None:
    for good in ("a", "acme", "acme-1.eu_2", "0" * 63):
        assert organisation_id(good) == good
    for bad in ("", "Acme", "a b", "-a", "a-", "a" * 64, "a/b", "a:b", "é", "a\n"):
        with pytest.raises(WireError):
            organisation_id(bad)
    installation = uuid4()
    assert uuid_of_urn(urn(installation)) == installation
    for text in (str(installation).replace("-", ""), f"{{{installation}}}", f"urn:uuid:{installation}", "x"):
        with pytest.raises(WireError):
            uuid_of(text, "it")
    with pytest.raises(WireError):
        uuid_of_urn(str(installation))
    assert uris(make_csr(new_key(), installation)) == [urn(installation)]
