"""What a CA has sent back, looked at before anything is done with it. Pure.

A CA that we trust as an anchor can still sign by mistake, or for somebody else: each of these rules is a way in which a
certificate would be of no use to us, or of too much to whoever finds its key.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import Criticality, ExtensionPolicy, PolicyBuilder, Store, VerificationError

from uplink.client.enrolment.keys import Key, public_bytes
from uplink.wire.bounds import MAX_LIFETIME_DAYS
from uplink.wire.errors import WireError
from uplink.wire.identity import uris, urn

MAX_SKEW_S: Final = 300.0
"""By which a certificate may begin in our future: issuers backdate, clocks differ (E7)."""

LIFETIME_SLACK_S: Final = 24 * 3600.0
"""Above the policy's days: what issuers backdate is part of the lifetime."""

MAX_DEPTH: Final = 4
"""Of CAs between an anchor and us."""

_CA_POLICY = ExtensionPolicy.permit_all().require_present(
    x509.BasicConstraints, Criticality.AGNOSTIC, lambda _policy, _certificate, value: _is_ca(value)
)
"""The extensions of a private CA are its own affair (many have no AKI), but for being a CA. Signatures, dates, names
and path lengths are checked whatever stands here."""


class BadCertificate(WireError):  # noqa: N818 - what it is
    """It can't be used; the text names the rule and quotes nothing."""


@dataclass(frozen=True, slots=True)
class Checked:
    """A certificate of ours that can be used."""

    chain: tuple[x509.Certificate, ...]
    """It, then what is between it and the anchor, which is not in here."""

    @property
    def begins_at(self) -> float:
        """Seconds since the epoch."""
        return self.chain[0].not_valid_before_utc.timestamp()

    @property
    def ends_at(self) -> float:
        """The same."""
        return self.chain[0].not_valid_after_utc.timestamp()


def check(
    certificates: Sequence[x509.Certificate],
    key: Key,
    installation: UUID,
    anchors: Sequence[x509.Certificate],
    now: float,
    max_lifetime_days: int = MAX_LIFETIME_DAYS,
) -> Checked:
    """Find ours by its key, and look at all of it. Raises `BadCertificate`."""
    wanted = public_bytes(key)
    try:
        ours = [each for each in certificates if public_bytes(each) == wanted]
        if len(ours) != 1:
            raise BadCertificate(f"of {len(certificates)} certificates {len(ours)} are for the key that we made")
        (leaf,) = ours
        _check_use(leaf)
        _check_name(leaf, installation)
        _check_dates(leaf, now, max_lifetime_days)
        others = [each for each in certificates if each is not leaf]
        return Checked(_path(leaf, others, anchors, now))
    except (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension) as error:
        if isinstance(error, BadCertificate):
            raise
        raise BadCertificate("the certificate can't be read") from error


def _check_use(leaf: x509.Certificate) -> None:
    for extension in leaf.extensions:
        value = extension.value
        if isinstance(value, x509.BasicConstraints) and value.ca:
            raise BadCertificate("the certificate is one of a CA")
        if isinstance(value, x509.KeyUsage) and (value.key_cert_sign or value.crl_sign or not value.digital_signature):
            raise BadCertificate("the certificate's key usage is not that of a client")
    try:
        usages = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        usages = x509.ExtendedKeyUsage([])
    if ExtendedKeyUsageOID.CLIENT_AUTH not in usages:
        raise BadCertificate("the certificate is not for clientAuth")


def _check_name(leaf: x509.Certificate, installation: UUID) -> None:
    try:
        names = uris(leaf)
    except WireError as error:
        raise BadCertificate(f"of the certificate, {error}") from error
    if [name.lower() for name in names] != [urn(installation)]:
        raise BadCertificate("the certificate's SAN is not our installation's urn:uuid:")


def _check_dates(leaf: x509.Certificate, now: float, max_lifetime_days: int) -> None:
    begins, ends = leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp()
    if begins > now + MAX_SKEW_S:
        raise BadCertificate(f"the certificate begins {begins - now:.0f} s from now: see the clocks of both sides")
    if ends <= now:
        raise BadCertificate(f"the certificate ended {now - ends:.0f} s ago: see the clocks of both sides")
    if ends - begins > max_lifetime_days * 86_400 + LIFETIME_SLACK_S:
        days = (ends - begins) / 86_400
        raise BadCertificate(f"the certificate lives for {days:.0f} days; more than {max_lifetime_days} are not taken")


def _path(
    leaf: x509.Certificate, others: Sequence[x509.Certificate], anchors: Sequence[x509.Certificate], now: float
) -> tuple[x509.Certificate, ...]:
    at = max(datetime.fromtimestamp(now, UTC), leaf.not_valid_before_utc + timedelta(seconds=1))
    try:
        verifier = (
            PolicyBuilder()
            .store(Store(list(anchors)))
            .time(at)
            .max_chain_depth(MAX_DEPTH)
            .extension_policies(ca_policy=_CA_POLICY, ee_policy=ExtensionPolicy.permit_all())
            .build_client_verifier()
        )
        chain = verifier.verify(leaf, list(others)).chain
    except VerificationError as error:
        raise BadCertificate("the certificate's chain does not lead to a trust anchor") from error
    return tuple(chain[:-1]) or (leaf,)


def _is_ca(value: x509.ExtensionType | None) -> None:
    if not isinstance(value, x509.BasicConstraints) or not value.ca:
        raise ValueError("not a CA")


# -- trust anchors


def read_anchors(pem: str) -> tuple[x509.Certificate, ...]:
    """Raises `WireError`."""
    try:
        return tuple(x509.load_pem_x509_certificates(pem.encode()))
    except ValueError as error:
        raise WireError("the trust anchors are no certificates in PEM") from error


def write_anchors(certificates: Iterable[x509.Certificate]) -> str:
    """As PEM, each once."""
    return "".join(dict.fromkeys(each.public_bytes(Encoding.PEM).decode() for each in certificates))


def learn(
    anchors: Sequence[x509.Certificate], offered: Sequence[x509.Certificate], now: float
) -> tuple[x509.Certificate, ...]:
    """The new roots among what `cacerts` offers: those that an anchor vouches for (RFC 7030 section 4.1.3).

    A new root counts if an old one has signed its name and key (NewWithOld). What nobody vouches for is passed over.
    Raises `BadCertificate` where none of it is known to us: then the anchors are another CA's.
    """
    when = datetime.fromtimestamp(now, UTC)
    known = set(anchors)
    learned: list[x509.Certificate] = []
    vouched = [each for each in offered if _ca_now(each, when) and any(_signed_by(each, a) for a in anchors)]
    for root in offered:
        if root in known or not _ca_now(root, when) or not _signed_by(root, root):
            continue
        if any(_same(root, link) for link in vouched):
            learned.append(root)
    if not learned and not vouched and not known.intersection(offered):
        raise BadCertificate("the server's CA is none of the trust anchors, and none of them vouches for it")
    return tuple(learned)


def _ca_now(certificate: x509.Certificate, when: datetime) -> bool:
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except (x509.ExtensionNotFound, ValueError):
        return False
    return constraints.ca and certificate.not_valid_before_utc <= when < certificate.not_valid_after_utc


def _signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _same(root: x509.Certificate, link: x509.Certificate) -> bool:
    return root.subject == link.subject and root.public_key() == link.public_key()
