"""The API's own certificate: read from files, and again when they change.

The new pair is loaded into the same `SSLContext`: OpenSSL gives each connection its own reference to the certificate at
the start of its handshake, so those that stand keep theirs, and the next one sees the new. A callback for each
handshake that swaps contexts was rejected: it does the same with more parts. Both files are read once, tried in a
scratch context, and loaded from memory, so that a pair that is replaced file by file can't be taken half and half.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import structlog
from cryptography import x509

from validator.clock import Clock
from validator.net.tls import brief

_log = structlog.get_logger(__name__)

POLL_S = 5.0
"""Between two looks at the files: two reads of a few KB. A change in a mounted Kubernetes Secret shows no event."""

WARN_DAYS = (14, 3, 0)
"""Before its end the certificate is complained of, once at each of these."""

MAX_FILE_BYTES = 1024 * 1024


class TlsFilesError(ValueError):
    """The certificate and the key can't be used; the text names the files and the remedy."""


class ServerTls:
    """A certificate and its key. `context` serves; `run` keeps it up to date."""

    def __init__(
        self,
        certificate: Path,
        key: Path,
        clock: Clock,
        variables: tuple[str, str] = ("MUSTER_TLS_CERTIFICATE", "MUSTER_TLS_KEY"),
    ) -> None:
        """Reads the files. Raises `TlsFilesError`, which names the settings too (`variables`)."""
        self._variables = variables
        self._certificate = certificate
        self._key = key
        self._clock = clock
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.set_alpn_protocols(["http/1.1"])
        self._broken: bytes | None = None
        self._complained = False
        self._told_days: int | None = None
        self._pem = self._read()
        self._ends_at = _try(self._pem, self._names)
        _load(self.context, self._pem)

    async def run(self) -> NoReturn:
        """Look at the files for ever."""
        while True:
            self.look()
            await asyncio.sleep(POLL_S)

    def use(self, certificate: Path, key: Path) -> None:
        """Other files from now on."""
        self._certificate, self._key = certificate, key
        self.look()

    def look(self) -> None:
        """Take a new pair up. A broken one leaves the old in place."""
        pem = b""
        try:
            pem = self._read()
            if pem != self._pem:
                self._take(pem)
            self._broken, self._complained = None, False
        except TlsFilesError as error:
            self._complain(pem, error)
        self._warn_of_end()

    def _take(self, pem: bytes) -> None:
        self._ends_at = _try(pem, self._names)
        _load(self.context, pem)
        self._pem, self._told_days = pem, None
        _log.info("TLS certificate renewed", file=str(self._certificate), expires=_date(self._ends_at))

    def _complain(self, pem: bytes, error: TlsFilesError) -> None:
        """Once, and only of what is still so at the second look: two files are never replaced at the same moment."""
        if pem == self._broken and not self._complained:
            _log.error("TLS certificate not renewed: the one before stays", error=str(error))
            self._complained = True
        elif pem != self._broken:
            self._complained = False
        self._broken = pem

    def _warn_of_end(self) -> None:
        left_days = (self._ends_at - self._clock.now()) / 86_400
        due = min((days for days in WARN_DAYS if left_days <= days), default=None)
        if due is not None and due != self._told_days:
            state = "has expired" if left_days <= 0 else "expires soon"
            _log.warning(f"TLS certificate {state}", file=str(self._certificate), expires=_date(self._ends_at))
        self._told_days = due

    @property
    def _names(self) -> str:
        return f"{self._certificate} ({self._variables[0]}) and {self._key} ({self._variables[1]})"

    def _read(self) -> bytes:
        """Key first: `ssl` takes both from one file."""
        parts = []
        for path in (self._key, self._certificate):
            try:
                with path.open("rb") as file:
                    parts.append(file.read(MAX_FILE_BYTES))
            except OSError as error:
                raise TlsFilesError(
                    f"{path}: {error.strerror or error}. Correct the path or its permissions"
                ) from error
        return b"\n".join(parts)


def _try(pem: bytes, names: str) -> float:
    """When a pair that can be used ends, in seconds since the epoch. Raises `TlsFilesError`."""
    try:
        _load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), pem)
        return x509.load_pem_x509_certificates(pem)[0].not_valid_after_utc.timestamp()
    except (ssl.SSLError, ValueError) as error:
        raise TlsFilesError(
            f"{names} are no certificate with its key ({brief(error)}). Give both as PEM, the certificate with its "
            "chain, the key without a password"
        ) from error


def _load(context: ssl.SSLContext, pem: bytes) -> None:
    """`ssl` reads keys from a path only (cpython#60691): a memfd is a path that no disk ever sees."""
    descriptor = os.memfd_create("muster-tls-key", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(descriptor), "wb") as file:
            file.write(pem)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}", password=str)  # without it OpenSSL asks on the terminal
    finally:
        os.close(descriptor)


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
