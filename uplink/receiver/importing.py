"""What came across an air gap (`wire/export.py`): believed for its signature, then taken like any batch.

The signer is known either by a certificate of our CA, which may have ended on the way but was good when the export was
written, or by the fingerprint of its key, which the operator has from the customer by another way and names together
with the organisation. What the manifest says of the organisation has to agree, and decides nothing.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding

from uplink.receiver.audit import Action, By, note
from uplink.receiver.batches import Batches, Stored
from uplink.receiver.storing import Store
from uplink.wire.errors import WireError
from uplink.wire.export import Export, read_batches, read_export
from uplink.wire.identity import organisation_id


@dataclass(frozen=True, slots=True)
class Trusted:
    """What the operator knows of a signer without a certificate."""

    organisation: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of a file."""

    organisation: str
    batches: Counter[Stored]


async def import_file(
    store: Store,
    batches: Batches,
    bundle: Sequence[x509.Certificate],
    path: Path,
    now: float,
    trusted: Trusted | None = None,
    by: By | None = None,
) -> Imported:
    """Take all batches of a file; what is there already is only counted. Raises `WireError`, `OSError`, `StoreError`.

    Nothing is taken of a file whose signature or signer is wrong. What an error stops can be imported again. `by`: who
    imports; else the user of this process.
    """
    with path.open("rb") as file:
        export = read_export(file)
        organisation = await _signer(store, bundle, export, trusted)
        if organisation != export.head.organisation:
            raise WireError("the manifest names another organisation than its signer's")
        installation = export.head.installation
        async with store.db.transaction() as tx:
            await tx.execute(store.sql["make_org"], organisation, now)
            await tx.execute(store.sql["make_installation"], installation, organisation, now)
            if await tx.fetchval(store.sql["lock_installation"], installation) != organisation:
                raise WireError("the manifest's installation is another organisation's")
            await note(
                store,
                tx,
                by or By.command(),
                Action.IMPORT,
                now,
                organisation,
                installation,
                batches=len(export.batches),
                key_sha256=export.fingerprint,
                known_by="certificate" if trusted is None else "fingerprint",
            )
        file.seek(0)
        became: Counter[Stored] = Counter()
        for batch in read_batches(file, export):
            became[await batches.take(organisation, installation, batch.id, batch.signal, batch.raw, now)] += 1
    return Imported(organisation, became)


async def _signer(store: Store, bundle: Sequence[x509.Certificate], export: Export, trusted: Trusted | None) -> str:
    """The organisation. Raises `WireError`."""
    if trusted is not None:
        if trusted.fingerprint.replace(":", "").lower() != export.fingerprint:
            raise WireError(f"the file is signed with the key {export.fingerprint}, not with the one that was named")
        return organisation_id(trusted.organisation)
    if not export.chain:
        raise WireError(
            f"the signer has no certificate: ask the customer for the fingerprint of its key, and if it is "
            f"{export.fingerprint}, name it with --key-sha256, and the organisation with --org"
        )
    leaf = export.chain[0]
    if not any(_signed_by(leaf, issuer) for issuer in bundle):
        raise WireError("the signer's certificate is not of our CA")
    if not leaf.not_valid_before_utc.timestamp() <= export.head.created_at <= leaf.not_valid_after_utc.timestamp():
        raise WireError("the signer's certificate was not valid when the file was written")
    sha256 = hashlib.sha256(leaf.public_bytes(Encoding.DER)).digest()
    row = await store.db.fetchrow(store.sql["find_certificate"], sha256)
    if row is None or row["revoked_why"] is not None:
        raise WireError("the signer's certificate was revoked, or is not in our books")
    if row["installation_id"] != export.head.installation:
        raise WireError("the manifest names another installation than its signer's certificate")
    return str(row["org_id"])


def _signed_by(leaf: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        leaf.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
