"""The receiver's TLS: its own certificate, and which client certificates pass a handshake.

A certificate is optional in the handshake, since who enrols has none yet; what needs one says so itself. One that is
shown has to be of our CA and in its time, or OpenSSL ends the handshake with an alert. There are no session tickets: a
resumed session would bring a certificate that OpenSSL looked at yesterday.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import structlog
from cryptography.hazmat.primitives.serialization import Encoding

from uplink.receiver.authority import Authority
from validator.clock import Clock

_log = structlog.get_logger(__name__)

RENEW_S = 86_400.0
"""Between two certificates of our own; each is good for `authority.SERVER_DAYS`."""

MAX_FILE_BYTES = 1024 * 1024


class FrontError(ValueError):
    """The certificate or its key can't be used; the text names the files."""


class Front:
    """`context` serves. Without `files` (certificate and key) our own CA signs for `hosts`."""

    def __init__(
        self, authority: Authority, hosts: Sequence[str], clock: Clock, files: tuple[Path, Path] | None = None
    ) -> None:
        """Raises `FrontError`."""
        self._hosts = tuple(hosts)
        self._clock = clock
        self._files = files
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
        self.context.num_tickets = 0
        self.context.verify_mode = ssl.CERT_OPTIONAL
        self.context.set_alpn_protocols(["http/1.1"])
        self._believe(authority)
        self.renew()

    async def run(self) -> NoReturn:
        """Keep our own certificate fresh. Standing connections keep theirs."""
        while True:
            await asyncio.sleep(RENEW_S)
            try:
                self.renew()
            except FrontError as error:
                _log.error("TLS certificate not renewed: the one before stays", error=str(error))

    def follow(self, authority: Authority) -> None:
        """Another generation: its clients pass too, and it signs our own certificate, where we make one.

        What passed before still does, and does no harm: a certificate has to be in the books.
        """
        self._believe(authority)
        if self._files is None:
            self.renew()

    def _believe(self, authority: Authority) -> None:
        self._authority = authority
        bundle = [each.public_bytes(Encoding.PEM).decode() for each in authority.bundle]
        self.context.load_verify_locations(cadata="".join(bundle))

    def renew(self) -> None:
        """Take a new certificate into use. Raises `FrontError`."""
        pem = self._authority.sign_server(self._hosts, self._clock.now()) if self._files is None else _read(self._files)
        descriptor = os.memfd_create("muster-receiver-key", os.MFD_CLOEXEC)  # `ssl` reads keys from a path only
        try:
            with os.fdopen(os.dup(descriptor), "wb") as file:
                file.write(pem)
            self.context.load_cert_chain(f"/proc/self/fd/{descriptor}", password=str)
        except (ssl.SSLError, ValueError) as error:
            raise FrontError(f"{self._files}: no certificate with its key, in PEM and without a password") from error
        finally:
            os.close(descriptor)


def _read(files: tuple[Path, Path]) -> bytes:
    certificate, key = files
    parts = []
    for path in (key, certificate):
        try:
            with path.open("rb") as file:
                parts.append(file.read(MAX_FILE_BYTES))
        except OSError as error:
            raise FrontError(f"{path}: {error.strerror}. Correct the path or its permissions") from error
    return b"\n".join(parts)
