"""The seam between enrolment and a registration protocol. EST is in `est.py`; a vendor's own goes beside it.

Key and CSR are made on this side of the seam, and what comes back is checked on this side, too: a registrar carries.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from cryptography import x509

from uplink.client.network.trust import Trust


@dataclass(frozen=True, slots=True)
class Signed:
    """Certificates, ours among them, in no order and not yet looked at."""

    certificates: tuple[x509.Certificate, ...]


@dataclass(frozen=True, slots=True)
class Later:
    """Somebody has to approve it. The same request again, not earlier."""

    wait_s: float


class Refused(Exception):  # noqa: N818 - the protocol's word
    """No, and asking again does not help: a person has to act."""


class NotNow(Exception):  # noqa: N818 - what it is
    """No certificate this time. `wait_s` is what the server has asked for; None = nothing."""

    def __init__(self, message: str, wait_s: float | None = None) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class Registrar(Protocol):
    """All three raise `NotNow` and `Unreached`; `trust` decides whom they believe and as whom they come."""

    async def roots(self, trust: Trust) -> tuple[x509.Certificate, ...]:
        """What the CA says of itself, believed by nobody yet; empty where the protocol has no such thing."""
        ...

    async def enrol(
        self, trust: Trust, organisation: str, token: str, csr: x509.CertificateSigningRequest
    ) -> Signed | Later:
        """The first certificate, for an activation token. Raises `Refused`."""
        ...

    async def renew(self, trust: Trust, csr: x509.CertificateSigningRequest) -> Signed | Later:
        """The next one, as who has one. Raises `Refused`."""
        ...
