"""Certificates of the simulated fleet: a CA of its own for each cluster, and serving certificates good and bad.

EC P-256 throughout: key, CA and serving certificate of one cluster take about 0.15 ms together (RSA-2048 keys alone
would take 50 ms), so that 10,000 clusters need no key sharing. Nothing here is for production: keys stay in memory and
guard nothing.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_CA_LIFE = timedelta(days=3650)
"""As kubeadm does."""
_LEAF_LIFE = timedelta(days=365)
"""As kubeadm does."""
_BACKDATED = timedelta(hours=1)
"""Certificates start a little in the past, so that a client whose clock lags does not refuse them."""

_SERVICE_NAMES = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")


class Certificate(StrEnum):
    """What is right or wrong with a serving certificate."""

    GOOD = "good"
    EXPIRED = "expired"
    NOT_YET_VALID = "not-yet-valid"
    EXPIRING_SOON = "expiring-soon"
    WRONG_NAME = "wrong-name"
    WRONG_CA = "wrong-ca"


_VALIDITY: dict[Certificate, tuple[timedelta, timedelta]] = {
    Certificate.EXPIRED: (-_LEAF_LIFE, -timedelta(hours=1)),
    Certificate.NOT_YET_VALID: (timedelta(hours=1), _LEAF_LIFE),
    Certificate.EXPIRING_SOON: (-_LEAF_LIFE + timedelta(days=5), timedelta(days=5)),
}
"""Start and end, seen from now, where they are not the usual ones."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, both PEM."""

    certificate_pem: str
    key_pem: str = field(repr=False)

    @property
    def bundle(self) -> bytes:
        """Key and certificate in one file, as `SSLContext.load_cert_chain` reads them."""
        return f"{self.key_pem}{self.certificate_pem}".encode()


class Authority:
    """The CA of one cluster."""

    def __init__(self, name: str, now: datetime) -> None:
        self._cluster = name
        self._now = now
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = _name(f"{name}-ca")
        self._key_id = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        certificate = (
            _builder(self._subject, self._subject, self._key, now - _BACKDATED, now + _CA_LIFE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_usage(sign_certificates=True), critical=True)
            .add_extension(self._key_id, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self.pem = certificate.public_bytes(Encoding.PEM).decode()

    def serving(self, kind: Certificate, address: str, dns_name: str) -> Pair:
        """A serving certificate for this address and name (and the in-cluster ones), or a bad one by `kind`."""
        if kind is Certificate.WRONG_CA:  # same subject, another key: what a client sees after a CA rotation
            return Authority(self._cluster, self._now).serving(Certificate.GOOD, address, dns_name)
        dns_names: tuple[str, ...] = (dns_name, *_SERVICE_NAMES)
        if kind is Certificate.WRONG_NAME:
            address, dns_names = "192.0.2.1", ("api.somebody-else.example",)
        start, end = _VALIDITY.get(kind, (-_BACKDATED, _LEAF_LIFE))
        names = [*map(x509.DNSName, dns_names), x509.IPAddress(ipaddress.ip_address(address))]
        return self._issue(
            _name("kube-apiserver"),
            self._now + start,
            self._now + end,
            ExtendedKeyUsageOID.SERVER_AUTH,
            x509.SubjectAlternativeName(names),
        )

    def client(self, user: str, groups: Sequence[str] = ()) -> Pair:
        """A client certificate as Kubernetes reads them: common name = user, organizations = groups."""
        return self._issue(
            _name(user, groups), self._now - _BACKDATED, self._now + _LEAF_LIFE, ExtendedKeyUsageOID.CLIENT_AUTH
        )

    def _issue(
        self,
        subject: x509.Name,
        start: datetime,
        end: datetime,
        purpose: x509.ObjectIdentifier,
        names: x509.SubjectAlternativeName | None = None,
    ) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            _builder(subject, self._subject, key, start, end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(sign_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            # Without it Python 3.13's default context (X509_STRICT) refuses the certificate.
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(self._key_id), critical=False)
        )
        if names is not None:
            builder = builder.add_extension(names, critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        return Pair(
            certificate.public_bytes(Encoding.PEM).decode(),
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        )


def utc(at_s: float) -> datetime:
    """Seconds since the epoch as an X.509 time: aware, whole seconds."""
    return datetime.fromtimestamp(int(at_s), UTC)


def _name(common_name: str, organizations: Sequence[str] = ()) -> x509.Name:
    return x509.Name(
        [
            *(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization) for organization in organizations),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, start: datetime, end: datetime
) -> x509.CertificateBuilder:
    return x509.CertificateBuilder(
        subject_name=subject,
        issuer_name=issuer,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=start,
        not_valid_after=end,
    )


def _usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        encipher_only=False,
        decipher_only=False,
    )
