"""What the hub shows to an API server to be let in, and where it comes from.

A credential is never persisted, never logged, and never in a `repr`. Reachability does not wait for it:
where it can't be had, the probe asks without it, and only the check `credential` fails.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from validator.reasons import Reason


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """A client certificate chain and its key, PEM. Reaches `ssl` through a memfd, never a file."""

    chain_pem: str = field(repr=False)
    key_pem: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Credential:
    """A bearer token, a client certificate, or both."""

    token: str | None = field(default=None, repr=False)
    client_certificate: ClientCertificate | None = None
    expires_at: float | None = None
    """Seconds since the epoch, where the issuer says so; None = not known."""


class CredentialError(Exception):
    """A credential can't be had. `message` is for people: bounded, names the field or file, no secret."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class CredentialSource(Protocol):
    """Where a target's credential comes from.

    `current` is on the hot path: synchronous, no I/O. `fetch` may do I/O (a file, an exec plugin) and has a
    deadline of its own, 30 s at most; it is single-flight per source: a thousand
    targets of one plugin run it once.
    """

    def current(self, now: float) -> Credential | None:
        """The credential in hand, or None when it must be fetched first (none yet, expired, or rejected)."""
        ...

    async def fetch(self, now: float) -> Credential:
        """Get a fresh one. Raises `CredentialError`; never anything else but CancelledError."""
        ...

    def reject(self, credential: Credential) -> None:
        """The API server answered 401 to it: `current` gives None until `fetch` has run again."""
        ...


class StaticCredential:
    """A credential that was written into the source and can't be refreshed."""

    def __init__(self, credential: Credential) -> None:
        self._credential = credential

    def current(self, now: float) -> Credential | None:
        return self._credential

    async def fetch(self, now: float) -> Credential:
        return self._credential

    def reject(self, credential: Credential) -> None:
        """Nothing fresher can be had; the next probe shows the same one, in case the server changes its mind."""


class BrokenCredential:
    """Stands in where the source's entry is unusable: the cluster is probed all the same, without a credential."""

    def __init__(self, reason: Reason, message: str) -> None:
        self._reason = reason
        self._message = message

    def current(self, now: float) -> Credential | None:
        return None

    async def fetch(self, now: float) -> Credential:
        raise CredentialError(self._reason, self._message)

    def reject(self, credential: Credential) -> None:
        """There is nothing to reject."""
