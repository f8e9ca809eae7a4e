"""Whom the uplink believes and as whom it speaks: one TLS context for each certificate generation.

Only anchors that are given here count. The system's are never loaded: any of a hundred public CAs could then vouch for
somebody else's endpoint, and RFC 7030 section 3.6 asks for explicit anchors.
"""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass, field


class TrustError(ValueError):
    """Anchors, certificate or key can't be used; the text says which and quotes nothing."""


@dataclass(frozen=True, slots=True)
class Trust:
    """Equal ones share a context and connections; a new generation of the certificate is another one."""

    anchors_pem: str
    generation: int = 0
    """Of the client certificate; 0 = none, for before there is one."""
    chain_pem: str = ""
    """Its own certificate first, then what the server may need to check it."""
    key_pem: str = field(default="", repr=False)

    def anonymous(self) -> Trust:
        """The same anchors, without the certificate."""
        return Trust(self.anchors_pem)


def context_of(trust: Trust) -> ssl.SSLContext:
    """TLS 1.2 or later, with these anchors only. Raises `TrustError`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.hostname_checks_common_name = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # an intermediate that somebody gave as the anchor is one
    context.set_alpn_protocols(["http/1.1"])
    if not trust.anchors_pem:
        raise TrustError("no trust anchor is set: without one no server can be believed")
    try:
        context.load_verify_locations(cadata=trust.anchors_pem)
    except (ssl.SSLError, ValueError, TypeError) as error:
        raise TrustError("the trust anchors are no certificates in PEM") from error
    if trust.key_pem:
        _load(context, trust)
    return context


def _load(context: ssl.SSLContext, trust: Trust) -> None:
    """`ssl` reads keys from a path only (cpython#60691): a memfd is a path that no disk ever sees."""
    descriptor = os.memfd_create("muster-uplink-key", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(descriptor), "wb") as file:
            file.write(f"{trust.chain_pem}\n{trust.key_pem}".encode())
        context.load_cert_chain(f"/proc/self/fd/{descriptor}", password=str)
    except (ssl.SSLError, OSError, ValueError) as error:
        raise TrustError("the client certificate and its key do not fit together") from error
    finally:
        os.close(descriptor)
