"""Keys and CSRs, made here and nowhere else."""

from __future__ import annotations

from uuid import UUID

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from uplink.wire.identity import urn

Key = ec.EllipticCurvePrivateKey


def new_key() -> Key:
    """On P-256."""
    return ec.generate_private_key(ec.SECP256R1())


def write_key(key: Key) -> str:
    """PKCS#8 in PEM, without a password: it would lie beside it."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def read_key(pem: str) -> Key:
    """Raises ValueError that holds nothing of it."""
    try:
        key = load_pem_private_key(pem.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    raise ValueError("the key is none on P-256 in PEM")


def public_bytes(of: Key | x509.Certificate) -> bytes:
    """By which a key and its certificate know each other."""
    return of.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def first_csr(key: Key, installation: UUID) -> x509.CertificateSigningRequest:
    """CN and SAN are the installation's id; the organisation is for the other side to say."""
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(urn(installation))])
    return (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, str(installation))]))
        .add_extension(names, critical=False)
        .sign(key, SHA256())
    )


def renewal_csr(key: Key, issued: x509.Certificate) -> x509.CertificateSigningRequest:
    """Subject and SAN are those of the issued certificate, byte for byte, whatever a CA has made of them (H15).

    Some servers compare the DER and not the names: string types are kept.
    """
    builder = x509.CertificateSigningRequestBuilder().subject_name(issued.subject)
    try:
        names = issued.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return builder.sign(key, SHA256())
    return builder.add_extension(names.value, critical=names.critical).sign(key, SHA256())
