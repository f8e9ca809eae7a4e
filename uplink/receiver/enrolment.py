"""How a token becomes a certificate, and a certificate the next one.

A token is bound to the first CSR that comes with it, in the transaction that looks at it: of two installations with one
token, one gets in. The same CSR may come again, since the answer may have been lost, and since a 202 asks for it
(RFC 7030 section 4.2.3): it gets the same certificate, which is of use to nobody but the holder of its key.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from store.pool import Session
from uplink.receiver.activations import digest, is_token
from uplink.receiver.audit import Action, By, Door, note
from uplink.receiver.generations import Generations
from uplink.receiver.peers import Peer
from uplink.receiver.policy import Wish, read_wish
from uplink.receiver.refusals import Refusals, Seen
from uplink.receiver.storing import Store
from uplink.wire.bounds import LIFETIME_DAYS, MAX_ORGANISATION_CHARS
from uplink.wire.errors import WireError
from validator.printable import printable

_log = structlog.get_logger(__name__)

REPEAT_S: Final = 24 * 3600.0
"""For how long a used token gives the same certificate to the same CSR."""

WAIT_DAYS: Final = 30
"""For how long a CSR may wait for approval."""

ASK_AGAIN_S: Final = 60
"""What a 202 tells the client to wait, unless somebody chose otherwise."""

MAX_CERTIFICATES: Final = 8
"""Of one installation that work at a time. Who has stolen one key can't lay in a store of them."""

FULL_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Waiting:
    """Nobody has approved it yet."""

    retry_after_s: float


class Refused(Exception):  # noqa: N818 - the protocol's word
    """No certificate. `status` and the text are the answer."""

    def __init__(self, status: int, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s


class Enrolments:
    """`enrol` and `renew` raise `Refused` and `StoreError`."""

    def __init__(
        self,
        store: Store,
        generations: Generations,
        refusals: Refusals,
        *,
        lifetime_days: int = LIFETIME_DAYS,
        ask_again_s: float = ASK_AGAIN_S,
    ) -> None:
        self._store = store
        self._ask_again_s = ask_again_s
        self._generations = generations
        self._lifetime_days = lifetime_days
        self._refusals = refusals

    async def enrol(
        self, organisation: str, token: str, csr: x509.CertificateSigningRequest, now: float, source: str
    ) -> x509.Certificate | Waiting:
        """The first certificate of an installation, for a token. One refusal for all that is wrong with a token.

        `source` is the address that asks.
        """
        seen = Seen(source)
        try:
            return await self._enrol(organisation, token, csr, now, seen)
        except Refused as error:
            named = printable(organisation, MAX_ORGANISATION_CHARS)
            await self._refusals.note(Action.REFUSE, seen, now, status=error.status, why=str(error), named=named)
            raise

    async def _enrol(
        self, organisation: str, token: str, csr: x509.CertificateSigningRequest, now: float, seen: Seen
    ) -> x509.Certificate | Waiting:
        refused = Refused(401, "The activation token is unknown, used, expired or revoked, or of another organisation.")
        if not is_token(token):
            raise refused
        csr_sha256 = _csr_digest(csr)
        sql = self._store.sql
        async with self._store.db.transaction() as tx:
            row = await tx.fetchrow(sql["lock_activation"], digest(token))
            if row is not None:
                seen.who, seen.organisation = f"token {row['id']}", row["org_id"]
                seen.installation = row["installation_id"]
            if row is None or row["org_id"] != organisation or row["revoked"]:
                raise refused
            if row["used_at"] is None:
                if row["expires_at"] <= now:
                    raise refused
                wish = _wish(csr, organisation)
                if row["installation_id"] not in (None, wish.installation):
                    raise Refused(403, "The activation token is for another installation than the CSR's CN.")
                await tx.execute(sql["use_activation"], row["id"], now, csr_sha256, wish.installation)
            else:
                until = row["used_at"] + (WAIT_DAYS * 86_400.0 if row["needs_approval"] else REPEAT_S)
                if row["csr_sha256"] != csr_sha256 or now >= until:
                    raise refused
                wish = _wish(csr, organisation)
            seen.installation = wish.installation
            by = By(seen.who, Door.EST, seen.source)
            await self._take(tx, wish.installation, organisation, now)
            if row["needs_approval"] and not row["approved"]:
                _log.info("enrolment waits for approval", organisation=organisation, activation=str(row["id"]))
                if row["used_at"] is None:
                    await note(self._store, tx, by, Action.WAIT, now, organisation, wish.installation)
                return Waiting(self._ask_again_s)
            return await self._answer(tx, wish, organisation, csr_sha256, now, by, Action.ISSUE)

    async def renew(self, peer: Peer, csr: x509.CertificateSigningRequest, now: float, source: str) -> x509.Certificate:
        """The next one, for one that works. The CSR's subject has to be the old one's (RFC 7030 section 4.2.2).

        A SAN has to be, too; one that is left out is put in by us: strongSwan can't write a URI there. Subjects are
        compared by value: a string type (UTF8String, PrintableString) is no other name.
        """
        seen = Seen(source, str(peer.installation), peer.organisation, peer.installation)
        try:
            return await self._renew(peer, csr, now, source)
        except Refused as error:
            await self._refusals.note(Action.REFUSE_RENEWAL, seen, now, status=error.status, why=str(error))
            raise

    async def _renew(
        self, peer: Peer, csr: x509.CertificateSigningRequest, now: float, source: str
    ) -> x509.Certificate:
        wish = _wish(csr, peer.organisation)
        if csr.subject != peer.certificate.subject:
            raise Refused(400, "The CSR's subject is not that of the certificate that is to be renewed.")
        by = By(str(peer.installation), Door.EST, source)
        async with self._store.db.transaction() as tx:
            await self._take(tx, peer.installation, peer.organisation, now)
            return await self._answer(tx, wish, peer.organisation, _csr_digest(csr), now, by, Action.RENEW)

    async def _take(self, tx: Session, installation: UUID, organisation: str, now: float) -> None:
        """The installation is the organisation's from now on, and nobody else adds a certificate meanwhile."""
        sql = self._store.sql
        await tx.execute(sql["make_installation"], installation, organisation, now)
        if await tx.fetchval(sql["lock_installation"], installation) != organisation:
            raise Refused(403, "The CSR's CN is an installation of another organisation.")

    async def _answer(
        self,
        tx: Session,
        wish: Wish,
        organisation: str,
        csr_sha256: bytes,
        now: float,
        by: By,
        action: Action,
    ) -> x509.Certificate:
        sql = self._store.sql
        before = await tx.fetchrow(sql["answered"], wish.installation, csr_sha256, now)
        if before is not None and not before["works"]:
            raise Refused(403, "The certificate for this CSR was revoked, or has ended.")
        if before is not None:
            return x509.load_der_x509_certificate(before["der"])
        if await tx.fetchval(sql["count_certificates"], wish.installation, now) >= MAX_CERTIFICATES:
            raise Refused(
                429, f"The installation has {MAX_CERTIFICATES} certificates that work. Wait for one to end.", FULL_S
            )
        made = self._generations.now.sign_client(wish.key, organisation, wish.installation, now, self._lifetime_days)
        der = made.public_bytes(Encoding.DER)
        serial = f"{made.serial_number:x}"
        await tx.execute(
            sql["save_certificate"],
            hashlib.sha256(der).digest(),
            serial,
            organisation,
            wish.installation,
            csr_sha256,
            der,
            now,
            made.not_valid_after_utc.timestamp(),
        )
        await note(
            self._store,
            tx,
            by,
            action,
            now,
            organisation,
            wish.installation,
            serial=serial,
            ends_at=made.not_valid_after_utc.timestamp(),
        )
        _log.info(
            "certificate issued",
            organisation=organisation,
            installation=str(wish.installation),
            serial=serial,
            ends=made.not_valid_after_utc.isoformat(),
        )
        return made


def _wish(csr: x509.CertificateSigningRequest, organisation: str) -> Wish:
    try:
        wish = read_wish(csr)
    except WireError as error:
        raise Refused(400, f"{_sentence(error)}.") from error
    if wish.organisation not in (None, organisation):
        raise Refused(403, "The CSR names another organisation than the one that may have a certificate.")
    return wish


def _csr_digest(csr: x509.CertificateSigningRequest) -> bytes:
    return hashlib.sha256(csr.public_bytes(Encoding.DER)).digest()


def _sentence(error: WireError) -> str:
    text = str(error)
    return text[:1].upper() + text[1:]
