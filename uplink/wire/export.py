"""The file that crosses an air gap: OTLP JSON lines, and a signed manifest as the last line.

Each line but the last is one batch as OpenTelemetry's file exporter writes it, so any collector's `otlpjsonfile`
receiver reads the file too (it skips the manifest). The manifest names every batch with its id and the SHA-256 of its
line, and is signed: with the key of the installation's certificate, whose chain is in it, or, where there was never a
network to enrol over, with a key of the installation that the receiver's operator knows by its fingerprint.

One file and not two: what is carried by hand gets parted. Nothing is trusted before the whole has been read once.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO
from uuid import UUID

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError  # type: ignore[import-untyped]

from uplink.wire.bounds import MAX_CERTIFICATES, MAX_EXPORT_BATCHES, MAX_LINE_BYTES, MAX_MANIFEST_BYTES, MAX_RAW_BYTES
from uplink.wire.errors import TooLarge, WireError
from uplink.wire.identity import organisation_id, uuid_of
from uplink.wire.otlp import Signal, parse

FORMAT = "muster-otlp-export"
VERSION = 1
KEY = "musterManifest"
"""Member of the last line: a collector finds no `resourceMetrics` or `resourceLogs` there and passes over it."""

_PURPOSE = b"muster-otlp-export-v1\n"
"""Before the signed bytes: the key signs CSRs and handshakes too, and none of these can be taken for another."""


@dataclass(frozen=True, slots=True)
class Batch:
    """One OTLP request: `raw` is the protobuf, not compressed."""

    id: UUID
    signal: Signal
    raw: bytes


@dataclass(frozen=True, slots=True)
class Head:
    """Whose export it is, and of when. `created_at` in seconds since the epoch, whole."""

    organisation: str
    installation: UUID
    consent: UUID
    dictionary: str
    created_at: int


@dataclass(frozen=True, slots=True)
class Listed:
    """A line in the manifest."""

    id: UUID
    signal: Signal
    sha256: str


@dataclass(frozen=True, slots=True)
class Export:
    """A file whose signature fits its content. Whether the signer is to be believed is the reader's to find out."""

    head: Head
    batches: tuple[Listed, ...]
    key: ec.EllipticCurvePublicKey
    chain: tuple[x509.Certificate, ...]
    """Leaf first; empty where the installation has never enrolled."""

    @property
    def fingerprint(self) -> str:
        """Of the signer's key."""
        return fingerprint(self.key)


def fingerprint(key: ec.EllipticCurvePublicKey) -> str:
    """SHA-256 of the key as SubjectPublicKeyInfo, in hex: what an operator is told by telephone."""
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def write_export(
    file: BinaryIO,
    head: Head,
    batches: Iterable[Batch],
    key: ec.EllipticCurvePrivateKey,
    chain: Sequence[x509.Certificate] = (),
) -> int:
    """Write all of it; gives the number of batches. Raises `TooLarge` beyond `MAX_EXPORT_BATCHES`, and `OSError`."""
    listed: list[dict[str, str]] = []
    for batch in batches:
        if len(listed) == MAX_EXPORT_BATCHES:
            raise TooLarge(f"an export holds at most {MAX_EXPORT_BATCHES} batches: write several")
        line = _line(MessageToDict(parse(batch.signal, batch.raw), use_integers_for_enums=True))
        listed.append({"id": str(batch.id), "signal": batch.signal.value, "sha256": hashlib.sha256(line).hexdigest()})
        file.write(line)
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        **asdict(head),
        "installation": str(head.installation),
        "consent": str(head.consent),
        "batches": listed,
        "key": _text(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)),
        "chain": [_text(certificate.public_bytes(Encoding.DER)) for certificate in chain],
    }
    signature = key.sign(_signed(manifest), ec.ECDSA(SHA256()))
    file.write(_line({KEY: manifest, "signature": _text(signature)}))
    return len(listed)


def read_export(file: BinaryIO) -> Export:
    """Read all of it and check every line against the manifest, and the manifest against its signature.

    Raises `WireError` that names the line, and `OSError`. What it holds is read by `read_batches` afterwards.
    """
    digests: list[str] = []
    last = b""
    for line in _lines(file):
        if last:
            digests.append(hashlib.sha256(last).hexdigest())
        last = line
    manifest, signature = _manifest(last)
    try:
        key = load_der_public_key(_bytes(manifest["key"]))
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
            raise WireError("the manifest's key is not on P-256")
        key.verify(signature, _signed(manifest), ec.ECDSA(SHA256()))
        chain = tuple(x509.load_der_x509_certificate(_bytes(each)) for each in manifest["chain"][:MAX_CERTIFICATES])
        head = Head(
            organisation_id(manifest["organisation"]),
            uuid_of(manifest["installation"], "the manifest's installation"),
            uuid_of(manifest["consent"], "the manifest's consent"),
            str(manifest["dictionary"])[:100],
            int(manifest["created_at"]),
        )
        listed = tuple(
            Listed(uuid_of(each["id"], "a batch's id"), Signal(each["signal"]), str(each["sha256"]))
            for each in manifest["batches"]
        )
    except InvalidSignature as error:
        raise WireError("the manifest's signature does not fit it: the file was changed, or copied badly") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise error if isinstance(error, WireError) else WireError("the manifest lacks what it needs") from error
    if chain and chain[0].public_key() != key:
        raise WireError("the manifest was not signed with the key of its certificate")
    if digests != [each.sha256 for each in listed]:
        wrong = next((n for n, (a, b) in enumerate(zip(digests, listed, strict=False), 1) if a != b.sha256), None)
        where = f"line {wrong} is not the one" if wrong else f"{len(digests)} lines are not the {len(listed)}"
        raise WireError(f"{where} that the manifest names")
    return Export(head, listed, key, chain)


def read_batches(file: BinaryIO, export: Export) -> Iterator[Batch]:
    """The batches, one at a time; `file` is at its start again. A line that has changed meanwhile is a `WireError`."""
    for number, (listed, line) in enumerate(zip(export.batches, _lines(file), strict=False), 1):
        if hashlib.sha256(line).hexdigest() != listed.sha256:
            raise WireError(f"line {number} has changed while the file was read")
        request = listed.signal.request()
        try:
            ParseDict(json.loads(line), request, ignore_unknown_fields=True, max_recursion_depth=50)
        except (ParseError, ValueError, RecursionError) as error:
            raise WireError(f"line {number} is no OTLP {listed.signal.value} in JSON") from error
        raw = request.SerializeToString()
        if len(raw) > MAX_RAW_BYTES:
            raise TooLarge(f"line {number} is longer than {MAX_RAW_BYTES} bytes as protobuf")
        yield Batch(listed.id, listed.signal, raw)


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Each with its newline. One more byte than the bound is never held."""
    for _ in range(MAX_EXPORT_BATCHES + 1):
        line = file.readline(MAX_MANIFEST_BYTES + 1)
        if not line:
            return
        if not line.endswith(b"\n"):
            raise WireError(f"a line is cut off, or longer than {MAX_MANIFEST_BYTES} bytes")
        if len(line) > MAX_LINE_BYTES and not line.startswith(f'{{"{KEY}"'.encode()):
            raise TooLarge(f"a batch's line is longer than {MAX_LINE_BYTES} bytes")
        yield line
    if file.read(1):
        raise TooLarge(f"the file has more than {MAX_EXPORT_BATCHES} batches")


def _manifest(line: bytes) -> tuple[dict[str, Any], bytes]:
    try:
        document = json.loads(line)
        manifest, signature = document[KEY], _bytes(document["signature"])
        known = (manifest["format"], manifest["version"]) == (FORMAT, VERSION)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise WireError("the file does not end with a manifest: it is no export of Muster, or was cut off") from error
    if not known:
        raise WireError(f"the manifest is not of {FORMAT} version {VERSION}: a newer release may read it")
    return manifest, signature


def _signed(manifest: dict[str, Any]) -> bytes:
    """One way only to write a manifest of strings and whole numbers."""
    return _PURPOSE + json.dumps(manifest, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def _line(document: dict[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=True).encode() + b"\n"


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _bytes(text: Any) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise WireError("the manifest holds something that is not base64") from error
