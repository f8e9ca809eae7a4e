"""What may leave, who decided so, and what it looks like."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field, SecretStr

from muster.api.schemas.access import Body
from muster.api.schemas.document import Document

StreamName = Literal["metrics", "logs", "inventory"]

Streams = Annotated[tuple[StreamName, ...], Field(max_length=3)]


class TelemetryStream(Document):
    """One stream."""

    consented: bool
    """Somebody has consented to it."""
    allowed: bool
    """It may be sent now."""
    why: str
    """Why not; empty where it may."""
    plain_names: bool
    """Names go as they are; else keyed hashes stand for them."""
    free_text: bool
    """Messages go too, redacted."""


class TelemetryConsent(Document):
    """Who consented to what."""

    consent_id: str
    installation_id: str
    """Random, and new with every consent."""
    organisation: str
    register_url: str | None
    """Where the certificate comes from; null = there is no network, and only exports take data out."""
    ingest_url: str | None
    commitments_version: str
    commitments_sha256: str
    dictionary_version: str


class TelemetryLink(Document):
    """How far it is with enrolment and sending."""

    state: str
    detail: str
    waiting_batches: int
    waiting_bytes: int
    last_success_at: AwareDatetime | None
    next_attempt_at: AwareDatetime | None
    certificate_expires_at: AwareDatetime | None
    clock_skew_s: float | None
    """Of this host's clock against the endpoint's; positive: this one is ahead."""


class Telemetry(Document):
    """Whether anything leaves."""

    state: str
    """`off`, `suspended` (consented to, and nothing is sent until somebody consents anew), or `on`."""
    why: str
    """Why it is not on; empty where it is."""
    place: str
    """The file that decides on this host. Without it, telemetry is off."""
    epoch: int
    """Rises with every decision; 0 = there was none."""
    decided_at: AwareDatetime | None
    decided_by: str | None
    """Name of the token, session or local user."""
    interface: str | None
    consent: TelemetryConsent | None
    """null = there is none, or it was withdrawn."""
    streams: dict[str, TelemetryStream]
    link: TelemetryLink
    receipt: str | None = None
    """Number and hash of the audit log's newest line, in the answer to a decision: keep it to prove the log later."""
    trouble: str = ""
    """What did not work beside the decision itself."""


class TelemetryOn(Body):
    """A consent."""

    streams: Annotated[Streams, Field(min_length=1)]
    commitments_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Of the document that was read: `GET /api/v1/telemetry/terms` has it."""
    dictionary_version: Annotated[str, Field(min_length=1, max_length=20)]
    """Of the dictionary that was read."""
    plain_names: Streams = ()
    """Streams in which names go as they are."""
    free_text: Streams = ()
    """Streams in which messages go too, redacted."""
    activation_token: Annotated[SecretStr, Field(max_length=512)] | None = None
    """From the vendor, for enrolment. Used once and kept no longer."""
    interface: Annotated[str, Field(pattern=r"^(api|cli|console)$")] = "api"
    """By which way somebody consents."""


class TelemetryField(Document):
    """One field that can leave."""

    id: str
    stream: str
    """`metrics`, `logs` or `inventory`; empty: it goes with every batch."""
    type: str
    purpose: str
    classification: str
    retention: str
    example: str
    values: tuple[str, ...]
    """Where only these are possible."""


class TelemetryTerms(Document):
    """What somebody consents to."""

    commitments_version: str
    commitments_sha256: str
    commitments: str
    """The document, in Markdown."""
    dictionary_version: str
    fields: tuple[TelemetryField, ...]
    organisation: str | None
    """null = the setting is missing, and nobody can consent."""
    register_url: str | None
    ingest_url: str | None


class TelemetryPreview(Document):
    """The next batch."""

    stream: str
    placeholder: bool
    """The stream is not allowed: the ids in it stand for none, nothing of it was kept, and it is made as if somebody
    had consented an hour ago."""
    batch_id: str | None
    """null = there is nothing to send, or it is a placeholder."""
    path: str
    """Where it would be posted to."""
    sha256: str | None
    """Of its bytes before compression. While the stream is on, this very batch goes next."""
    raw_bytes: int
    packed_bytes: int
    """As it travels, with gzip."""
    records: int
    more: int
    """Further batches that would follow."""
    dropped: dict[str, int]
    """What the encoder refused, by why."""
    request: dict[str, Any] | None
    """The OTLP request, decoded from the bytes; null where `raw` was asked for."""
    raw: str | None
    """The bytes in base64, where `raw` was asked for."""


class TelemetryAuditEntry(Document):
    """One line of telemetry's own audit log."""

    number: int
    at: AwareDatetime
    by: str
    interface: str
    action: str
    """`on`, `off`, `narrow`, `export`."""
    about: dict[str, Any]
    before: str
    """Hash of the line before."""


class TelemetryAudit(Document):
    """The log, oldest first, and whether it is whole."""

    intact: bool
    problem: str
    """The first thing that is wrong; empty = nothing is."""
    entries_total: int
    head: str
    """Number and hash of the newest line."""
    entries: tuple[TelemetryAuditEntry, ...]
    """Those before the first problem; the newest thousand."""
