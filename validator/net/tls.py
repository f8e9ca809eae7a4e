"""TLS contexts, one per distinct trust, and what a failed handshake means.

A bare `SSLContext(PROTOCOL_TLS_CLIENT)` with one CA costs 0.5-0.9 ms and 17 KiB, so contexts are kept; and never
shared across CAs, or one tenant's CA could vouch for another's API server. `ssl.create_default_context` is not used:
since Python 3.13 it sets X509_STRICT, which refuses many clusters' CAs (no AKI).
"""

from __future__ import annotations

import hashlib
import os
import re
import ssl
from collections import OrderedDict

from validator.credentials import ClientCertificate
from validator.model import Endpoint
from validator.net.failure import ProbeFailure
from validator.reasons import Reason

MAX_CONTEXTS = 16_384
"""Default bound: 17 KiB each, so 280 MB at the very most; one entry per cluster that has a CA of its own."""

_EXPIRED, _NOT_YET, _NAME_MISMATCH, _IP_MISMATCH = 10, 9, 62, 64
"""X509_V_ERR_* of OpenSSL's x509_vfy.h, as `SSLCertVerificationError.verify_code`."""


class TlsContexts:
    """A bounded LRU of contexts, keyed by CA, client certificate and whether verification is off."""

    def __init__(self, limit: int = MAX_CONTEXTS) -> None:
        self._limit = limit
        self._contexts: OrderedDict[tuple[str, str, bool], ssl.SSLContext] = OrderedDict()

    def __len__(self) -> int:
        return len(self._contexts)

    def get(self, endpoint: Endpoint, certificate: ClientCertificate | None) -> ssl.SSLContext:
        """The context for this trust. Raises `ProbeFailure(CREDENTIAL_INVALID)` for an unusable key or CA."""
        key = (
            _digest(endpoint.ca_pem),
            _digest(certificate.chain_pem + certificate.key_pem if certificate else None),
            endpoint.insecure,
        )
        context = self._contexts.get(key)
        if context is None:
            context = self._contexts[key] = _make(endpoint, certificate)
            if len(self._contexts) > self._limit:
                self._contexts.popitem(last=False)
        else:
            self._contexts.move_to_end(key)
        return context


def _digest(pem: str | None) -> str:
    return hashlib.sha256(pem.encode()).hexdigest() if pem else ""


def _make(endpoint: Endpoint, certificate: ClientCertificate | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.hostname_checks_common_name = False  # as Go and every Kubernetes client does
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # an intermediate given as the CA is a trust anchor, as in Go
    context.set_alpn_protocols(["http/1.1"])
    try:
        if endpoint.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif endpoint.ca_pem is not None:
            context.load_verify_locations(cadata=endpoint.ca_pem)
        else:
            context.load_default_certs()
    except (ssl.SSLError, ValueError, TypeError) as error:  # TypeError: not ASCII
        raise ProbeFailure(
            Reason.CERTIFICATE_UNTRUSTED, f"the CA of {endpoint.url} in its source is no certificate: {brief(error)}"
        ) from error
    if certificate is not None:
        try:
            _load_key(context, certificate)
        except (ssl.SSLError, OSError) as error:
            raise ProbeFailure(
                Reason.CREDENTIAL_INVALID, f"the client certificate and key do not fit together: {brief(error)}"
            ) from error
    return context


def _load_key(context: ssl.SSLContext, certificate: ClientCertificate) -> None:
    """`ssl` reads keys from a path only (cpython#60691): a memfd is a path that no disk ever sees."""
    descriptor = os.memfd_create("muster-client-key", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(descriptor), "wb") as file:
            file.write(certificate.chain_pem.encode() + b"\n" + certificate.key_pem.encode())
        context.load_cert_chain(f"/proc/self/fd/{descriptor}", password=_no_password)
    finally:
        os.close(descriptor)


def _no_password() -> str:
    """Without this, OpenSSL would ask on the terminal for the password of an encrypted key, and hang."""
    return ""


def handshake_failure(error: Exception, where: str) -> ProbeFailure:
    """A handshake that ended in an exception, told apart by what OpenSSL says."""
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = {
            _EXPIRED: Reason.CERTIFICATE_EXPIRED,
            _NOT_YET: Reason.CERTIFICATE_NOT_YET_VALID,
            _NAME_MISMATCH: Reason.CERTIFICATE_NAME_MISMATCH,
            _IP_MISMATCH: Reason.CERTIFICATE_NAME_MISMATCH,
        }.get(error.verify_code, Reason.CERTIFICATE_UNTRUSTED)
        return ProbeFailure(reason, f"{where}: {error.verify_message[:200]}")
    text = brief(error)
    if isinstance(error, ssl.SSLError):
        if is_client_certificate_alert(error):
            return ProbeFailure(Reason.CLIENT_CERTIFICATE_REJECTED, f"{where}: {text}")
        return ProbeFailure(Reason.TLS_HANDSHAKE_FAILED, f"{where}: {text}", unanswered=True)
    # A reset or an end of stream in the middle of the handshake.
    return ProbeFailure(Reason.TLS_HANDSHAKE_FAILED, f"{where} closed the connection: {text}", unanswered=True)


def is_client_certificate_alert(error: BaseException | None) -> bool:
    """Whether the peer's alert speaks of *our* certificate; in TLS 1.3 it comes on the first read."""
    if not isinstance(error, ssl.SSLError):
        return False
    name = (error.reason or "").upper()
    return "ALERT" in name and any(
        word in name for word in ("CERTIFICATE", "UNKNOWN_CA", "ACCESS_DENIED", "DECRYPT_ERROR")
    )


def brief(error: BaseException) -> str:
    """What went wrong in a few words for people: no error numbers, no class names where there is anything better."""
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[:200]
    return (str(error) or re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(error).__name__).lower())[:200]
