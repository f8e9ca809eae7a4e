"""The CA: a root on P-256 that signs certificates for clients, and the server's own.

Its key is in a file and never in the database, so that whoever gets a dump can enrol nobody. One root and no
intermediate: the files are on the machine that signs either way, and a roll-over renews all of it. An HSM would be
another `Authority` with the same methods.

What a client asks for is not copied: of its CSR only the key is taken.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from uplink.wire.bounds import MAX_LIFETIME_DAYS
from uplink.wire.identity import urn
from uplink.wire.private_file import read_private, refused, write_private

KEY_FILE = "ca.key"
CERTIFICATES_FILE = "ca.crt"
"""PEM. What clients are given as their trust anchors; after a roll-over four certificates."""

MAX_FILE_BYTES = 256 * 1024

ROOT_DAYS = 3650
SERVER_DAYS = 30
"""Of the server's own certificate, which is made anew at each start and each day."""
BACKDATE_S = 3600
"""A client's clock may be behind: certificates are valid an hour before they are signed (E7), of their lifetime."""

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey


@dataclass(frozen=True, slots=True)
class Authority:
    """`issuer` belongs to `key`; `bundle` has every certificate that a client may need, the issuer first."""

    key: ec.EllipticCurvePrivateKey
    issuer: x509.Certificate
    bundle: tuple[x509.Certificate, ...]

    @classmethod
    def load(cls, directory: Path) -> Authority:
        """From its files. Raises `PrivateFileError`."""
        secret, public = _read(directory / KEY_FILE), _read(directory / CERTIFICATES_FILE)
        try:
            key = load_pem_private_key(secret, None)
            found = x509.load_pem_x509_certificates(public)
        except (ValueError, TypeError) as error:
            raise refused(directory, "has no key and certificates in PEM", "Restore both from a backup") from error
        ours = [each for each in found if each.public_key() == key.public_key() and _self_signed(each)]
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not ours:
            raise refused(
                directory, "has a key and certificates that don't belong together", "Restore both from a backup"
            )
        return cls(key, ours[0], (ours[0], *(each for each in found if each != ours[0])))

    @classmethod
    def create(cls, directory: Path, name: str, now: float) -> Authority:
        """A new one, in files. Raises `PrivateFileError`, also where there is one already."""
        made = cls.new(name, now)
        made.save(directory, first=True)
        return made

    @classmethod
    def new(cls, name: str, now: float) -> Authority:
        """A new one, in memory only."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        root = _ca(subject, key, subject, key, now)
        return cls(key, root, (root,))

    def rolled(self, now: float) -> Authority:
        """A new key under the same name, in memory only (RFC 4210 section 4.4, RFC 7030 section 4.1.3).

        The bundle has the new root, the new signed by the old, the old signed by the new, and the old: a client that
        trusts only the old can check the new, and certificates of the old stay good until they end.
        """
        key, subject = ec.generate_private_key(ec.SECP256R1()), self.issuer.subject
        root = _ca(subject, key, subject, key, now)
        new_with_old = _ca(subject, key, subject, self.key, now)
        old_with_new = _ca(subject, self.key, subject, key, now)
        return Authority(key, root, (root, new_with_old, old_with_new, self.issuer))

    def sign_client(
        self, public_key: PublicKey, organisation: str, installation: UUID, now: float, lifetime_days: int
    ) -> x509.Certificate:
        """For a client. Subject and SAN are what we know, whatever it asked for."""
        subject = x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation),
                x509.NameAttribute(NameOID.COMMON_NAME, str(installation)),
            ]
        )
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(urn(installation))]
        days = min(lifetime_days, MAX_LIFETIME_DAYS)
        return self._leaf(subject, public_key, names, ExtendedKeyUsageOID.CLIENT_AUTH, now, days)

    def sign_server(self, hosts: Sequence[str], now: float) -> bytes:
        """Key and chain for our own listener, PEM, in that order."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0][:64])])
        leaf = self._leaf(
            subject, key.public_key(), [_name(h) for h in hosts], ExtendedKeyUsageOID.SERVER_AUTH, now, SERVER_DAYS
        )
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        links = [each for each in self.bundle if each.public_key() == self.key.public_key() and each != self.issuer]
        return secret + b"".join(each.public_bytes(Encoding.PEM) for each in (leaf, *links))

    def _leaf(
        self,
        subject: x509.Name,
        public_key: PublicKey,
        names: list[x509.GeneralName],
        usage: x509.ObjectIdentifier,
        now: float,
        days: int,
    ) -> x509.Certificate:
        begins = datetime.fromtimestamp(int(now) - BACKDATE_S, UTC)
        ends = min(begins + timedelta(days=days), self.issuer.not_valid_after_utc)
        issuer_id = self.issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.issuer.subject)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begins)
            .not_valid_after(ends)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_id),
                critical=False,
            )
            .sign(self.key, SHA256())
        )

    @property
    def fingerprint(self) -> str:
        """Of its certificate: SHA-256, in hex."""
        return self.issuer.fingerprint(SHA256()).hex()

    def save(self, directory: Path, *, first: bool = False) -> None:
        """Certificates first: between the two the old key still finds its own among them.

        Raises `PrivateFileError`; where it is to be the `first`, also if there is one.
        """
        if first and (directory / KEY_FILE).exists():
            raise refused(directory, "has a CA already", "Another would make every client a stranger; see --roll")
        write_private(directory / CERTIFICATES_FILE, b"".join(each.public_bytes(Encoding.PEM) for each in self.bundle))
        write_private(directory / KEY_FILE, self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def _read(path: Path) -> bytes:
    content = read_private(path, MAX_FILE_BYTES)
    if content is None:
        raise refused(path, "is not there", "Make it with `muster receiver init`")
    return content


def _ca(
    subject: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    issuer_key: ec.EllipticCurvePrivateKey,
    now: float,
) -> x509.Certificate:
    begins = datetime.fromtimestamp(int(now) - BACKDATE_S, UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + timedelta(days=ROOT_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .sign(issuer_key, SHA256())
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _self_signed(certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(certificate)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
