"""Which CSRs are signed; pure.

Of a CSR two things are taken: its key, and the installation id that it proposes. Everything else would come from us
anyway, so a CSR that asks for more is either a mistake, which its sender should hear of, or an attempt: both are
refused and not trimmed silently.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from uplink.receiver.authority import PublicKey
from uplink.wire.errors import WireError
from uplink.wire.identity import common_name, uris, urn, uuid_of

RSA_BITS = range(2048, 4097)
"""NIST SP 800-57 from below; from above what can be checked in under a millisecond."""
RSA_EXPONENT = 65_537


@dataclass(frozen=True, slots=True)
class Wish:
    """What is taken from a CSR. `organisation` is only ever compared."""

    key: PublicKey
    installation: UUID
    organisation: str | None


def read_wish(csr: x509.CertificateSigningRequest) -> Wish:
    """What the CSR asks for, if that can be signed at all. Raises `WireError` that says which rule it breaks."""
    try:
        hash_ = csr.signature_hash_algorithm
        if not csr.is_signature_valid:
            raise WireError("the CSR is not signed with its own key")
        key = csr.public_key()
    except (UnsupportedAlgorithm, ValueError, TypeError) as error:
        raise error if isinstance(error, WireError) else WireError("the CSR's key or signature is unknown") from error
    if not isinstance(hash_, hashes.SHA256 | hashes.SHA384 | hashes.SHA512):
        raise WireError("the CSR is signed with a hash that is not SHA-256, SHA-384 or SHA-512")
    _only_for_a_client(csr)
    installation = uuid_of(common_name(csr), "the CSR's CN")
    names = uris(csr)
    if names and [name.lower() for name in names] != [urn(installation)]:
        raise WireError("the CSR's SAN is not urn:uuid: with the CN, and that alone")
    organisations = [str(each.value) for each in csr.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
    if len(organisations) > 1:
        raise WireError("the CSR names several organisations")
    return Wish(_allowed(key), installation, organisations[0] if organisations else None)


def _allowed(key: object) -> PublicKey:
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size not in RSA_BITS or key.public_numbers().e != RSA_EXPONENT:
            raise WireError(
                f"the CSR's RSA key has to have {RSA_BITS[0]} to {RSA_BITS[-1]} bits and the exponent {RSA_EXPONENT}"
            )
        return key
    raise WireError("the CSR's key is neither on P-256 nor RSA")


def _only_for_a_client(csr: x509.CertificateSigningRequest) -> None:
    for extension in csr.extensions:
        value = extension.value
        if isinstance(value, x509.BasicConstraints) and value.ca:
            raise WireError("the CSR asks for a CA")
        if isinstance(value, x509.KeyUsage) and (value.key_cert_sign or value.crl_sign):
            raise WireError("the CSR asks for the right to sign certificates")
        if isinstance(value, x509.ExtendedKeyUsage) and list(value) != [ExtendedKeyUsageOID.CLIENT_AUTH]:
            raise WireError("the CSR asks for another use than clientAuth")
