"""PEM and tokens: what is accepted, what is refused, and that refusals hold nothing of the content."""

from __future__ import annotations

import datetime as dt
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from tests.support.kubeconfigs import ca_pem, client_pair, jwt
from validator.credential_sources.material import MAX_TOKEN_CHARS, assemble, checked_token, jwt_expiry
from validator.pem import ca_bundle, check_pair, client_key

EC_KEY = ec.generate_private_key(ec.SECP256R1())
AnyKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


def key_pem(key: AnyKey, form: PrivateFormat, encryption: KeySerializationEncryption | None = None) -> str:
    return key.private_bytes(Encoding.PEM, form, encryption or NoEncryption()).decode()


def certificate(key: AnyKey) -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hub")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
        .not_valid_after(dt.datetime(2030, 1, 1, tzinfo=dt.UTC))
    )
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, algorithm).public_bytes(Encoding.PEM).decode()


SERIAL_ZERO = """
-----BEGIN CERTIFICATE-----
MIIBbTCCARSgAwIBAgIBADAKBggqhkjOPQQDAjAVMRMwEQYDVQQDDAprdWJlcm5l
dGVzMCAXDTI2MTEyMTA0MzEwNloYDzIxMjYxMDI4MDQzMTA2WjAVMRMwEQYDVQQD
DAprdWJlcm5ldGVzMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE7aw3uWquZxm2
vgP23KFf83koZTGw9KRjwZY6e07Gl0437B8xDLkM7qO/15PYgPRyJ/dVH3mphIY7
H7E+I/BlOKNTMFEwHQYDVR0OBBYEFI3N75J7GSQQsCPiTvgM4aWSrWxHMB8GA1Ud
IwQYMBaAFI3N75J7GSQQsCPiTvgM4aWSrWxHMA8GA1UdEwEB/wQFMAMBAf8wCgYI
KoZIzj0EAwIDRwAwRAIga4TOo7FhLAYbR9ICoGFJIe2j/kjIOExS+azatkA8eU4C
IBle1ICkmNQsq1vqNp6RdwZMucbQqLMa58UFYMLAgjQV
-----END CERTIFICATE-----
"""


def test_a_ca_with_serial_number_0_is_accepted() -> None:
    """Kubeadm made them so for years, and `cryptography` deprecates them."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=ca_bundle(SERIAL_ZERO))
    assert context.get_ca_certs()[0]["serialNumber"] == "00"


def test_only_certificates_are_kept_and_each_once() -> None:
    chain, key = client_pair()
    assert ca_bundle(f"{key}{ca_pem()}\r\n{ca_pem()}{chain}").count("BEGIN") == 2
    assert "PRIVATE" not in ca_bundle(key + ca_pem())


@pytest.mark.parametrize("key", [EC_KEY, rsa.generate_private_key(65537, 2048), ed25519.Ed25519PrivateKey.generate()])
def test_every_kind_of_key_fits_its_certificate(key: AnyKey) -> None:
    assert check_pair(certificate(key), client_key(key_pem(key, PrivateFormat.PKCS8))) == 1893456000.0
    with pytest.raises(ValueError, match="does not belong"):
        check_pair(certificate(key), client_pair()[1])


def test_a_key_behind_its_parameters_is_found() -> None:
    """`openssl ecparam -genkey` writes such files."""
    parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    old = key_pem(EC_KEY, PrivateFormat.TraditionalOpenSSL)
    assert check_pair(certificate(EC_KEY), client_key(parameters + old)) > 0


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_an_encrypted_key_is_told_apart(form: PrivateFormat) -> None:
    with pytest.raises(ValueError, match="nobody is there to type its password"):
        client_key(key_pem(EC_KEY, form, BestAvailableEncryption(b"secret")))


def test_a_key_of_garbage_is_refused_without_quoting_it() -> None:
    with pytest.raises(ValueError, match="no usable private key") as caught:
        assemble(None, client_pair()[0], "-----BEGIN PRIVATE KEY-----\nczNjcmV0\n-----END PRIVATE KEY-----")
    assert "czNjcmV0" not in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_a_token_loses_the_space_around_it_and_nothing_else_is_forgiven() -> None:
    assert checked_token(" abc\n") == "abc"
    for bad in ("", " \n", "a b", "a\nb", "a\u00e4", "a\x00", "x" * (MAX_TOKEN_CHARS + 1)):
        with pytest.raises(ValueError, match="token"):
            checked_token(bad)


@pytest.mark.parametrize(
    ("token", "expiry"),
    [
        (jwt(exp=1_800_000_000), 1_800_000_000.0),
        (jwt(exp="soon"), None),
        (jwt(exp=1e300), None),
        (jwt(exp=True), None),
        (jwt(sub="x"), None),
        ("a.b.c", None),
        ("eyJ.%%%.x", None),
        ("opaque", None),
        (f"a.{'W1tb' * 2000}.c", None),
    ],
)
def test_the_expiry_of_a_token_is_read_where_there_is_one(token: str, expiry: float | None) -> None:
    assert jwt_expiry(token) == expiry


def test_the_earliest_end_counts() -> None:
    chain, key = certificate(EC_KEY), key_pem(EC_KEY, PrivateFormat.PKCS8)
    assert assemble(jwt(exp=1_800_000_000), chain, key).expires_at == 1_800_000_000.0
    assert assemble("opaque", chain, key).expires_at == 1893456000.0
    assert assemble("opaque", None, None).expires_at is None
