"""A connection that is kept between two asks, with what its dial found."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from typing import Any

from cryptography import x509

from validator.credentials import ClientCertificate
from validator.net.dialer import Trace
from validator.net.http1 import HttpConnection
from validator.probes.readings import certificate_end


class KeptConnection:
    """One API server's connection. What is said of its certificate was true when it was dialled."""

    def __init__(
        self,
        connection: HttpConnection,
        certificate: ClientCertificate | None,
        trace: Trace,
        tls: ssl.SSLObject,
        *,
        opened_at: float,
        opened_in: int,
        lifetime_s: float,
    ) -> None:
        self.connection = connection
        self.trace = trace
        self.answered_in = 0
        """Number of the ask in which it last answered: within that ask it is known to be alive."""
        self.expires_at = _expires_at(tls)
        """End of the server certificate, seconds since the epoch."""
        self._certificate = certificate
        self._opened_at = opened_at
        self._opened_in = opened_in
        self._lifetime_s = lifetime_s
        expires = datetime.fromtimestamp(self.expires_at, UTC).isoformat().replace("+00:00", "Z")
        self._facts: dict[str, Any] = {
            "address": trace.address,
            "tls": tls.version() or "",
            "certificate_expires": expires,
        }

    def old(self, now: float) -> bool:
        """Whether its time has come: to see changes of DNS, certificate and routes."""
        return not 0 <= now - self._opened_at < self._lifetime_s  # below 0 the clock was set back

    def good(self, certificate: ClientCertificate | None, now: float, ask: int) -> bool:
        """Whether this ask may use it. Never renewed in the middle of an ask unless the peer has gone."""
        if not self.connection.usable or certificate is not self._certificate:
            return False
        if ask in (self._opened_in, self.answered_in):
            return True
        return not self.old(now) and now < self.expires_at and not self.trace.dead_family

    def evidence(self, now: float, ask: int) -> dict[str, Any]:
        """What this connection adds to a verdict's evidence."""
        if ask == self._opened_in:
            return self._facts
        return {**self._facts, "reused": True, "connection_age_s": round(now - self._opened_at, 1)}


def _expires_at(tls: ssl.SSLObject) -> float:
    """From the parsed certificate where it was verified; `ssl` parses nothing where verification is off."""
    parsed = tls.getpeercert()
    if parsed:
        return certificate_end(str(parsed["notAfter"]))
    der = tls.getpeercert(binary_form=True)
    return x509.load_der_x509_certificate(der).not_valid_after_utc.timestamp() if der else 0.0
