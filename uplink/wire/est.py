"""EST's bodies (RFC 7030, with the base64 of RFC 8951).

What we send is strict: base64 in one line, since strongSwan before 5.9.9 refuses wrapped lines. What we read is
tolerant: whitespace anywhere, a missing or lying `Content-Transfer-Encoding` (RFC 8951 section 2.1: ignore it), PEM
armour around PKCS#7, DER without base64. None of these tolerances changes what is signed.
"""

from __future__ import annotations

import base64
import binascii
import re
import warnings
from collections.abc import Sequence

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from uplink.wire.bounds import MAX_CERTIFICATES, MAX_CSR_BYTES, MAX_EST_BYTES
from uplink.wire.errors import TooLarge, WireError

PATH = "/.well-known/est"
CACERTS = f"{PATH}/cacerts"
ENROLL = f"{PATH}/simpleenroll"
REENROLL = f"{PATH}/simplereenroll"
CSRATTRS = f"{PATH}/csrattrs"

CERTIFICATES_TYPE = "application/pkcs7-mime"
"""Also with `smime-type=certs-only`: compare what stands before the semicolon."""
CERTS_ONLY_TYPE = f"{CERTIFICATES_TYPE}; smime-type=certs-only"
CSR_TYPE = "application/pkcs10"
CSRATTRS_TYPE = "application/csrattrs"
TRANSFER_ENCODING = "Content-Transfer-Encoding"
"""Sent as `base64` for clients of the old RFC; never read."""

WANTED = base64.b64encode(bytes.fromhex("3021301506072a8648ce3d0201310a06082a8648ce3d03010706082a8648ce3d040302"))
"""Answer of `csrattrs`: a key on P-256, and a CSR signed with ECDSA and SHA-256 (RFC 7030 section 4.5.2)."""

_BER = "PKCS#7 certificates could not be parsed as DER"
"""What cryptography warns of, and reads all the same: openssl puts the certificates of a bag in any order."""

_ARMOUR = re.compile(rb"-----(?:BEGIN|END) (PKCS ?#?7(?: SIGNED DATA)?|CMS)-----")


def encode_certificates(certificates: Sequence[x509.Certificate]) -> bytes:
    """A certs-only PKCS#7 of these, as base64 in one line."""
    return base64.b64encode(pkcs7.serialize_certificates(list(certificates), Encoding.DER))


def decode_certificates(body: bytes) -> list[x509.Certificate]:
    """All certificates of an EST answer, in no order that could be relied on: find the leaf by its key.

    Raises `WireError`, also for an empty bag.
    """
    if len(body) > MAX_EST_BYTES:
        raise TooLarge(f"the EST answer is longer than {MAX_EST_BYTES} bytes")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", _BER, UserWarning)
            found = pkcs7.load_der_pkcs7_certificates(_der(body, "the EST answer"))
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise error if isinstance(error, WireError) else WireError("the EST answer is no certs-only PKCS#7") from error
    if not 0 < len(found) <= MAX_CERTIFICATES:
        raise WireError(f"the EST answer holds {len(found)} certificates; 1 to {MAX_CERTIFICATES} make sense")
    return found


def encode_csr(csr: x509.CertificateSigningRequest) -> bytes:
    """Base64 in one line."""
    return base64.b64encode(csr.public_bytes(Encoding.DER))


def decode_csr(body: bytes) -> x509.CertificateSigningRequest:
    """A CSR as it stands: nothing of it is checked but that it can be read. Raises `WireError`."""
    if len(body) > MAX_CSR_BYTES:
        raise TooLarge(f"the CSR is longer than {MAX_CSR_BYTES} bytes")
    try:
        csr = x509.load_der_x509_csr(_der(body, "the CSR"))
        _ = csr.subject, list(csr.extensions)  # parsed on first use; a broken one must show here
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension) as error:
        raise error if isinstance(error, WireError) else WireError("the CSR is no PKCS#10 in DER and base64") from error
    return csr


def _der(body: bytes, what: str) -> bytes:
    if body[:2] in (b"\x30\x80", b"\x30\x81", b"\x30\x82", b"\x30\x83"):
        return body  # base64 of DER begins with an M, and so has no such bytes
    plain = b"".join(_ARMOUR.sub(b"", body).split())
    try:
        return base64.b64decode(plain, validate=True)
    except binascii.Error as error:
        raise WireError(f"{what} is not base64 (RFC 4648 section 4)") from error
