"""Who this installation is to the other side: one document, with key, certificate and how far enrolment is.

One document and not a file for each part: every step of the way is then one rename, and a crash leaves the step before
or the step after, never the key of one certificate beside another.
"""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from cryptography import x509
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from uplink.client.enrolment.keys import read_key
from uplink.wire.bounds import MAX_CERTIFICATES

MAX_IDENTITY_BYTES = 256 * 1024
"""Three keys with chains, and the roots that were learned."""

Pem = Annotated[str, Field(max_length=64 * 1024)]
Secret = Annotated[str, Field(max_length=64 * 1024, repr=False)]


class IdentityError(ValueError):
    """The document can't be used. The text says why and quotes nothing."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, hide_input_in_errors=True)


class Bond(_Part):
    """For whom an identity is, and where. Another bond needs another identity: none is ever relabelled (H8)."""

    consent_id: UUID
    installation_id: UUID
    organisation: Annotated[str, Field(max_length=63)]
    register_url: Annotated[str, Field(max_length=300)]
    host: Annotated[str, Field(max_length=200)] = ""
    """UID of the cluster that Muster runs in (of its namespace kube-system), where it runs in one: a name and a volume
    may come back in another cluster, its UID does not. Empty as long as nobody has read it."""

    def same(self, other: Bond) -> bool:
        """Whether an identity for the one serves the other: a UID that is not known contradicts none."""
        unknown = not (self.host and other.host)
        return self.model_copy(update={"host": other.host}) == other if unknown else self == other


class Asking(_Part):
    """A request that is out, or about to be: the same key and the same bytes until it is answered."""

    generation: int
    key_pem: Secret
    csr_pem: Pem
    renewal: bool = False


class Certified(_Part):
    """A key with its certificate, checked."""

    generation: int
    """Rises with each key."""
    key_pem: Secret
    chain_pem: Pem
    begins_at: float
    ends_at: float
    renew_at: float
    """Drawn once, so that a restart draws no other."""


class Identity(_Part):
    """How far it is."""

    format: Literal[1] = 1
    bond: Bond
    token: Annotated[str | None, Field(max_length=1000, repr=False)] = None
    """Until the first certificate is here, and no longer."""
    generation: int = 0
    """Of the newest key."""
    asking: Asking | None = None
    candidate: Certified | None = None
    """Issued and checked; the ingest has not answered it yet."""
    active: Certified | None = None
    """The one that data goes with."""
    learned: Annotated[tuple[Pem, ...], Field(max_length=MAX_CERTIFICATES)] = ()
    """New roots of the CA that one of the anchors has vouched for."""
    learned_under: str = ""
    """SHA-256 of those anchors: with other anchors nothing is learned yet."""
    not_before: float = 0.0
    """The next request, not earlier: what a 202 or a failure asks for. Seconds since the epoch."""
    failures: int = 0
    """In a row."""
    why: str = ""
    """What the last failure was, for people."""
    held: bool = False
    """Somebody has refused it: nothing is asked again before a person has acted. `why` says so."""
    forced_at: float | None = None
    """When a certificate was last renewed before its time, because the ingest did not accept it."""


def write_identity(identity: Identity) -> bytes:
    """As it lies in its file."""
    return identity.model_dump_json().encode() + b"\n"


def read_identity(raw: bytes) -> Identity:
    """Raises `IdentityError`."""
    try:
        identity = Identity.model_validate_json(raw, strict=True)
        for each in (identity.asking, identity.candidate, identity.active):
            if each is not None:
                read_key(each.key_pem)
        for certified in (identity.candidate, identity.active):
            if certified is not None:
                x509.load_pem_x509_certificates(certified.chain_pem.encode())
    except ValidationError as error:
        fields = ", ".join(".".join(map(str, each["loc"])) for each in error.errors()[:3])
        raise IdentityError(f"it is damaged, or of another release of Muster ({fields})") from None
    except ValueError:
        raise IdentityError("it is damaged: a key or certificate in it can't be read") from None
    return identity
