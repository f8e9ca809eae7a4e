"""Contexts: one per trust and never shared; and what each failed handshake means, played in memory with OpenSSL."""

from __future__ import annotations

import errno
import os
import select
import ssl
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from muster.demo.pki import Authority, Certificate, Pair
from validator.credentials import ClientCertificate
from validator.model import Endpoint
from validator.net.failure import ProbeFailure
from validator.net.tls import TlsContexts, handshake_failure, is_client_certificate_alert
from validator.reasons import Reason

NOW = datetime.now(UTC)
CA, OTHER_CA = Authority("one", NOW), Authority("other", NOW)
ADDRESS, NAME = "127.0.0.1", "api.one.example"


def endpoint(ca_pem: str | None = CA.pem, *, insecure: bool = False) -> Endpoint:
    return Endpoint(ADDRESS, 6443, ca_pem, insecure=insecure)


def client_certificate(pair: Pair) -> ClientCertificate:
    return ClientCertificate(pair.certificate_pem, pair.key_pem)


def server_context(pair: Pair, tmp_path_factory: pytest.TempPathFactory, ca: Authority | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    file.write_bytes(pair.bundle)
    context.load_cert_chain(file)
    if ca is not None:
        context.load_verify_locations(cadata=ca.pem)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def shake_hands(client: ssl.SSLContext, server: ssl.SSLContext, host: str = ADDRESS) -> ssl.SSLObject:
    """The whole handshake and one byte read from the server. Gives the client's side, or raises what it raised."""
    c_in, c_out, s_in, s_out = (ssl.MemoryBIO() for _ in range(4))
    ours = client.wrap_bio(c_in, c_out, server_hostname=host)
    theirs = server.wrap_bio(s_in, s_out, server_side=True)
    theirs_done = False
    for _ in range(10):
        try:
            ours.do_handshake()
            if theirs_done or c_out.pending == 0:
                ours.read(1)
                return ours
        except ssl.SSLWantReadError:
            pass
        s_in.write(c_out.read())
        try:
            theirs.do_handshake()
            if not theirs_done:
                theirs_done = True
                theirs.write(b"x")
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            theirs_done = True  # it has sent its alert
        c_in.write(s_out.read())
    raise AssertionError("the handshake does not end")


def reason(client: ssl.SSLContext, server: ssl.SSLContext, host: str = ADDRESS) -> Reason | None:
    try:
        shake_hands(client, server, host)
    except ssl.SSLError as error:
        return handshake_failure(error, "https://127.0.0.1:6443").reason
    return None


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


ON_A_TERMINAL = """
import fcntl, pathlib, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from validator.credentials import ClientCertificate
from validator.model import Endpoint
from validator.net.failure import ProbeFailure
from validator.net.tls import TlsContexts
pem = pathlib.Path(sys.argv[1])
certificate = ClientCertificate((pem / "chain.pem").read_text(), (pem / "key.pem").read_text())
try:
    TlsContexts().get(Endpoint("a", 1, insecure=True), certificate)
except ProbeFailure as failure:
    print(failure.reason)
"""


def read_all(terminal: int, within_s: float = 10.0) -> bytes:
    """What a child says on its terminal until it ends; what it has said until then, if it does not."""
    said, until = b"", time.monotonic() + within_s
    while select.select([terminal], [], [], max(0.0, until - time.monotonic()))[0]:
        try:
            said += os.read(terminal, 4096)
        except OSError:  # EIO: the other end is closed
            break
    return said


class TestContexts:
    def test_one_trust_has_one_context(self) -> None:
        contexts = TlsContexts()
        assert contexts.get(endpoint(), None) is contexts.get(endpoint(), None)
        elsewhere = Endpoint("192.0.2.7", 443, CA.pem)
        assert contexts.get(elsewhere, None) is contexts.get(endpoint(), None)
        assert len(contexts) == 1

    def test_another_ca_client_certificate_or_no_verification_is_another_context(self) -> None:
        contexts = TlsContexts()
        pairs = [client_certificate(CA.client(user)) for user in ("a", "b")]
        found = [
            contexts.get(endpoint(), None),
            contexts.get(endpoint(OTHER_CA.pem), None),
            contexts.get(endpoint(None), None),
            contexts.get(endpoint(insecure=True), None),
            contexts.get(endpoint(), pairs[0]),
            contexts.get(endpoint(), pairs[1]),
        ]
        assert len({id(context) for context in found}) == len(contexts) == len(found)

    def test_the_least_recently_used_is_dropped(self) -> None:
        contexts = TlsContexts(limit=2)
        first = contexts.get(endpoint(), None)
        second = contexts.get(endpoint(OTHER_CA.pem), None)
        assert contexts.get(endpoint(), None) is first
        contexts.get(endpoint(insecure=True), None)
        assert len(contexts) == 2
        assert contexts.get(endpoint(), None) is first
        assert contexts.get(endpoint(OTHER_CA.pem), None) is not second

    def test_what_is_asked_of_a_server(self) -> None:
        context = TlsContexts().get(endpoint(), None)
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
        assert not context.hostname_checks_common_name
        assert not context.verify_flags & ssl.VERIFY_X509_STRICT
        assert context.cert_store_stats()["x509_ca"] == 1

    def test_without_a_ca_the_system_s_roots_are_trusted_and_one_cluster_s_is_not(
        self, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        context = TlsContexts().get(endpoint(None), None)
        server = server_context(CA.serving(Certificate.GOOD, ADDRESS, NAME), tmp_path_factory)
        assert reason(context, server) is Reason.CERTIFICATE_UNTRUSTED

    @pytest.mark.parametrize(
        "pem", ["", "no PEM at all", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "é"]
    )
    def test_a_ca_that_is_none_is_the_cluster_s_trouble_and_says_whose(self, pem: str) -> None:
        contexts = TlsContexts()
        with pytest.raises(ProbeFailure) as caught:
            contexts.get(endpoint(pem), None)
        assert caught.value.reason is Reason.CERTIFICATE_UNTRUSTED
        assert "https://127.0.0.1:6443" in caught.value.message
        assert len(contexts) == 0


class TestClientKeys:
    def test_the_key_leaves_no_descriptor_and_no_file(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        before = descriptors()
        certificate = client_certificate(CA.client("muster"))
        context = TlsContexts().get(endpoint(), certificate)
        assert descriptors() == before
        server = server_context(CA.serving(Certificate.GOOD, ADDRESS, NAME), tmp_path_factory, CA)
        assert reason(context, server) is None

    def broken(self) -> list[ClientCertificate]:
        one, other = CA.client("one"), CA.client("other")
        key = ec.generate_private_key(ec.SECP256R1())
        locked = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")).decode()
        return [
            ClientCertificate(one.certificate_pem, other.key_pem),
            ClientCertificate("", one.key_pem),
            ClientCertificate(one.certificate_pem, ""),
            ClientCertificate("canary", "canary"),
            ClientCertificate(one.certificate_pem, locked),
        ]

    @pytest.mark.parametrize("number", range(5))
    def test_one_that_can_t_be_used_is_said_to_be_invalid_and_nothing_of_it_shown(self, number: int) -> None:
        before = descriptors()
        contexts = TlsContexts()
        with pytest.raises(ProbeFailure) as caught:
            contexts.get(endpoint(), self.broken()[number])
        assert caught.value.reason is Reason.CREDENTIAL_INVALID
        assert "canary" not in str(caught.value)
        assert (descriptors(), len(contexts)) == (before, 0)

    def test_a_locked_key_asks_nobody_for_its_password_even_on_a_terminal(self, tmp_path: Path) -> None:
        locked = self.broken()[-1]
        (tmp_path / "chain.pem").write_text(locked.chain_pem)
        (tmp_path / "key.pem").write_text(locked.key_pem)
        terminal, inside = os.openpty()
        child = subprocess.Popen(
            [sys.executable, "-c", ON_A_TERMINAL, str(tmp_path)],
            stdin=inside,
            stdout=inside,
            stderr=inside,
            start_new_session=True,
        )
        os.close(inside)
        try:
            assert b"CredentialInvalid" in read_all(terminal)
        finally:
            child.kill()
            child.wait()
            os.close(terminal)

    def test_a_repr_shows_neither_key_nor_ca(self) -> None:
        certificate = client_certificate(CA.client("muster"))
        assert "BEGIN" not in repr(certificate) + repr(endpoint())


class TestHandshakes:
    @pytest.mark.parametrize(
        ("kind", "expected"),
        [
            (Certificate.GOOD, None),
            (Certificate.EXPIRING_SOON, None),
            (Certificate.EXPIRED, Reason.CERTIFICATE_EXPIRED),
            (Certificate.NOT_YET_VALID, Reason.CERTIFICATE_NOT_YET_VALID),
            (Certificate.WRONG_NAME, Reason.CERTIFICATE_NAME_MISMATCH),
            (Certificate.WRONG_CA, Reason.CERTIFICATE_UNTRUSTED),
        ],
    )
    @pytest.mark.parametrize("host", [ADDRESS, NAME])
    def test_each_certificate_has_its_reason(
        self, kind: Certificate, expected: Reason | None, host: str, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        server = server_context(CA.serving(kind, ADDRESS, NAME), tmp_path_factory)
        assert reason(TlsContexts().get(endpoint(), None), server, host) is expected

    @pytest.mark.parametrize("kind", list(Certificate))
    def test_without_verification_any_will_do(
        self, kind: Certificate, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        server = server_context(CA.serving(kind, ADDRESS, NAME), tmp_path_factory)
        assert reason(TlsContexts().get(endpoint(insecure=True), None), server) is None

    def test_another_cluster_s_ca_does_not_vouch(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        contexts = TlsContexts()
        contexts.get(endpoint(OTHER_CA.pem), None)
        server = server_context(OTHER_CA.serving(Certificate.GOOD, ADDRESS, NAME), tmp_path_factory)
        assert reason(contexts.get(endpoint(), None), server) is Reason.CERTIFICATE_UNTRUSTED
        assert reason(contexts.get(endpoint(OTHER_CA.pem), None), server) is None

    def test_a_ca_from_before_key_identifiers_is_good_enough(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        """No SKI, no AKI, no key usage: X509_STRICT, which `create_default_context` sets since 3.13, refuses it."""
        ca_pem, pair = old_style()
        server = server_context(pair, tmp_path_factory)
        assert reason(TlsContexts().get(endpoint(ca_pem), None), server, NAME) is None

    def test_the_serving_certificate_itself_may_be_the_trust(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        """Partial chains, as Go has them: people pin what they see."""
        pair = CA.serving(Certificate.GOOD, ADDRESS, NAME)
        server = server_context(pair, tmp_path_factory)
        assert reason(TlsContexts().get(endpoint(pair.certificate_pem), None), server) is None

    def test_a_server_that_only_speaks_tls_1_1_has_nothing_in_common(
        self, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        server = server_context(CA.serving(Certificate.GOOD, ADDRESS, NAME), tmp_path_factory)
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            server.minimum_version = server.maximum_version = ssl.TLSVersion.TLSv1_1
        assert reason(TlsContexts().get(endpoint(), None), server) is Reason.TLS_HANDSHAKE_FAILED

    @pytest.mark.parametrize(
        ("version", "foreign", "expected"),
        [
            (ssl.TLSVersion.TLSv1_3, False, Reason.CLIENT_CERTIFICATE_REJECTED),
            (ssl.TLSVersion.TLSv1_3, True, Reason.CLIENT_CERTIFICATE_REJECTED),
            (ssl.TLSVersion.TLSv1_2, True, Reason.CLIENT_CERTIFICATE_REJECTED),
            # Go's server says `bad_certificate`; OpenSSL's says no more than `handshake_failure`.
            (ssl.TLSVersion.TLSv1_2, False, Reason.TLS_HANDSHAKE_FAILED),
        ],
    )
    def test_a_client_certificate_that_is_missing_or_foreign_is_told_apart(
        self,
        version: ssl.TLSVersion,
        *,
        foreign: bool,
        expected: Reason,
        tmp_path_factory: pytest.TempPathFactory,
    ) -> None:
        server = server_context(CA.serving(Certificate.GOOD, ADDRESS, NAME), tmp_path_factory, CA)
        server.minimum_version = server.maximum_version = version
        certificate = client_certificate(OTHER_CA.client("muster")) if foreign else None
        client = TlsContexts().get(endpoint(), certificate)
        assert reason(client, server) is expected

    @pytest.mark.parametrize("alert", ["bad_certificate", "certificate_required", "unknown_ca", "access_denied"])
    def test_the_alerts_that_speak_of_our_certificate(self, alert: str) -> None:
        error = ssl.SSLError(1, "[SSL] alert")
        error.reason = f"TLSV13_ALERT_{alert}".upper()
        assert handshake_failure(error, "https://a:1").reason is Reason.CLIENT_CERTIFICATE_REJECTED


class TestOtherEnds:
    @pytest.mark.parametrize(
        "error", [ConnectionResetError(errno.ECONNRESET, "reset"), EOFError(), ConnectionAbortedError("SSL handshake")]
    )
    def test_a_connection_that_ends_in_the_handshake_went_unanswered(self, error: Exception) -> None:
        failure = handshake_failure(error, "https://a:1")
        assert (failure.reason, failure.unanswered) == (Reason.TLS_HANDSHAKE_FAILED, True)
        assert failure.message.startswith("https://a:1 closed the connection: ")

    @pytest.mark.parametrize("error", [None, OSError(1, "CERTIFICATE ALERT"), ValueError("ALERT CERTIFICATE")])
    def test_only_openssl_speaks_of_alerts(self, error: Exception | None) -> None:
        assert not is_client_certificate_alert(error)


def old_style() -> tuple[str, Pair]:
    """A CA and a serving certificate as hand-made ones look: bare minimum of extensions."""
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "old-ca")])

    def build(subject: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        start = NOW - timedelta(hours=1)
        return x509.CertificateBuilder(
            issuer_name=ca_name,
            subject_name=subject,
            public_key=public,
            serial_number=x509.random_serial_number(),
            not_valid_before=start,
            not_valid_after=NOW + timedelta(days=30),
        )

    ca = build(ca_name, ca_key.public_key()).add_extension(
        x509.BasicConstraints(ca=True, path_length=None), critical=False
    )
    leaf = build(x509.Name([]), key.public_key()).add_extension(
        x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return (
        ca.sign(ca_key, hashes.SHA256()).public_bytes(Encoding.PEM).decode(),
        Pair(leaf.sign(ca_key, hashes.SHA256()).public_bytes(Encoding.PEM).decode(), pem),
    )
