"""Who is at the other end: from the certificate of its connection, asked anew on every request.

A handshake is checked once, by OpenSSL, and connections are kept for hours: a certificate that was revoked or has ended
since would go on working. So each request looks its certificate up. The cost is one statement by primary key; a cache
was rejected, since revoking is for the moment in which somebody has a stolen key.
"""

from __future__ import annotations

import hashlib
import ssl
from dataclasses import dataclass
from uuid import UUID

from aiohttp import web
from cryptography import x509

from uplink.receiver.storing import Store

FORGOTTEN = "forgotten"
"""Why a certificate ended: its installation has asked to be forgotten."""

NO_CERTIFICATE = "none"
"""Why somebody is not known who has shown nothing."""


@dataclass(frozen=True, slots=True)
class Peer:
    """An installation of an organisation, with the certificate by which we know."""

    organisation: str
    installation: UUID
    certificate: x509.Certificate
    sha256: bytes
    """Of the certificate: how the books know it."""


class NotKnown(Exception):  # noqa: N818 - what it is
    """The request is nobody's. `status` is 401 where a (new) certificate would help, 403 where somebody has decided."""

    def __init__(
        self,
        status: int,
        message: str,
        why: str,
        organisation: str | None = None,
        installation: UUID | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.why = why
        """One word, for logs; of a revoked certificate why it was."""
        self.organisation = organisation
        self.installation = installation
        """Whose the certificate was, where it is in the books."""


class Peers:
    """Asks the database."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def of(self, request: web.Request, now: float) -> Peer:
        """Raises `NotKnown`, `StoreError`."""
        tls = request.get_extra_info("ssl_object")
        der = tls.getpeercert(binary_form=True) if isinstance(tls, ssl.SSLObject) else None
        if not der:
            raise NotKnown(401, "A client certificate is needed here. Enrol first.", NO_CERTIFICATE)
        sha256 = hashlib.sha256(der).digest()
        row = await self._store.db.fetchrow(self._store.sql["find_certificate"], sha256)
        if row is None:
            raise NotKnown(401, "This certificate is not in our books any more. Enrol again.", "unknown")
        whose = row["org_id"], row["installation_id"]
        if row["revoked_why"] is not None:
            raise NotKnown(403, "This certificate was revoked.", row["revoked_why"], *whose)
        if row["ends_at"] <= now:
            raise NotKnown(401, "This certificate has ended. Enrol again.", "expired", *whose)
        return Peer(row["org_id"], row["installation_id"], x509.load_der_x509_certificate(der), sha256)

    async def forgotten(self, request: web.Request) -> bool:
        """Whether its certificate ended because it asked for it: asking again is no error."""
        try:
            await self.of(request, 0.0)
        except NotKnown as error:
            return error.why == FORGOTTEN
        return False
