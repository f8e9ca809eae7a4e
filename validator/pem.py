"""PEM as people give it, made into PEM that OpenSSL takes: only the wanted blocks, in ASCII, checked.

CA bundles carry comments in any alphabet, which `ssl` refuses (`cadata` must be ASCII); and two files that differ
in comments only must give one identity (endpoint + CA).
"""

from __future__ import annotations

import base64
import binascii
import re
import ssl

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

MAX_CA_BYTES = 512 * 1024
"""A whole system bundle is about 220 KiB; a cluster's CA is 1-2 KiB."""
MAX_CLIENT_BYTES = 64 * 1024
"""A client certificate with its chain, or a key: a few KiB; 16384-bit RSA keys are 13 KiB."""

_BLOCK = re.compile(r"-----BEGIN (?P<label>[A-Z0-9 ]+)-----(?P<body>.*?)-----END (?P=label)-----", re.DOTALL)
_KEY_LABELS = frozenset({"PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"})


def ca_bundle(text: str) -> str:
    """The certificates of `text`. Raises ValueError, in words, unless OpenSSL takes every one of them.

    OpenSSL itself is asked, as it is the one that will use them. `cryptography` was rejected here: it deprecates
    serial number 0, which is what kubeadm gave its CAs for years.
    """
    pem = _certificates(text, MAX_CA_BYTES)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem)
    except ssl.SSLError as error:
        raise ValueError("holds a CERTIFICATE block that is no X.509 certificate") from error
    return pem


def client_chain(text: str) -> str:
    """The certificates of `text`, its owner's first. Raises ValueError, in words."""
    return _certificates(text, MAX_CLIENT_BYTES)


def client_key(text: str) -> str:
    """The private key in `text`. Raises ValueError, in words that hold nothing of it."""
    _bound(text, MAX_CLIENT_BYTES)
    labels = []
    for block in _BLOCK.finditer(text):
        labels.append(block["label"])
        if block["label"] in _KEY_LABELS:
            if "ENCRYPTED" in block["body"]:
                break
            return _block(block["label"], block["body"])
    if any("ENCRYPTED" in label or label in _KEY_LABELS for label in labels):
        raise ValueError("is an encrypted key, and nobody is there to type its password")
    raise ValueError("holds no PEM private key")


def check_pair(chain_pem: str, key_pem: str) -> float:
    """When the client certificate expires, in seconds since the epoch. Raises ValueError if the key is another's.

    The public halves are compared; the key's own arithmetic is not verified, which would take 25 ms instead of 15 us.
    """
    try:
        certificate = x509.load_pem_x509_certificate(chain_pem.encode())
        of_certificate = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError("client certificate is no X.509 certificate") from error
    try:
        of_key = load_pem_private_key(key_pem.encode(), None, unsafe_skip_rsa_key_validation=True).public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ValueError("client key is no usable private key") from error
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if of_certificate.public_bytes(*form) != of_key.public_bytes(*form):
        raise ValueError("client key does not belong to the client certificate")
    return certificate.not_valid_after_utc.timestamp()


def _certificates(text: str, max_bytes: int) -> str:
    _bound(text, max_bytes)
    found = [_block("CERTIFICATE", block["body"]) for block in _BLOCK.finditer(text) if block["label"] == "CERTIFICATE"]
    if not found:
        raise ValueError("holds no PEM certificate (a block that begins with -----BEGIN CERTIFICATE-----)")
    return "".join(dict.fromkeys(found))


def _block(label: str, body: str) -> str:
    try:
        der = base64.b64decode("".join(body.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"holds a {label} block with broken base64") from error
    if not der:
        raise ValueError(f"holds an empty {label} block")
    lines = base64.encodebytes(der).decode("ascii").replace("\n", "")
    wrapped = "\n".join(lines[at : at + 64] for at in range(0, len(lines), 64))
    return f"-----BEGIN {label}-----\n{wrapped}\n-----END {label}-----\n"


def _bound(text: str, max_bytes: int) -> None:
    if len(text) > max_bytes:
        raise ValueError(f"is longer than {max_bytes // 1024} KiB")
