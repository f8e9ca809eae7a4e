"""The record of a consent, as it lies in its file: strict, with a digest of itself."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Literal, TypeAlias
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from uplink.client.consent.streams import Stream

MAX_RECORD_BYTES = 256 * 1024
"""The fullest has a hundred fields of 100 bytes."""

Text = Annotated[str, Field(max_length=300)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class RecordError(ValueError):
    """It can't be read. The text says why and quotes nothing."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Endpoints(_Part):
    """Two origins, `https://host[:port]`."""

    register_url: Text
    """Where the certificate comes from."""
    ingest_url: Text
    """Where batches go."""


class Agreed(_Part):
    """To what somebody agreed: the document and its bytes."""

    version: Text
    sha256: Digest


class Scope(_Part):
    """What of one stream."""

    plain_names: bool = False
    """Names as they are, and no keyed hashes."""
    free_text: bool = False
    """Messages too, redacted."""
    fields: dict[str, Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]]
    """Every field of the dictionary that there was, with its digest."""


class Decision(_Part):
    """What a consent and its end have in common."""

    format: Literal[1] = 1
    epoch: Annotated[int, Field(ge=1)]
    """Rises with every decision; what sends compares it with the database's."""
    decided_at: float
    """Hub clock, seconds since the epoch. Nothing older than this leaves."""
    by: Text
    """Name of the token, session or local user."""
    interface: Text
    """By which way: `api`, `cli`, `console`."""


class Given(Decision):
    """A consent."""

    state: Literal["given"] = "given"
    consent_id: UUID
    installation_id: UUID
    """New with every consent: what was sent under one can't be tied to the next by it."""
    organisation: Text
    endpoints: Endpoints | None
    """None: there is no network; only `export` takes data out."""
    commitments: Agreed
    dictionary: Text
    """Its version."""
    scope: dict[Stream, Scope]
    pseudonym_key: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", repr=False)]
    """Of the keyed hashes. In here, since it has to go in the moment in which the consent does."""


class Withdrawn(Decision):
    """Off. Stays, so that the epoch never falls and people see who and when."""

    state: Literal["withdrawn"] = "withdrawn"
    told: bool = False
    """Whether the database has heard of it. Until then it is told at each start, whatever it knows of others."""


Record: TypeAlias = Given | Withdrawn

_READ: TypeAdapter[Record] = TypeAdapter(Annotated[Record, Field(discriminator="state")])


def write_record(record: Record) -> bytes:
    """As the file has it."""
    body = record.model_dump_json().encode()
    return b'{"record": ' + body + b',\n "sha256": "' + hashlib.sha256(body).hexdigest().encode() + b'"}\n'


def read_record(raw: bytes) -> Record:
    """Raises `RecordError` for anything that `write_record` has not written so."""
    begin, middle = b'{"record": ', b',\n "sha256": "'
    body, found, rest = raw.removeprefix(begin).rpartition(middle)
    if not raw.startswith(begin) or not found or rest != hashlib.sha256(body).hexdigest().encode() + b'"}\n':
        raise RecordError("it is damaged, or somebody has edited it")
    try:
        return _READ.validate_json(body, strict=True)
    except ValidationError as error:
        fields = ", ".join(".".join(map(str, each["loc"])) for each in error.errors()[:3])
        raise RecordError(f"it is of another release of Muster ({fields})") from None


def shown(record: Record) -> dict[str, object]:
    """For logs and answers: all but the key, and the fields as a number."""
    document: dict[str, object] = json.loads(record.model_dump_json(exclude={"pseudonym_key", "scope"}))
    if isinstance(record, Given):
        document["scope"] = {
            stream.value: {"plain_names": s.plain_names, "free_text": s.free_text, "fields": len(s.fields)}
            for stream, s in record.scope.items()
        }
    return document
