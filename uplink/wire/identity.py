"""How an identity is written: `O=<organisation>, CN=<installation>`, and `urn:uuid:<installation>` as its SAN."""

from __future__ import annotations

import re
from uuid import UUID

from cryptography import x509
from cryptography.x509.oid import NameOID

from uplink.wire.bounds import MAX_ORGANISATION_CHARS
from uplink.wire.errors import WireError

_ORGANISATION = re.compile(rf"[a-z0-9](?:[a-z0-9._-]{{0,{MAX_ORGANISATION_CHARS - 2}}}[a-z0-9])?")
_URN = "urn:uuid:"


def organisation_id(text: str) -> str:
    """The text, if it can be an organisation's id: it is in a subject, a URL's user and a command line. `WireError`."""
    if not _ORGANISATION.fullmatch(text):
        raise WireError(
            f"an organisation's id has 1 to {MAX_ORGANISATION_CHARS} of a-z, 0-9, '.', '_' and '-', and begins and "
            "ends with a letter or digit"
        )
    return text


def urn(installation: UUID) -> str:
    """What the SAN of its certificate holds (RFC 9562 section 4)."""
    return f"{_URN}{installation}"


def uuid_of_urn(text: str) -> UUID:
    """The installation that a SAN names. Raises `WireError`."""
    if not text.lower().startswith(_URN):
        raise WireError("the SAN is no urn:uuid:")
    return uuid_of(text[len(_URN) :], "the SAN's urn:uuid:")


def uuid_of(text: str, what: str) -> UUID:
    """A UUID in its usual form and no other. Raises `WireError` that begins with `what`."""
    try:
        found = UUID(text)
    except ValueError:
        found = None
    if found is None or str(found) != text.lower():
        raise WireError(f"{what} is no UUID, such as 9f1c0a52-6f0e-4f3b-8a57-0d6f1f1f7a11")
    return found


def uris(of: x509.Certificate | x509.CertificateSigningRequest) -> list[str]:
    """The URIs of its SAN. Raises `WireError` where the SAN holds anything else: a name that we would vouch for."""
    try:
        names = of.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    found = names.get_values_for_type(x509.UniformResourceIdentifier)
    if len(found) != len(list(names)):
        raise WireError("the SAN holds something other than URIs")
    return found


def common_name(of: x509.Certificate | x509.CertificateSigningRequest) -> str:
    """Its one CN. Raises `WireError` where there is none, or two."""
    return _one(of, NameOID.COMMON_NAME, "CN")


def organisation_of(certificate: x509.Certificate) -> str:
    """Its one O. Raises `WireError`."""
    return organisation_id(_one(certificate, NameOID.ORGANIZATION_NAME, "O"))


def installation_of(certificate: x509.Certificate) -> UUID:
    """Whose it is: CN and SAN have to agree. Raises `WireError`."""
    named = uuid_of(common_name(certificate), "the CN")
    if [uuid_of_urn(uri) for uri in uris(certificate)] != [named]:
        raise WireError("CN and SAN name different installations")
    return named


def _one(of: x509.Certificate | x509.CertificateSigningRequest, oid: x509.ObjectIdentifier, what: str) -> str:
    values = [attribute.value for attribute in of.subject.get_attributes_for_oid(oid)]
    if len(values) != 1 or not isinstance(values[0], str):
        raise WireError(f"the subject has {len(values)} {what}; it needs one")
    return values[0]
